"""Access gives everything about the person and no coordinate; erasure leaves nothing but the ledger's proof."""

import asyncio
import json
import uuid

import pytest

from geo_offers.people.consent import verify_chain
from geo_offers.storage import ledger
from geo_offers.storage.people import PostgresPeople
from geo_offers.storage.pool import transaction
from tests.integration.people.conftest import AWAY, SHOP, Phone

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = ("53.0793461", "8.8017329", "53.2461357")  # longer than the seconds of any instant


def ids(*phones: Phone) -> set[str]:
    """Every way in which the people and their devices could be named in a row."""
    names = {name for phone in phones for name in (phone.device, phone.user)}
    return names | {uuid.UUID(name).hex for name in names}


async def traces(api, names):
    """Tables in which any of the names stands."""
    dump = await api.tables()
    return {table for table, rows in dump.items() for row in rows if any(name in row for name in names)}


OWNED = """SELECT c.relname AS table, array_agg(a.attname::text) AS columns FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('user_id', 'device') AND NOT a.attisdropped
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' GROUP BY 1 ORDER BY 1"""


async def owned(api, *phones):
    """How many rows of the people and their devices each table has that names either."""
    mine = [uuid.UUID(name) for phone in phones for name in (phone.device, phone.user)]
    found: dict[str, int] = {}
    for table, columns in await api.rows.fetch(OWNED):
        named = " OR ".join(f"{column} = ANY ($1)" for column in columns)
        found[table] = await api.rows.fetchval(f'SELECT count(*) FROM "{table}" WHERE {named}', mine)
    return found


async def busy(api, who="app", **enrolment):
    """A phone of a person about whom there is something to know in every table."""
    push = {"lane": "webhook", "token": f"push-{uuid.uuid4().hex}"}
    phone = await api.buyer(who, push=push, time_zone="Europe/Berlin", **enrolment)
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "opened"}, key="opened")
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "muted"})
    await phone.at(AWAY)
    await phone.at(SHOP)
    await phone.good("POST", "/v1/devices/token", {"refresh_token": phone.refresh})
    return phone, offer


# ------------------------------------------------------------------------------------------------ access
async def test_the_export_holds_everything_and_no_coordinate(api):
    campaign = await api.shop()
    phone, offer = await busy(api, "server", user="ann")
    told = await phone.good("GET", "/v1/me/export")
    assert (told["user"], told["external_id"], told["time_zone"]) == (phone.user, "ann", "Europe/Berlin")
    assert [(one["purpose"], one["granted"]) for one in told["consents"]] == [("locate", True), ("offers", True)]
    assert told["rhythm"]["max"] == 1000
    assert (told["rhythm"]["mute"]["campaigns"], device_ids(told["devices"])) == ([campaign], [phone.device])
    assert [visit["fence"] for visit in told["visits"]] == ["stores/main"] * 2
    assert "left_at" in told["visits"][0]
    assert "left_at" not in told["visits"][1]
    assert [(one["offer"]["id"], one["state"]) for one in told["offers"]] == [(offer["id"], "shown")]
    assert {event["type"] for event in told["offers"][0]["events"]} >= {"muted"}
    assert (told["age"], told["devices"][0]["platform"]) == ("adult", "ios")
    assert told["visits"][0]["closed_by"] == "exit"
    assert [(one["outcome"], one.get("reason")) for one in told["decisions"]] == [
        ("offer", None),
        ("suppressed", "muted"),
    ]
    assert {one["user"] for one in told["decisions"]} == {phone.user}
    (reserved,) = told["reservations"]
    assert (reserved["offer"], reserved["campaign"], reserved["state"]) == (offer["id"], campaign, "kept")
    assert [(word["purpose"], word["granted"], word["surface"]) for word in told["ledger"]] == [
        ("locate", True, "enrol"),
        ("offers", True, "enrol"),
    ]
    text = json.dumps(told)
    assert not any(coordinate in text for coordinate in CANARY)
    assert '"lat"' not in text
    assert '"lon"' not in text


def device_ids(devices: list[dict]) -> list[str]:
    return [device["id"] for device in devices]


async def test_no_table_holds_a_position_of_a_person(api):
    await api.shop()
    await busy(api)
    fences = {"geofence", "import", "import_row"}
    for table, rows in (await api.tables()).items():
        if table not in fences:
            assert not any(coordinate in row for row in rows for coordinate in CANARY), table


async def test_an_unproven_device_is_told_only_what_it_caused_itself(api):
    await api.shop()
    proven, offer = await busy(api, "server", user="ann")
    unproven = await api.phone(user="ann")
    told = await unproven.good("GET", "/v1/me/export")
    assert (told["user"], device_ids(told["devices"])) == (proven.user, [unproven.device])
    assert (told["visits"], told["offers"], told["decisions"]) == ([], [], [])
    assert offer["id"] not in json.dumps(told)
    whole = await proven.good("GET", "/v1/me/export")
    assert set(device_ids(whole["devices"])) == {proven.device, unproven.device}


# ------------------------------------------------------------------------------------------------ erasure
async def test_an_erasure_leaves_no_row_of_the_person_but_the_ledgers(api):
    await api.shop()
    phone, offer = await busy(api, "server", user="ann-who-goes")
    other = await api.phone("server", user="ann-who-goes")
    assert (await api.good("GET", "/v1/decisions?user=ann-who-goes", "owner"))["items"]
    assert (await api.good("GET", f"/v1/decisions?user={phone.user.upper()}", "owner"))["items"]
    bystander, _ = await busy(api, "server", user="bob")
    names = ids(phone, other) | {offer["id"], "ann-who-goes"}
    assert {"app_user", "device", "visit", "offer", "idempotency", "audit"} <= await traces(api, names)
    assert (await phone.call("DELETE", "/v1/me")).status == 204
    assert await traces(api, names) == set()
    for one in (phone, other):
        answer = await one.call("GET", "/v1/me/consents")
        assert (answer.status, answer.code) == (401, "unauthenticated")
        assert (await one.at(SHOP)).status == 401
        answer = await api.call("POST", "/v1/devices/token", None, {"refresh_token": one.refresh})
        assert answer.status == 401
    assert len((await bystander.good("GET", "/v1/me/export"))["visits"]) == 2
    async with transaction(api.pool, [api.workspace]) as connection:
        assert verify_chain(await ledger.read(connection, api.workspace)) is None


async def test_every_table_that_names_a_person_or_a_device_is_filled_by_a_life_and_emptied_by_an_erasure(api):
    """A table that comes later stands here by itself: its rows belong into `busy`, and into the erasure."""
    await api.shop()
    await api.good("POST", "/v1/webhooks", "owner", {"url": "https://hooks.example/", "types": ["geofence.exited"]})
    phone, _ = await busy(api, "server", user="ann")
    bystander, _ = await busy(api, "server", user="bob")
    before = await owned(api, phone)
    assert [table for table, rows in before.items() if not rows] == []
    assert {"consent_salt", "device", "offer_event", "refresh_token", "reservation"} <= before.keys()
    others = await owned(api, bystander)
    await phone.good("DELETE", "/v1/me")
    assert {table: rows for table, rows in (await owned(api, phone)).items() if rows} == {}
    assert await owned(api, bystander) == others


async def test_who_searched_for_an_erased_person_stays_known(api):
    phone = await api.phone("server", user="ann")
    await api.good("GET", "/v1/decisions?user=ann", "owner")
    await phone.good("DELETE", "/v1/me")
    found = await api.rows.fetch(
        "SELECT action, subject FROM audit WHERE workspace = $1 AND caller <> 'cli'", api.workspace
    )
    assert [tuple(row) for row in found] == [("decisions.search_user", "erased")]


async def test_a_repeat_of_an_erasure_finds_nobody(api):
    phone = await api.phone()
    assert (await phone.call("DELETE", "/v1/me", key="gone")).status == 204
    assert (await phone.call("DELETE", "/v1/me", key="gone")).status == 401
    assert await traces(api, ids(phone)) == set()


async def test_erasures_of_one_person_from_two_phones_at_once_end_well(api):
    await api.shop()
    one = await api.buyer("server", user="ann")
    other = await api.buyer("server", user="ann")
    await asyncio.gather(one.at(SHOP), other.at(SHOP))
    answers = await asyncio.gather(*(phone.call("DELETE", "/v1/me") for phone in (one, other) * 2))
    assert {answer.status for answer in answers} <= {204, 401}
    assert 204 in {answer.status for answer in answers}
    assert await traces(api, ids(one, other)) == set()


async def test_an_erasure_in_the_midst_of_what_the_phone_does_leaves_nothing(api):
    await api.shop()
    for _ in range(3):
        phone = await api.buyer("server", user=f"u-{uuid.uuid4().hex}")
        (offer,) = (await phone.at(SHOP)).body["offers"]
        event = f"/v1/me/offers/{offer['id']}/events"
        answers = await asyncio.gather(
            phone.at(AWAY),
            phone.call("POST", event, {"type": "opened"}),
            phone.consent("profile", granted=True),
            phone.call("PUT", "/v1/me/rhythm", {"max": 1}),
            phone.call("DELETE", "/v1/me"),
            phone.call("POST", event, {"type": "dismissed"}),
            phone.at(SHOP),
            phone.consent("measure", granted=True),
        )
        assert answers[4].status == 204
        assert all(answer.status < 500 for answer in answers)
        assert await traces(api, ids(phone)) == set()


async def test_a_named_person_who_comes_back_starts_afresh(api):
    await api.shop()
    phone, _ = await busy(api, "server", user="ann")
    await phone.good("DELETE", "/v1/me")
    again = await api.phone("server", user="ann", consents={"locate": "v2"})
    told = await again.good("GET", "/v1/me/export")
    muted = told["rhythm"]["mute"]["campaigns"]
    assert (told["visits"], told["offers"], told["decisions"], muted) == ([], [], [], [])
    assert await again.consents() == {"locate": True}
    assert (await phone.call("GET", "/v1/me/consents")).status == 401


async def test_an_unproven_device_erases_what_it_caused_and_the_person_stays(api):
    await api.shop()
    proven = await api.buyer("server", user="ann")
    unproven = await api.buyer(user="ann")
    (mine,) = (await proven.at(SHOP)).body["offers"]
    await proven.at(AWAY)
    (theirs,) = (await unproven.at(SHOP)).body["offers"]
    assert (await unproven.call("DELETE", "/v1/me")).status == 204
    assert await traces(api, {unproven.device, uuid.UUID(unproven.device).hex, theirs["id"]}) == set()
    assert (await unproven.call("GET", "/v1/me/consents")).status == 401
    told = await proven.good("GET", "/v1/me/export")
    assert [one["offer"]["id"] for one in told["offers"]] == [mine["id"]]
    assert (len(told["visits"]), len(told["decisions"]), device_ids(told["devices"])) == (1, 1, [proven.device])
    assert await proven.consents() == {"locate": True, "offers": True}
    assert (await proven.at(SHOP)).status == 200


async def test_an_unproven_device_does_not_cancel_what_another_device_is_about_to_be_sent(api):
    await api.shop()
    proven = await api.buyer("server", user="ann")
    unproven = await api.buyer(user="ann")
    (offer,) = (await proven.at(SHOP)).body["offers"]
    await api.waiting(offer)
    await unproven.good("DELETE", "/v1/me")
    assert await api.rows.fetchval("SELECT state FROM offer WHERE id = $1", uuid.UUID(offer["id"])) == "queued"
    assert await api.rows.fetchval("SELECT count(*) FROM outbox WHERE offer = $1", uuid.UUID(offer["id"])) == 1


async def test_the_ledger_tells_that_what_the_person_of_an_erased_last_device_agreed_to_is_taken_back(api):
    phones = [await api.phone(user="ann") for _ in range(2)]
    for phone in phones:
        before = await api.ledger()
        assert (await phone.call("DELETE", "/v1/me")).status == 204
    async with transaction(api.pool, [api.workspace]) as connection:
        rows = await ledger.read(connection, api.workspace)
    assert (before, verify_chain(rows)) == (2, None)  # while another device was left, nothing was said for the person
    assert [(row.entry.purpose, row.entry.granted, row.entry.surface) for row in rows[2:]] == [
        ("locate", False, "erasure"),
        ("offers", False, "erasure"),
    ]
    assert len({row.entry.subject for row in rows}) == 1
    assert await api.rows.fetchval("SELECT count(*) FROM consent_salt WHERE workspace = $1", api.workspace) == 0


async def test_what_a_phone_agrees_to_for_a_person_who_is_being_erased_is_taken_back_too(api, monkeypatch):
    phone = await api.phone("server", user="ann")
    withdraw_all, enrolling = PostgresPeople.withdraw_all, []

    async def and_then_another_enrols(self, caller):
        await withdraw_all(self, caller)
        said = await api.ledger()
        enrolling.append(asyncio.create_task(api.phone("server", user="ann", consents={"locate": "v2"})))
        while await api.ledger() == said:
            await asyncio.sleep(0.01)

    monkeypatch.setattr(PostgresPeople, "withdraw_all", and_then_another_enrols)
    assert (await phone.call("DELETE", "/v1/me")).status == 204
    assert (await (await enrolling[0]).call("GET", "/v1/me/consents")).status == 401
    assert await traces(api, ids(phone)) == set()
    async with transaction(api.pool, [api.workspace]) as connection:
        rows = await ledger.read(connection, api.workspace)
    last = [(row.entry.granted, row.entry.text_version) for row in rows if row.entry.purpose == "locate"]
    assert (last, verify_chain(rows)) == ([(True, "v1"), (False, "v1"), (True, "v2"), (False, "v2")], None)


async def test_the_last_device_takes_the_person_along(api):
    await api.shop()
    phone, offer = await busy(api, user="ann-alone")
    assert (await phone.call("DELETE", "/v1/me")).status == 204
    assert await traces(api, ids(phone) | {offer["id"], "ann-alone"}) == set()
