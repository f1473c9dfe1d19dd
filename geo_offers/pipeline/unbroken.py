"""Work that runs to its end though the caller hangs up: what was received is taken, what was committed is followed."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from geo_offers.errors import GeoOffersError

T = TypeVar("T")

_log = structlog.get_logger()
_running: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which goes on where the caller is cancelled."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_running.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_look)
        raise


def _look(task: asyncio.Task[Any]) -> None:
    """Nobody else sees what became of a task whose caller has gone."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, GeoOffersError | ConnectionError):
        _log.error("a call failed after its caller had gone", error=type(error).__name__, exc_info=error)
