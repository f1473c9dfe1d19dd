"""Work beside the loop: what is asked for while the thread works is handed over together, and each gets its own."""

import asyncio
import threading

import pytest

from geo_offers.gateways.beside import Beside


async def test_each_asker_gets_what_was_made_of_his_item():
    beside = Beside(lambda number: number * 2, name="double")
    assert await asyncio.gather(*(beside.made(number) for number in range(500))) == [n * 2 for n in range(500)]
    await beside.close()


async def test_what_is_raised_for_one_item_is_raised_for_nobody_else():
    def inverted(number):
        return 1 / number

    beside = Beside(inverted, name="invert")
    made = await asyncio.gather(*(beside.made(number) for number in (1, 0, 2)), return_exceptions=True)
    assert made[::2] == [1, 0.5]
    assert isinstance(made[1], ZeroDivisionError)
    await beside.close()


class Held:
    """Gives back its item once it is let go; notes what it was given."""

    def __init__(self):
        self.begun, self.free, self.made = threading.Event(), threading.Event(), []

    def __call__(self, item):
        self.begun.set()
        self.free.wait(10)
        self.made.append(item)
        return item


async def test_what_is_no_longer_wanted_is_not_made():
    held = Held()
    beside = Beside(held, name="hold")
    first = beside.made(1)
    await asyncio.to_thread(held.begun.wait, 10)
    given_up, last = beside.made(2), beside.made(3)
    given_up.cancel()
    held.free.set()
    assert await asyncio.gather(first, last) == [1, 3]
    assert held.made == [1, 3]
    await beside.close()


async def test_who_gives_up_while_it_is_made_harms_nobody():
    held = Held()
    beside = Beside(held, name="hold")
    given_up, kept = beside.made(1), beside.made(2)
    await asyncio.to_thread(held.begun.wait, 10)
    given_up.cancel()
    held.free.set()
    assert await kept == 2
    assert await beside.made(3) == 3
    await beside.close()


async def test_everybody_is_given_up_and_the_next_is_made_all_the_same():
    beside = Beside(str, name="text")
    beside.made(1).cancel()
    await asyncio.sleep(0)
    assert await beside.made(2) == "2"
    await beside.close()


async def test_the_end_waits_for_what_is_under_way_and_gives_up_the_rest():
    held = Held()
    beside = Beside(held, name="hold")
    first = beside.made(1)
    await asyncio.to_thread(held.begun.wait, 10)
    waiting = beside.made(2)
    closing = asyncio.create_task(beside.close())
    await asyncio.sleep(0)
    held.free.set()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await first == 1


class Panic(BaseException):
    """As a native library raises where it gives up."""


@pytest.mark.parametrize("raised", [Panic, StopIteration])
async def test_what_no_future_takes_ends_its_own_item_and_not_the_thread(raised):
    def broken(number):
        if number == 1:
            raise raised
        return number

    beside = Beside(broken, name="break")
    made = await asyncio.gather(*(beside.made(number) for number in range(3)), return_exceptions=True)
    assert made[::2] == [0, 2]
    assert isinstance(made[1], RuntimeError)
    assert await beside.made(3) == 3
    await beside.close()


async def test_where_no_thread_can_be_had_it_is_told_and_tried_again(monkeypatch):
    raised = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: raised.append(told))
    beside = Beside(str, name="text")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        with pytest.raises(RuntimeError, match="no thread"):
            await beside.made(1)
    assert await beside.made(2) == "2"
    await beside.close()
    assert raised == []


def _no_thread(_thread):
    raise RuntimeError("no thread")


async def test_after_the_end_nothing_is_made_and_nobody_waits():
    beside = Beside(str, name="text")
    await beside.close()
    with pytest.raises(RuntimeError):
        await beside.made(1)
