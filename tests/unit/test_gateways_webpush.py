"""The webpush lane against a push service on the loopback that is as strict as the RFCs: what left, what was shown."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from email.utils import format_datetime
from math import inf
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from geo_offers import clock
from geo_offers.egress import guarded_session
from geo_offers.errors import Unavailable
from geo_offers.gateways import webpush
from geo_offers.gateways.vapid import LASTS_S, MOST_KEPT, VapidTokens
from geo_offers.gateways.webpush import GOOD_S, SLOWED_S, WebPushLane
from geo_offers.gateways.webpush_sealing import MAX_PLAIN
from geo_offers.hosts import networks
from geo_offers.instants import from_us
from geo_offers.pipeline.credentials import ApnsKey, VapidKey
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
    replace_key,
)
from tests.support import messages
from tests.support.gateways.webpush import Answer, Dripping, Lost, drawn_faults, new_key, pem_of, push_service
from tests.support.replacing import replace
from tests.unit.test_egress import Stub

LOOPBACK = networks("127.0.0.1/32")
SENDER = new_key()
KEY = VapidKey(pem_of(SENDER), "mailto:offers@shop.example")


class Kept:
    """A vault that holds one credential, or none."""

    def __init__(self, credential=KEY):
        self.credential = credential
        self.asked = []

    async def of(self, workspace, lane):
        self.asked.append((workspace, lane))
        if isinstance(self.credential, Exception):
            raise self.credential
        return self.credential


class Slow(Kept):
    """A vault that takes so many seconds."""

    def __init__(self, seconds):
        super().__init__()
        self._seconds = seconds

    async def of(self, workspace, lane):
        await asyncio.sleep(self._seconds)
        return await super().of(workspace, lane)


@pytest.fixture
async def service():
    async with push_service() as made:
        yield made


@asynccontextmanager
async def laned(service, vault=None, **options):
    resolver = options.pop("resolver", None)
    allowed = options.pop("networks", LOOPBACK)
    async with guarded_session(allowed, resolver=resolver, tls=service.tls) as session:
        lane = WebPushLane(session, vault or Kept(), networks=allowed, **({"timeout_s": 1.0} | options))
        try:
            yield lane
        finally:
            await lane.close()


@pytest.fixture
async def lane(service):
    async with laned(service) as made:
        yield made


def a_message(browser=None, **changed) -> Message:
    of_a_browser = {
        "platform": "web",
        "push_token": browser and browser.endpoint,
        "push_keys": browser and browser.keys,
        "body": "Zwei für eins ☕",
        "link": "https://shop.example/buns",
        "replace_key": replace_key(UUID(int=1)),
    }
    return messages.a_message(**(of_a_browser | changed))


# ------------------------------------------------------------------------------------------------ what is sent
async def test_the_browser_shows_the_offer_under_its_tag(service, lane):
    browser = service.subscribe(SENDER)
    message = a_message(browser)
    outcome = await lane.send(message, inf)
    assert isinstance(outcome, Accepted)
    assert outcome.receipt.startswith(f"{service.origin}/m/")
    assert browser.shown == [
        {
            "offer": str(message.offer),
            "title": "Warm buns",
            "body": "Zwei für eins ☕",
            "tag": message.replace_key,
            "link": "https://shop.example/buns",
            "data": {"code": "BUN"},
            "expires_at": from_us(message.expires_us).isoformat().replace("+00:00", "Z"),
        }
    ]


async def test_a_message_is_urgent_has_its_topic_and_lives_as_long_as_the_offer(service, lane):
    browser = service.subscribe(SENDER)
    message = a_message(browser)
    await lane.send(message, inf)
    (headers,) = service.requests
    assert headers["urgency"] == "high"
    assert headers["topic"] == message.replace_key
    assert headers["ttl"] == "90"
    assert headers["content-encoding"] == "aes128gcm"
    assert headers["Content-Type"] == "application/octet-stream"


async def test_the_time_to_live_is_counted_again_at_each_send(service):
    now = [clock.now_us()]
    browser = service.subscribe(SENDER)
    message = a_message(browser, expires_us=now[0] + 60_000_000)
    async with laned(service, now_us=lambda: now[0]) as lane:
        for elapsed_s in (0, 20, 58.5):
            now[0] = message.expires_us - 60_000_000 + round(elapsed_s * 1e6)
            await lane.send(message, inf)
    assert [headers["ttl"] for headers in service.requests] == ["60", "40", "1"]


@pytest.mark.parametrize("left_us", [999_999, 0, -5_000_000])
async def test_with_less_than_a_second_left_no_call_is_made(service, lane, left_us):
    browser = service.subscribe(SENDER)
    assert await lane.send(a_message(browser, expires_us=clock.now_us() + left_us), inf) == TooLate()
    assert service.requests == []


async def test_nothing_leaves_when_its_time_ran_out_while_it_was_sealed(service):
    browser = service.subscribe(SENDER)
    message = a_message(browser)
    now = [message.expires_us - 2_000_000]

    class Slow(Kept):
        async def of(self, workspace, lane):
            now[0] = message.expires_us - 500_000
            return await super().of(workspace, lane)

    async with laned(service, Slow(), now_us=lambda: now[0]) as lane:
        assert await lane.send(message, inf) == TooLate()
    assert service.requests == []


async def test_a_copy_for_a_browser_that_is_away_replaces_the_first(service, lane):
    browser = service.subscribe(SENDER, here=False)
    message = a_message(browser)
    for body in ("first", "second"):
        await lane.send(replace(message, body=body), inf)
    await lane.send(replace(message, replace_key=replace_key(UUID(int=2)), body="another offer"), inf)
    service.arrive(browser)
    assert [note["body"] for note in browser.shown] == ["second", "another offer"]


async def test_a_browser_that_comes_back_after_the_offers_end_sees_nothing():
    now = [clock.now_us()]
    async with push_service(lambda: now[0]) as service, laned(service) as lane:
        browser = service.subscribe(SENDER, here=False)
        await lane.send(a_message(browser), inf)
        now[0] += 91_000_000
        service.arrive(browser)
    assert browser.shown == []


async def test_a_text_as_long_as_fits_is_sent_and_one_byte_more_is_refused(service, lane):
    browser = service.subscribe(SENDER)
    message = a_message(browser, body="")
    await lane.send(message, inf)
    room = MAX_PLAIN - len(json.dumps(browser.shown[0], separators=(",", ":"), ensure_ascii=False).encode())
    assert isinstance(await lane.send(replace(message, body="x" * room), inf), Accepted)
    assert await lane.send(replace(message, body="x" * (room + 1)), inf) == Refused(
        f"longer than {MAX_PLAIN} bytes", by_us=True
    )
    assert len(service.requests) == 2


# ------------------------------------------------------------------------------------------------ who sends
def claims_of(headers):
    return jwt.decode(headers["authorization"].split("t=")[1].split(",")[0], options={"verify_signature": False})


async def test_one_token_serves_all_sends_to_an_origin(service, lane):
    browsers = [service.subscribe(SENDER) for _ in range(3)]
    await asyncio.gather(*(lane.send(a_message(browser), inf) for browser in browsers))
    assert len({headers["authorization"] for headers in service.requests}) == 1
    claims = claims_of(service.requests[0])
    assert claims["aud"] == service.origin
    assert claims["sub"] == KEY.subject
    assert 0 < claims["exp"] - time.time() <= 86_400


async def test_a_token_is_renewed_before_its_end_and_when_the_clock_was_set_back():
    tokens = VapidTokens()
    asked_at = {at: tokens.authorization(KEY, "https://a.example", at) for at in (0, 100, LASTS_S - 3601)}
    assert len(set(asked_at.values())) == 1
    later = tokens.authorization(KEY, "https://a.example", LASTS_S - 3600)
    assert later not in asked_at.values()
    assert tokens.authorization(KEY, "https://a.example", -10) != later


async def test_each_origin_and_each_key_has_its_own_token():
    tokens = VapidTokens()
    other = VapidKey(pem_of(new_key()), KEY.subject)
    made = {tokens.authorization(key, origin, 0) for key in (KEY, other) for origin in ("https://a.b", "https://a.b:1")}
    assert len(made) == 4
    assert tokens.authorization(KEY, "https://a.b", 5) in made


def test_invented_origins_push_out_the_oldest_tokens_and_no_more():
    tokens = VapidTokens()
    tokens._kept.update({(KEY, f"https://{n}.example"): (LASTS_S, str(n)) for n in range(MOST_KEPT)})
    assert tokens.authorization(KEY, "https://0.example", 0) == "0"
    tokens.authorization(KEY, "https://new.example", 0)
    assert len(tokens._kept) == MOST_KEPT
    assert (KEY, "https://1.example") not in tokens._kept
    assert (KEY, "https://0.example") in tokens._kept


async def test_a_key_that_was_replaced_is_in_force_at_the_next_send(service):
    other = new_key()
    vault = Kept()
    async with laned(service, vault) as lane:
        first, second = service.subscribe(SENDER), service.subscribe(other)
        assert isinstance(await lane.send(a_message(first), inf), Accepted)
        vault.credential = VapidKey(pem_of(other), KEY.subject)
        assert isinstance(await lane.send(a_message(second), inf), Accepted)
    assert vault.asked == [(UUID(int=2), "webpush")] * 2


async def test_a_token_that_was_not_taken_is_signed_anew(service, lane):
    browser = service.subscribe(SENDER)
    service.script += [None, Answer(401), None]
    for _ in range(3):
        await lane.send(a_message(browser), inf)
    used = [headers["authorization"] for headers in service.requests]
    assert used[0] == used[1]
    assert used[1] != used[2]


async def test_of_a_subscription_of_another_key_it_is_open_whose_fault_it_is_until_others_pass(service):
    now = [clock.now_us()]
    browser, stale = service.subscribe(SENDER), service.subscribe(new_key())
    undecided = AuthBroken("http 403 errno 109", of_one=True)
    async with laned(service, now_us=lambda: now[0]) as lane:
        assert await lane.send(a_message(stale, expires_us=now[0] + 900_000_000), inf) == undecided
        assert isinstance(await lane.send(a_message(browser, expires_us=now[0] + 900_000_000), inf), Accepted)
        assert await lane.send(a_message(stale, expires_us=now[0] + 900_000_000), inf) == TokenDead(
            detail="http 403 errno 109"
        )
        now[0] += GOOD_S * 1_000_000
        assert await lane.send(a_message(stale, expires_us=now[0] + 900_000_000), inf) == undecided
        assert await lane.send(a_message(stale, expires_us=now[0] + 900_000_000), inf) == undecided  # signed anew
    assert stale.shown == []


async def test_that_others_pass_with_one_key_says_nothing_of_another(service):
    vault = Kept()
    async with laned(service, vault) as lane:
        assert isinstance(await lane.send(a_message(service.subscribe(SENDER)), inf), Accepted)
        vault.credential = VapidKey(pem_of(new_key()), KEY.subject)
        outcome = await lane.send(a_message(service.subscribe(SENDER)), inf)
    assert outcome == AuthBroken("http 403 errno 109", of_one=True)


async def test_what_it_knows_of_origins_is_bounded(service, lane, monkeypatch):
    monkeypatch.setattr(webpush, "MOST_KEPT", 2)
    for number in range(4):
        await lane.send(a_message(service.subscribe(SENDER), workspace=UUID(int=number)), inf)
    assert len(lane._taken) == 2


async def test_a_message_is_written_once(service, lane, monkeypatch):
    written = []
    monkeypatch.setattr(webpush, "_payload", lambda message, real=webpush._payload: written.append(1) or real(message))
    await lane.send(a_message(service.subscribe(SENDER)), inf)
    assert written == [1]


@pytest.mark.parametrize("credential", [None, ApnsKey("team", "key", "pem", "topic", sandbox=False)])
async def test_without_a_key_nothing_is_sent(service, credential):
    async with laned(service, Kept(credential)) as lane:
        outcome = await lane.send(a_message(service.subscribe(SENDER)), inf)
    assert outcome == AuthBroken("the workspace has no VAPID key")
    assert service.requests == []


def bad_keys():
    other_curve = ec.generate_private_key(ec.SECP384R1())
    not_ec = rsa.generate_private_key(65537, 2048)
    as_pem = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return ["", "no pem", other_curve.private_bytes(*as_pem).decode(), not_ec.private_bytes(*as_pem).decode()]


@pytest.mark.parametrize("pem", bad_keys(), ids=["empty", "no pem", "P-384", "RSA"])
async def test_a_key_that_cannot_sign_breaks_the_credentials(service, pem):
    async with laned(service, Kept(VapidKey(pem, KEY.subject))) as lane:
        outcome = await lane.send(a_message(service.subscribe(SENDER)), inf)
    assert outcome == AuthBroken("the workspace's VAPID key cannot sign")


async def test_a_vault_that_cannot_be_reached_sends_nothing(service):
    async with laned(service, Kept(Unavailable("down"))) as lane:
        assert await lane.send(a_message(service.subscribe(SENDER)), inf) == NotSent("Unavailable")
    assert service.requests == []


# ------------------------------------------------------------------------------------------------ what is answered
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(201, {"location": "https://push.example/m/1"}), Accepted("https://push.example/m/1")),
        (Answer(202), Accepted()),
        (Answer(200), Accepted()),
        (Answer(404), TokenDead(detail="http 404")),
        (Answer(410, body=b'{"code":410,"errno":106}'), TokenDead(detail="http 410 errno 106")),
        (Answer(410, body=b'{"x":' + b"[" * 15_000), TokenDead(detail="http 410")),
        (Answer(400, body=b'{"errno":111}'), Refused("http 400 errno 111")),
        (Answer(413), Refused("http 413")),
        (Answer(401, body=b'{"errno":109}'), AuthBroken("http 401 errno 109")),
        (Answer(403, body=b"the key does not correspond"), AuthBroken("http 403", of_one=True)),
        (Answer(429), Later(SLOWED_S)),
        (Answer(429, {"retry-after": "77"}), Later(77.0)),
        (Answer(429, {"retry-after": "soon"}), Later(SLOWED_S)),
        (Answer(429, {"retry-after": "999999"}), Later(3600.0)),
        (Answer(500), Transient("http 500")),
        (Answer(502, body=b"\xff\x00"), Transient("http 502")),
        (Answer(503, {"retry-after": "120"}), Later(120.0, whole_lane=True)),
        (Answer(503, body=b'{"errno":201}'), Transient("http 503 errno 201")),
        (Answer(503, body=b'{"errno":"many"}'), Transient("http 503")),
        (Answer(503, body=b'{"errno":'), Transient("http 503")),
        (Answer(599), Transient("http 599")),
        (Answer(302, {"location": "https://elsewhere.example/"}), Refused("http 302")),
        (Answer(307, {"location": "http://169.254.169.254/latest"}), Refused("http 307")),
        (Answer(418), Refused("http 418")),
    ],
)
async def test_an_answer_is_read_as_the_table_has_it(service, lane, answer, outcome):
    service.script.append(answer)
    assert await lane.send(a_message(service.subscribe(SENDER)), inf) == outcome
    assert len(service.requests) == 1


async def test_a_date_to_come_back_at_is_understood(service, lane):
    at = from_us(clock.now_us() + 40_000_000)
    service.script.append(Answer(429, {"retry-after": format_datetime(at, usegmt=True)}))
    outcome = await lane.send(a_message(service.subscribe(SENDER)), inf)
    assert 37 < outcome.after_s <= 40
    assert not outcome.whole_lane


@pytest.mark.parametrize("status", [404, 410])
async def test_a_subscription_that_is_gone_is_dead(service, lane, status):
    outcome = await lane.send(a_message(service.subscribe(SENDER, gone=status)), inf)
    assert isinstance(outcome, TokenDead)
    assert outcome.at_us is None


async def test_an_unknown_subscription_is_dead(service, lane):
    browser = service.subscribe(SENDER)
    outcome = await lane.send(a_message(browser, push_token=f"{service.origin}/push/unknown"), inf)
    assert outcome == TokenDead(detail="http 404 errno 102")


async def test_a_redirect_inside_is_not_followed(service, lane):
    browser = service.subscribe(SENDER)
    service.script.append(Answer(308, {"location": browser.endpoint}))
    assert await lane.send(a_message(browser), inf) == Refused("http 308")
    assert len(service.requests) == 1
    assert browser.shown == []


async def test_the_status_stands_whatever_becomes_of_the_body(service):
    async with laned(service, timeout_s=0.3) as lane:
        service.script += [Dripping(410), Dripping(201, b"x" * 20_000, 0)]
        browser = service.subscribe(SENDER)
        started = time.monotonic()
        assert await lane.send(a_message(browser), inf) == TokenDead(detail="http 410")
        assert await lane.send(a_message(browser), inf) == Accepted()
        assert time.monotonic() - started < 2


# ------------------------------------------------------------------------------------------------ no answer
@pytest.mark.parametrize("taken", [True, False])
async def test_a_lost_answer_is_ambiguous_and_the_second_copy_overwrites_the_first(service, lane, taken):
    browser = service.subscribe(SENDER)
    service.script.append(Lost(taken))
    assert isinstance(await lane.send(a_message(browser), inf), Ambiguous)
    assert isinstance(await lane.send(a_message(browser), inf), Accepted)
    assert len(browser.screen) == 1


async def test_an_answer_that_is_too_slow_is_ambiguous(service):
    service.script.append(Answer(201, after_s=5))
    async with laned(service, timeout_s=0.3) as lane:
        assert isinstance(await lane.send(a_message(service.subscribe(SENDER)), inf), Ambiguous)


async def test_where_nobody_listens_nothing_was_sent(service, lane):
    browser = service.subscribe(SENDER)
    outcome = await lane.send(a_message(browser, push_token="https://127.0.0.1:9/push/x"), inf)
    assert isinstance(outcome, NotSent)


async def test_what_cannot_be_sealed_for_want_of_a_thread_was_not_sent(service, lane, monkeypatch):
    def none(*_given):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(lane._sealer._thread, "submit", none)
    assert await lane.send(a_message(service.subscribe(SENDER)), inf) == NotSent("RuntimeError")
    assert service.requests == []


@pytest.mark.parametrize("late_s", [0.0, 0.2])
async def test_what_waited_for_its_key_past_its_time_to_start_is_not_sent(service, late_s):
    vault = Slow(late_s)
    async with laned(service, vault) as lane:
        browser = service.subscribe(SENDER)
        start_by = asyncio.get_running_loop().time() + late_s / 2
        assert await lane.send(a_message(browser), start_by) == NotSent("TimeoutError")
        assert service.requests == []
        assert isinstance(await lane.send(a_message(browser), start_by + 60), Accepted)


def hold_up(seconds):
    """Keep the loop, so that no timer can end a wait."""
    time.sleep(seconds)


@pytest.mark.parametrize("late_of", ["the look", "the offer"])
async def test_what_was_sealed_past_its_time_to_start_is_not_sent(service, lane, monkeypatch, late_of):
    browser, made = service.subscribe(SENDER), lane._sealer.made

    async def late(plain):
        letter = await made(plain)
        hold_up(1.5)
        return letter

    monkeypatch.setattr(lane._sealer, "made", late)
    lane._timeout_s = 60.0
    now_us = clock.now_us()
    lane._now_us = lambda: now_us  # its own look at what is left finds enough
    start_by = asyncio.get_running_loop().time() + 1.0 if late_of == "the look" else inf
    message = a_message(browser, expires_us=now_us + (1_000_000 if late_of == "the offer" else 60_000_000))
    assert isinstance(await lane.send(message, start_by), NotSent)
    assert service.requests == []


async def test_a_certificate_that_is_not_trusted_gets_nothing(service):
    async with guarded_session(LOOPBACK) as session:
        lane = WebPushLane(session, Kept(), networks=LOOPBACK)
        assert isinstance(await lane.send(a_message(service.subscribe(SENDER)), inf), NotSent)
        await lane.close()
    assert service.requests == []


async def test_no_seed_of_faults_shows_an_offer_twice_on_a_screen(service, lane):
    faults = [(Lost(True), 0.2), (Lost(False), 0.1), (Answer(500), 0.1), (Answer(429), 0.1), (Answer(410), 0.05)]
    for seed in range(5):
        service.trouble = drawn_faults(seed, faults)
        browsers = [service.subscribe(SENDER) for _ in range(20)]
        for _ in range(2):
            outcomes = await asyncio.gather(*(lane.send(a_message(browser), inf) for browser in browsers))
        assert all(len(browser.screen) <= 1 for browser in browsers), f"seed {seed}"
        taken = [browser for browser, outcome in zip(browsers, outcomes, strict=True) if isinstance(outcome, Accepted)]
        assert taken, f"seed {seed}"
        assert all(browser.screen for browser in taken), f"seed {seed}"


# ------------------------------------------------------------------------------------------------ where it leads
ELSEWHERE = [
    *("http://push.example/x", "https://127.0.0.1/x", "https://[::ffff:127.0.0.1]/x", "https://0x7f000001/x"),
    *("https://169.254.169.254/latest/meta-data", "https://127.1/x", "https://localhost/x", "https://[::1]:8443/x"),
    *("https://push.example:x/", "https://user@push.example/", "no address", "", "https://push.example/ x"),
]


@pytest.mark.parametrize("endpoint", [*ELSEWHERE, None])
async def test_an_endpoint_that_leads_inside_or_nowhere_is_refused_without_a_call(service, endpoint):
    vault = Kept()
    async with laned(service, vault, networks=()) as lane:
        message = a_message(service.subscribe(SENDER), push_token=endpoint)
        lane.scope(message)
        assert await lane.send(message, inf) == Refused("the endpoint is no https address of a public host", by_us=True)
    assert vault.asked == []


async def test_an_endpoint_whose_name_leads_inside_is_refused_without_a_byte(service):
    port = service.origin.rpartition(":")[2]
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
        async with laned(service, networks=(), resolver=Stub([address])) as lane:
            message = a_message(service.subscribe(SENDER), push_token=f"https://push.example:{port}/push/x")
            assert await lane.send(message, inf) == Refused(
                "the endpoint's name leads to an address that is not public", by_us=True
            )
    assert service.requests == []


async def test_a_name_that_nobody_knows_is_not_the_end_of_the_offer(service):
    class Nobody(Stub):
        async def resolve(self, host, port=0, family=0):
            raise OSError("no such name")

    async with laned(service, networks=(), resolver=Nobody([])) as lane:
        message = a_message(service.subscribe(SENDER), push_token="https://push.example/x")
        assert isinstance(await lane.send(message, inf), NotSent)


@pytest.mark.parametrize(
    ("host", "called"),
    [("push.example", True), ("eu.push.example", True), ("notpush.example", False), ("push.example.org", False)],
)
async def test_where_push_hosts_are_named_only_they_are_called(service, host, called):
    port = service.origin.rpartition(":")[2]
    async with laned(service, resolver=Stub(["127.0.0.1"]), push_hosts=("push.example",)) as lane:
        outcome = await lane.send(
            a_message(service.subscribe(SENDER), push_token=f"https://{host}:{port}/push/unknown"), inf
        )
    elsewhere = TokenDead(detail="its host is no push service that may be called", by_us=True)
    assert (outcome == elsewhere) is not called


async def test_workspaces_and_origins_are_scopes_of_their_own(service, lane):
    first = a_message(push_token="https://push.example/a")
    assert lane.scope(first) == lane.scope(replace(first, push_token="https://push.example:443/b", offer=UUID(int=9)))
    others = [replace(first, workspace=UUID(int=9)), replace(first, push_token="https://push.example:8443/a")]
    assert len({lane.scope(message) for message in [first, *others]}) == 3
    assert lane.scope(replace(first, push_token="no address")) is None


# ------------------------------------------------------------------------------------------------ keys of browsers
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"


@pytest.mark.parametrize(
    "keys",
    [
        *(None, "", "{", "[]", "{}", '{"p256dh":1,"auth":2}', json.dumps({"p256dh": P256DH})),
        json.dumps({"p256dh": P256DH[:-1], "auth": AUTH}),
        json.dumps({"p256dh": "B" + P256DH, "auth": AUTH}),
        json.dumps({"p256dh": P256DH.replace("C", "D", 1), "auth": AUTH}),
        json.dumps({"p256dh": P256DH, "auth": AUTH[:-4]}),
        json.dumps({"p256dh": P256DH, "auth": "é" * 22}),
        json.dumps({"p256dh": P256DH, "auth": "!" + AUTH}),
        json.dumps({"p256dh": "", "auth": ""}),
    ],
)
async def test_keys_that_are_none_make_the_subscription_dead(service, lane, keys):
    outcome = await lane.send(a_message(service.subscribe(SENDER), push_keys=keys), inf)
    assert outcome == TokenDead(detail="keys", by_us=True)
    assert service.requests == []


@pytest.mark.parametrize("padding", ["", "="])
async def test_keys_are_read_with_padding_and_with_others_beside_them(service, lane, padding):
    browser = service.subscribe(SENDER)
    given = json.loads(browser.keys)
    keys = json.dumps({"p256dh": given["p256dh"] + padding, "auth": given["auth"] + padding * 2, "more": [1]})
    assert isinstance(await lane.send(a_message(browser, push_keys=keys), inf), Accepted)


# ------------------------------------------------------------------------------------------------ what is told
@pytest.mark.parametrize("answer", [None, Answer(410), Answer(401), Answer(500), Lost(True), Answer(302)])
async def test_neither_outcome_nor_log_has_the_endpoint_the_keys_or_the_text(service, lane, answer, caplog, capsys):
    caplog.set_level("DEBUG", logger="geo_offers")
    service.script.append(answer)
    browser = service.subscribe(SENDER)
    outcome = await lane.send(a_message(browser), inf)
    told = repr(outcome) + caplog.text + "".join(capsys.readouterr())
    token = browser.endpoint.rpartition("/")[2]
    for secret in (token, *json.loads(browser.keys).values(), "Warm buns", KEY.key, "vapid"):
        assert secret not in told


async def test_the_loop_stays_free_while_messages_are_sealed(service, lane):
    browser = service.subscribe(SENDER)
    await lane.send(a_message(browser), inf)
    plain = webpush._Plain(b"{}", browser.keys, KEY, "https://push.example", clock.now_us() // 1_000_000, inf)
    sends = asyncio.gather(*(lane._sealer.made(plain) for _ in range(300)))
    turns = 0
    while not sends.done():
        await asyncio.sleep(0)
        turns += 1
    assert len(sends.result()) == 300
    assert turns > 20  # on the loop itself they would be sealed within two
