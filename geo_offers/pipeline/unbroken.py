"""Work that runs to its end though the caller hangs up: what was received is taken, what was committed is followed."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()  # the loop itself holds tasks only weakly


async def unbroken(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which goes on where the caller is cancelled."""
    task = asyncio.create_task(work)
    _running.add(task)
    task.add_done_callback(_ended)
    return await asyncio.shield(task)


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # seen: where the caller has gone there is nobody left to tell
