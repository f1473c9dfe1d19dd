"""Who may not be profiled or measured without a word of theirs: whose browser says `Sec-GPC: 1`, and the young."""

import asyncio
import json

import aiohttp
import pytest

from geo_offers.people.consent import verify_chain
from geo_offers.pipeline.signals import Signals
from geo_offers.storage import ledger
from geo_offers.storage.pool import transaction
from tests.integration.people.conftest import AWAY, BOTH, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

GPC = {"Sec-GPC": "1"}
EVERYTHING = BOTH | {"profile": "v1", "measure": "v1"}
REFUSED = [("profile", False, "gpc"), ("measure", False, "gpc")]


async def ledger_of(api):
    """Purpose, word and surface of each row."""
    async with transaction(api.pool, [api.workspace]) as connection:
        rows = await ledger.read(connection, api.workspace)
    assert verify_chain(rows) is None
    return [(row.entry.purpose.value, row.entry.granted, row.entry.surface) for row in rows]


def pings(place=AWAY):
    return {"pings": [{"at": "2026-01-01T00:00:00Z", "lat": place[0], "lon": place[1], "accuracy_m": 5}]}


# ------------------------------------------------------------------------------------------------ the signal
async def over_the_stream(api, phone):
    url = f"{api.service.url}/v1/stream"
    async with api.session.ws_connect(url, headers=GPC | {"Authorization": f"Bearer {phone.token}"}):
        pass


async def over_a_stream_that_tells_later_who_it_is(api, phone):
    async with api.session.ws_connect(f"{api.service.url}/v1/stream", headers=GPC) as line:
        await line.send_str(json.dumps({"type": "auth", "token": phone.token}))
        await line.send_str(json.dumps(pings()["pings"]))
        assert (await line.receive()).type is aiohttp.WSMsgType.TEXT


async def by_a_call(_api, phone):
    assert (await phone.call("GET", "/v1/me/rhythm", headers=GPC)).status == 200


async def by_a_ping(_api, phone):
    assert (await phone.call("POST", "/v1/pings", pings(), headers=GPC)).status == 200


CALLS = [by_a_call, by_a_ping, over_the_stream, over_a_stream_that_tells_later_who_it_is]


@pytest.mark.parametrize("way", CALLS)
async def test_a_signal_with_any_call_refuses_both_once(api, way):
    phone = await api.phone(consents=EVERYTHING)
    for _ in range(2):
        await way(api, phone)
    assert await phone.consents() == {"locate": True, "offers": True, "profile": False, "measure": False}
    assert (await ledger_of(api))[4:] == REFUSED


async def test_a_signal_is_taken_once_in_a_life_whatever_is_forgotten(api, shared):
    phone = await api.phone()
    await by_a_ping(api, phone)
    other = await api.phone("server", user="ann")
    await by_a_call(api, other)
    twin = await api.phone("server", user="ann")
    await by_a_call(api, twin)
    await api.call("POST", "/v1/devices", "server", {"platform": "web", "user": "ann"}, headers=GPC)
    assert (await ledger_of(api)).count(REFUSED[0]) == 2


async def test_a_signal_at_the_enrolment_goes_before_what_it_agrees_to(api):
    body = {"platform": "web", "consents": EVERYTHING}
    phone = api.as_phone((await api.call("POST", "/v1/devices", "app", body, headers=GPC)).body)
    assert await phone.consents() == {"locate": True, "offers": True, "profile": False, "measure": False}
    assert await ledger_of(api) == [("locate", True, "enrol"), ("offers", True, "enrol"), *REFUSED]
    await by_a_ping(api, phone)
    assert await api.ledger() == 4


async def test_what_is_granted_after_the_signal_by_a_call_without_it_stands(api):
    phone = await api.phone(consents=EVERYTHING)
    await by_a_call(api, phone)
    body = {"granted": True, "text_version": "v2"}
    answer = await phone.call("PUT", "/v1/me/consents/profile", body, headers=GPC)
    assert (answer.status, answer.code) == (403, "gpc")
    assert (await phone.consents())["profile"] is False
    assert (await phone.call("PUT", "/v1/me/consents/profile", body)).status == 200
    await by_a_ping(api, phone)
    assert (await phone.consents())["profile"] is True
    for purpose, granted in (("locate", True), ("measure", False), ("profile", False)):
        body = {"granted": granted, "text_version": "v2"}
        assert (await phone.call("PUT", f"/v1/me/consents/{purpose}", body, headers=GPC)).status == 200


@pytest.mark.parametrize("value", ["0", "", "true", "1, 1"])
async def test_any_other_value_says_nothing(api, value):
    phone = await api.phone(consents=EVERYTHING)
    await phone.call("GET", "/v1/me/rhythm", headers={"Sec-GPC": value})
    assert await api.ledger() == 4


async def test_the_signal_of_a_server_that_sends_for_many_is_nobodys(api):
    phone = await api.phone(consents=EVERYTHING)
    sent = pings()
    sent["pings"][0]["device"] = phone.device
    assert (await api.call("POST", "/v1/pings", "server", sent, headers=GPC)).status == 200
    assert await api.ledger() == 4


async def test_with_the_signal_goes_what_stayed_to_be_measured(api):
    await api.shop()
    phone = await api.buyer(consents=EVERYTHING)
    for place in (SHOP, AWAY):
        await phone.at(place)
    await phone.consent("locate", granted=False)
    count = "SELECT count(*) FROM visit WHERE workspace = $1"
    assert await api.rows.fetchval(count, api.workspace) == 1
    await by_a_call(api, phone)
    assert await api.rows.fetchval(count, api.workspace) == 0


async def test_signals_at_once_are_one_refusal(api):
    phones = [await api.phone("server", user="ann", consents=EVERYTHING) for _ in range(3)]
    await asyncio.gather(*(by_a_ping(api, phone) for phone in phones for _ in range(3)))
    assert (await ledger_of(api))[4:] == REFUSED


async def test_what_is_remembered_of_signals_is_bounded(monkeypatch):
    monkeypatch.setattr("geo_offers.pipeline.signals.REMEMBERED", 2)
    asked = []

    class People:
        async def refuse(self, caller):
            asked.append(caller)

    signals, callers = Signals(), [Somebody(number) for number in range(3)]
    for caller in (*callers, callers[2], callers[0]):
        await signals.hear(People(), Held(), caller)
    assert asked == [*callers, callers[0]]


class Somebody:
    def __init__(self, number):
        self.device = self.user = number


class Held:
    """An engine that has nothing in flight."""

    def exclusive(self, _user):
        return asyncio.timeout(5)


# ------------------------------------------------------------------------------------------------ the young
@pytest.mark.parametrize("age", ["minor", "unknown"])
async def test_who_is_not_known_to_be_of_age_is_neither_located_nor_profiled(api, age):
    body = {"platform": "ios", "age": age, "consents": EVERYTHING}
    answer = await api.call("POST", "/v1/devices", "app", body)
    assert (answer.status, answer.code) == (403, "age")
    assert await api.ledger() == 0
    phone = await api.phone(age=age)
    answer = await phone.at(SHOP)
    assert (answer.status, answer.code) == (403, "age")
    answer = await phone.consent("profile", granted=True)
    assert (answer.status, answer.code) == (403, "age")
    assert (await phone.consent("profile", granted=False)).status == 200
    assert (await phone.consent("measure", granted=True)).status == 200


async def test_who_turns_out_to_be_a_minor_is_not_profiled_any_more(api):
    phone = await api.phone("server", user="ann", consents=EVERYTHING)
    await api.phone("server", user="ann", age="minor", consents={})
    assert await phone.consents() == {"locate": True, "offers": True, "profile": False, "measure": True}
    assert (await ledger_of(api))[4:] == [("profile", False, "age")]
    await api.phone("server", user="ann", age="minor", consents={})
    assert await api.ledger() == 5


async def test_the_age_on_file_holds_for_a_phone_that_does_not_tell(api):
    await api.phone("server", user="ann", age="minor", consents={})
    answer = await api.call(
        "POST", "/v1/devices", "server", {"platform": "web", "user": "ann", "consents": {"profile": "v1"}}
    )
    assert (answer.status, answer.code) == (403, "age")
    grown = await api.phone("server", user="ann", age="adult", consents={"profile": "v1"})
    assert await grown.consents() == {"profile": True}


async def test_where_the_app_does_not_vouch_nobody_is_of_age_unsaid(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"age": "unknown"})
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "consents": {"profile": "v1"}})
    assert (answer.status, answer.code) == (403, "age")
