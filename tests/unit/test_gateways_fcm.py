"""The FCM lane against a double of FCM on the loopback: what left, what was answered, and what that means."""

import asyncio
import itertools
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache, partial
from math import inf
from uuid import UUID

import pytest
from jwt import algorithms

from geo_offers import clock
from geo_offers.errors import Unavailable
from geo_offers.gateways.fcm import BACK_OFF_S, SOONEST_S, TOPIC, FcmLane
from geo_offers.pipeline.credentials import FcmAccount, VapidKey
from geo_offers.pipeline.lanes import (
    Accepted,
    Ambiguous,
    AuthBroken,
    Later,
    NotSent,
    Refused,
    TokenDead,
    TooLate,
    Transient,
)
from geo_offers.pipeline.settlement import back_off_s
from tests.support import messages
from tests.support.gateways.fcm import (
    Answer,
    Drop,
    Fcm,
    Hang,
    Quota,
    TakeThenClose,
    Trickle,
    faults,
    key_pem,
    running,
)

NOW_US = 1_795_000_000_000_000


a_message = partial(messages.a_message, platform="android")


class FixedVault:
    """Gives what it was told to; asks nobody."""

    def __init__(self, credential):
        self.credential = credential

    async def of(self, workspace, lane):
        if isinstance(self.credential, Exception):
            raise self.credential
        return self.credential


@pytest.fixture(autouse=True, scope="module")
def keys_are_read_once():
    """A fresh lane reads its account's key at the first send, and to check an RSA key takes 66 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(algorithms, "load_pem_private_key", cache(algorithms.load_pem_private_key))
        yield


class Clock:
    """Steady seconds that move on demand, and real ones beside."""

    def __init__(self):
        self.ahead_s = 0.0

    def steady_s(self):
        return time.monotonic() + self.ahead_s


class Bench:
    """The double, a lane to it, and a clock."""

    def __init__(self, fcm, lane, vault, clock_):
        self.fcm, self.lane, self.vault, self.clock = fcm, lane, vault, clock_

    async def send(self, **changed):
        return await self.lane.send(a_message(**changed), inf)

    async def hurry(self, timeout_s):
        """Give the next sends less time, with a bearer at hand."""
        await self.lane._bearers.of(self.fcm.account(), 5.0)
        self.lane._timeout_s = timeout_s

    async def until(self, held):
        async with asyncio.timeout(5):
            while not held():
                await asyncio.sleep(0.01)

    async def met(self, *script, **changed):
        self.fcm.play(*script)
        return await self.send(**changed)


@asynccontextmanager
async def standing(**options):
    async with running(Fcm()) as fcm:
        vault, clock_ = FixedVault(fcm.account()), Clock()
        given = {"timeout_s": 5.0, "steady_s": clock_.steady_s} | options
        lane = FcmLane(vault, base_url=fcm.url, token_url=f"{fcm.url}/token", **given)
        try:
            yield Bench(fcm, lane, vault, clock_)
        finally:
            await lane.close()


@pytest.fixture
async def bench():
    async with standing() as bench:
        yield bench


# ------------------------------------------------------------------------------------------------ what is said
async def test_a_message_is_taken_under_the_name_that_fcm_gives_it(bench):
    assert await bench.send() == Accepted("projects/town/messages/1")
    (shown,) = bench.fcm.on("token-1")
    assert (shown.title, shown.body) == ("Warm buns", "Two for one")
    assert shown.data == {"offer": str(UUID(int=1)), "campaign": str(UUID(int=5)), "code": "BUN"}


async def test_android_is_told_the_time_left_the_urgency_and_the_place_on_the_screen(bench):
    bench.lane._now_us = lambda: NOW_US
    await bench.send(expires_us=NOW_US + 12_500_999)
    (call,) = bench.fcm.calls
    assert call["validate_only"] is False
    android = call["message"]["android"]
    assert android == {"ttl": "12.500s", "priority": "HIGH", "notification": {"tag": "r" * 32}}
    assert not {"apns", "webpush"} & call["message"].keys()


async def test_ios_is_told_the_end_and_what_to_collapse_with(bench):
    await bench.send(platform="ios", expires_us=clock.now_us() + 60_000_000)
    headers = bench.fcm.calls[0]["message"]["apns"]["headers"]
    assert headers["apns-collapse-id"] == "r" * 32
    assert headers["apns-priority"] == "10"
    assert 58 <= int(headers["apns-expiration"]) - time.time() <= 60


async def test_a_browser_is_told_the_ttl_the_topic_and_a_secure_link(bench):
    await bench.send(platform="web", link="https://shop.example/buns")
    await bench.send(platform="web", link="app://buns")
    first, second = (call["message"]["webpush"] for call in bench.fcm.calls)
    assert first["headers"] == {"TTL": "90", "Topic": "r" * 32, "Urgency": "high"}
    assert first["notification"] == {"tag": "r" * 32}
    assert first["fcm_options"] == {"link": "https://shop.example/buns"}
    assert "fcm_options" not in second
    assert [call["message"]["data"]["link"] for call in bench.fcm.calls] == ["https://shop.example/buns", "app://buns"]


async def test_names_that_are_reserved_or_ours_are_set_apart(bench):
    data = {"from": "1", "message_type": "2", "google.x": "3", "gcm.y": "4", "offer": "5", "link": "6", "fromage": "7"}
    assert isinstance(await bench.send(data=data), Accepted)
    told = bench.fcm.calls[0]["message"]["data"]
    assert told.pop("offer") == str(UUID(int=1))
    assert told.pop("campaign") == str(UUID(int=5))
    apart = ("from", "message_type", "google.x", "gcm.y", "offer", "link")
    assert told == {f"data.{name}": data[name] for name in apart} | {"fromage": "7"}


async def test_the_time_to_live_is_counted_again_at_each_call_and_nothing_is_sent_after_it():
    now = [clock.now_us()]
    async with standing(now_us=lambda: now[0]) as bench:
        bench.fcm._now_s = lambda: now[0] / 1e6
        message = a_message(expires_us=now[0] + 60_000_000)
        await bench.lane.send(message, inf)
        now[0] += 58_900_000
        await bench.lane.send(message, inf)
        now[0] += 200_000
        assert await bench.lane.send(message, inf) == TooLate()
    assert [call["message"]["android"]["ttl"] for call in bench.fcm.calls] == ["60.000s", "1.100s"]


async def test_a_message_beyond_four_weeks_is_said_to_live_for_four(bench):
    assert isinstance(await bench.send(expires_us=clock.now_us() + 40 * 86_400 * 1_000_000), Accepted)
    assert bench.fcm.calls[0]["message"]["android"]["ttl"] == "2419200.000s"


async def test_what_is_too_large_is_refused_before_the_call(bench):
    fits = 4096 - sum(len(text) for text in ("titleWarm bunsbody", "offer", "campaign", "code", "BUN")) - 72
    assert isinstance(await bench.send(body="ö" * (fits // 2)), Accepted)
    assert await bench.send(body="ö" * (fits // 2 + 1)) == Refused("too large", by_us=True)
    assert len(bench.fcm.calls) == 1


async def test_a_second_copy_takes_the_place_of_the_first_on_every_platform(bench):
    for platform in ("android", "ios", "web", "other"):
        for _ in range(2):
            await bench.send(platform=platform, push_token=platform)
        assert len(bench.fcm.on(platform)) == 1
        assert bench.fcm.alerts[platform, "r" * 32] == 2


async def test_what_waited_for_its_phone_beyond_its_time_is_not_shown():
    now = [clock.now_us()]
    async with standing(now_us=lambda: now[0]) as bench:
        bench.fcm._now_s = lambda: now[0] / 1e6
        for platform in ("android", "ios", "web"):
            bench.fcm.offline = {platform}
            message = a_message(expires_us=now[0] + 10_000_000, platform=platform, push_token=platform)
            assert isinstance(await bench.lane.send(message, inf), Accepted)
            now[0] += 10_100_000
            bench.fcm.come_online(platform)
            assert bench.fcm.on(platform) == []


# ------------------------------------------------------------------------------------------------ what is answered
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(400, fields=("message.android.ttl",)), Refused("INVALID_ARGUMENT message.android.ttl")),
        (Answer(400), Refused("INVALID_ARGUMENT")),
        (
            Answer(400, "INVALID_ARGUMENT", ("message.data[0].value",)),
            Refused("INVALID_ARGUMENT message.data[0].value"),
        ),
        (Answer(401, "THIRD_PARTY_AUTH_ERROR"), AuthBroken("THIRD_PARTY_AUTH_ERROR")),
        (Answer(404), Refused("NOT_FOUND")),
        (Answer(429, "QUOTA_EXCEEDED", retry_after="90"), Later(90.0, whole_lane=True)),
        (Answer(429, "QUOTA_EXCEEDED", retry_after="2"), Later(10.0, whole_lane=True)),
        (Answer(429, retry_after="99999"), Later(3600.0, whole_lane=True)),
        (Answer(429, "QUOTA_EXCEEDED"), Later(60.0, whole_lane=True)),
        (Answer(429, raw=b""), Later(60.0, whole_lane=True)),
        (Answer(500, "INTERNAL"), Transient("INTERNAL", from_s=BACK_OFF_S)),
        (Answer(503, "UNAVAILABLE"), Transient("UNAVAILABLE", from_s=BACK_OFF_S)),
        (Answer(503, "UNAVAILABLE", retry_after="30"), Transient("UNAVAILABLE", BACK_OFF_S, 30.0)),
        (Answer(503, retry_after="1"), Transient("UNAVAILABLE", BACK_OFF_S, 1.0)),
        (Answer(500, retry_after="nonsense"), Transient("INTERNAL", from_s=BACK_OFF_S)),
        (Answer(502, raw=b"<html>Bad Gateway"), Transient("http 502", from_s=BACK_OFF_S)),
        (Answer(500, raw=b""), Transient("http 500", from_s=BACK_OFF_S)),
        (Answer(418, raw=b"\xff\xfe"), Refused("http 418")),
        (Answer(400, raw=b'"error"'), Refused("http 400")),
        (Answer(400, raw=b'{"error": {"status": 7}}'), Refused("http 400")),
        (Answer(400, raw=b'{"name": ' + b"[" * 10_000), Refused("http 400")),
        (Answer(400, raw=b'{"name": "\xff"}'), Refused("http 400")),
        (Answer(400, raw=b'{"error": {"status": "INVALID_ARGUMENT", "details": {}}}'), Refused("http 400")),
        (Answer(400, "a token is token-1", status_text="It is token-1"), Refused("http 400")),
        (Answer(400, fields=("message.token is token-1",)), Refused("INVALID_ARGUMENT")),
        (Answer(409, "SOMETHING_NEW", status_text="ABORTED"), Refused("SOMETHING_NEW")),
        (Answer(503, "SOMETHING_NEW", status_text="ELSE"), Transient("SOMETHING_NEW", from_s=BACK_OFF_S)),
        (Answer(301, location="/elsewhere", raw=b""), Refused("http 301")),
        (Answer(200, raw=b""), Accepted()),
        (Answer(200, raw=b'{"name": 7}'), Accepted()),
        (Answer(200, raw=b"not json"), Accepted()),
    ],
)
async def test_the_code_then_the_status_then_http_are_the_answer(bench, answer, outcome):
    met = await bench.met(answer)
    if isinstance(outcome, Later):
        outcome = replace(outcome, after_s=pytest.approx(outcome.after_s, abs=0.5))
    assert met == outcome
    assert len(bench.fcm.calls) == 1


@pytest.mark.parametrize(("state", "detail"), [("unregistered", "UNREGISTERED"), ("mismatch", "SENDER_ID_MISMATCH")])
async def test_a_dead_token_is_dead_as_of_the_send(bench, state, detail):
    bench.fcm.tokens["token-1"] = state
    before_us = clock.now_us()
    outcome = await bench.send()
    assert outcome == TokenDead(outcome.at_us, detail)
    assert before_us <= outcome.at_us <= clock.now_us()


def test_the_first_back_off_is_no_sooner_than_google_wants():
    assert back_off_s(1, 0.0, BACK_OFF_S) >= SOONEST_S


async def test_a_retry_after_may_be_a_date(bench):
    outcome = await bench.met(Answer(503, "UNAVAILABLE", retry_after=45.0))
    assert outcome == Transient("UNAVAILABLE", BACK_OFF_S, pytest.approx(45.0, abs=2))
    outcome = await bench.met(Answer(429, "QUOTA_EXCEEDED", retry_after=120.0))
    assert outcome == Later(pytest.approx(120.0, abs=2), whole_lane=True)


async def test_a_malformed_token_is_dead_where_the_message_is_good(bench):
    bench.fcm.tokens["token-1"] = "malformed"
    outcome = await bench.send()
    assert outcome == TokenDead(outcome.at_us, "INVALID_ARGUMENT")
    sent, validated = bench.fcm.calls
    assert validated["validate_only"] is True
    assert validated["message"].pop("topic") == TOPIC
    assert sent["message"].pop("token") == "token-1"
    assert validated["message"] == sent["message"]
    assert (bench.fcm.taken, bench.fcm.validated) == (0, 1)


async def test_the_field_may_say_that_it_is_the_token(bench):
    outcome = await bench.met(Answer(400, "INVALID_ARGUMENT", ("message.token",)))
    assert outcome == TokenDead(outcome.at_us, "INVALID_ARGUMENT message.token")
    assert len(bench.fcm.calls) == 1


async def test_a_message_that_is_not_good_leaves_the_token_alone(bench):
    bench.fcm.play(Answer(400, "INVALID_ARGUMENT"), Answer(400, "INVALID_ARGUMENT"))
    assert await bench.send() == Refused("INVALID_ARGUMENT")
    assert len(bench.fcm.calls) == 2


@pytest.mark.parametrize("second", [Answer(503, "UNAVAILABLE"), Drop(), Answer(429, "QUOTA_EXCEEDED"), Hang(3.0)])
async def test_a_message_that_could_not_be_validated_is_tried_again(bench, second):
    if isinstance(second, Hang):
        await bench.hurry(0.8)
    bench.fcm.play(Answer(400, "INVALID_ARGUMENT"), second)
    assert await bench.send() == Transient("INVALID_ARGUMENT, not validated")


async def test_no_secret_and_no_text_is_in_what_an_outcome_says(bench):
    for answer in (Answer(400, "token-1"), Answer(400, fields=("Warm buns",)), Answer(400, status_text="token-1")):
        said = repr(await bench.met(answer))
        assert "token-1" not in said
        assert "Warm" not in said


# ------------------------------------------------------------------------------------------------ quotas
async def test_a_project_over_its_quota_is_left_alone_on_every_platform_for_longer_each_time(bench):
    waits = []
    for _ in range(3):
        bench.fcm.play(Answer(429, "QUOTA_EXCEEDED"))
        outcome = await bench.send()
        waits.append(round(outcome.after_s))
        calls = len(bench.fcm.calls)
        for platform in ("android", "ios"):
            held = await bench.send(platform=platform, workspace=UUID(int=99))
            assert held == Later(pytest.approx(outcome.after_s, abs=0.5), whole_lane=True)
        assert len(bench.fcm.calls) == calls
        bench.clock.ahead_s += outcome.after_s
    assert waits == [60, 120, 240]
    assert isinstance(await bench.send(), Accepted)
    assert (await bench.met(Answer(429, "QUOTA_EXCEEDED"))).after_s == pytest.approx(60, abs=0.5)


async def test_refusals_of_calls_that_were_under_way_together_count_as_one(bench):
    bench.fcm.quota = Quota(per_s=0.001, burst=3)
    outcomes = Counter(type(outcome) for outcome in await asyncio.gather(*(bench.send() for _ in range(20))))
    assert outcomes == {Accepted: 3, Later: 17}
    bench.clock.ahead_s += 60.5
    assert (await bench.send()).after_s == pytest.approx(120, abs=0.5)


async def test_a_longer_wait_that_is_asked_for_meanwhile_holds(bench):
    hits = await asyncio.gather(bench.met(Answer(429, retry_after="20")), bench.met(Answer(429, retry_after="40")))
    assert max(hit.after_s for hit in hits) == pytest.approx(40, abs=0.5)
    assert (await bench.send()).after_s == pytest.approx(40, abs=0.5)


def test_a_platform_of_a_workspace_stands_for_itself():
    named = itertools.product(("ios", "web"), (UUID(int=1), UUID(int=2)))
    scopes = {FcmLane.scope(None, a_message(platform=platform, workspace=of)) for platform, of in named}
    assert len(scopes) == 4


# ------------------------------------------------------------------------------------------------ no answer
async def test_an_answer_that_never_comes_is_ambiguous(bench):
    assert isinstance(await bench.met(Drop()), Ambiguous)
    assert isinstance(await bench.met(Drop(taken=True)), Ambiguous)
    assert await bench.met(TakeThenClose()) == Accepted("projects/town/messages/closed")
    assert isinstance(await bench.send(), Accepted)
    await bench.hurry(0.2)
    assert isinstance(await bench.met(Hang(2.0, taken=True)), Ambiguous)


async def test_a_message_that_was_taken_without_an_answer_is_shown_once_after_its_repeat(bench):
    assert isinstance(await bench.met(Drop(taken=True)), Ambiguous)
    assert isinstance(await bench.send(), Accepted)
    assert len(bench.fcm.on("token-1")) == 1


async def test_nothing_is_sent_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with standing() as bench:
        await bench.send()
        bench.lane._base_url = f"http://127.0.0.1:{port}"
        assert isinstance(await bench.send(), NotSent)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (Trickle(b"x", 0.05), Accepted()),
        (Trickle(b"x" * 65_536, 0.0), Accepted()),
        (Trickle(b"x", 0.05, status=500), Transient("http 500", from_s=BACK_OFF_S)),
        (Trickle(b"x" * 65_536, 0.0, status=404), Refused("http 404")),
    ],
)
async def test_a_body_without_end_costs_a_bounded_time_and_the_code_stands(bench, body, outcome):
    await bench.hurry(1.0)
    began = time.monotonic()
    assert await bench.met(body) == outcome
    assert time.monotonic() - began < 4


async def test_an_answer_longer_than_20_kb_is_not_read(bench):
    named = b'{"name": "x", "padding": "' + b"p" * 30_000 + b'"}'
    assert await bench.met(Answer(200, raw=named)) == Accepted()


@pytest.mark.parametrize("seed", range(4))
async def test_no_script_of_faults_raises_or_shows_twice(bench, seed):
    bench.fcm.play(*faults(seed, 40))
    outcomes = await asyncio.gather(
        *(bench.lane.send(a_message(push_token=f"token-{n}"), inf) for n in range(30)), return_exceptions=True
    )
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(len(bench.fcm.on(f"token-{n}")) <= 1 for n in range(30))
    accepted = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Accepted)]
    assert all(len(bench.fcm.on(f"token-{n}")) == 1 for n in accepted)


# ------------------------------------------------------------------------------------------------ credentials
async def test_one_bearer_serves_all_who_wait_for_it(bench):
    outcomes = await asyncio.gather(*(bench.send(push_token=f"token-{n}") for n in range(50)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert bench.fcm.grants == 1


async def test_connections_are_used_again(bench):
    for _ in range(20):
        await bench.send()
    assert len(bench.fcm.connections) == 1


async def test_a_bearer_is_renewed_beside_the_sends_before_it_ends():
    async with standing(timeout_s=10.0) as bench:
        await bench.send()
        bench.clock.ahead_s = 3599 * 0.95
        bench.fcm.oauth_script.append(Hang(20.0))
        began = time.monotonic()
        assert isinstance(await bench.send(), Accepted)
        assert time.monotonic() - began < 5
        await bench.until(lambda: bench.fcm.grants == 2)


async def test_the_old_bearer_is_used_to_its_end_while_the_endpoint_is_down(bench):
    await bench.send()
    bench.fcm.oauth_script.extend([Answer(503, raw=b""), Answer(500, raw=b""), Drop()])
    for ahead_s in (3300.0, 3310.0, 3590.0):
        bench.clock.ahead_s = ahead_s
        assert isinstance(await bench.send(), Accepted)
        await bench.until(lambda: bench.lane._bearers._of(bench.fcm.account()).renewal is None)
    assert bench.fcm.grants == 4
    bench.fcm.oauth_script.append(Answer(503, raw=b""))
    bench.clock.ahead_s = 3600.0
    assert await bench.send() == NotSent("oauth http 503")
    assert bench.fcm.grants == 5
    bench.clock.ahead_s += 6
    assert isinstance(await bench.send(), Accepted)


async def test_an_endpoint_that_failed_is_left_alone_for_a_while(bench):
    bench.fcm.oauth_script.extend([Answer(503, raw=b"")] * 9)
    outcomes = await asyncio.gather(*(bench.send() for _ in range(20)))
    assert set(outcomes) == {NotSent("oauth http 503")}
    assert await bench.send() == NotSent("oauth http 503")
    assert bench.fcm.grants == 1
    bench.clock.ahead_s += 5.1
    await bench.send()
    assert bench.fcm.grants == 2
    bench.fcm.oauth_script.clear()
    bench.fcm.oauth_script.append(Answer(429, raw=b"", retry_after="30"))
    bench.clock.ahead_s += 5.1
    await bench.send()
    bench.clock.ahead_s += 29
    await bench.send()
    assert bench.fcm.grants == 3
    bench.clock.ahead_s += 1.1
    assert isinstance(await bench.send(), Accepted)


async def test_an_endpoint_that_asks_for_nonsense_is_left_alone_for_a_while(bench):
    beyond_all_zones = "Sat, 01 Jan 2050 00:00:00 +99999999999999999"
    bench.fcm.oauth_script.extend([Answer(503, raw=b"", retry_after=beyond_all_zones)] * 9)
    assert [await bench.send() for _ in range(3)] == [NotSent("oauth http 503")] * 3
    assert bench.fcm.grants == 1


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Hang(3.0), NotSent("oauth: no answer in time")),
        (Drop(), NotSent("oauth ServerDisconnectedError")),
        (Answer(200, raw=b"{"), NotSent("oauth: an answer that cannot be read")),
        (Answer(200, raw=b'{"x": ' + b"[" * 10_000), NotSent("oauth: an answer that cannot be read")),
        (Answer(200, raw=b'{"access_token": "\xff"}'), NotSent("oauth: an answer that cannot be read")),
        (
            Answer(200, raw=b'{"access_token": "a\\r\\nb: c", "expires_in": 9}'),
            NotSent("oauth: an answer that cannot be used"),
        ),
        (Answer(200, raw=b'{"access_token": "abc", "expires_in": 0}'), NotSent("oauth: an answer that cannot be used")),
        (Answer(200, raw=b'{"access_token": "", "expires_in": 9}'), NotSent("oauth: an answer that cannot be used")),
        (Answer(302, raw=b"", location="/token"), NotSent("oauth http 302")),
        (Answer(400, raw=b'{"error": "invalid_grant"}'), AuthBroken("oauth invalid_grant")),
        (Answer(401, raw=b'{"error": "a word, and more"}'), AuthBroken("oauth 401")),
        (Answer(403, raw=b"<html>"), AuthBroken("oauth 403")),
        (Trickle(b"x" * 65_536, 0.0), NotSent("oauth: an answer that cannot be read")),
    ],
)
async def test_no_message_leaves_without_a_bearer(bench, fault, outcome):
    if isinstance(fault, Hang):
        bench.lane._timeout_s = 0.4
    bench.fcm.oauth_script.append(fault)
    assert await bench.send() == outcome
    assert bench.fcm.calls == []


async def test_a_bearer_that_is_refused_is_renewed_once_and_the_message_sent_once_more(bench):
    await bench.send()
    bench.fcm.expire_bearers()
    outcomes = await asyncio.gather(*(bench.send(push_token=f"token-{n}") for n in range(20)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert bench.fcm.grants == 2
    assert all(len(bench.fcm.on(f"token-{n}")) == 1 for n in range(20))


@pytest.mark.parametrize("status", [401, 403])
async def test_credentials_that_never_work_make_no_storm(bench, status):
    bench.fcm.always = Answer(status)
    outcomes = [await bench.send() for _ in range(10)]
    named = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}[status]
    assert set(outcomes) == {AuthBroken(named)}
    assert bench.fcm.grants == 2
    assert len(bench.fcm.calls) == 11
    bench.clock.ahead_s += 61
    await bench.send()
    assert bench.fcm.grants == 3


async def test_a_platforms_own_broken_key_renews_nothing(bench):
    await bench.met(Answer(401, "THIRD_PARTY_AUTH_ERROR"), platform="ios")
    assert bench.fcm.grants == 1


async def test_an_account_that_is_replaced_is_in_force_at_the_next_send(bench):
    await bench.send()
    bench.fcm.key = key_pem(1)
    bench.fcm.expire_bearers()
    bench.vault.credential = bench.fcm.account()
    assert isinstance(await bench.send(), Accepted)
    assert bench.fcm.grants == 2


async def test_a_key_that_is_not_the_accounts_is_refused_by_google(bench):
    bench.vault.credential = replace(bench.fcm.account(), key=key_pem(1))
    assert await bench.send() == AuthBroken("oauth invalid_grant")


@pytest.mark.parametrize("ahead_s", [-3500, -50, 50])
async def test_a_wall_clock_that_is_a_little_off_is_none_of_googles_business(ahead_s):
    async with standing(now_us=lambda: clock.now_us() + ahead_s * 1_000_000) as bench:
        assert isinstance(await bench.send(expires_us=clock.now_us() + 7_200_000_000), Accepted)


async def test_a_wall_clock_that_is_an_hour_ahead_is_our_fault():
    async with standing(now_us=lambda: clock.now_us() + 3_600_000_000) as bench:
        assert await bench.send(expires_us=clock.now_us() + 7_200_000_000) == AuthBroken("oauth invalid_grant")


@pytest.mark.parametrize(
    ("credential", "outcome"),
    [
        (None, AuthBroken("no credentials")),
        (VapidKey("k", "mailto:a@b.example"), AuthBroken("no credentials")),
        (Unavailable("the database is away"), NotSent("no look at the credentials")),
        (
            FcmAccount("town", "a@b.example", "1", "no key", "https://oauth2.googleapis.com/token"),
            AuthBroken("oauth: the account's key cannot be used"),
        ),
        (
            FcmAccount("town", "a@b.example", "1", "no key", "https://elsewhere.example/token"),
            AuthBroken("oauth token_uri"),
        ),
    ],
)
async def test_without_credentials_nothing_leaves(bench, credential, outcome):
    bench.vault.credential = credential
    assert await bench.send() == outcome
    assert (bench.fcm.grants, bench.fcm.calls) == (0, [])


async def test_what_waited_for_its_credentials_past_its_time_to_start_is_not_sent(bench):
    loop = asyncio.get_running_loop()

    async def slowly(workspace, lane):
        await asyncio.sleep(0.3)
        return bench.vault.credential

    bench.vault.of = slowly
    assert await bench.lane.send(a_message(), loop.time() + 0.1) == NotSent("no look at the credentials")
    assert bench.fcm.calls == []
    assert isinstance(await bench.lane.send(a_message(), loop.time() + 60), Accepted)


class Late(FixedVault):
    """Its answer comes from a loop that was held up: no timer ended the wait for it."""

    def __init__(self, credential, until_s):
        super().__init__(credential)
        self._until_s = until_s

    async def of(self, workspace, lane):
        time.sleep(max(self._until_s - asyncio.get_running_loop().time(), 0))  # noqa: ASYNC251  that is what it is for
        return await super().of(workspace, lane)


async def test_what_comes_to_its_call_past_its_time_to_start_is_not_sent(bench):
    await bench.send()  # a bearer, and a connection
    start_by = asyncio.get_running_loop().time() + 0.2
    bench.lane._vault = Late(bench.vault.credential, start_by)
    assert await bench.lane.send(a_message(push_token="late"), start_by) == NotSent("TooLateToBegin")
    assert len(bench.fcm.calls) == 1


async def test_what_comes_to_its_call_past_the_offers_end_is_not_sent(bench):
    await bench.send()
    now_us = clock.now_us()
    bearer_of = bench.lane._bearers.of

    async def late(account, left_s):
        bearer = await bearer_of(account, left_s)
        bench.lane._now_us = lambda: now_us  # its look at what is left finds a second
        return bearer

    bench.lane._bearers.of = late
    post = bench.lane._session.post

    def held_up(*given, **named):
        time.sleep(1.5)
        return post(*given, **named)

    bench.lane._session.post = held_up
    outcome = await bench.lane.send(a_message(push_token="late", expires_us=now_us + 1_000_000), inf)
    assert outcome == NotSent("TooLateToBegin")
    assert len(bench.fcm.calls) == 1


async def test_whose_fault_a_refusal_is_may_be_asked_past_the_time_to_start(bench):
    await bench.send()
    loop = asyncio.get_running_loop()
    bench.fcm.play(Answer(400, "INVALID_ARGUMENT"))
    start_by = loop.time() + 2.0
    heard = bench.lane._judged

    async def late(*given):
        time.sleep(max(start_by - loop.time(), 0))  # noqa: ASYNC251  the answer came late
        return await heard(*given)

    bench.lane._judged = late
    outcome = await bench.lane.send(a_message(), start_by)
    assert isinstance(outcome, TokenDead)


async def test_a_device_without_a_token_has_another_lane(bench):
    assert await bench.send(push_token=None) == TokenDead(detail="no token", by_us=True)
    assert bench.fcm.calls == []


async def test_closing_ends_an_exchange_that_is_under_way():
    async with standing(timeout_s=60.0) as bench:
        bench.fcm.oauth_script.append(Hang(60.0))
        sending = asyncio.create_task(bench.send())
        while not bench.fcm.grants:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await bench.lane.close()
        assert isinstance(await sending, NotSent)
        assert time.monotonic() - began < 10
