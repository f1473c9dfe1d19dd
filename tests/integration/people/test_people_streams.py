"""An open line ends with what it was opened by, also where it only listens."""

import asyncio
import contextlib
import json
from uuid import UUID

import aiohttp
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def opened(api, phone):
    return await api.session.ws_connect(
        f"{api.service.url}/v1/stream", headers={"Authorization": f"Bearer {phone.token}"}, heartbeat=None
    )


async def test_erasure_ends_the_persons_streams(api):
    phone = await api.phone()
    line = await opened(api, phone)
    await phone.call("DELETE", "/v1/me")
    assert (await line.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    assert line.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_a_reused_refresh_token_ends_the_streams_that_were_opened_under_its_family(api):
    phone = await api.phone()
    first = phone.refresh
    second = (await phone.good("POST", "/v1/devices/token", {"refresh_token": first}))["refresh_token"]
    await phone.good("POST", "/v1/devices/token", {"refresh_token": second})
    line = await opened(api, phone)
    assert (await phone.call("POST", "/v1/devices/token", {"refresh_token": first})).status == 401
    assert (await line.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
    assert line.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


async def test_the_live_feed_remembers_nobody_who_was_erased(api):
    await api.shop()
    phone = await api.buyer()
    headers = {"Authorization": f"Bearer {await api.key('owner')}", "Last-Event-ID": "0"}
    async with api.session.get(f"{api.service.url}/v1/live", headers=headers) as feed:
        await feed.content.readany()
        await phone.at((53.0793461, 8.8017329))
        await phone.call("DELETE", "/v1/me")
        other = await api.buyer()
        await other.at((53.0793461, 8.8017329))
    async with api.session.get(f"{api.service.url}/v1/live", headers=headers) as feed:
        seen = b""
        while other.user.encode() not in seen:
            seen += await feed.content.readany()
    assert phone.user.encode() not in seen


async def test_what_a_phone_has_shown_counts_though_it_hangs_up_at_once(api):
    await api.shop()
    for _ in range(5):
        phone = await api.buyer()
        line = await opened(api, phone)
        await phone.at((53.0793461, 8.8017329))
        offer = json.loads(await line.receive_str(timeout=5))["id"]
        await line.send_str(json.dumps({"type": "shown", "offer": offer}))
        line._response.connection.transport.abort()
        state = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while state != "shown":
                    state = await api.rows.fetchval("SELECT state FROM offer WHERE id = $1", UUID(offer))
        assert state == "shown"
