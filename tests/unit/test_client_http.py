"""Requests of the SDK against a server of the test's own: retries, tokens, splitting, problems."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey

from geo_offers import instants, wire
from geo_offers.client import ApiError, Client, ClientError, ConnectionFailed, Patience, UnreadableAnswer
from geo_offers.client import pings as batches
from geo_offers.client.http import reason
from geo_offers.client.retry import Backoff, retry_after_s
from tests.support.loopback import answering
from tests.support.stalls import Stalls

DEVICE, USER = uuid4(), uuid4()
QUICK = Patience(attempts=5, first_s=0.01, longest_s=0.02, total_s=5.0)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeServer:
    """Answers by a list of prepared handlers a path, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.scripts: dict[str, list[Handler]] = {}
        self.url = ""

    def on(self, method: str, path: str, *handlers: Handler) -> None:
        self.scripts[f"{method} {path}"] = list(handlers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        path = request.raw_path
        self.asked.append((request.method, path, dict(request.headers), msgspec.json.decode(body) if body else None))
        script = self.scripts.get(f"{request.method} {path.partition('?')[0]}")
        if script is None:
            return problem(404, "not_found")
        return await (script.pop(0) if len(script) > 1 else script[0])(request)

    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.asked]

    def bearers(self, path: str) -> list[str]:
        return [headers["Authorization"] for _, asked, headers, _ in self.asked if asked == path]


def answer(value: object, status: int = 200) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=msgspec.json.encode(value), content_type="application/json")

    return handle


def problem(status: int, code: str, faults: tuple[wire.ProblemFault, ...] = (), **headers: str) -> web.Response:
    body = wire.Problem(
        kind=f"urn:{code}", title=code, status=status, detail="what it is", instance="/", code=code, errors=list(faults)
    )
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/problem+json", headers=named
    )


def refuse(status: int, code: str, **headers: str) -> Handler:
    async def handle(_request: web.Request) -> web.Response:
        return problem(status, code, (), **headers)

    return handle


async def drop(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def enrolled(access: str = "access-0", refresh: str = "refresh-0", expires_in: int = 900) -> wire.Enrolled:
    return wire.Enrolled(device=DEVICE, user=USER, access_token=access, expires_in=expires_in, refresh_token=refresh)


async def accept(request: web.Request) -> web.Response:
    pings = msgspec.json.decode(await request.read())["pings"]
    body = wire.PingsAnswer(results=[wire.PointResult(status="accepted")] * len(pings), transitions=[], offers=[])
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", handle)
    async with answering(app) as url:
        yield url


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    fake.on("POST", "/v1/devices", answer(enrolled(), 201))
    fake.on("POST", "/v1/pings", accept)
    async with serving(fake.handle) as fake.url:
        yield fake


@pytest.fixture
async def client(server: FakeServer) -> AsyncIterator[Client]:
    async with Client(server.url, "pk_key", patience=QUICK) as opened:
        yield opened


def _unreachable(error: OSError) -> aiohttp.ClientConnectorError:
    key = ConnectionKey("host", 9, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, error)


def ping(second: int = 0, **more: Any) -> wire.Ping:
    return wire.Ping(at=instants.text(1_700_000_000_000_000 + second * 1_000_000), lat=53.0, lon=8.8, **more)


# ---------------------------------------------------------------------------------------------- enrolment and tokens
async def test_an_enrolment_goes_with_the_key_and_without_empty_fields(server: FakeServer, client: Client) -> None:
    device = await client.enrol(wire.Enrolment(platform="ios", consents={"locate": "v1"}))
    assert (device.device_id, device.user, device.refresh_token) == (DEVICE, USER, "refresh-0")
    _, _, headers, body = server.asked[0]
    assert headers["Authorization"] == "Bearer pk_key"
    assert body == {"platform": "ios", "consents": {"locate": "v1"}}


async def test_an_enrolment_whose_answer_was_lost_is_repeated_under_the_same_key(
    server: FakeServer, client: Client
) -> None:
    server.on("POST", "/v1/devices", drop, refuse(503, "unavailable"), answer(enrolled(), 201))
    await client.enrol(wire.Enrolment(platform="ios"))
    keys = [headers["Idempotency-Key"] for _, _, headers, _ in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_many_are_enrolled_by_one_array(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/devices", answer([enrolled("a"), enrolled("b")], 201))
    devices = await client.enrol_many([wire.Enrolment(platform="ios"), wire.Enrolment(platform="web")])
    assert len(devices) == 2
    assert [one["platform"] for one in server.asked[0][3]] == ["ios", "web"]
    with pytest.raises(ValueError, match="at most 1000"):
        await client.enrol_many([wire.Enrolment(platform="ios")] * 1001)


async def test_calls_that_find_the_token_refused_at_once_renew_it_once(server: FakeServer, client: Client) -> None:
    async def only_new(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        fresh = request.headers["Authorization"] == "Bearer access-1"
        return await answer(wire.Rhythm())(request) if fresh else problem(401, "unauthenticated")

    server.on("GET", "/v1/me/rhythm", only_new)
    renewal = wire.Tokens(access_token="access-1", expires_in=900, refresh_token="refresh-1")
    server.on("POST", "/v1/devices/token", answer(renewal))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    await asyncio.gather(*(device.rhythm() for _ in range(20)))
    assert server.paths().count("/v1/devices/token") == 1
    assert device.refresh_token == "refresh-1"


async def test_a_resumed_device_renews_first_and_hands_over_the_new_token_before_using_it(
    server: FakeServer, client: Client
) -> None:
    kept: list[str] = []

    async def keep(tokens: wire.Tokens) -> None:
        assert server.bearers("/v1/me/rhythm") == []
        kept.append(tokens.refresh_token)

    renewal = wire.Tokens(access_token="access-1", expires_in=900, refresh_token="refresh-1")
    server.on("POST", "/v1/devices/token", answer(renewal))
    server.on("GET", "/v1/me/rhythm", answer(wire.Rhythm(max=5)))
    assert (await client.device(DEVICE, "refresh-0", on_tokens=keep).rhythm()).max == 5
    assert kept == ["refresh-1"]
    assert server.asked[0][3] == {"refresh_token": "refresh-0"}
    assert "Authorization" not in server.asked[0][2]
    assert server.bearers("/v1/me/rhythm") == ["Bearer access-1"]


async def test_a_token_is_renewed_before_it_ends(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/devices", answer(enrolled(expires_in=0), 201))
    renewal = wire.Tokens(access_token="access-1", expires_in=900, refresh_token="refresh-1")
    server.on("POST", "/v1/devices/token", answer(renewal))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    await device.send([ping()])
    await device.send([ping()])
    assert server.bearers("/v1/pings") == ["Bearer access-1", "Bearer access-1"]
    assert server.paths().count("/v1/devices/token") == 1


async def test_a_token_refused_again_after_its_renewal_is_an_error(server: FakeServer, client: Client) -> None:
    server.on("GET", "/v1/me/rhythm", refuse(401, "unauthenticated"))
    renewal = wire.Tokens(access_token="access-1", expires_in=900, refresh_token="refresh-1")
    server.on("POST", "/v1/devices/token", answer(renewal))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    with pytest.raises(ApiError) as caught:
        await device.rhythm()
    assert caught.value.status == 401
    assert server.paths().count("/v1/me/rhythm") == 2


# ---------------------------------------------------------------------------------------------- trying again
async def test_a_request_is_sent_again_after_503_429_and_a_lost_connection(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/pings", refuse(503, "unavailable"), refuse(429, "too_many_requests"), drop, accept)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    sent = await device.send([ping()])
    assert [result.status for result in sent.results] == ["accepted"]
    bodies = [body for _, path, _, body in server.asked if path == "/v1/pings"]
    assert len(bodies) == 4
    assert all(body == bodies[0] for body in bodies)
    assert all("Idempotency-Key" not in headers for _, path, headers, _ in server.asked if path == "/v1/pings")


async def test_a_server_that_names_a_time_is_not_asked_earlier(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/pings", refuse(503, "unavailable", Retry_After="1"), accept)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    before = time.monotonic()
    with Stalls() as stalls:
        await device.send([ping()])
    assert 1.0 <= time.monotonic() - before < 2.0 + stalls.seconds


async def test_a_time_beyond_all_patience_is_an_error_at_once(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/pings", refuse(429, "too_many_requests", Retry_After="3600"), accept)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    with pytest.raises(ApiError) as caught:
        await device.send([ping()])
    assert (caught.value.status, caught.value.retry_after_s) == (429, 3600.0)


async def test_tries_are_bounded(server: FakeServer, client: Client) -> None:
    device = await client.enrol(wire.Enrolment(platform="ios"))
    server.on("POST", "/v1/pings", drop)
    with pytest.raises(ConnectionFailed, match="/v1/pings had no answer"):
        await device.send([ping()])
    assert server.paths().count("/v1/pings") == QUICK.attempts


async def test_a_server_that_is_not_there_is_said_so() -> None:
    async with serving(answer({})) as url:
        pass
    async with Client(url, "pk_key", patience=Patience(attempts=2, first_s=0.01)) as client:
        with pytest.raises(ConnectionFailed):
            await client.enrol(wire.Enrolment(platform="ios"))


def test_waits_grow_are_spread_and_end() -> None:
    patience = Patience(attempts=6, first_s=1.0, longest_s=4.0, total_s=100.0)
    runs = []
    for _ in range(20):
        backoff = Backoff(patience)
        waits = [backoff.next_wait_s() for _ in range(6)]
        assert waits[-1] is None
        runs.append([wait for wait in waits if wait is not None])
    for ceiling, column in zip((1.0, 2.0, 4.0, 4.0, 4.0), zip(*runs, strict=True), strict=True):
        assert all(ceiling / 2 <= wait <= ceiling for wait in column)
        assert len(set(column)) > 1


def test_retry_after_is_read_in_both_its_forms() -> None:
    assert retry_after_s("2") == 2.0
    assert retry_after_s("-5") == 0.0
    assert retry_after_s(None) is None
    assert retry_after_s("soon") is None
    assert retry_after_s("inf") is None
    ahead = instants.from_us(time.time_ns() // 1000 + 30_000_000)
    found = retry_after_s(format_datetime(ahead, usegmt=True))
    assert found is not None
    assert 28 < found <= 30
    assert retry_after_s(format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)) == 0.0


# ---------------------------------------------------------------------------------------------- problems
async def test_a_problem_is_an_error_with_its_code_and_faults(server: FakeServer, client: Client) -> None:
    fault = wire.ProblemFault(pointer="/max", code="invalid", detail="at most 1000")

    async def refused(_request: web.Request) -> web.Response:
        return problem(422, "invalid", (fault,))

    server.on("PUT", "/v1/me/rhythm", refused)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    with pytest.raises(ApiError) as caught:
        await device.set_rhythm(wire.Rhythm(max=5))
    error = caught.value
    assert (error.status, error.code, error.detail) == (422, "invalid", "what it is")
    assert [(one.pointer, one.code, one.detail) for one in error.faults] == [("/max", "invalid", "at most 1000")]
    assert str(error) == "422 invalid: what it is"
    assert server.paths().count("/v1/me/rhythm") == 1


async def test_a_page_of_a_proxy_is_still_an_error_with_a_status(server: FakeServer, client: Client) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=403, text="<html>no</html>", content_type="text/html")

    server.on("POST", "/v1/devices", page)
    with pytest.raises(ApiError) as caught:
        await client.enrol(wire.Enrolment(platform="ios"))
    assert (caught.value.status, caught.value.code) == (403, "http_403")


async def test_a_redirect_is_not_followed_with_the_key(server: FakeServer, client: Client) -> None:
    async def away(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{server.url}/elsewhere"})

    server.on("POST", "/v1/devices", away)
    with pytest.raises(ApiError):
        await client.enrol(wire.Enrolment(platform="ios"))
    assert server.paths() == ["/v1/devices"]


async def test_an_answer_of_another_shape_is_unreadable(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/devices", answer({"hello": "world"}, 201))
    with pytest.raises(UnreadableAnswer):
        await client.enrol(wire.Enrolment(platform="ios"))


@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://host", "http://", "http://host?x=1", "http://host:99999", "http://[::1"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="must look like"):
        Client(url)


@pytest.mark.parametrize("key", ["", "pk_…", "pk_a\n", "pk a"])
def test_a_key_that_no_header_could_carry_is_refused(key: str) -> None:
    with pytest.raises(ClientError, match="the key is empty, or holds a character that no key has"):
        Client("http://127.0.0.1:8080", key)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_unreachable(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")), "Connection refused"),
        (_unreachable(socket.gaierror(socket.EAI_NONAME, "Name or service not known")), "Name or service not known"),
        (_unreachable(ssl.SSLError(1, "wrong version number")), "wrong version number"),
        (TimeoutError(), "it took too long"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
    ],
    ids=["system", "name", "tls", "time", "other"],
)
def test_why_a_connection_failed_is_told_in_the_systems_words(error: Exception, said: str) -> None:
    assert reason(error) == said


# ---------------------------------------------------------------------------------------------- pings
async def test_a_long_batch_is_split_by_time_and_answered_in_the_order_given(
    server: FakeServer, client: Client
) -> None:
    sizes: list[int] = []
    newest = ""

    async def by_time(request: web.Request) -> web.Response:
        nonlocal newest
        points = sorted(msgspec.json.decode(await request.read())["pings"], key=lambda point: point["at"])
        sizes.append(len(points))
        assert points[0]["at"] > newest  # nothing of this request is late
        newest = points[-1]["at"]
        reasons = {point["at"]: wire.PointResult(status="refused", reason="rate") for point in points[:1]}
        body = wire.PingsAnswer(
            results=[reasons.get(point["at"], wire.PointResult(status="accepted")) for point in points],
            transitions=[],
            offers=[],
        )
        return web.Response(body=msgspec.json.encode(body), content_type="application/json")

    server.on("POST", "/v1/pings", by_time)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    seconds = list(range(2500))
    seconds.reverse()
    sent = await device.send([ping(second) for second in seconds])
    assert sizes == [1000, 1000, 500]
    refused = [second for second, result in zip(seconds, sent.results, strict=True) if result.status == "refused"]
    assert refused == [2000, 1000, 0]


def test_batches_keep_below_the_bytes_allowed() -> None:
    pings = [ping(second, id="x" * 100) for second in range(900)]
    parts = batches.split(pings, batches.MAX_FRAME_BYTES)
    assert len(parts) == 3
    assert all(len(part.array) <= batches.MAX_FRAME_BYTES for part in parts)
    assert sorted(place for part in parts for place in part.places) == list(range(900))
    assert [len(msgspec.json.decode(part.array)) for part in parts] == [len(part.places) for part in parts]


def test_one_batch_keeps_the_order_given() -> None:
    (part,) = batches.split([ping(9), ping(3), ping(5)], 10_000)
    assert part.places == (0, 1, 2)
    assert batches.split([], 10_000) == []


async def test_sends_of_one_device_do_not_overtake_each_other(server: FakeServer, client: Client) -> None:
    server.on("POST", "/v1/pings", refuse(503, "unavailable"), accept)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    await asyncio.gather(*(device.send([ping(second)]) for second in range(4)))
    order = [body["pings"][0]["at"][-4:-1] for _, path, _, body in server.asked if path == "/v1/pings"]
    assert order == [":20", ":20", ":21", ":22", ":23"]


async def test_a_server_key_sends_for_many_devices(server: FakeServer) -> None:
    async with Client(server.url, "sk_key") as client:
        other = uuid4()
        await client.send([ping(1, device=DEVICE), ping(2, device=other)])
    assert server.bearers("/v1/pings") == ["Bearer sk_key"]
    assert [UUID(one["device"]) for one in server.asked[0][3]["pings"]] == [DEVICE, other]


# ---------------------------------------------------------------------------------------------- the person's calls
async def test_the_persons_calls_go_where_the_contract_says(server: FakeServer, client: Client) -> None:
    offer = uuid4()
    state = wire.ConsentState(purpose="offers", granted=False, text_version="v2", at=datetime(2026, 1, 1, tzinfo=UTC))
    server.on("PUT", "/v1/me/consents/offers", answer(state))
    server.on("PUT", "/v1/me/rhythm", answer(wire.Rhythm(max=1)))
    server.on("POST", f"/v1/me/offers/{offer}/events", answer(None))
    server.on("DELETE", "/v1/me", answer(None))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    assert not (await device.set_consent("offers", granted=False, text_version="v2")).granted
    assert (await device.set_rhythm(wire.Rhythm(max=1))).max == 1
    await device.event(offer, "dismissed", "too_many")
    await device.erase()
    assert server.asked[1][3] == {"granted": False, "text_version": "v2"}
    assert server.asked[3][3] == {"type": "dismissed", "reason": "too_many"}
    assert server.asked[4][:2] == ("DELETE", "/v1/me")


async def test_a_profile_is_read_and_patched_and_a_link_is_made(server: FakeServer, client: Client) -> None:
    profile = wire.Profile(attributes={"city": "Emden"}, locale="de")
    link = wire.PreferenceLink(url="https://offers.example/p/x", expires_in=3600)
    server.on("GET", "/v1/me/profile", answer(profile))
    server.on("PATCH", "/v1/me/profile", answer(profile))
    server.on("POST", "/v1/me/link", answer(link))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    assert await device.profile() == profile
    assert await device.patch_profile(wire.ProfilePatch(attributes={"city": None}, refused=["size"])) == profile
    assert server.asked[-1][3] == {"attributes": {"city": None}, "refused": ["size"]}
    assert await device.link() == link


@pytest.mark.parametrize("lost", [[], [drop], [drop, refuse(401, "unauthenticated")]])
async def test_a_log_in_goes_on_with_its_own_token_whatever_was_lost(
    server: FakeServer, client: Client, lost: list[Handler]
) -> None:
    named = uuid4()
    told = wire.LoggedIn(device=DEVICE, user=named, access_token="access-9", expires_in=900, merged=True)
    fresh = wire.Tokens(access_token="access-8", expires_in=900, refresh_token="refresh-1")
    server.on("POST", "/v1/me/user", *lost, answer(told))
    server.on("POST", "/v1/devices/token", answer(fresh))
    device = await client.enrol(wire.Enrolment(platform="ios"))
    assert (await device.log_in("kim", "proof")).merged
    assert device.user == named
    assert server.asked[-1][3] == {"user": "kim", "user_proof": "proof"}
    await device.send([ping()])
    assert server.bearers("/v1/pings") == ["Bearer access-9"]
    assert device.refresh_token == ("refresh-1" if len(lost) == 2 else "refresh-0")


async def test_a_server_key_tells_what_people_did_and_what_it_knows_of_them(server: FakeServer) -> None:
    at, offer = datetime(2026, 1, 1, tzinfo=UTC), uuid4()
    profile = wire.Profile(attributes={"purchases": 1}, locale="en")
    server.on("POST", "/v1/interactions", answer(wire.InteractionKept(kept=True, redeemed=True)))
    server.on("PATCH", "/v1/users/ann%2Fx/profile", answer(profile))
    async with Client(server.url, "sk_key") as client:
        told = await client.tell(wire.Interaction(id="p1", user="ann/x", type="purchase", at=at, offer=offer))
        assert (told.kept, told.redeemed) == (True, True)
        assert await client.patch_profile("ann/x", wire.ProfilePatch(attributes={"purchases": 1})) == profile
    sent = {"id": "p1", "user": "ann/x", "type": "purchase", "at": "2026-01-01T00:00:00Z", "offer": str(offer)}
    assert server.asked[0][3] == sent | {"valid_s": 86_400}
    assert {headers["Authorization"] for _, _, headers, _ in server.asked} == {"Bearer sk_key"}


async def test_the_inbox_is_read_to_its_last_page(server: FakeServer, client: Client) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    first, second = (
        wire.Offer(
            id=uuid4(), campaign=uuid4(), fence="s/1", title="t", body="b", lane="inapp", alert=False,
            created_at=now, expires_at=now,
        )
        for _ in range(2)
    )  # fmt: skip

    async def pages(request: web.Request) -> web.StreamResponse:
        more = request.query.get("cursor")
        page = wire.OfferPage(items=[second]) if more == "c 1" else wire.OfferPage(items=[first], next="c 1")
        return await answer(page)(request)

    server.on("GET", "/v1/me/offers", pages)
    device = await client.enrol(wire.Enrolment(platform="ios"))
    assert [offer.id for offer in await device.inbox()] == [first.id, second.id]
