"""`geo-offers …`: one sub-command a purpose. Exit codes: 0 done, 1 refused with a one-line reason, 2 wrong usage."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from geo_offers import logs, settings
from geo_offers.cli import demo, importing, keys, migrating, replaying, serving
from geo_offers.errors import GeoOffersError
from geo_offers.settings import Settings

Run = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]
_COMMANDS = (serving, demo, importing, replaying, keys, migrating)


def parser() -> argparse.ArgumentParser:
    """The whole grammar; each command's module adds its own."""
    root = argparse.ArgumentParser(prog="geo-offers", description="Real-time proximity offers.")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the answer is its exit code."""
    given = parser().parse_args(arguments)
    try:
        read = settings.read(os.environ)
        logs.configure(read.log_level)
        return _loop_run(given.run(given, read))
    except GeoOffersError as error:
        print(f"geo-offers: {error.detail}", file=sys.stderr)
        for fault in error.faults:
            print(f"  {fault.pointer or '/'}: {fault.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _loop_run(work: Coroutine[Any, Any, int]) -> int:
    """Uvloop where there is one (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
