"""A real Firefox: it subscribes, the lane sends, it decrypts, and the worker of docs/sdk-web.md shows the offer.

Firefox's own push service is replaced by one of ours that speaks its protocol: a WebSocket on which the browser
registers channels and gets what was pushed, still encrypted.
"""

import asyncio
import json
import os
import re
import shutil
import ssl
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import WSMsgType, web

from geo_offers.egress import guarded_session
from geo_offers.gateways.webpush import WebPushLane
from geo_offers.hosts import networks
from geo_offers.pipeline.credentials import VapidKey
from geo_offers.pipeline.lanes import Accepted
from tests.support.gateways.webpush import new_key, pem_of, public_bytes, text_of
from tests.support.replacing import replace
from tests.unit.test_gateways_webpush import Kept, a_message

FIREFOX = shutil.which("firefox-esr")
GUIDE = Path(__file__).parents[2] / "docs" / "sdk-web.md"
PATIENCE_S = 60
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
PREFS = {
    "dom.push.enabled": True,
    "dom.push.connection.enabled": True,  # which a Firefox that is driven leaves off
    "dom.push.testing.allowInsecureServerURL": True,
    "dom.push.alwaysConnect": True,
    "permissions.default.desktop-notification": 1,
    "alerts.useSystemBackend": False,  # a machine without a desktop has none
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "extensions.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}
SHOWN = """navigator.serviceWorker.ready
    .then(worker => worker.getNotifications())
    .then(shown => JSON.stringify(shown.map(one => [one.title, one.body, one.tag])))"""

if FIREFOX is None and os.environ.get("GEO_OFFERS_REQUIRE_ALL") != "1":
    pytest.skip("needs Debian's Firefox: apt install firefox-esr", allow_module_level=True)


class Autopush:
    """Mozilla's push service as the browser sees it, and the endpoints that it gives out."""

    def __init__(self) -> None:
        self.origin = ""
        self._channels: dict[str, tuple[web.WebSocketResponse, str]] = {}

    async def connect(self, request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse(protocols=("push-notification",))
        await line.prepare(request)
        async for message in line:
            if message.type != WSMsgType.TEXT:
                break
            said = json.loads(message.data)
            match said.get("messageType"):
                case "hello":
                    answer = {"uaid": said.get("uaid") or uuid.uuid4().hex, "use_webpush": True, "broadcasts": {}}
                case "register":
                    token = uuid.uuid4().hex
                    self._channels[token] = line, said["channelID"]
                    endpoint = f"{self.origin}/wpush/{token}"
                    answer = {"channelID": said["channelID"], "pushEndpoint": endpoint}
                case "unregister":
                    answer = {"channelID": said["channelID"]}
                case _:
                    continue
            await line.send_json({"messageType": said["messageType"], "status": 200, **answer})
        return line

    async def push(self, request: web.Request) -> web.Response:
        line, channel = self._channels[request.match_info["token"]]
        data = urlsafe_b64encode(await request.read()).rstrip(b"=").decode()
        headers = {"encoding": request.headers["content-encoding"]}
        named = {"channelID": channel, "version": uuid.uuid4().hex}
        await line.send_json({"messageType": "notification", "data": data, "headers": headers, **named})
        return web.Response(status=201, headers={"location": f"{self.origin}/m/{named['version']}"})


def documented(heading: str) -> str:
    """The code under a heading of the guide."""
    return re.search(rf"## {heading}\n.*?```js\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]


async def _page(_request: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>shop</title>", content_type="text/html")


async def _worker(_request: web.Request) -> web.Response:
    return web.Response(text=documented("The service worker"), content_type="text/javascript")


@asynccontextmanager
async def served(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run it; gives its port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class Driven:
    """A Firefox on WebDriver BiDi."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self._line = line
        self._asked = 0

    async def ask(self, method: str, **params: object) -> dict:
        self._asked += 1
        await self._line.send_json({"id": self._asked, "method": method, "params": params})
        while True:
            said = await self._line.receive_json(timeout=PATIENCE_S)
            if said.get("id") == self._asked:
                assert "result" in said, said
                return said["result"]

    async def evaluate(self, context: str, expression: str) -> str:
        target = {"context": context}
        said = await self.ask("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert said["type"] == "success", said["exceptionDetails"]["text"]
        return said["result"]["value"]


@asynccontextmanager
async def firefox(push_port: int) -> AsyncIterator[Driven]:
    profile = Path(tempfile.mkdtemp(prefix="geo-offers-firefox-"))
    prefs = {**PREFS, "dom.push.serverURL": f"ws://127.0.0.1:{push_port}/push"}
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in prefs.items()]
    (profile / "user.js").write_text("".join(lines))
    said = profile / "said"
    with said.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(FIREFOX, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, "HOME": str(profile)},
        )
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (address := LISTENING.search(said.read_text())) is None:
                assert process.returncode is None, said.read_text()
                await asyncio.sleep(0.1)
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{address[1]}/session") as line:
            yield Driven(line)
    finally:
        process.terminate()
        await process.wait()
        shutil.rmtree(profile, ignore_errors=True)


async def subscribed(browser: Driven, site: str, key: str) -> tuple[str, dict]:
    """Open the shop's page, which may notify; gives the page's context and what it would enrol with."""
    await browser.ask("session.new", capabilities={})
    context = (await browser.ask("browsingContext.getTree"))["contexts"][0]["context"]
    await browser.ask("browsingContext.navigate", context=context, url=site, wait="complete")
    allowed = {"descriptor": {"name": "notifications"}, "state": "granted", "origin": site}
    await browser.ask("permissions.setPermission", **allowed)
    subscribing = f"{documented('The page')}; subscribe('{key}').then(JSON.stringify)"
    return context, json.loads(await browser.evaluate(context, subscribing))


async def until_shown(browser: Driven, context: str, notifications: list[list[str]]) -> None:
    """Wait until these, in any order, and no others are on the screen."""
    async with asyncio.timeout(PATIENCE_S):
        while sorted(json.loads(await browser.evaluate(context, SHOWN))) != sorted(notifications):
            await asyncio.sleep(0.05)


async def test_firefox_shows_what_the_lane_sends_once_for_each_offer():
    sender, autopush, authority = new_key(), Autopush(), trustme.CA()
    served_by, trusted_by = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(served_by)
    authority.configure_trust(trusted_by)
    pages, endpoints, loopback = web.Application(), web.Application(), networks("127.0.0.1/32")
    pages.router.add_get("/push", autopush.connect)
    pages.router.add_get("/", _page)
    pages.router.add_get("/sw.js", _worker)
    endpoints.router.add_post("/wpush/{token}", autopush.push)
    async with AsyncExitStack() as stack:
        page_port = await stack.enter_async_context(served(pages))
        autopush.origin = f"https://127.0.0.1:{await stack.enter_async_context(served(endpoints, served_by))}"
        session = await stack.enter_async_context(guarded_session(loopback, tls=trusted_by))
        vault = Kept(VapidKey(pem_of(sender), "mailto:offers@shop.example"))
        lane = WebPushLane(session, vault, networks=loopback)
        stack.push_async_callback(lane.close)
        browser = await stack.enter_async_context(firefox(page_port))
        context, push = await subscribed(browser, f"http://127.0.0.1:{page_port}", text_of(public_bytes(sender)))
        assert push["lane"] == "webpush"
        message = a_message(push_token=push["token"], push_keys=json.dumps(push["keys"]))
        copy, other = replace(message, body="the same again"), replace(message, replace_key="o" * 32, title="Another")
        for sent, shown in [(message, [message]), (copy, [copy]), (other, [copy, other])]:
            assert isinstance(await lane.send(sent, inf), Accepted)
            await until_shown(browser, context, [[one.title, one.body, one.replace_key] for one in shown])
