"""The SDK's stream against a WebSocket server of the test's own that drops, refuses and repeats."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from geo_offers import instants, wire
from geo_offers.client import ApiError, Client, ConnectionFailed, Device, FileSeenStore, Patience, Stream
from geo_offers.client.seen import WAITING, OfferBox
from geo_offers.clock import now_us

QUICK = Patience(attempts=20, first_s=0.01, longest_s=0.02, total_s=5.0)
Act = Callable[["FakeLine", web.WebSocketResponse, int, Any], Awaitable[None]]


class FakeLine:
    """Takes streams, answers each ping frame by its number as the contract says; `act` replaces what a frame causes."""

    def __init__(self) -> None:
        self.connections = 0
        self.received: list[list[str]] = []  # times of the pings of each frame that was read, over all connections
        self.shown: list[UUID] = []
        self.tokens: list[str] = []
        self.good_token: str | None = None
        self.renewals = 0
        self.refuse_with: list[int] = []
        self.act: Act = FakeLine.answer
        self.on_connect: list[dict[str, Any]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.url = ""

    async def enrol(self, _request: web.Request) -> web.Response:
        return _json(
            wire.Enrolled(device=uuid4(), user=uuid4(), access_token="t0", expires_in=900, refresh_token="r0"), 201
        )

    async def renew(self, _request: web.Request) -> web.Response:
        self.renewals += 1
        return _json(wire.Tokens(access_token=f"t{self.renewals}", expires_in=900, refresh_token=f"r{self.renewals}"))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.tokens.append(token)
        if self.refuse_with:
            return web.Response(status=self.refuse_with.pop(0))
        if self.good_token not in (None, token):
            return web.Response(status=401)
        socket = web.WebSocketResponse(max_msg_size=64 * 1024)
        await socket.prepare(request)
        self.connections += 1
        self.sockets.append(socket)
        for frame in self.on_connect:
            await socket.send_str(msgspec.json.encode(frame).decode())
        number = 0
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            number += 1
            frame = msgspec.json.decode(message.data)
            if isinstance(frame, dict) and frame.get("type") == "shown":
                self.shown.append(UUID(frame["offer"]))
                continue
            self.received.append([point["at"] for point in frame])
            await self.act(self, socket, number, frame)
        return socket

    async def answer(self, socket: web.WebSocketResponse, number: int, frame: Any, **more: Any) -> None:
        results = [{"status": "accepted"} for _ in frame]
        body = {"seq": number, "results": results, "transitions": [], "offers": [], **more}
        await socket.send_str(msgspec.json.encode(body).decode())

    async def push(self, offer: wire.Offer) -> None:
        await self.sockets[-1].send_str(msgspec.json.encode(offer_frame(offer)).decode())


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")


def problem_frame(number: int | None, status: int, code: str, **more: Any) -> str:
    problem = {"type": f"urn:{code}", "title": code, "status": status, "detail": code, "instance": "/", "code": code}
    return msgspec.json.encode({"type": "problem", "seq": number, "problem": problem, **more}).decode()


def an_offer(*, lives_s: float = 1800) -> wire.Offer:
    now = instants.from_us(now_us())
    return wire.Offer(
        id=uuid4(), campaign=uuid4(), fence="town/1", title="Tea", body="for two", lane="inapp", alert=True,
        created_at=now, expires_at=now + timedelta(seconds=lives_s),
    )  # fmt: skip


def offer_frame(offer: wire.Offer) -> dict[str, Any]:
    return {"type": "offer", **msgspec.to_builtins(offer)}


def ping(second: int, **more: Any) -> wire.Ping:
    return wire.Ping(at=instants.text(1_700_000_000_000_000 + second * 1_000_000), lat=53.0, lon=8.8, **more)


def times(*seconds: int) -> list[str]:
    return [ping(second).at for second in seconds]


@pytest.fixture
async def line() -> AsyncIterator[FakeLine]:
    fake = FakeLine()
    app = web.Application()
    app.router.add_post("/v1/devices", fake.enrol)
    app.router.add_post("/v1/devices/token", fake.renew)
    app.router.add_get("/v1/stream", fake.stream)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def device(line: FakeLine) -> AsyncIterator[Device]:
    async with Client(line.url, "pk_key", patience=QUICK) as client:
        yield await client.enrol(wire.Enrolment(platform="ios"))


@asynccontextmanager
async def streaming(device: Device, **options: Any) -> AsyncIterator[Stream]:
    async with asyncio.timeout(8), device.stream(patience=QUICK, **options) as stream:
        yield stream


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.005)


def statuses(answer: wire.PingsAnswer) -> list[str]:
    return [result.status for result in answer.results]


# ---------------------------------------------------------------------------------------------- frames and answers
async def test_a_frame_goes_up_as_an_array_and_its_answer_comes_back(line: FakeLine, device: Device) -> None:
    async with streaming(device) as stream:
        answer = await stream.send([ping(1), ping(2)])
    assert statuses(answer) == ["accepted", "accepted"]
    assert line.received == [times(1, 2)]
    assert line.tokens == ["t0"]


async def test_answers_find_their_senders_whatever_order_they_come_in(line: FakeLine, device: Device) -> None:
    held: list[tuple[int, Any]] = []

    async def backwards(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        held.append((number, frame))
        if len(held) == 3:
            for late_number, late_frame in reversed(held):
                seen = {"fence": f"s/{len(late_frame)}", "type": "enter", "at": ping(0).at, "confidence": 1}
                await fake.answer(socket, late_number, late_frame, transitions=[seen])

    line.act = backwards
    async with streaming(device) as stream:
        answers = await asyncio.gather(*(stream.send([ping(n)] * n) for n in (1, 2, 3)))
    assert [answer.transitions[0].fence for answer in answers] == ["s/1", "s/2", "s/3"]


async def test_no_more_frames_than_allowed_wait_for_their_answers(line: FakeLine, device: Device) -> None:
    release = asyncio.Event()

    async def slowly(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 2:
            await release.wait()
            await fake.answer(socket, 1, frame)
        if number >= 2:
            await fake.answer(socket, number, frame)

    line.act = slowly
    async with streaming(device, in_flight=2) as stream:
        sending = [asyncio.create_task(stream.send([ping(n)])) for n in range(4)]
        await until(lambda: len(line.received) == 2)
        await asyncio.sleep(0.05)
        assert len(line.received) == 2
        release.set()
        await asyncio.gather(*sending)
    assert line.received == [times(n) for n in range(4)]


async def test_a_large_batch_goes_in_frames_of_64_kb_and_is_answered_in_order(line: FakeLine, device: Device) -> None:
    async def refuse_the_first(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        results = [{"status": "refused" if point["id"].startswith("0 ") else "accepted"} for point in frame]
        await fake.answer(socket, number, frame, results=results)

    line.act = refuse_the_first
    async with streaming(device) as stream:
        answer = await stream.send([ping(n, id=f"{n} ".ljust(120, "x")) for n in reversed(range(900))])
    assert len(line.received) >= 3  # a frame past 64 KB would have ended the connection
    assert line.connections == 1
    assert [at for frame in line.received for at in frame] == times(*range(900))
    assert [place for place, status in enumerate(statuses(answer)) if status == "refused"] == [899]


async def test_a_shown_frame_takes_a_number_too(line: FakeLine, device: Device) -> None:
    async with streaming(device) as stream:
        stream.shown(uuid4())
        assert statuses(await stream.send([ping(1)])) == ["accepted"]
        assert len(line.shown) == 1


# ---------------------------------------------------------------------------------------------- lost connections
async def test_unanswered_frames_are_sent_again_in_order_after_the_socket_dropped(
    line: FakeLine, device: Device
) -> None:
    async def drop_once(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if fake.connections == 1:
            if number == 1:
                await fake.answer(socket, number, frame)
            if number == 3:
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.abort()
            return
        await fake.answer(socket, number, frame, results=[{"status": "duplicate" if number < 3 else "accepted"}])

    line.act = drop_once
    async with streaming(device) as stream:
        answers = await asyncio.gather(*(stream.send([ping(n)]) for n in range(1, 5)))
    assert [statuses(answer)[0] for answer in answers] == ["accepted", "duplicate", "duplicate", "accepted"]
    assert line.connections == 2
    assert line.received[-3:] == [times(2), times(3), times(4)]
    assert line.received.count(times(1)) == 1


async def test_a_stream_comes_back_when_the_server_closes_it_while_nothing_is_sent(
    line: FakeLine, device: Device
) -> None:
    async with streaming(device) as stream:
        await line.sockets[0].close(code=WSCloseCode.GOING_AWAY)
        await until(lambda: line.connections == 2)
        assert statuses(await stream.send([ping(1)])) == ["accepted"]


async def test_a_token_refused_at_the_door_is_renewed_and_the_stream_opens(line: FakeLine, device: Device) -> None:
    line.good_token = "t1"
    async with streaming(device) as stream:
        await stream.send([ping(1)])
    assert line.tokens == ["t0", "t1"]
    assert device.refresh_token == "r1"


async def test_a_token_refused_after_its_renewal_ends_the_attempt(line: FakeLine, device: Device) -> None:
    line.good_token = "never"
    with pytest.raises(ApiError) as caught:
        async with streaming(device):
            pytest.fail("the stream opened")
    assert caught.value.status == 401
    assert line.tokens == ["t0", "t1"]


async def test_a_busy_server_is_tried_again_and_a_forbidding_one_is_not(line: FakeLine, device: Device) -> None:
    line.refuse_with = [503, 429]
    async with streaming(device) as stream:
        await stream.send([ping(1)])
    assert len(line.tokens) == 3
    line.refuse_with = [403]
    with pytest.raises(ApiError) as caught:
        async with streaming(device):
            pytest.fail("the stream opened")
    assert caught.value.status == 403


async def test_a_frame_whose_token_was_revoked_goes_again_with_a_new_one_and_only_once(
    line: FakeLine, device: Device
) -> None:
    async def refuse(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if fake.tokens[-1] == "t0" or frame[0]["at"] == ping(9).at:
            await socket.send_str(problem_frame(number, 401, "unauthenticated"))
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b"authenticate again")
        else:
            await fake.answer(socket, number, frame)

    line.act = refuse
    async with streaming(device) as stream:
        assert statuses(await stream.send([ping(1)])) == ["accepted"]
        assert line.tokens == ["t0", "t1"]
        with pytest.raises(ApiError) as caught:
            await stream.send([ping(9)])
        assert caught.value.status == 401
    assert len(line.received) == 4


async def test_a_stream_that_a_newer_one_displaced_ends_and_leaves_the_newer_alone(
    line: FakeLine, device: Device
) -> None:
    async with streaming(device) as stream:
        await line.sockets[0].close(
            code=WSCloseCode.POLICY_VIOLATION, message=b"a newer stream of this device took over"
        )
        with pytest.raises(ConnectionFailed, match="newer stream"):
            await _all(stream)
        with pytest.raises(ConnectionFailed, match="newer stream"):
            await stream.send([ping(1)])
    assert line.connections == 1


async def test_a_stream_that_cannot_come_back_tells_its_senders_and_listeners(line: FakeLine, device: Device) -> None:
    async def drop(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        fake.refuse_with = [403]
        await socket.close()

    line.act = drop
    async with streaming(device) as stream:
        listening = asyncio.create_task(_all(stream))
        for _ in range(2):
            with pytest.raises(ApiError) as caught:
                await stream.send([ping(1)])
            assert caught.value.status == 403
        with pytest.raises(ApiError):
            await listening


async def test_leaving_the_stream_ends_what_still_waits(line: FakeLine, device: Device) -> None:
    async def silent(_fake: FakeLine, _socket: web.WebSocketResponse, _number: int, _frame: Any) -> None:
        return

    line.act = silent
    async with streaming(device) as stream:
        sending = asyncio.create_task(stream.send([ping(1)]))
        heard = asyncio.create_task(_all(stream))
        await until(lambda: len(line.received) == 1)
    with pytest.raises(ConnectionFailed):
        await sending
    assert await heard == []


async def _all(stream: Stream) -> list[wire.Offer]:
    return [offer async for offer in stream.offers()]


# ---------------------------------------------------------------------------------------------- problems
async def test_a_frame_that_could_not_be_taken_now_goes_again_after_the_time_named(
    line: FakeLine, device: Device
) -> None:
    async def busy_once(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 1:
            await socket.send_str(problem_frame(number, 503, "unavailable", retry_after_s=0.3))
        else:
            await fake.answer(socket, number, frame)

    line.act = busy_once
    async with streaming(device, in_flight=1) as stream:
        before = time.monotonic()
        answers = await asyncio.gather(stream.send([ping(1)]), stream.send([ping(2)]))
        assert 0.3 <= time.monotonic() - before < 2
    assert [statuses(answer) for answer in answers] == [["accepted"], ["accepted"]]
    assert line.received == [times(1), times(1), times(2)]


async def test_refused_frames_go_again_in_their_order_and_before_what_is_given_meanwhile(
    line: FakeLine, device: Device
) -> None:
    async def busy_once(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 2:
            await socket.send_str(problem_frame(2, 429, "too_many_requests", retry_after_s=0.2))
            await socket.send_str(problem_frame(1, 503, "unavailable", retry_after_s=0.1))
        elif number > 2:
            await fake.answer(socket, number, frame)

    line.act = busy_once
    async with streaming(device) as stream:
        sending = [asyncio.create_task(stream.send([ping(n)])) for n in (1, 2)]
        await until(lambda: len(line.received) == 2)
        await asyncio.sleep(0.05)
        await asyncio.gather(*sending, stream.send([ping(3)]))
    assert line.received == [times(n) for n in (1, 2, 1, 2, 3)]


async def test_a_refused_frame_is_the_error_of_its_own_sender_alone(line: FakeLine, device: Device) -> None:
    async def refuse_two(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if frame[0]["at"] == ping(2).at:
            await socket.send_str(problem_frame(number, 403, "consent_required"))
        else:
            await fake.answer(socket, number, frame)

    line.act = refuse_two
    async with streaming(device) as stream:
        first, second, third = await asyncio.gather(
            *(stream.send([ping(n)]) for n in (1, 2, 3)), return_exceptions=True
        )
        assert isinstance(first, wire.PingsAnswer)
        assert isinstance(third, wire.PingsAnswer)
        assert isinstance(second, ApiError)
        assert (second.status, second.code) == (403, "consent_required")
    assert line.connections == 1


async def test_a_cancelled_sender_leaves_the_stream_usable(line: FakeLine, device: Device) -> None:
    async def answer_the_second(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 2:
            await fake.answer(socket, 1, frame)
            await fake.answer(socket, 2, frame)

    line.act = answer_the_second
    async with streaming(device, in_flight=1) as stream:
        sending = asyncio.create_task(stream.send([ping(1)]))
        await until(lambda: len(line.received) == 1)
        sending.cancel()
        assert statuses(await stream.send([ping(2)])) == ["accepted"]


# ---------------------------------------------------------------------------------------------- offers
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


async def test_an_offer_shown_before_a_restart_is_not_shown_after_it(
    line: FakeLine, device: Device, tmp_path: Path
) -> None:
    old, new = an_offer(), an_offer()
    kept = tmp_path / "seen"
    line.on_connect = [offer_frame(old)]
    async with streaming(device, seen=FileSeenStore(kept)) as stream:
        assert (await anext(stream.offers())).id == old.id
    line.on_connect = [offer_frame(old), offer_frame(new)]
    async with streaming(device, seen=FileSeenStore(kept)) as stream:
        assert (await anext(stream.offers())).id == new.id
    assert kept.read_text().split() == [str(old.id), str(new.id)]
    assert line.shown == [old.id, old.id, new.id]


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


async def test_an_expired_offer_is_not_handed_over(line: FakeLine, device: Device) -> None:
    gone, good = an_offer(lives_s=-1), an_offer()
    line.on_connect = [offer_frame(gone), offer_frame(good)]
    async with streaming(device) as stream:
        assert (await anext(stream.offers())).id == good.id


async def test_offers_nobody_takes_are_bounded_and_the_oldest_give_way() -> None:
    box = OfferBox(None)
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
