"""`geo-offers serve`: the service, until SIGTERM or Ctrl-C, draining within 15 s."""

import argparse
import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from geo_offers import app
from geo_offers.settings import Settings
from geo_offers.web.server import url_of

YOUNG: Final = 10_000  # objects more than went, to a collection of the young: what a ping makes goes with its answer
MIDDLE_AFTER: Final = 10  # collections of the young, to one of the middle
OLD_AFTER: Final = 100  # collections of the middle, to one of everything
SWITCH_S: Final = 0.0005


def add(commands: Any) -> None:
    command = commands.add_parser(
        "serve",
        help="run the service",
        usage="[GEO_OFFERS_NAME=VALUE ...] geo-offers serve [-h]",
        description="Settings are environment variables, such as GEO_OFFERS_PORT=8080; the README has them all.",
    )
    command.set_defaults(run=run)


async def run(_given: argparse.Namespace, settings: Settings) -> int:
    """Prints `listening on http://HOST:PORT` once it answers; 1 where a part of it failed for good."""
    stop, watch, starting = asyncio.Event(), app.Watch(), asyncio.current_task()
    assert starting is not None
    _when_asked_to_end(starting.cancel)  # nothing runs yet that could be drained
    try:
        async with app.database(settings, watch) as dsn, app.service(settings, dsn, watch) as listener:
            _when_asked_to_end(stop.set)
            hold_no_long_pauses()
            print(f"listening on {url_of(listener.host, listener.port)}", flush=True)
            waits = [asyncio.create_task(event.wait()) for event in (stop, watch.failed)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
    except asyncio.CancelledError:
        return 0
    return 1 if watch.failed.is_set() else 0


def hold_no_long_pauses() -> None:
    """What is loaded now lives as long as the process, and what comes later mostly short: seldom look at all of it.

    A thread that computes gives the interpreter back to the loop ten times as soon as it otherwise would.
    """
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE_AFTER, OLD_AFTER)
    sys.setswitchinterval(SWITCH_S)


def _when_asked_to_end(act: Callable[[], object]) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, act)
