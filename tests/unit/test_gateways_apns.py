"""The APNs lane against Apple's rules on the loopback: what left, what a phone shows, and what each answer means."""

import asyncio
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from uuid import UUID

import jwt
import pytest
import uvloop
from h2.errors import ErrorCodes

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.gateways import http2_pool
from geo_offers.gateways.apns import ApnsLane
from geo_offers.gateways.http2 import Standing, tls_context
from geo_offers.gateways.http2_pool import Pool
from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    Message,
    NotSent,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)
from tests.support import messages
from tests.support.gateways import apns as fakes
from tests.support.gateways.apns import new_key, serving

MINUTE_S = 60
DEAD_MS = 1_700_000_000_123


def device(number=1):
    return f"{number:064x}"


def a_message(number=1, **changed) -> Message:
    of_this_one = {"offer": UUID(int=number, version=4), "push_token": device(number)}
    return messages.a_message(**(of_this_one | changed))


@pytest.fixture
async def apns():
    async with serving() as fake:
        yield fake


@asynccontextmanager
async def a_lane(apns, *, vault=None, context=None, url=None, **options):
    lane = ApnsLane(vault or apns, context or apns.context(), url or apns.url, **({"timeout_s": 3.0} | options))
    try:
        yield lane
    finally:
        await lane.close()


@pytest.fixture
async def lane(apns):
    async with a_lane(apns) as made:
        yield made


async def until(seen, within_s=10.0):
    async with asyncio.timeout(within_s):
        while not seen():
            await asyncio.sleep(0.01)


async def send_all(lane, messages):
    return await asyncio.gather(*(lane.send(message, inf) for message in messages))


# ---------------------------------------------------------------------------------------------- what leaves
async def test_apple_gets_the_offer_under_its_id_with_its_own_end_and_slot_on_the_screen(apns, lane):
    message = a_message(link="https://bakery.example/buns")
    assert await lane.send(message, inf) == Accepted(str(message.offer))
    (push,) = apns.posts
    told = {name: value for name, value in push.headers.items() if name.startswith("apns-")}
    assert told == {
        "apns-id": str(message.offer),
        "apns-collapse-id": "r" * 32,
        "apns-expiration": str(message.expires_us // 1_000_000),
        "apns-topic": "example.bakery",
        "apns-push-type": "alert",
        "apns-priority": "10",
    }
    assert push.headers[":path"] == f"/3/device/{device()}"
    assert push.said == {
        "aps": {"alert": {"title": "Warm buns", "body": "Two for one"}},
        "offer": str(message.offer),
        "campaign": str(message.campaign),
        "link": "https://bakery.example/buns",
        "data": {"code": "BUN"},
    }
    assert apns.faults == []


async def test_a_second_copy_takes_the_place_of_the_first_under_the_same_id(apns, lane):
    message = a_message()
    await lane.send(message, inf)
    await lane.send(message, inf)
    assert [push.ident for push in apns.posts] == [str(message.offer)] * 2
    assert len(apns.visible()) == 1


async def test_nothing_is_sent_in_the_last_second_of_an_offer(apns):
    now = [clock.now_us()]
    message = a_message(expires_us=now[0] + 60_000_000)
    async with a_lane(apns, now_us=lambda: now[0]) as lane:
        now[0] += 58_900_000
        assert isinstance(await lane.send(message, inf), Accepted)
        now[0] += 200_000
        assert await lane.send(message, inf) == TooLate()
    assert len(apns.posts) == 1


async def test_what_is_held_back_past_its_end_is_not_sent():
    async with serving(window=0) as apns, a_lane(apns, timeout_s=5.0) as lane:
        began = time.monotonic()
        assert isinstance(await lane.send(a_message(expires_us=clock.now_us() + 1_200_000), inf), NotSent)
        assert time.monotonic() - began < 4
        apns.window = 65_535
        for line in apns.live:
            line.open_window()
        assert isinstance(await lane.send(a_message(2), inf), Accepted)
    assert [push.device for push in apns.posts] == [device(2)]


async def test_what_is_held_back_past_its_time_to_start_is_not_sent():
    async with serving(window=0) as apns, a_lane(apns, timeout_s=600.0) as lane, asyncio.timeout(30):
        start_by = asyncio.get_running_loop().time() + 0.3
        assert isinstance(await lane.send(a_message(expires_us=clock.now_us() + 600_000_000), start_by), NotSent)
        assert apns.posts == []


async def test_a_window_that_opens_too_late_lets_nothing_out_though_no_timer_has_fired_yet():
    loop = asyncio.get_running_loop()
    async with serving(window=0) as apns, a_lane(apns, timeout_s=600.0) as lane:
        start_by = loop.time() + 3.0
        sending = asyncio.create_task(lane.send(a_message(expires_us=clock.now_us() + 600_000_000), start_by))
        await until(lambda: apns.live and apns.live[0].h2.open_inbound_streams)
        apns.live[0].open_window()
        time.sleep(max(start_by - loop.time(), 0))  # noqa: ASYNC251  the loop is held up: what is to be read comes first
        assert isinstance(await sending, NotSent)
        assert apns.posts == []


async def test_what_finds_a_free_stream_past_its_time_to_start_is_not_sent(apns, lane):
    loop = asyncio.get_running_loop()
    assert isinstance(await lane.send(a_message(1), loop.time() + 60), Accepted)
    assert await lane.send(a_message(2), loop.time()) == NotSent("too late to begin")
    assert isinstance(await lane.send(a_message(3), loop.time() + 60), Accepted)
    assert len(apns.posts) == 2


def test_a_message_may_be_as_large_as_apple_takes_and_no_larger():
    async def sent(letters):
        async with serving() as apns, a_lane(apns) as lane:
            outcome = await lane.send(a_message(body="x" * letters), inf)
            return outcome, [len(push.body) for push in apns.posts]

    async def both():
        _, (size,) = await sent(100)
        return await sent(100 + 4096 - size), await sent(101 + 4096 - size)

    (fitting, sizes), (too_large, none) = asyncio.run(both())
    assert isinstance(fitting, Accepted)
    assert sizes == [4096]
    assert too_large == Refused("PayloadTooLarge", by_us=True)
    assert none == []


@pytest.mark.parametrize("token", [None, "", "token-1", "../../etc", "ab cd", "0" * 201, "\N{ARABIC-INDIC DIGIT ONE}"])
async def test_a_token_that_cannot_be_one_is_dead_without_a_call(apns, lane, token):
    assert await lane.send(a_message(push_token=token), inf) == TokenDead(detail="BadDeviceToken", by_us=True)
    assert apns.lines == []


# ---------------------------------------------------------------------------------------------- what answers mean
REFUSED = [
    *("BadCollapseId", "BadExpirationDate", "BadMessageId", "BadPriority", "BadTopic", "InvalidPushType"),
    *("MissingTopic", "MissingDeviceToken", "PayloadEmpty", "DuplicateHeaders", "TopicDisallowed", "SomethingNew"),
]
BROKEN = [
    *("InvalidProviderToken", "MissingProviderToken", "Forbidden", "BadCertificate", "BadCertificateEnvironment"),
    *("UnrelatedKeyIdInToken", "SomethingNew"),
]
ROWS = [
    (400, "BadDeviceToken", TokenDead(None, "400 BadDeviceToken")),
    (400, "DeviceTokenNotForTopic", TokenDead(None, "400 DeviceTokenNotForTopic")),
    *((400, reason, Refused(f"400 {reason}")) for reason in REFUSED),
    *((403, reason, AuthBroken(f"403 {reason}")) for reason in BROKEN),
    (403, "ExpiredProviderToken", Transient("403 ExpiredProviderToken")),
    (404, "BadPath", Refused("404 BadPath")),
    (405, "MethodNotAllowed", Refused("405 MethodNotAllowed")),
    (410, "Unregistered", TokenDead(None, "410 Unregistered")),
    (413, "PayloadTooLarge", Refused("413 PayloadTooLarge")),
    (429, "TooManyRequests", Later(60.0)),
    (429, "TooManyProviderTokenUpdates", Later(60.0, whole_lane=True)),
    (500, "InternalServerError", Transient("500 InternalServerError", 900.0, 900.0)),
    (503, "ServiceUnavailable", Transient("503 ServiceUnavailable", 900.0, 900.0)),
    (503, "Shutdown", Transient("503 Shutdown", 900.0, 900.0)),
    (502, "SomethingNew", Transient("502 SomethingNew")),
    (302, "SomethingNew", Refused("302 SomethingNew")),
]


@pytest.mark.parametrize(("status", "reason", "outcome"), ROWS, ids=lambda value: str(value)[:40])
async def test_each_reason_has_its_outcome_however_its_answer_is_cut(apns, lane, status, reason, outcome):
    apns.script += [fakes.refusing(status, reason), fakes.split(status, reason)]
    assert await lane.send(a_message(), inf) == outcome
    assert await lane.send(a_message(), inf) == outcome
    assert len(apns.posts) == 2
    assert not apns.visible()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Accepted()),
        (400, Refused("400")),
        (403, AuthBroken("403")),
        (404, Refused("404")),
        (410, TokenDead(None, "410")),
        (413, Refused("413")),
        (429, Later(60.0)),
        (500, Transient("500", 900.0, 900.0)),
        (503, Transient("503", 900.0, 900.0)),
    ],
)
async def test_an_answer_without_a_body_and_without_an_id_is_read_by_its_status(apns, lane, status, outcome):
    apns.script.append(fakes.bare(status))
    assert await lane.send(a_message(), inf) == outcome


@pytest.mark.parametrize(
    "body", [b"{", b"\xff\xfe", b"null", b"[1]", b'"Unregistered"', b'{"reason": 7, "timestamp": "x"}', b"[" * 9_000]
)
async def test_a_body_that_says_nothing_changes_no_status(apns, lane, body):
    async def fault(call):
        call.answer(410, body)

    apns.script.append(fault)
    assert await lane.send(a_message(), inf) == TokenDead(None, "410")


@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken"])
async def test_a_dead_token_is_dead_since_when_apple_says_and_not_after_now(apns, lane, reason):
    apns.script.append(fakes.refusing(410, reason, timestamp=DEAD_MS))
    assert await lane.send(a_message(), inf) == TokenDead(DEAD_MS * 1000, f"410 {reason}")
    apns.script.append(fakes.split(410, reason, timestamp=9_999_999_999_999))
    outcome = await lane.send(a_message(), inf)
    assert abs(outcome.at_us - clock.now_us()) < 5_000_000
    apns.script.append(fakes.refusing(410, reason, timestamp=-1))
    assert await lane.send(a_message(), inf) == TokenDead(None, f"410 {reason}")


# ---------------------------------------------------------------------------------------------- streams
async def test_one_stream_until_the_first_answer_then_as_many_as_are_allowed(apns, lane):
    outcomes = await send_all(lane, [a_message(number) for number in range(1, 201)])
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    assert apns.faults == []  # a second stream before the first answer would be one
    assert len(apns.lines) <= http2_pool.MOST_CONNECTIONS
    before = len(apns.lines)
    await send_all(lane, [a_message(number) for number in range(201, 301)])
    assert len(apns.lines) == before
    assert len(apns.visible()) == 300


async def test_one_stream_goes_first_though_more_are_allowed_at_once():
    async with serving(first_streams=1000) as apns, a_lane(apns, timeout_s=5.0) as lane:
        apns.script += [fakes.slow(0.2)] * http2_pool.MOST_CONNECTIONS
        outcomes = await send_all(lane, [a_message(number) for number in range(1, 41)])
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert apns.faults == []


async def test_a_refused_token_opens_no_more_streams(apns, lane):
    apns.script += [fakes.refusing(403, "InvalidProviderToken")] * 8
    outcomes = await send_all(lane, [a_message(number) for number in range(1, 9)])
    assert {type(outcome) for outcome in outcomes} == {AuthBroken}
    assert not any(connection._proven for pool in lane._pools.values() for connection in pool._connections)


async def test_where_only_one_stream_is_ever_allowed_all_take_turns():
    async with serving(streams=1) as apns, a_lane(apns, timeout_s=5.0) as lane:
        outcomes = await send_all(lane, [a_message(number) for number in range(1, 41)])
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert apns.faults == []
        assert len(apns.lines) == http2_pool.MOST_CONNECTIONS


async def test_where_no_stream_is_allowed_nobody_hangs():
    async with serving(streams=0) as apns, a_lane(apns, timeout_s=0.3) as lane:
        began = time.monotonic()
        outcomes = await send_all(lane, [a_message(number) for number in range(1, 9)])
        assert time.monotonic() - began < 5
        assert {type(outcome) for outcome in outcomes} <= {NotSent, Accepted}


async def test_a_window_of_nothing_ends_with_the_deadline_and_nothing_was_sent():
    async with serving(window=0) as apns, a_lane(apns, timeout_s=0.3) as lane:
        began = time.monotonic()
        assert isinstance(await lane.send(a_message(), inf), NotSent)
        assert time.monotonic() - began < 5
        assert apns.posts == []


async def test_what_a_window_held_back_goes_as_it_opens():
    async with serving(window=0) as apns, a_lane(apns, timeout_s=2.0) as lane:
        sending = asyncio.create_task(lane.send(a_message(), inf))
        await asyncio.sleep(0.2)
        assert apns.posts == []
        apns.live[0].open_window(50)
        assert isinstance(await sending, Accepted)
        assert apns.posts[0].said["offer"] == str(a_message().offer)


# ---------------------------------------------------------------------------------------------- goodbyes
async def test_what_a_goaway_has_not_seen_goes_again_at_once_on_another_connection(apns, lane):
    apns.script.append(fakes.goaway_unseen)
    assert isinstance(await lane.send(a_message(), inf), Accepted)
    assert [push.line for push in apns.posts] == [0, 1]
    assert len(apns.visible()) == 1


async def test_what_a_goaway_has_seen_is_still_answered_and_the_next_goes_elsewhere(apns, lane):
    apns.script.append(fakes.goaway("Shutdown"))
    assert isinstance(await lane.send(a_message(1), inf), Accepted)
    assert isinstance(await lane.send(a_message(2), inf), Accepted)
    assert [push.line for push in apns.posts] == [0, 1]


async def test_what_a_goaway_has_seen_and_nobody_answers_may_be_shown(apns, lane):
    apns.script.append(fakes.goaway("Shutdown", answered=False))
    assert await lane.send(a_message(), inf) == Ambiguous('goaway: NO_ERROR {"reason": "Shutdown"}, connection lost')
    assert len(apns.posts) == 1


async def test_a_goaway_parts_those_under_way_at_the_stream_that_it_names(apns, lane):
    await lane.send(a_message(100), inf)
    held = []

    async def hold(call):
        held.append(call)
        if len(held) == 6:
            call.line.goaway(held[2].push.stream)
            for seen in held[:3]:
                seen.show()
                seen.answer()

    apns.script += [hold] * 6
    outcomes = await send_all(lane, [a_message(number) for number in range(1, 7)])
    assert {type(outcome) for outcome in outcomes} == {Accepted}
    sent = Counter(push.device for push in apns.posts)
    assert [sent[call.push.device] for call in held] == [1, 1, 1, 2, 2, 2]
    assert len(apns.visible()) == 7


async def test_a_server_that_only_says_goodbye_ends_as_not_sent(apns, lane):
    apns.script += [fakes.goaway_unseen] * 20
    assert isinstance(await lane.send(a_message(), inf), NotSent)
    assert len(apns.posts) == 1 + http2_pool.RESENDS


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("InvalidProviderToken", AuthBroken("403 InvalidProviderToken")),
        ("BadCertificate", AuthBroken("403 BadCertificate")),
        ("TooManyProviderTokenUpdates", Later(60.0, whole_lane=True)),
    ],
)
async def test_the_reason_of_a_goodbye_is_the_answer_to_what_it_has_not_seen(apns, lane, reason, outcome):
    apns.script += [fakes.goaway_unseen_for(reason)] * 20
    assert await lane.send(a_message(), inf) == outcome
    assert len(apns.posts) == 1
    assert not apns.visible()


async def test_a_goodbye_for_an_old_token_brings_a_new_one():
    async with in_time() as (now, apns, send):
        await send()
        now.go(21)
        apns.script.append(fakes.goaway_unseen_for("ExpiredProviderToken"))
        assert isinstance(await send(), Accepted)
        assert len({issued_at(push) for push in apns.posts}) == 2


async def test_a_goodbye_for_a_reason_of_the_servers_own_is_no_answer(apns, lane):
    apns.script.append(fakes.goaway_unseen_for("Shutdown"))
    assert isinstance(await lane.send(a_message(), inf), Accepted)
    apns.script += [fakes.goaway_unseen_for("Shutdown")] * 20
    assert await lane.send(a_message(), inf) == NotSent('goaway: NO_ERROR {"reason": "Shutdown"}')
    assert len(apns.posts) == 2 + 1 + http2_pool.RESENDS


async def test_of_a_goodbyes_words_a_kilobyte_is_kept(apns, lane):
    apns.script += [fakes.goaway_unseen_for("x" * 10_000)] * 20
    assert len((await lane.send(a_message(), inf)).detail) < 1_100


async def test_a_server_that_says_goodbye_at_once_is_not_called_again_and_again():
    async with serving(unwelcome="Shutdown") as apns, a_lane(apns, timeout_s=1.0) as lane:
        assert await lane.send(a_message(), inf) == NotSent('goaway: NO_ERROR {"reason": "Shutdown"}')
        assert len(apns.lines) == 1


async def test_a_refused_stream_was_not_looked_at_and_goes_again(apns, lane):
    apns.script.append(fakes.reset(ErrorCodes.REFUSED_STREAM))
    assert isinstance(await lane.send(a_message(), inf), Accepted)
    apns.script += [fakes.reset(ErrorCodes.REFUSED_STREAM)] * 20
    assert await lane.send(a_message(), inf) == NotSent("stream reset: REFUSED_STREAM")
    assert len(apns.posts) == 2 + 1 + http2_pool.RESENDS


@pytest.mark.parametrize("code", [code for code in ErrorCodes if code != ErrorCodes.REFUSED_STREAM])
async def test_any_other_reset_leaves_it_open_whether_it_is_shown(apns, lane, code):
    apns.script.append(fakes.reset(code, shown=True))
    assert await lane.send(a_message(), inf) == Ambiguous(f"stream reset: {code.name}")
    assert len(apns.posts) == 1


async def test_a_connection_that_ends_before_the_answer_leaves_it_open(apns, lane):
    apns.script += [fakes.lost, fakes.dropped]
    assert isinstance(await lane.send(a_message(1), inf), Ambiguous)
    assert isinstance(await lane.send(a_message(2), inf), Ambiguous)
    assert isinstance(await lane.send(a_message(3), inf), Accepted)


async def test_a_connection_given_up_for_idleness_is_replaced_at_once(apns, lane):
    apns.script.append(fakes.refusing(400, "IdleTimeout"))
    assert isinstance(await lane.send(a_message(), inf), Accepted)
    assert [push.line for push in apns.posts] == [0, 1]
    apns.script += [fakes.refusing(400, "IdleTimeout")] * 2
    assert await lane.send(a_message(), inf) == Transient("400 IdleTimeout")


# ---------------------------------------------------------------------------------------------- slow and hostile
async def test_a_slow_answer_is_ambiguous_after_the_deadline_and_holds_nobody_else(apns):
    apns.script += [None, fakes.slow(12)]
    async with a_lane(apns, timeout_s=1.0) as lane:
        await lane.send(a_message(1), inf)
        began = time.monotonic()
        slow = asyncio.create_task(lane.send(a_message(2), inf))
        await until(lambda: len(apns.posts) == 2)
        assert isinstance(await lane.send(a_message(3), inf), Accepted)
        assert await slow == Ambiguous("no answer in time")
        assert 0.9 < time.monotonic() - began < 5
        assert len(apns.posts) == 3


async def test_a_connection_that_falls_silent_is_left_for_another(apns):
    async with a_lane(apns, timeout_s=1.0) as lane:
        await lane.send(a_message(1), inf)
        apns.live[0].deaf = True
        assert isinstance(await lane.send(a_message(2), inf), Ambiguous)
        assert isinstance(await lane.send(a_message(3), inf), Accepted)
        assert [push.line for push in apns.posts] == [0, 1]


async def test_of_an_endless_answer_a_little_is_read_and_its_status_stands(apns, lane):
    apns.script += [None, fakes.endless]
    await lane.send(a_message(1), inf)
    assert await lane.send(a_message(2), inf) == Refused("400")
    await asyncio.sleep(0.1)
    assert apns.poured < 1_000_000
    assert isinstance(await lane.send(a_message(3), inf), Accepted)
    assert len(apns.lines) == 1


async def test_an_answer_that_drips_ends_with_the_deadline_and_its_status_stands(apns):
    apns.script.append(fakes.dripping)
    async with a_lane(apns, timeout_s=1.0) as lane:
        began = time.monotonic()
        assert await lane.send(a_message(), inf) == TokenDead(None, "410")
        assert time.monotonic() - began < 5


async def test_bytes_that_are_no_frame_leave_it_open_and_the_next_send_unharmed(apns, lane):
    apns.script.append(fakes.garbage)
    assert isinstance(await lane.send(a_message(1), inf), Ambiguous)
    assert isinstance(await lane.send(a_message(2), inf), Accepted)


async def test_an_answer_that_came_before_the_garbage_stands(apns, lane):
    async def fault(call):
        call.show()
        call.line.h2.send_headers(call.push.stream, [(":status", "200")], end_stream=True)
        call.line.write(call.line.h2.data_to_send() + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")

    apns.script.append(fault)
    assert await lane.send(a_message(), inf) == Accepted()


@pytest.mark.parametrize("status", ["20", "0200", "abc", "\N{SUPERSCRIPT TWO}00", "999", "099"])
async def test_a_status_that_is_none_leaves_it_open(apns, lane, status):
    async def fault(call):
        call.line.headers(call.push.stream, [(":status", status)], end=True)

    apns.script.append(fault)
    assert isinstance(await lane.send(a_message(), inf), Ambiguous)


# ---------------------------------------------------------------------------------------------- no connection
async def test_a_connection_that_is_refused_means_that_nothing_was_sent(apns):
    with socket.socket() as taken:  # bound, not listening: refused, and nobody else can take the port
        taken.bind(("127.0.0.1", 0))
        async with a_lane(apns, url=f"https://127.0.0.1:{taken.getsockname()[1]}", timeout_s=5.0) as lane:
            began = time.monotonic()
            outcomes = await send_all(lane, [a_message(number) for number in range(1, 101)])
            assert set(outcomes) == {NotSent("ConnectionRefusedError")}
            assert time.monotonic() - began < 4


async def test_a_name_that_does_not_resolve_means_that_nothing_was_sent(apns):
    async with a_lane(apns, url="https://gateway.invalid", timeout_s=3.0) as lane:
        assert isinstance(await lane.send(a_message(), inf), NotSent)


async def test_a_server_of_an_unknown_authority_gets_nothing(apns):
    async with a_lane(apns, context=tls_context()) as lane:
        assert await lane.send(a_message(), inf) == NotSent("SSLCertVerificationError")
    assert apns.posts == []


async def test_a_server_that_does_not_speak_http_2_gets_nothing(apns):
    async with serving(spoken="http/1.1") as other, a_lane(other) as lane:
        assert await lane.send(a_message(), inf) == NotSent("no HTTP/2 spoken")


async def test_a_handshake_that_is_never_answered_ends_in_time(apns):
    async def never(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    async with a_lane(apns, url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=0.3) as lane:
        began = time.monotonic()
        assert await lane.send(a_message(), inf) == NotSent("no free connection in time")
        assert time.monotonic() - began < 5
    server.close()


@asynccontextmanager
async def a_pool(apns, **options):
    """What the lane keeps for one team, with other times."""
    pool = Pool(apns.url, apns.context(), lambda _answer: Standing.GOOD, lambda _said: None, **options)
    headers = ((":method", "POST"), (":scheme", "https"), (":authority", pool.authority), (":path", "/3/device/1"))

    async def request():
        at = asyncio.get_running_loop().time() + 1
        return (await pool.request(headers, b"{}", start_by=at, deadline=at)).status

    try:
        yield pool, request
    finally:
        await pool.close()


async def test_a_connection_that_does_not_answer_a_ping_is_dropped(apns):
    async with a_pool(apns, ping_s=0.2) as (pool, request):
        assert await request() == 403
        (line,) = apns.live
        await until(lambda: line.pings >= 2)
        assert line.open
        line.deaf = True
        await until(lambda: pool.empty)
        assert await request() == 403


async def test_a_connection_that_nobody_uses_is_closed_and_forgotten(apns):
    async with a_pool(apns, ping_s=0.05, idle_s=0.2) as (pool, request):
        assert await request() == 403
        assert not pool.empty
        await until(lambda: pool.empty and not apns.live)


async def test_the_lanes_end_closes_its_connections_and_opens_no_more(apns, lane):
    await lane.send(a_message(1), inf)
    await lane.close()
    await until(lambda: not apns.live)
    assert isinstance(await lane.send(a_message(2, expires_us=clock.now_us() + 1_100_000), inf), NotSent)
    assert len(apns.posts) == 1


async def test_a_cancelled_send_is_not_swallowed_and_gives_its_stream_back():
    async with serving(streams=1) as apns, a_lane(apns, timeout_s=5.0) as lane:
        apns.script += [None, *[fakes.silent] * 6]
        await lane.send(a_message(9), inf)
        sends = [asyncio.create_task(lane.send(a_message(number), inf)) for number in range(1, 7)]
        await asyncio.sleep(0.3)
        for send in sends:
            send.cancel()
        assert {type(end) for end in await asyncio.gather(*sends, return_exceptions=True)} == {asyncio.CancelledError}
        apns.script.clear()
        outcomes = await send_all(lane, [a_message(number) for number in range(1, 7)])
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert {line._taken for pool in lane._pools.values() for line in pool._connections} == {0}


async def test_a_stream_that_was_given_as_its_send_was_cancelled_is_free_again(apns):
    async with a_pool(apns, most=1) as (pool, _):
        by = asyncio.get_running_loop().time() + 5
        only = await pool._taken(by)
        late = asyncio.create_task(pool._taken(by))
        await asyncio.sleep(0)
        assert not only.free
        only.release()
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert only.free


# ---------------------------------------------------------------------------------------------- credentials
def issued_at(push):
    return jwt.decode(push.headers["authorization"].removeprefix("bearer "), options={"verify_signature": False})["iat"]


class Clock:
    """One time for both sides, in microseconds."""

    def __init__(self):
        self.us = clock.now_us()

    def __call__(self):
        return self.us

    def seconds(self):
        return self.us / 1e6

    def go(self, minutes):
        self.us += minutes * 60_000_000


@asynccontextmanager
async def in_time(**options):
    now = Clock()
    async with serving(clock=now.seconds) as apns, a_lane(apns, now_us=now, **options) as lane:

        async def send(number=1):
            return await lane.send(a_message(number, expires_us=now() + 90_500_000), inf)

        yield now, apns, send


@pytest.mark.parametrize(("minutes", "shown"), [(1, True), (2, False)])  # of the 90 s that the offer lives
async def test_a_phone_that_was_away_shows_what_has_not_expired_and_nothing_else(minutes, shown):
    async with in_time() as (now, apns, send):
        device = a_message().push_token
        apns.offline.add(device)
        assert isinstance(await send(), Accepted)
        assert not apns.visible()
        now.go(minutes)
        apns.come_online(device)
        assert apns.visible().total() == shown


async def test_all_connections_of_a_team_share_one_token_which_is_renewed_within_the_hour():
    async with in_time() as (now, apns, send):
        for minutes in (0, 49, 2, 47, 4):  # at 0, 49, 51, 98 and 102 min
            now.go(minutes)
            outcomes = await asyncio.gather(*(send(number) for number in range(1, 21)))
            assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert len(apns.lines) > 1
        used = Counter(push.headers["authorization"] for push in apns.posts)
        assert sorted(used.values()) == [20, 40, 40]
        start, *later = sorted({issued_at(push) for push in apns.posts})
        assert [at - start for at in later] == [51 * MINUTE_S, 102 * MINUTE_S]


async def test_a_token_that_apple_calls_old_is_replaced_once_and_for_all_who_wait():
    async with in_time() as (now, apns, send):
        await send()
        now.go(21)
        expired = fakes.refusing(403, "ExpiredProviderToken")
        apns.script += [expired] * 5
        outcomes = await asyncio.gather(*(send(number) for number in range(1, 6)))
        assert {type(outcome) for outcome in outcomes} == {Accepted}
        assert len({issued_at(push) for push in apns.posts}) == 2
        assert len(apns.posts) == 1 + 5 + 5
        now.go(21)
        apns.script += [expired] * 2
        assert await send() == Transient("403 ExpiredProviderToken")
        assert len(apns.posts) == 13


async def test_a_token_that_apple_calls_old_too_soon_is_kept():
    async with in_time() as (now, apns, send):
        await send()
        now.go(19)
        apns.script.append(fakes.refusing(403, "ExpiredProviderToken"))
        assert await send() == Transient("403 ExpiredProviderToken")
        await send()
        assert len({issued_at(push) for push in apns.posts}) == 1


async def test_too_many_new_tokens_rest_the_team_and_leave_that_connection_for_good():
    async with in_time() as (now, apns, send):
        await send()
        apns.lines[0].spoiled_until_s = now.seconds() + 1200
        assert await send() == Later(60.0, whole_lane=True)
        assert isinstance(await send(), Accepted)
        assert [push.line for push in apns.posts] == [0, 0, 1]
        assert len({push.headers["authorization"] for push in apns.posts}) == 1


async def test_a_clock_that_was_put_back_makes_a_new_token():
    async with in_time() as (now, apns, send):
        await send()
        now.go(-120)
        apns.lines[0].token_at_s -= 3 * 3600
        assert isinstance(await send(), Accepted)
        first, second = (issued_at(push) for push in apns.posts)
        assert second - first == -120 * MINUTE_S


class Keys:
    """A vault by workspace."""

    def __init__(self, **keys):
        self.keys = {UUID(int=int(number.removeprefix("w"))): key for number, key in keys.items()}

    async def of(self, workspace, lane):
        key = self.keys.get(workspace)
        if isinstance(key, Exception):
            raise key
        return key


async def test_two_teams_share_no_connection_and_a_new_key_starts_on_a_new_one(apns):
    other = replace(new_key("OTHERTEAM1", "OTHERKEY12"), topic=apns.key.topic)
    renewed = replace(new_key(apns.key.team, "RENEWED123"), topic=apns.key.topic)
    vault = Keys(w1=apns.key, w2=other)
    async with a_lane(apns, vault=vault) as lane:
        assert isinstance(await lane.send(a_message(workspace=UUID(int=1)), inf), Accepted)
        assert await lane.send(a_message(workspace=UUID(int=2)), inf) == AuthBroken("403 InvalidProviderToken")
        vault.keys[UUID(int=1)] = apns.key = renewed
        assert isinstance(await lane.send(a_message(workspace=UUID(int=1)), inf), Accepted)
        assert [push.line for push in apns.posts] == [0, 1, 2]
        assert lane.scope(a_message(workspace=UUID(int=1))) != lane.scope(a_message(workspace=UUID(int=2)))


async def test_who_names_anothers_team_and_key_without_its_secret_sends_nothing_by_its_connections(apns):
    vault = Keys(w1=apns.key, w2=replace(apns.key, key=new_key().key), w3=apns.key)
    async with a_lane(apns, vault=vault) as lane:
        outcomes = [await lane.send(a_message(workspace=UUID(int=number)), inf) for number in (1, 2, 3, 2)]
    broken = AuthBroken("403 InvalidProviderToken")
    assert [outcome if outcome == broken else type(outcome) for outcome in outcomes] == [
        *(Accepted, broken),
        *(Accepted, broken),
    ]
    assert [push.line for push in apns.posts] == [0, 1, 0, 1]


async def test_a_key_corrected_under_its_old_name_signs_anew(apns):
    vault = Keys(w2=replace(apns.key, key=new_key().key))
    async with a_lane(apns, vault=vault) as lane:
        assert await lane.send(a_message(), inf) == AuthBroken("403 InvalidProviderToken")
        vault.keys[UUID(int=2)] = apns.key
        assert isinstance(await lane.send(a_message(), inf), Accepted)


@pytest.mark.parametrize(
    ("kept", "outcome"),
    [
        (None, AuthBroken("no credentials")),
        (Unavailable("the database is away", 1.0), NotSent("credentials cannot be read now")),
        (replace(new_key(), key="no PEM"), AuthBroken("the key cannot sign")),
    ],
    ids=["none", "unavailable", "unreadable"],
)
async def test_without_a_key_that_signs_nothing_is_called(apns, kept, outcome):
    async with a_lane(apns, vault=Keys(w2=kept)) as lane:
        assert await lane.send(a_message(), inf) == outcome
    assert apns.lines == []


async def test_a_look_at_the_key_that_never_ends_is_over_with_the_deadline_and_nothing_was_sent(apns):
    class Hanging:
        async def of(self, workspace, lane):
            await asyncio.Event().wait()

    async with a_lane(apns, vault=Hanging(), timeout_s=0.2) as lane:
        async with asyncio.timeout(5):
            assert await lane.send(a_message(), inf) == NotSent("credentials cannot be read now")
    assert apns.lines == []


async def test_what_the_look_at_the_key_took_is_not_there_for_the_send(apns):
    class Slow:
        async def of(self, workspace, lane):
            await asyncio.sleep(2)
            return apns.key

    apns.script.append(fakes.silent)
    async with a_lane(apns, vault=Slow(), timeout_s=5.0) as lane:
        began = time.monotonic()
        assert isinstance(await lane.send(a_message(), inf), Ambiguous)
        assert time.monotonic() - began < 6.9  # and not 7


# ---------------------------------------------------------------------------------------------- any of it
async def assert_true_of_the_screen(seed):
    async with serving(script=fakes.random_script(seed, 120)) as apns, a_lane(apns) as lane:
        messages = [a_message(number) for number in range(1, 121)]
        few = asyncio.Semaphore(4)  # what a lost connection takes with it

        async def send(message):
            async with few:
                return await lane.send(message, inf)

        outcomes = await asyncio.gather(*(send(message) for message in messages))
        shown = apns.screens.keys()
        for message, outcome in zip(messages, outcomes, strict=True):
            match outcome:
                case Accepted():
                    assert message.push_token in shown
                case Ambiguous():
                    pass
                case _:
                    assert message.push_token not in shown, outcome
        assert set(apns.processed.values()) == {1}
        assert Counter(map(type, outcomes))[Accepted] > 40
        assert apns.faults == []
        told = str(outcomes)
        assert "PRIVATE" not in told
        assert not any(message.push_token in told or message.title in told for message in messages)


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_goes_wrong_the_outcome_is_true_of_the_screen(seed):
    await assert_true_of_the_screen(seed)


def test_so_it_is_on_the_loop_that_the_service_runs_on():
    uvloop.run(assert_true_of_the_screen(6))
