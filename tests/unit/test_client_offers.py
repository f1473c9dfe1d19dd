"""Offers of the SDK's stream: each handed over once, said to be shown, remembered across restarts."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from aiohttp import WSCloseCode

from geo_offers.client import Device, FileSeenStore, MemorySeenStore, Stream
from geo_offers.client import stream as streams
from geo_offers.client.seen import REMEMBERED, WAITING, OfferBox
from tests.support.lines import FakeLine, an_offer, offer_frame, ping, streaming, until

APP = """
import asyncio, sys
from uuid import UUID
from geo_offers.client import Client
async def main():
    async with Client(sys.argv[1]) as client, client.device(UUID(sys.argv[2]), "r0").stream() as stream:
        async for offer in stream.offers():
            print(offer.id, flush=True)
asyncio.run(main())
"""

KILLED_WHILE_IT_SAVES = """
import os, signal, sys
from pathlib import Path
from uuid import UUID
from geo_offers.client import FileSeenStore
store = FileSeenStore(Path(sys.argv[1]))
store.save([UUID(int=n) for n in range(256)])
os.fsync = lambda _file: os.kill(os.getpid(), signal.SIGKILL)
store.save([UUID(int=n) for n in range(1, 257)])
"""


async def test_an_offer_is_handed_over_once_and_said_to_be_shown_each_time_it_comes(
    line: FakeLine, device: Device
) -> None:
    offer = an_offer()
    line.on_connect = [offer_frame(offer)]
    async with streaming(device) as stream:
        heard: list[UUID] = []
        listening = asyncio.create_task(_into(heard, stream))
        await until(lambda: line.shown == [offer.id])
        await line.push(offer)
        await until(lambda: line.shown == [offer.id] * 2)
        await line.sockets[0].close()  # the next connection begins with the same offer
        await until(lambda: line.shown == [offer.id] * 3)
        assert heard == [offer.id]
        listening.cancel()
    assert line.connections == 2


async def _into(heard: list[UUID], stream: Stream) -> None:
    async for offer in stream.offers():
        heard.append(offer.id)  # noqa: PERF401 - looked at while it grows


@contextmanager
def _app(line: FakeLine, device: Device) -> Iterator["subprocess.Popen[str]"]:
    """Another process that shows this device's offers; killed with SIGKILL."""
    command = [sys.executable, "-c", APP, line.url, str(device.device_id)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def _showing(app: "subprocess.Popen[str]") -> UUID:
    assert app.stdout is not None
    return UUID((await asyncio.wait_for(asyncio.to_thread(app.stdout.readline), 10)).strip())


async def test_an_app_killed_after_it_showed_an_offer_does_not_show_it_again(line: FakeLine, device: Device) -> None:
    shown: list[UUID] = []
    for _ in range(3):
        offer = an_offer()
        line.on_connect.append(offer_frame(offer))
        with _app(line, device) as app:
            shown.append(await _showing(app))
        assert shown[-1] == offer.id  # and none of those before it
    assert len(set(shown)) == 3


async def test_an_offer_shown_before_a_restart_is_not_shown_after_it(
    line: FakeLine, device: Device, state_home: Path
) -> None:
    old, new = an_offer(), an_offer()
    line.on_connect = [offer_frame(old)]
    async with streaming(device) as stream:
        assert (await anext(stream.offers())).id == old.id
    line.on_connect = [offer_frame(old), offer_frame(new)]
    async with streaming(device) as stream:
        assert (await anext(stream.offers())).id == new.id
    kept = state_home / "geo-offers" / "seen" / str(device.device_id)
    assert kept.read_text().split() == [str(old.id), str(new.id)]
    assert line.shown == [old.id, old.id, new.id]


async def test_the_ids_are_kept_where_the_app_wants_them_or_no_longer_than_it_lives(
    line: FakeLine, device: Device, tmp_path: Path, state_home: Path
) -> None:
    offer = an_offer()
    line.on_connect = [offer_frame(offer)]
    file = tmp_path / "app" / "seen"
    for store in (FileSeenStore(file), MemorySeenStore()):
        async with streaming(device, seen=store) as stream:
            assert (await anext(stream.offers())).id == offer.id
        assert list(store.load()) == [offer.id]
    assert file.read_text().split() == [str(offer.id)]
    assert not (state_home / "geo-offers" / "seen" / str(device.device_id)).exists()


async def test_an_erased_device_leaves_no_ids_behind(line: FakeLine, device: Device, state_home: Path) -> None:
    line.on_connect = [offer_frame(an_offer())]
    async with streaming(device) as stream:
        await anext(stream.offers())
    kept = state_home / "geo-offers" / "seen" / str(device.device_id)
    assert kept.exists()
    await device.erase()
    assert line.erased == 1
    assert not kept.exists()


def test_a_program_killed_while_it_saves_leaves_the_file_whole(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_SAVES, str(file)], check=False, timeout=20)
    assert list(FileSeenStore(file).load()) == [UUID(int=n) for n in range(REMEMBERED)]
    again = [UUID(int=7)]
    FileSeenStore(file).save(again)
    assert list(FileSeenStore(file).load()) == again
    assert [left.name for left in tmp_path.iterdir()] == ["seen"]


async def test_shown_is_left_to_the_app_where_it_wants_that(line: FakeLine, device: Device) -> None:
    offer = an_offer()
    line.on_connect = [offer_frame(offer)]
    async with streaming(device, auto_shown=False) as stream:
        await anext(stream.offers())
        await line.push(offer)
        await stream.send([ping(1)])
        assert line.shown == []
        stream.shown(offer.id)
        await until(lambda: line.shown == [offer.id])
        await line.push(offer)
        await until(lambda: line.shown == [offer.id] * 2)


async def test_what_was_shown_is_said_before_the_stream_is_left_if_need_be_over_a_new_connection(
    line: FakeLine, device: Device
) -> None:
    offer = uuid4()
    async with streaming(device) as stream:
        await line.sockets[0].close()
        await asyncio.sleep(0)
        stream.shown(offer)
    await until(lambda: line.shown == [offer])


async def test_leaving_waits_until_the_server_has_taken_in_what_was_said(line: FakeLine, device: Device) -> None:
    offer = an_offer()
    line.on_connect = [offer_frame(offer)]
    line.pace.clear()

    async def take_one() -> None:
        async with streaming(device) as stream:
            assert (await anext(stream.offers())).id == offer.id

    leaving = asyncio.create_task(take_one())
    await until(lambda: line.shown == [offer.id])
    await asyncio.sleep(0.05)
    assert not leaving.done()
    line.pace.set()
    await leaving
    await until(lambda: line.sockets[0].close_code == WSCloseCode.OK)


async def test_a_server_that_takes_nothing_in_does_not_keep_the_app_from_leaving(
    line: FakeLine, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CLOSE_S", 0.1)
    line.pace.clear()
    async with streaming(device) as stream:
        stream.shown(uuid4())
    line.pace.set()


async def test_an_expired_offer_is_not_handed_over(line: FakeLine, device: Device) -> None:
    gone, good = an_offer(lives_s=-1), an_offer()
    line.on_connect = [offer_frame(gone), offer_frame(good)]
    async with streaming(device) as stream:
        assert (await anext(stream.offers())).id == good.id


async def test_offers_nobody_takes_are_bounded_and_the_oldest_give_way() -> None:
    box = OfferBox(MemorySeenStore())
    offers = [an_offer() for _ in range(WAITING + 5)]
    assert all(box.arrived(offer) for offer in offers)
    taken = await box.take()
    assert taken is not None
    assert taken.id == offers[5].id


async def test_an_offer_that_cannot_be_remembered_is_not_shown_but_kept() -> None:
    class FullDisk:
        broken = True

        def load(self) -> list[UUID]:
            return []

        def save(self, ids: Sequence[UUID]) -> None:
            if self.broken:
                raise OSError(f"no space left for {len(ids)} ids")

    store = FullDisk()
    box = OfferBox(store)
    offer = an_offer()
    box.arrived(offer)
    with pytest.raises(OSError, match="no space"):
        await box.take()
    store.broken = False
    taken = await box.take()
    assert taken is not None
    assert taken.id == offer.id
    assert not box.arrived(offer)


def test_the_seen_file_holds_the_newest_256_and_passes_over_what_is_no_id(tmp_path: Path) -> None:
    store = FileSeenStore(tmp_path / "seen")
    assert list(store.load()) == []
    ids = [uuid4() for _ in range(3)]
    store.save(ids)
    assert list(store.load()) == ids
    (tmp_path / "seen").write_bytes(b"\xff\x00torn\n" + str(ids[2]).encode() + b"\n")
    assert list(store.load()) == [ids[2]]
    assert [file.name for file in tmp_path.iterdir()] == ["seen"]


async def test_only_the_newest_256_ids_are_remembered() -> None:
    saved: list[int] = []

    class Counting:
        def load(self) -> list[UUID]:
            return [uuid4() for _ in range(300)]

        def save(self, ids: Sequence[UUID]) -> None:
            saved.append(len(ids))

    box = OfferBox(Counting())
    await box.load()
    box.arrived(an_offer())
    await box.take()
    assert saved == [256]
