"""The sweep: phones that fell silent are forgotten, their visits closed without a decision, and old rows go."""

import asyncio
import uuid
from collections import Counter
from datetime import timedelta

import pytest

from geo_offers.clock import now_us
from geo_offers.instants import to_us
from geo_offers.storage import retention
from geo_offers.storage.retention import BATCH, KEPT, LISTEN_S, PostgresRetention
from tests.integration.people.conftest import AWAY, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIVE_S = LISTEN_S


@pytest.fixture
def sweep(api):
    async def run(heard=None, alive_s=ALIVE_S):
        return await PostgresRetention(api.pool).sweep(heard or {}, alive_s)

    return run


async def inside(api):
    """A phone in the shop."""
    await api.shop()
    phone = await api.buyer()
    assert (await phone.at(SHOP)).body["transitions"]
    return phone


async def silent_for(api, phone, **age):
    await api.rows.execute(
        "UPDATE device SET received_at = $2 WHERE id = $1",
        uuid.UUID(phone.device),
        before(**age),
    )


async def device(api, phone):
    return await api.rows.fetchrow("SELECT * FROM device WHERE id = $1", uuid.UUID(phone.device))


async def visit(api, phone):
    return await api.rows.fetchrow("SELECT * FROM visit WHERE device = $1", uuid.UUID(phone.device))


async def count(api, table):
    return await api.rows.fetchval(f'SELECT count(*) FROM "{table}" WHERE workspace = $1', api.workspace)


# ------------------------------------------------------------------------------------------------ silent phones
async def test_a_phone_silent_for_a_day_is_forgotten_and_its_visit_ends_where_it_was_last_seen(api, sweep):
    phone = await inside(api)
    entered = (await visit(api, phone))["entered_at"]
    last = entered + timedelta(minutes=7)
    await api.rows.execute("UPDATE device SET newest_at = $2 WHERE id = $1", uuid.UUID(phone.device), last)
    await silent_for(api, phone, hours=24, minutes=1)
    decisions = await count(api, "decision")
    await sweep()
    closed, kept = await visit(api, phone), await device(api, phone)
    assert (closed["left_at"], closed["closed_by"]) == (last, "silence")
    assert (closed["exit_decision"], closed["dwelt_at"]) == (None, None)
    assert (kept["presence"], kept["newest_at"], kept["received_at"]) == (None, None, None)
    assert await count(api, "decision") == decisions


async def test_a_visit_that_ends_in_silence_keeps_how_it_had_gone(api, sweep):
    await api.shop()
    feature = (await api.good("GET", "/v1/geofences/stores/main", "owner"))["feature"]
    feature["properties"]["detect"] = {"dwell_s": 60}
    await api.good("PUT", "/v1/geofences/stores/main", "owner", feature)
    phone, began = await api.buyer(), before(minutes=5)
    told = [await phone.at(SHOP, at=began + timedelta(seconds=second)) for second in range(0, 240, 40)]
    assert [edge["type"] for answer in told for edge in answer.body["transitions"]] == ["enter", "dwell"]
    await silent_for(api, phone, hours=24, minutes=1)
    await sweep()
    closed = await visit(api, phone)
    assert (closed["closed_by"], closed["label"], closed["fixes"]) == ("silence", "walked_through", 3)
    assert closed["confidence"] > 0.9
    assert closed["accuracy_m"] == 5.0


async def test_a_phone_heard_of_within_a_day_is_left_alone(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, hours=23, minutes=59)
    before = await device(api, phone)
    await sweep()
    assert await device(api, phone) == before
    assert (await visit(api, phone))["left_at"] is None


async def test_a_visit_that_ended_keeps_its_end_when_the_phone_is_forgotten(api, sweep):
    phone = await inside(api)
    await phone.at(AWAY)
    before = await visit(api, phone)
    assert before["closed_by"] == "exit"
    await silent_for(api, phone, hours=25)
    await sweep()
    assert await visit(api, phone) == before
    assert (await device(api, phone))["presence"] is None


async def test_a_phone_that_is_heard_but_does_not_move_is_not_silent(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, hours=30)
    heard = now_us()
    await sweep({uuid.UUID(phone.device): heard})
    assert to_us((await device(api, phone))["received_at"]) == heard
    assert (await visit(api, phone))["left_at"] is None


async def test_a_row_is_touched_once_an_hour_at_most(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, minutes=59)
    before = await device(api, phone)
    await sweep({uuid.UUID(phone.device): now_us()})
    assert await device(api, phone) == before


async def test_the_persons_other_phone_stays_where_it_is(api, sweep):
    await api.shop()
    silent, lively = await api.buyer(user="ann"), await api.buyer(user="ann")
    await silent.at(SHOP)
    await lively.at(SHOP)
    await silent_for(api, silent, hours=25)
    await sweep()
    assert (await visit(api, silent))["closed_by"] == "silence"
    assert (await visit(api, lively))["left_at"] is None
    assert (await device(api, lively))["presence"] is not None


async def test_the_visit_of_a_silent_phone_whose_row_cannot_be_read_is_closed_too(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, hours=25)
    await api.rows.execute("UPDATE device SET presence = 'torn' WHERE id = $1", uuid.UUID(phone.device))
    await sweep()
    assert (await visit(api, phone))["closed_by"] == "silence"


async def test_after_a_start_every_phone_gets_the_time_to_be_heard(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, hours=25)
    await sweep(alive_s=LISTEN_S - 1)
    assert (await visit(api, phone))["left_at"] is None
    await sweep(alive_s=LISTEN_S)
    assert (await visit(api, phone))["closed_by"] == "silence"


async def test_more_silent_people_than_one_batch_are_all_forgotten(api, sweep):
    await api.key("server")
    body = [{"platform": "ios"} for _ in range(BATCH + 20)]
    await api.good("POST", "/v1/devices", "server", body)
    await api.rows.execute(
        """UPDATE device SET presence = '{}', newest_at = clock_timestamp() - interval '2 days',
           received_at = clock_timestamp() - interval '2 days' WHERE workspace = $1""",
        api.workspace,
    )
    await sweep()
    left = await api.rows.fetchval(
        "SELECT count(*) FROM device WHERE workspace = $1 AND presence IS NOT NULL", api.workspace
    )
    assert left == 0


# ------------------------------------------------------------------------------------------------ old rows
AGES = {
    ("visit", "created_at"): "13 months",
    ("decision", "created_at"): "90 days",
    ("offer", "created_at"): "30 days",
    ("reservation", "created_at"): "60 days",
    ("idempotency", "created_at"): "24 hours",
}


@pytest.mark.parametrize(("table", "column"), AGES)
async def test_rows_go_when_they_are_old_and_not_before(api, sweep, table, column):
    phone = await inside(api)
    (offer,) = (await phone.good("GET", "/v1/me/offers"))["items"]
    await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "shown"}, key="k")
    assert await count(api, table) == 1
    age = f"UPDATE {table} SET {column} = clock_timestamp() - interval '{AGES[table, column]}'"
    await api.rows.execute(f"{age} + interval '1 hour' WHERE workspace = $1", api.workspace)
    await sweep()
    assert await count(api, table) == 1
    await api.rows.execute(f"{age} - interval '1 hour' WHERE workspace = $1", api.workspace)
    await sweep()
    assert await count(api, table) == 0


async def test_what_was_told_of_an_offer_goes_with_it(api, sweep):
    phone = await inside(api)
    (offer,) = (await phone.good("GET", "/v1/me/offers"))["items"]
    event = f"/v1/me/offers/{offer['id']}/events"
    await phone.call("POST", event, {"type": "opened"})
    await age(api, "offer", "created_at", "31 days")
    await sweep()
    assert (await count(api, "offer"), await count(api, "offer_event")) == (0, 0)
    assert (await phone.call("POST", event, {"type": "dismissed"})).status == 404


async def test_what_was_told_of_an_offer_as_it_went_goes_after_it(api, sweep):
    phone = await inside(api)
    (offer,) = (await phone.good("GET", "/v1/me/offers"))["items"]
    await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "opened"})
    await api.rows.execute("DELETE FROM offer WHERE workspace = $1", api.workspace)
    await age(api, "offer_event", "at", "29 days")
    await sweep()
    assert await count(api, "offer_event") == 1
    await age(api, "offer_event", "at", "31 days")
    await sweep()
    assert await count(api, "offer_event") == 0


async def age(api, table, column, by):
    """Makes the workspace's rows so old."""
    await api.rows.execute(
        f"UPDATE {table} SET {column} = clock_timestamp() - interval '{by}' WHERE workspace = $1", api.workspace
    )


async def test_each_sweep_tells_what_it_took_and_that_nothing_is_left(api, sweep):
    await sweep()
    phone = await inside(api)
    await phone.call("PUT", "/v1/me/rhythm", {"max": 3}, key="once")
    await silent_for(api, phone, hours=25)
    for table, column in AGES:
        await age(api, table, column, "9 years")
    await api.rows.execute(
        "UPDATE offer SET created_at = clock_timestamp() WHERE workspace = $1", api.workspace
    )  # it waits to be sent
    before = await sweep(alive_s=0)
    assert +before.rows == Counter(visits=1, decisions=1, reservations=1, idempotency=1)
    assert before.rows.keys() == {"device_states", *KEPT}
    assert set(before.overdue) == {"device_states"}
    assert before.overdue["device_states"] == pytest.approx(3_600, abs=60)
    after = await sweep()
    assert (after.rows.total(), after.rows["device_states"], after.overdue) == (1, 1, {})


async def test_rows_past_one_batch_all_go(api, sweep, monkeypatch):
    monkeypatch.setattr(retention, "ROWS", 3)
    phone = await inside(api)
    for number in range(7):
        await phone.call("PUT", "/v1/me/rhythm", {"max": 3}, key=f"k{number}")
    await age(api, "idempotency", "created_at", "25 hours")
    assert (await sweep()).rows["idempotency"] == 7
    assert await count(api, "idempotency") == 0


async def test_what_is_overdue_is_told_by_its_age_beyond_its_time(api, sweep, monkeypatch):
    """As by a sweep that forgets nothing."""
    await sweep()
    await inside(api)
    for table, column in AGES:
        await age(api, table, column, "3 years")
    await api.rows.execute("DELETE FROM outbox WHERE workspace = $1", api.workspace)
    monkeypatch.setattr(PostgresRetention, "_forget", lambda *_given: asyncio.sleep(0, 0))
    left = (await sweep()).overdue
    assert left == {
        "visits": pytest.approx(86_400 * (3 * 365.25 - 396), rel=0.01),
        "decisions": pytest.approx(86_400 * (3 * 365.25 - 90), rel=0.01),
        "reservations": pytest.approx(86_400 * (3 * 365.25 - 60), rel=0.01),
        "offers": pytest.approx(86_400 * (3 * 365.25 - 30), rel=0.01),
    }
    monkeypatch.undo()
    assert (await sweep()).overdue == {}


async def test_a_sweep_that_is_broken_off_says_so(api, sweep):
    await sweep()
    phone = await inside(api)
    await silent_for(api, phone, hours=25)
    async with api.rows.transaction():
        await api.rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", uuid.UUID(phone.user))
        swept = await sweep()
    assert (swept.rows.total(), swept.overdue) == (0, None)


async def test_an_offer_that_is_still_to_be_sent_stays_however_old_it_is(api, sweep):
    await inside(api)
    await api.rows.execute(
        "UPDATE offer SET created_at = clock_timestamp() - interval '1 year' WHERE workspace = $1", api.workspace
    )
    await sweep()
    assert await count(api, "offer") == 1


async def test_refresh_tokens_go_after_their_time(api, sweep):
    phone = await api.phone()
    await api.rows.execute(
        "UPDATE refresh_token SET expires_at = clock_timestamp() - interval '1 s' WHERE device = $1",
        uuid.UUID(phone.device),
    )
    await sweep()
    assert await count(api, "refresh_token") == 0


async def test_what_an_import_could_undo_goes_after_a_month(api, sweep):
    feature = {
        "type": "Feature",
        "id": "a",
        "geometry": {"type": "Point", "coordinates": [1, 1]},
        "properties": {"radius_m": 100, "name": "a"},
    }
    await api.good("POST", "/v1/imports?set=s&dry_run=false", "owner", feature)
    await sweep()
    assert await count(api, "import_row") == 1
    await api.rows.execute(
        "UPDATE import SET created_at = created_at - interval '31 days' WHERE workspace = $1", api.workspace
    )
    await sweep()
    assert (await count(api, "import_row"), await count(api, "geofence")) == (0, 1)


async def test_the_ledger_stays(api, sweep):
    await api.phone()
    await api.rows.execute(
        "UPDATE app_user SET created_at = created_at - interval '9 years' WHERE workspace = $1", api.workspace
    )
    await sweep()
    assert await api.ledger() == 2
    assert await count(api, "app_user") == 1


async def test_a_database_that_is_busy_now_is_swept_next_time(api, sweep):
    phone = await inside(api)
    await silent_for(api, phone, hours=25)
    holder = api.rows.transaction()
    await holder.start()
    await api.rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", uuid.UUID(phone.user))
    await sweep()  # gives up after the lock's patience, and nothing is raised
    await holder.rollback()
    assert (await visit(api, phone))["left_at"] is None
    await sweep()
    assert (await visit(api, phone))["closed_by"] == "silence"
