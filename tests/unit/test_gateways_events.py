"""One post to an endpoint: what is an answer, what is none, and what never leaves."""

import asyncio
import uuid
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from geo_offers.egress import guarded_session
from geo_offers.gateways.events import EventSender
from geo_offers.pipeline.notifying import Post
from tests.support.loopback import answering

SECRETS = ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4"]


@asynccontextmanager
async def endpoint(handler, timeout_s=15.0):
    app = web.Application()
    app.router.add_post("/hook", handler)
    async with answering(app) as url, aiohttp.ClientSession(auto_decompress=False) as session:
        sender = EventSender(session, timeout_s=timeout_s)
        yield lambda: sender(
            Post(uuid.UUID(int=1), uuid.UUID(int=2), 1, 1, uuid.UUID(int=3), f"{url}/hook", SECRETS, b'{"type":"x"}')
        )


async def test_each_secret_signs_and_the_reference_library_agrees():
    heard = []

    async def take(request):
        body = await request.read()
        heard.extend(Webhook(secret).verify(body, dict(request.headers)) for secret in SECRETS)
        heard.append(request.headers["webhook-id"])
        return web.Response(status=204)

    async with endpoint(take) as send:
        assert (await send()).good
    assert heard == [{"type": "x"}, {"type": "x"}, f"{uuid.UUID(int=2)}_{uuid.UUID(int=1)}"]


async def test_a_redirect_is_not_followed():
    posts = []

    async def take(request):
        posts.append(request.path)
        return web.Response(status=307, headers={"location": "http://127.0.0.1:1/inside"})

    async with endpoint(take) as send:
        answer = await send()
    assert (answer.status, answer.good, answer.detail, len(posts)) == (307, False, "http 307", 1)


async def test_a_name_that_leads_inside_is_called_that_and_gets_no_post():
    posts = []

    async def take(request):
        posts.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    async with answering(app) as url, guarded_session() as session:
        one = Post(uuid.UUID(int=1), uuid.UUID(int=2), 1, 1, uuid.UUID(int=3), f"{url}/hook", SECRETS, b"{}")
        answer = await EventSender(session)(one)
    assert (answer.status, answer.detail, posts) == (None, "forbidden address", [])


async def test_no_answer_in_time_is_slow():
    async def take(_request):
        await asyncio.sleep(5)
        return web.Response()

    async with endpoint(take, timeout_s=0.1) as send:
        answer = await send()
    assert (answer.status, answer.slow, answer.detail) == (None, True, "TimeoutError")


async def test_a_connection_that_breaks_is_no_answer():
    async def take(request):
        request.transport.abort()
        return web.Response()

    async with endpoint(take) as send:
        answer = await send()
    assert (answer.status, answer.slow) == (None, False)


async def test_an_answer_without_end_is_read_no_further_than_20_kb_and_stands():
    sent = []

    async def take(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while len(sent) < 10_000:
                await response.write(b"x" * 10_000)
                sent.append(1)
        except ConnectionError:
            pass
        return response

    async with endpoint(take) as send:
        assert (await send()).status == 200
    assert len(sent) < 5_000  # what the sockets hold, and no more


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "nonsense", "http://[::bad/", "ftp://127.0.0.1/"])
async def test_an_address_that_leads_nowhere_is_no_answer(url):
    async with aiohttp.ClientSession() as session:
        one = Post(uuid.uuid4(), uuid.uuid4(), 1, 1, uuid.uuid4(), url, SECRETS, b"{}")
        answer = await EventSender(session)(one)
    assert answer.status is None
    assert answer.detail
