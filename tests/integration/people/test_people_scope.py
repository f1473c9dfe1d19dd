"""What a person's calls may reach and leave behind: tokens, the sends of other phones, recorded trips."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from geo_offers.pipeline.callers import Caller
from geo_offers.storage import retention
from geo_offers.storage.keys import UNSEALED
from geo_offers.storage.people import PostgresPeople
from tests.integration.people.conftest import AWAY, LOOSE, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_refresh_token_used_without_end_leaves_few_successors_and_the_newest_is_good(api):
    phone = await api.phone()
    for _ in range(30):
        tokens = await api.good("POST", "/v1/devices/token", body={"refresh_token": phone.refresh})
    kept = await api.rows.fetchval("SELECT count(*) FROM refresh_token WHERE device = $1", uuid.UUID(phone.device))
    assert kept < 15
    await api.good("POST", "/v1/devices/token", body={"refresh_token": tokens["refresh_token"]})


async def test_an_unproven_device_gives_up_on_its_own_sends_only(api):
    await api.shop()
    proven, unproven = await api.buyer("server", user="ann"), await api.buyer(user="ann")
    for phone in (proven, unproven):
        (offer,) = (await phone.at(SHOP)).body["offers"]
        await api.waiting(offer)
        await phone.at(AWAY)
    await api.rows.execute("UPDATE outbox SET state = 'sending' WHERE workspace = $1", api.workspace)
    people = PostgresPeople(api.pool, UNSEALED, lambda *_ended: None)
    caller = Caller(
        api.workspace, "device", unproven.device, device=uuid.UUID(unproven.device), user=uuid.UUID(unproven.user)
    )
    assert caller.confined_to == caller.device
    assert await people.under_way(caller, caller.confined_to) == 1
    await people.end_sends(caller, caller.confined_to)
    left = await api.rows.fetch(
        "SELECT f.device FROM outbox o JOIN offer f ON f.id = o.offer WHERE o.workspace = $1", api.workspace
    )
    assert [str(row["device"]) for row in left] == [proven.device]


@pytest.mark.parametrize("purpose", ["locate", "offers"])
async def test_a_send_that_would_be_repeated_after_its_answer_is_cancelled_before_the_withdrawal_returns(api, purpose):
    await api.shop()
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    moved = "UPDATE outbox SET state = $2, token = token + 1, due = clock_timestamp() + interval '1 h' WHERE offer = $1"
    await api.rows.execute(moved, uuid.UUID(offer["id"]), "sending")
    withdrawal = asyncio.create_task(phone.consent(purpose, granted=False))
    await asyncio.sleep(0.1)
    assert not withdrawal.done()
    await api.rows.execute(moved, uuid.UUID(offer["id"]), "due")  # the gateway answered: not now
    assert (await withdrawal).status == 200
    state = "SELECT f.state, r.state FROM offer f JOIN reservation r ON r.offer = f.id WHERE f.id = $1"
    assert tuple(await api.rows.fetchrow(state, uuid.UUID(offer["id"]))) == ("cancelled", 1)
    assert await api.rows.fetchval("SELECT count(*) FROM outbox WHERE workspace = $1", api.workspace) == 0


async def test_what_a_recorded_trip_caused_is_kept_as_long_as_what_happens_now(api):
    await api.shop()
    phone = await api.phone("replay")
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"max": 1})
    then = before(days=800).replace(hour=12)
    assert len((await phone.at(SHOP, at=then)).body["offers"]) == 1
    await retention.PostgresRetention(api.pool).sweep({}, 0.0)
    await phone.at(AWAY, at=then + timedelta(minutes=10))
    assert (await phone.at(SHOP, at=then + timedelta(minutes=20))).body["offers"] == []  # the one of the day is used
    decisions = (await api.good("GET", "/v1/decisions", "owner"))["items"]
    assert [one.get("reason") for one in decisions] == ["rhythm_max", None]
    visits = (await phone.good("GET", "/v1/me/export"))["visits"]
    assert ["left_at" in visit for visit in visits] == [True, False]


async def test_more_old_rows_than_one_batch_all_go(api, monkeypatch):
    monkeypatch.setattr(retention, "ROWS", 2)
    await api.key("server")
    enrolled = await api.good("POST", "/v1/devices", "server", [{"platform": "ios"}] * 5)
    assert len(enrolled) == 5
    await api.rows.execute(
        "UPDATE refresh_token SET expires_at = clock_timestamp() - interval '1 s' WHERE workspace = $1", api.workspace
    )
    await retention.PostgresRetention(api.pool).sweep({}, 0.0)
    assert await api.rows.fetchval("SELECT count(*) FROM refresh_token WHERE workspace = $1", api.workspace) == 0


async def test_an_import_whose_rows_are_gone_is_gone_as_a_whole(api):
    feature = {
        "type": "Feature",
        "id": "a",
        "geometry": {"type": "Point", "coordinates": [1, 1]},
        "properties": {"radius_m": 100, "name": "a"},
    }
    report = await api.good("POST", "/v1/imports?set=s&dry_run=false", "owner", feature)
    await api.rows.execute(
        "UPDATE import SET created_at = created_at - interval '31 days' WHERE workspace = $1", api.workspace
    )
    await retention.PostgresRetention(api.pool).sweep({}, 0.0)
    assert (await api.call("POST", f"/v1/imports/{report['id']}/undo", "owner")).status == 404


async def test_of_two_phones_of_a_person_in_one_request_the_one_that_arrived_gets_the_offer(api):
    await api.shop()
    phones = [await api.buyer("server", user="ann") for _ in range(2)]
    other = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [AWAY[1], AWAY[0]]},
        "properties": {"name": "Depot", "radius_m": 100},
    }
    await api.good("PUT", "/v1/geofences/depots/a", "owner", other)
    pings = [
        {"at": before(seconds=20 - late).isoformat(), "lat": lat, "lon": lon, "device": phone.device}
        for late, (phone, (lat, lon)) in enumerate(zip(phones, (SHOP, AWAY), strict=True))
    ]
    answer = await api.good("POST", "/v1/pings", "server", {"pings": pings})
    assert [seen["device"] for seen in answer["transitions"]] == [phone.device for phone in phones]
    (offer,) = answer["offers"]
    to = await api.rows.fetchval("SELECT device FROM offer WHERE id = $1", uuid.UUID(offer["id"]))
    assert str(to) == phones[0].device
