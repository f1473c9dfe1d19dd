"""The SDK's stream against a WebSocket server of the test's own that drops, refuses and repeats."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import WSCloseCode, web

from geo_offers import wire
from geo_offers.client import ApiError, ConnectionFailed, Device, Stream
from tests.support.lines import FakeLine, ping, problem_frame, streaming, times, until
from tests.support.stalls import Stalls


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
    async with streaming(device, in_flight=3) as stream:
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


async def test_frames_of_a_batch_wait_for_those_before_and_a_later_batch_for_them_all(
    line: FakeLine, device: Device
) -> None:
    async def busy_once(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 1:
            await socket.send_str(problem_frame(number, 503, "unavailable", retry_after_s=0.05))
        else:
            await fake.answer(socket, number, frame)

    line.act = busy_once
    async with streaming(device) as stream:
        large = [ping(n, id=f"{n} ".ljust(120, "x")) for n in range(900)]
        await asyncio.gather(stream.send(large), stream.send([ping(1000)]))
    first, *rest, last = line.received
    assert rest[0] == first
    assert [at for frame in rest for at in frame] == times(*range(900))
    assert last == times(1000)


async def test_frames_of_a_batch_after_one_that_was_refused_are_not_sent(line: FakeLine, device: Device) -> None:
    async def refuse(_fake: FakeLine, socket: web.WebSocketResponse, number: int, _frame: Any) -> None:
        await socket.send_str(problem_frame(number, 403, "consent_required"))

    line.act = refuse
    async with streaming(device, in_flight=4) as stream:
        with pytest.raises(ApiError, match="consent_required"):
            await stream.send([ping(n, id=f"{n} ".ljust(120, "x")) for n in range(900)])
        line.act = FakeLine.answer
        await stream.send([ping(1000)])
    assert len(line.received) == 2


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
    async with streaming(device, in_flight=4) as stream:
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
async def test_a_frame_that_could_not_be_taken_now_goes_again_after_the_time_named_and_none_overtakes_it(
    line: FakeLine, device: Device
) -> None:
    async def busy_once(fake: FakeLine, socket: web.WebSocketResponse, number: int, frame: Any) -> None:
        if number == 1:
            await socket.send_str(problem_frame(number, 503, "unavailable", retry_after_s=0.3))
        else:
            await fake.answer(socket, number, frame)

    line.act = busy_once
    async with streaming(device) as stream:
        before = time.monotonic()
        with Stalls() as stalls:
            answers = await asyncio.gather(stream.send([ping(1)]), stream.send([ping(2)]))
        assert 0.3 <= time.monotonic() - before < 2 + stalls.seconds
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
    async with streaming(device, in_flight=4) as stream:
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
