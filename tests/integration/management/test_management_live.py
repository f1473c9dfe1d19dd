"""The live feed over a real socket: what is told, to whom, and what becomes of a reader that does not read."""

import asyncio
import json
import socket
import uuid
from contextlib import asynccontextmanager

from geo_offers.pipeline import live as feed
from geo_offers.pipeline.tokens import parse_key, workspace_id
from geo_offers.storage.keys import create_key, revoke_key
from geo_offers.web import auth, live

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")
ANNA = uuid.UUID(int=1)


@asynccontextmanager
async def reading(site, who="owner", last_id=None, **query):
    headers = site.headers(who) | ({} if last_id is None else {"Last-Event-ID": last_id})
    async with site.client.get("/v1/live", params=query, headers=headers) as response:
        yield response


async def next_lines(response):
    """The lines of the next event or comment."""
    async with asyncio.timeout(5):
        block = await response.content.readuntil(b"\n\n")
    return block.decode().strip().split("\n")


async def next_event(response):
    lines = dict(line.split(": ", 1) for line in await next_lines(response))
    return lines.get("id"), lines["event"], json.loads(lines["data"])


def tell(site, name="decision", workspace=ALPHA, **data):
    site.services.live.publish(workspace, name, data)


async def test_what_happens_is_told_as_it_happens(site):
    async with reading(site, who="viewer") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert await next_lines(response) == ["retry: 2000"]
        tell(site, reason="cap")
        assert await next_event(response) == ("1", "decision", {"reason": "cap"})
        tell(site, "transition", type="enter")
        assert await next_event(response) == ("2", "transition", {"type": "enter"})


async def test_only_the_types_asked_for_are_told(site):
    async with reading(site, types="decision,offer") as response:
        await next_lines(response)
        tell(site, "transition", n=1)
        tell(site, "decision", n=2)
        tell(site, "offer", n=3)
        assert [(await next_event(response))[2]["n"] for _ in range(2)] == [2, 3]


async def test_a_reader_that_comes_back_gets_what_it_missed(site):
    async with reading(site) as response:
        await next_lines(response)
        tell(site, n=1)
        seen = (await next_event(response))[0]
    tell(site, n=2)
    tell(site, n=3)
    async with reading(site, last_id=seen) as response:
        await next_lines(response)
        assert [(await next_event(response))[2]["n"] for _ in range(2)] == [2, 3]
    async with reading(site, last_id="no number of ours") as response:
        await next_lines(response)
        tell(site, n=4)
        assert (await next_event(response))[2]["n"] == 4


async def test_another_workspace_hears_nothing(site):
    async with reading(site, who="beta") as response, reading(site) as ours:
        await next_lines(response)
        await next_lines(ours)
        tell(site, n=1)
        tell(site, workspace=BETA, n=2)
        assert (await next_event(response))[2]["n"] == 2
        assert (await next_event(ours))[2]["n"] == 1


async def test_people_are_named_as_the_reader_may_know_them(site):
    async with reading(site, who="owner") as owner, reading(site, who="viewer") as viewer:
        await next_lines(owner)
        await next_lines(viewer)
        tell(site, user=ANNA, fence="town/a")
        assert (await next_event(owner))[2] == {"user": str(ANNA), "fence": "town/a"}
        told = (await next_event(viewer))[2]
        assert told["user"].startswith("p-")
        assert told["fence"] == "town/a"


async def test_a_quiet_line_is_kept_alive(site, monkeypatch):
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.02)
    async with reading(site) as response:
        await next_lines(response)
        assert await next_lines(response) == [": alive"]
        assert await next_lines(response) == [": alive"]
        tell(site, n=1)
        while (lines := await next_lines(response)) == [": alive"]:
            pass
        assert lines[1] == "event: decision"


async def test_the_feed_takes_a_manager_key(site):
    cases = ["server", "app"]
    for who in cases:
        async with reading(site, who=who) as response:
            assert response.status == 403


async def test_a_feed_without_a_key_or_with_an_odd_query_is_refused(site):
    async with site.client.get("/v1/live") as response:
        assert response.status == 401
    for query in ({"types": "a b"}, {"types": ""}, {"sort": "x"}):
        async with reading(site, **query) as response:
            assert response.status == 422


async def test_past_the_bound_of_readers_the_next_is_asked_to_come_later(site, monkeypatch):
    monkeypatch.setattr(feed, "READERS", 1)
    async with reading(site) as response:
        await next_lines(response)
        async with reading(site) as refused:
            assert refused.status == 429
            assert refused.headers["Retry-After"] == "5"
        async with reading(site, who="beta") as other:
            assert other.status == 200
    async with asyncio.timeout(5):
        while site.services.live.full(ALPHA):
            tell(site, n=1)
            await asyncio.sleep(0.01)


async def test_a_reader_that_lost_events_is_told_how_many(site, monkeypatch):
    monkeypatch.setattr(feed, "QUEUE", 3)
    async with reading(site) as response:
        await next_lines(response)
        for number in range(10):  # no await in between: the reader has no chance
            tell(site, n=number)
        assert await next_event(response) == (None, "dropped", {"dropped": 7})
        assert [(await next_event(response))[2]["n"] for _ in range(3)] == [7, 8, 9]


async def test_a_reader_that_does_not_read_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(live, "WRITE_S", 0.2)
    loop = asyncio.get_running_loop()
    with socket.socket() as plug:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plug.setblocking(False)
        await loop.sock_connect(plug, ("127.0.0.1", site.client.port))
        head = f"GET /v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: {site.headers('owner')['Authorization']}\r\n\r\n"
        await loop.sock_sendall(plug, head.encode())
        async with asyncio.timeout(10):
            while ALPHA not in site.services.live.watched():
                await asyncio.sleep(0.01)
            while ALPHA in site.services.live.watched():
                tell(site, fill="x" * 60_000)
                await asyncio.sleep(0.002)


async def test_open_feeds_end_when_the_service_stops(site):
    async with reading(site) as response:
        await next_lines(response)
        async with asyncio.timeout(5):  # aiohttp itself would wait a minute for the handler
            await site.client.server.close()
        assert ALPHA not in site.services.live.watched()


async def test_a_feed_ends_when_its_key_is_revoked(site, monkeypatch):
    monkeypatch.setattr(live, "KEY_CHECK_S", 0.05)
    monkeypatch.setattr(auth, "REMEMBER_US", 0)
    site.keys["leaving"] = await create_key(site.pool, "Alpha", "manager", "viewer", replay=False)
    async with reading(site, who="leaving") as response, reading(site) as other:
        await next_lines(response)
        await next_lines(other)
        assert await revoke_key(site.pool, "Alpha", parse_key(site.keys["leaving"]).id)
        async with asyncio.timeout(5):
            assert await response.content.read() == b""
        tell(site, n=1)
        assert (await next_event(other))[2]["n"] == 1


async def test_a_phone_is_named_no_better_than_its_person(site):
    async with reading(site, who="owner") as owner, reading(site, who="viewer") as viewer:
        await next_lines(owner)
        await next_lines(viewer)
        tell(site, "transition", device=ANNA, type="enter")
        assert (await next_event(owner))[2]["device"] == str(ANNA)
        assert (await next_event(viewer))[2]["device"].startswith("p-")
