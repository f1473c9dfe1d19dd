"""Work that a thread does beside the loop, a batch at a time: what is asked for while it is at work is done next.

Thread and loop share the interpreter, and to hand over costs more than a small piece of work: so they do it once for
all that waits, not for each.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


class Beside(Generic[Item, Made]):
    """One thread and what it makes of each item. How many wait is bounded by who asks."""

    def __init__(self, make: Callable[[Item], Made], *, name: str) -> None:
        self._make: Final = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting: list[tuple[Item, asyncio.Future[Made]]] = []
        self._at_work = False

    def made(self, item: Item) -> "asyncio.Future[Made]":
        """What comes of the item, or is raised for it; whoever no longer wants it cancels."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Made] = loop.create_future()
        self._waiting.append((item, future))
        if not self._at_work:
            self._at_work = True
            loop.call_soon(self._hand_over, loop)  # with what else is asked for in this pass of the loop
        return future

    async def close(self) -> None:
        """Ends the thread; what was handed over is waited for."""
        for _, future in self._waiting:
            future.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = [(item, future) for item, future in self._waiting if not future.cancelled()]
        self._waiting = []
        self._at_work = bool(batch)
        if not batch:
            return
        try:
            self._thread.submit(self._work, batch, loop)
        except RuntimeError as error:  # closed, or the system gives no thread now
            self._at_work = False
            for _, future in batch:
                future.set_exception(error)

    def _work(self, batch: Sequence[tuple[Item, "asyncio.Future[Made]"]], loop: asyncio.AbstractEventLoop) -> None:
        """In the thread."""
        made = [(future, self._tried(item)) for item, future in batch]
        loop.call_soon_threadsafe(self._deliver, made, loop)

    def _tried(self, item: Item) -> Made | Exception:
        """What is raised is raised where the item is waited for, whatever it is: the others' futures must end too."""
        try:
            return self._make(item)
        except StopIteration as error:  # no future takes one
            return RuntimeError(repr(error))
        except Exception as error:  # noqa: BLE001
            return error
        except BaseException as error:  # noqa: BLE001  a native part's panic
            return RuntimeError(repr(error))

    def _deliver(
        self, made: Sequence[tuple["asyncio.Future[Made]", Made | Exception]], loop: asyncio.AbstractEventLoop
    ) -> None:
        for future, one in made:
            if future.done():  # given up, or told of a thread that was not to be had and came after all
                continue
            if isinstance(one, Exception):
                future.set_exception(one)
            else:
                future.set_result(one)
        self._hand_over(loop)
