"""A call of which the answer is lost, or whose phone hangs up: it is done to its end, and memory follows."""

import asyncio
from uuid import UUID

import pytest
from aiohttp.web_protocol import RequestHandler

from geo_offers.errors import Unavailable
from geo_offers.storage.people import PostgresPeople
from tests.integration.people.conftest import AWAY

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def answer_lost(monkeypatch, step, calling):
    """The next such step commits and fails all the same."""
    real = getattr(PostgresPeople, step)

    async def commits_and_fails(*given):
        monkeypatch.setattr(PostgresPeople, step, real)
        await real(*given)
        raise Unavailable("the database is away")

    monkeypatch.setattr(PostgresPeople, step, commits_and_fails)
    assert (await calling).status == 503


async def hung_up(monkeypatch, step, calling):
    """Who calls hangs up after the next such step, and the service hears of it before it goes on."""
    real, lost = getattr(PostgresPeople, step), RequestHandler.connection_lost
    done, heard, gone_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def holds(*given):
        monkeypatch.setattr(PostgresPeople, step, real)
        answer = await real(*given)
        done.set()
        await heard.wait()
        gone_on.set()
        return answer

    def hears(self, error):
        lost(self, error)
        heard.set()

    monkeypatch.setattr(PostgresPeople, step, holds)
    task = asyncio.ensure_future(calling)
    await asyncio.wait_for(done.wait(), 5)
    monkeypatch.setattr(RequestHandler, "connection_lost", hears)
    task.cancel()
    await asyncio.wait_for(gone_on.wait(), 5)


EITHER_WAY = pytest.mark.parametrize("way", [answer_lost, hung_up])


async def comes(status, calling):
    async with asyncio.timeout(5):
        while (await calling()).status != status:
            await asyncio.sleep(0.01)


@EITHER_WAY
async def test_who_was_declared_a_minor_is_not_located_though_nobody_heard_the_answer(api, monkeypatch, way):
    phone = await api.phone(user="ann")
    assert (await phone.at(AWAY)).status == 200
    await way(
        monkeypatch, "enrol", api.call("POST", "/v1/devices", "app", {"platform": "ios", "user": "ann", "age": "minor"})
    )
    await comes(403, lambda: phone.at(AWAY))


@EITHER_WAY
async def test_a_repeated_enrolment_ends_the_old_tokens_though_nobody_heard_the_answer(api, monkeypatch, way):
    body = {"platform": "ios"}
    phone = api.as_phone((await api.call("POST", "/v1/devices", "app", body, key="k")).body)
    assert (await phone.call("GET", "/v1/me/consents")).status == 200
    await way(monkeypatch, "enrol", api.call("POST", "/v1/devices", "app", body, key="k"))
    await comes(401, lambda: phone.call("GET", "/v1/me/consents"))


@EITHER_WAY
async def test_a_revoked_family_of_tokens_is_dead_though_nobody_heard_the_answer(api, monkeypatch, way):
    phone = await api.phone()
    second = (await phone.good("POST", "/v1/devices/token", {"refresh_token": phone.refresh}))["refresh_token"]
    await phone.good("POST", "/v1/devices/token", {"refresh_token": second})
    headers = {"Authorization": f"Bearer {phone.token}"}
    async with api.session.ws_connect(f"{api.service.url}/v1/stream", headers=headers) as line:
        await way(monkeypatch, "rotate", api.call("POST", "/v1/devices/token", None, {"refresh_token": phone.refresh}))
        await comes(401, lambda: phone.call("GET", "/v1/me/consents"))
        await line.receive(timeout=5)
        assert line.closed


async def test_who_hangs_up_while_an_erasure_waits_for_sends_is_erased_all_the_same(api, monkeypatch):
    phone = await api.phone()
    await hung_up(monkeypatch, "under_way", phone.call("DELETE", "/v1/me"))
    await comes(401, lambda: phone.call("GET", "/v1/me/consents"))
    assert await api.rows.fetchval("SELECT count(*) FROM app_user WHERE id = $1", UUID(phone.user)) == 0


@pytest.mark.parametrize("purpose", ["offers", "locate"])
async def test_who_hangs_up_while_a_withdrawal_waits_for_sends_is_sent_nothing_again(api, monkeypatch, purpose):
    phone, ended = await api.phone(), asyncio.Event()
    end_sends = PostgresPeople.end_sends

    async def ends(*given):
        await end_sends(*given)
        ended.set()

    monkeypatch.setattr(PostgresPeople, "end_sends", ends)
    await hung_up(monkeypatch, "under_way", phone.consent(purpose, granted=False))
    await asyncio.wait_for(ended.wait(), 5)
    assert not (await phone.consents())[purpose]
