"""Long work on the event loop, a slice at a time: pings go on in between.

A slice is short beside what a ping may take. Work in a thread would not do instead: a thread that computes keeps the
interpreter from the loop for longer than a slice, again and again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from time import perf_counter
from typing import Final, TypeVar

T = TypeVar("T")

SLICE_S: Final = 0.0005


async def sliced(items: Iterable[T]) -> AsyncIterator[T]:
    """The items; whoever waits on the loop has its turn once the work on some of them has taken a slice."""
    started = perf_counter()
    for item in items:
        yield item
        if perf_counter() - started > SLICE_S:
            await asyncio.sleep(0)
            started = perf_counter()


async def batches(items: Iterable[T], size: int = 128) -> AsyncIterator[Sequence[T]]:
    """As `sliced`, so many at a time: for work on each that takes less than the asking."""
    rest = iter(items)
    async for batch in sliced(iter(lambda: list(islice(rest, size)), [])):
        yield batch
