"""The export is written as it is read: whole whatever its length, and bounded in what it holds meanwhile."""

import asyncio
import json
import uuid
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from geo_offers.storage import export
from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTS = ("visits", "offers", "decisions", "reservations")


async def lived(api, **person):
    """A phone that came and went, was offered something each time and said so."""
    phone = await api.buyer(**person)
    for _ in range(3):
        (offer,) = (await phone.at(SHOP)).body["offers"]
        for said in ("shown", "opened"):
            await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": said})
        await phone.at(AWAY)
    return phone


async def exported(phone, page, monkeypatch):
    monkeypatch.setattr(export, "PAGE", page)
    return await phone.good("GET", "/v1/me/export")


def opened(api, phone):
    return api.session.get(
        f"{api.service.url}/v1/me/export", headers={"Authorization": f"Bearer {phone.token}"}, timeout=None
    )


@pytest.mark.parametrize("page", [1, 2, 3, 4])
async def test_an_export_is_the_same_however_long_its_pages_are(api, monkeypatch, page):
    await api.shop()
    phone = await lived(api)
    whole = await exported(phone, 1_000, monkeypatch)
    assert [len(whole[name]) for name in LISTS] == [3, 3, 3, 3]
    assert [sorted(event["type"] for event in one["events"]) for one in whole["offers"]] == [["opened", "shown"]] * 3
    assert [visit["entered_at"] for visit in whole["visits"]] == sorted(v["entered_at"] for v in whole["visits"])
    assert await exported(phone, page, monkeypatch) == whole


async def test_rows_of_one_instant_are_each_told_once(api, monkeypatch):
    await api.shop()
    phone = await lived(api)
    for change in (
        "UPDATE visit SET entered_at = date_trunc('day', entered_at) WHERE user_id = $1",
        "UPDATE offer SET created_at = date_trunc('day', created_at) WHERE user_id = $1",
        "UPDATE decision SET at = date_trunc('day', at) WHERE user_id = $1",
        "UPDATE reservation SET at = date_trunc('day', at) WHERE user_id = $1",
    ):
        await api.rows.execute(change, uuid.UUID(phone.user))
    whole = await exported(phone, 1_000, monkeypatch)
    assert [len(whole[name]) for name in LISTS] == [3, 3, 3, 3]
    assert await exported(phone, 2, monkeypatch) == whole


async def test_nothing_yet_is_told_as_nothing(api):
    told = await (await api.phone()).good("GET", "/v1/me/export")
    assert [told[name] for name in LISTS] == [[], [], [], []]


async def test_of_two_devices_without_proof_each_is_told_its_own_across_pages(api, monkeypatch):
    await api.shop()
    phones = [await lived(api, user="ann") for _ in range(2)]
    told = [await exported(phone, 2, monkeypatch) for phone in phones]
    assert phones[0].user == phones[1].user
    for phone, one in zip(phones, told, strict=True):
        assert [len(one[name]) for name in LISTS] == [3, 3, 3, 3]
        visits = {visit["id"] for visit in one["visits"]}
        assert {visit["device"] for visit in one["visits"]} == {phone.device}
        assert {edge["visit"] for decision in one["decisions"] for edge in decision["transitions"]} == visits
        assert {decision["offer"] for decision in one["decisions"]} == {offer["offer"]["id"] for offer in one["offers"]}


async def test_an_export_that_is_overtaken_by_an_erasure_ends_in_the_middle_and_not_as_half_a_document(
    api, monkeypatch
):
    await api.shop()
    phone = await lived(api)
    monkeypatch.setattr(export, "PAGE", 2)
    reached, gone, visits = asyncio.Event(), asyncio.Event(), export._LISTS["visits"]

    async def held_up(connection, caller, page):
        reached.set()
        await gone.wait()
        return await visits.tell(connection, caller, page)

    monkeypatch.setattr(export, "_LISTS", {**export._LISTS, "visits": replace(visits, tell=held_up)})
    async with opened(api, phone) as answer:
        await reached.wait()
        assert (await phone.call("DELETE", "/v1/me")).status == 204
        gone.set()
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_exports_that_nobody_reads_hold_no_connection_and_are_whole_when_they_are_read(api):
    """Ten of them, each longer than what sockets hold; the service has eight connections to the database."""
    phone = await api.phone()
    receipt = {"transitions": [], "gates": [{"gate": "consent", "passed": True, "detail": {"text": "x" * 2_000}}]}
    await api.rows.execute(
        "INSERT INTO decision (id, workspace, user_id, at, outcome, reason, receipt) SELECT gen_random_uuid(), $1, $2,"
        " clock_timestamp() - make_interval(secs => n), 'suppressed', 'cap', $3 FROM generate_series(1, 8000) n",
        *(api.workspace, uuid.UUID(phone.user), json.dumps(receipt | {"versions": {}}).encode()),
    )
    async with AsyncExitStack() as stack:
        answers = [await stack.enter_async_context(opened(api, phone)) for _ in range(10)]
        async with asyncio.timeout(5):
            await phone.good("GET", "/v1/me/rhythm")
        whole = json.loads(await answers[0].read())
        assert len({one["id"] for one in whole["decisions"]}) == 8_000
