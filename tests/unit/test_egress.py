"""Row 48 at send, and names that flip: the guarded session on real sockets, with a resolver that lies."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver

from geo_offers.egress import guarded_session
from geo_offers.hosts import ForbiddenAddress, networks
from tests.support.loopback import answering

CALLS = web.AppKey("calls", list[str])
LOOPBACK = networks("127.0.0.1/32")


class Stub(AbstractResolver):
    """Names lead where the script says, one answer a look-up; the last one stays."""

    def __init__(self, *answers):
        self.answers = [list(answer) for answer in answers]
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if ":" in address else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
            for address in addresses
        ]

    async def close(self):
        pass


async def hello(request):
    request.app[CALLS].append(request.host)
    return web.Response(text="hello")


@pytest.fixture
async def inside():
    """A server on the loopback address, as one of the operator's own would be; gives its port and who called."""
    app = web.Application()
    app[CALLS] = []
    app.router.add_get("/{path:.*}", hello)
    async with answering(app) as url:
        yield int(url.rpartition(":")[2]), app[CALLS]


async def refused(session, url, **options):
    with pytest.raises(aiohttp.ClientConnectorError) as caught:
        async with session.get(url, **options):
            pass
    return isinstance(caught.value.os_error, ForbiddenAddress)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "0", "localhost"])
async def test_no_spelling_of_the_loopback_address_is_called(inside, host):
    port, calls = inside
    async with guarded_session() as session:
        with pytest.raises((aiohttp.ClientError, OSError)):
            async with session.get(f"http://{host}:{port}/"):
                pass
    assert calls == []


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "fd00::1"],
)
async def test_no_address_inside_is_called_written_out_or_by_a_name(inside, address):
    port, calls = inside
    literal = f"[{address}]" if ":" in address else address
    async with guarded_session(resolver=Stub([address])) as session:
        assert await refused(session, f"http://{literal}:{port}/")
        assert await refused(session, f"http://push.example:{port}/")
    assert calls == []


async def test_what_the_operator_allows_is_called(inside):
    port, calls = inside
    async with (
        guarded_session(LOOPBACK, resolver=Stub(["127.0.0.1"])) as session,
        session.get(f"http://push.example:{port}/") as response,
    ):
        assert await response.text() == "hello"
    assert calls == [f"push.example:{port}"]


async def test_a_name_that_flips_to_an_address_inside_is_not_called(inside):
    port, calls = inside
    flipping = Stub(["127.0.0.1"], ["127.0.0.2"])
    connector_forgets = {"connection": "close"}
    async with guarded_session(LOOPBACK, resolver=flipping) as session:
        async with session.get(f"http://push.example:{port}/", headers=connector_forgets) as response:
            assert response.status == 200
        session.connector.clear_dns_cache()
        assert await refused(session, f"http://push.example:{port}/")
    assert flipping.asked == 2
    assert len(calls) == 1


async def test_a_name_that_flips_after_the_look_up_changes_nothing(inside):
    port, _ = inside
    flipping = Stub(["127.0.0.1"], ["10.0.0.1"])
    async with (
        guarded_session(LOOPBACK, resolver=flipping) as session,
        session.get(f"http://push.example:{port}/") as response,
    ):
        assert response.status == 200
    assert flipping.asked == 1  # the address that was looked up is the one that was connected to


async def test_of_a_name_with_several_addresses_those_inside_are_left_out(inside):
    port, calls = inside
    async with (
        guarded_session(LOOPBACK, resolver=Stub(["127.0.0.2", "127.0.0.1"])) as session,
        session.get(f"http://push.example:{port}/") as response,
    ):
        assert response.status == 200
    async with guarded_session(resolver=Stub(["127.0.0.1", "10.0.0.1", "::1"])) as session:
        assert await refused(session, f"http://push.example:{port}/")
    assert len(calls) == 1


async def test_a_redirect_leads_nowhere_inside_even_where_it_is_followed(inside):
    port, calls = inside

    async def away(request):
        raise web.HTTPFound(f"http://127.0.0.1:{port}/secret")

    app = web.Application()
    app.router.add_get("/", away)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.3", 0).start()
    outside = f"http://127.0.0.3:{runner.addresses[0][1]}/"
    try:
        async with guarded_session(networks("127.0.0.3/32")) as session:
            assert await refused(session, outside, allow_redirects=True)
            async with session.get(outside, allow_redirects=False) as response:
                assert response.status == 302
    finally:
        await runner.cleanup()
    assert calls == []


async def test_a_proxy_of_the_environment_is_not_asked(inside, monkeypatch):
    port, _ = inside
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with guarded_session(LOOPBACK) as session, session.get(f"http://127.0.0.1:{port}/") as response:
        assert response.status == 200


async def test_a_name_that_nobody_knows_is_not_forbidden():
    class Nobody(Stub):
        async def resolve(self, host, port=0, family=socket.AF_INET):
            raise OSError("no such name")

    async with guarded_session(resolver=Nobody([])) as session:
        assert not await refused(session, "http://push.example/")


async def test_nothing_is_sent_to_an_address_inside():
    heard = asyncio.Event()

    async def hear(reader, writer):
        heard.set()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server, guarded_session() as session:
        assert await refused(session, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await asyncio.sleep(0.05)
    assert not heard.is_set()
