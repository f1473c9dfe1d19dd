"""Previews of campaigns: kept visits, or invented people, put through the engine; nothing is written."""

import asyncio
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from geo_offers.pipeline.rehearsing import Rehearsals
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.pool import transaction

ALPHA = workspace_id("Alpha")
AGREED = {"granted": True, "text_version": "v1", "at": "2026-01-01T00:00:00Z"}
REFUSED = AGREED | {"granted": False}
USER = "INSERT INTO app_user (id, workspace, partition, consents, rhythm) VALUES ($1, $2, 0, $3, $4)"
VISIT = """INSERT INTO visit (id, workspace, user_id, device, fence, fence_version, entered_at, fixes, confirmed_at)
VALUES ($1, $2, $3, $3, $4, 1, $5, $6, $7)"""
TABLES = ("visit", "decision", "reservation", "offer", "outbox", "audit", "campaign", "budget")


def noon(days_ago):
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


async def person(site, *visits, number=0, rhythm=None, fence="town/a", certain=True, raw=True, **consents):
    ident = uuid.uuid4()
    said = {"locate": AGREED, "offers": AGREED} | consents
    column = json.dumps({purpose: {"purpose": purpose, **word} for purpose, word in said.items() if word})
    async with transaction(site.pool, [ALPHA]) as connection:
        held = None if rhythm is None else json.dumps(rhythm).encode()
        await connection.execute(USER, ident, ALPHA, column.encode(), held)
        for days_ago in visits:
            at = noon(days_ago)
            how = (None, None) if raw else (5, at if certain else None)
            await connection.execute(VISIT, uuid.uuid4(), ALPHA, ident, fence, at, *how)
    return ident


@pytest.fixture
async def town(site):
    feature = site.point(8.0, 53.0, detect={"mode": "raw"})
    for name in ("a", "b"):
        assert (await site.call("PUT", f"/v1/geofences/town/{name}", feature, who="editor")).status < 300
    settings = {"time_zone": "UTC", "holdout": 0}
    assert (await site.call("PATCH", "/v1/workspace", settings)).status == 200
    return site


async def written(site, **changes):
    body = site.campaign(**{"holdout": 0} | changes)
    answered = await site.call("POST", "/v1/campaigns", body, who="editor")
    assert answered.status == 201, answered.body
    return answered.body["id"]


async def previewed(site, campaign, **asked):
    answered = await site.call("POST", f"/v1/campaigns/{campaign}/preview", asked, who="editor")
    assert answered.status == 200, answered.body
    return answered.body


async def rows(site):
    async with transaction(site.pool, [ALPHA]) as connection:
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_kept_visits_are_decided_by_what_the_people_allow_and_nothing_is_written(town):
    campaign = await written(town)
    for _ in range(10):
        await person(town, 3, 2, 1, rhythm={"max": 1, "per": {"hours": 500}})
    for _ in range(10):
        await person(town, 2, offers=None)
    before = await rows(town)
    told = await previewed(town, campaign)
    assert (told["source"], told["days"], told["sampled"]) == ("visits", 28, False)
    assert (told["people"], told["entries"], told["offers"]) == (20, 40, 10)
    assert (told["silences"], told["untold"]) == ({"rhythm_max": 20, "no_consent": 10}, 0)
    assert told["per_person"] == {"p50": 0.0, "p90": 0.25, "max": 0.25}
    assert told["pressure"]["before"] == {"p50": 0.0, "p90": 0.0, "max": 0.0}
    assert await rows(town) == before


async def test_only_the_days_asked_for_and_certain_visits_at_its_fences_count(town):
    campaign = await written(town)
    for _ in range(10):
        await person(town, 40, 1)
        await person(town, 1, fence="other/a")
        await person(town, 1, raw=False)
        await person(town, 1, raw=False, certain=False)
        await person(town, 1, fence="town/gone")
    assert (await previewed(town, campaign))["people"] == 20
    assert (await previewed(town, campaign))["entries"] == 20
    assert (await previewed(town, campaign, days=90))["entries"] == 30


async def test_who_said_no_to_being_measured_is_not_counted(town):
    campaign = await written(town)
    for _ in range(10):
        await person(town, 1)
        await person(town, 1, measure=REFUSED)
    assert (await previewed(town, campaign))["people"] == 10


async def test_offers_of_before_the_days_hold_their_place(town):
    campaign = await written(town)
    people = [await person(town, 1, rhythm={"max": 1, "per": {"hours": 500}}) for _ in range(10)]
    add = """INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, state)
    VALUES ($1, $2, $3, $4, $3, 'a', 'town/a', 1)"""
    async with transaction(town.pool, [ALPHA]) as connection:
        for ident in people:
            await connection.execute(add, ident, noon(4), uuid.uuid4(), ALPHA)
    assert (await previewed(town, campaign, days=2))["silences"] == {"rhythm_max": 10}


async def test_other_campaigns_compete_for_the_same_people(town):
    other = await written(town, name="Cakes")
    assert (await town.call("POST", f"/v1/campaigns/{other}/submit")).body["state"] == "approved"
    campaign = await written(town, priority=9)
    for _ in range(12):
        await person(town, 1)
    told = await previewed(town, campaign)
    assert told["overlap"] == [{"campaign": other, "shared_people": 12, "offers_taken": 12}]
    assert told["pressure"]["before"] == told["pressure"]["after"] == {"p50": 0.25, "p90": 0.25, "max": 0.25}


async def test_a_draft_that_begins_next_week_is_taken_as_running(town):
    start, end = noon(-7), noon(-14)
    campaign = await written(town, schedule={"from": start.isoformat(), "until": end.isoformat()})
    for _ in range(10):
        await person(town, 1)
    assert (await previewed(town, campaign))["offers"] == 10


@pytest.mark.parametrize(
    ("changes", "high"),
    [
        ({"value": 20, "stakes": {"discount_percent": 10}}, 20.0),
        ({"value": 20, "stakes": {"discount_percent": 10, "liability": 15}}, 15.0),
        ({"stakes": {"liability": 500}}, 500.0),
        ({"value": 20}, None),
    ],
)
async def test_what_it_may_cost_is_offers_times_value_times_discount_within_the_liability(town, changes, high):
    campaign = await written(town, **changes)
    for _ in range(10):
        await person(town, 1)
    told = await previewed(town, campaign)
    assert told["cost"] == (None if high is None else {"low": 0.0, "high": high})


async def test_fewer_than_ten_people_are_not_told_of_and_invented_ones_take_their_place(town):
    campaign = await written(town, texts={"de": {"title": "Brot", "body": "Warm"}})
    for _ in range(9):
        await person(town, 1)
    told = await previewed(town, campaign)
    assert (told["source"], told["people"]) == ("synthetic", 200)
    assert told["entries"] > told["offers"] > 200
    assert set(told["silences"]) <= {"rhythm_max", "rhythm_gap", "store_gap", "place_gap"}
    assert await previewed(town, campaign) == told  # the same people each time, on the same day


async def test_a_campaign_without_fences_has_no_entries(town):
    campaign = await written(town, trigger={"on": "enter", "fences": {"tags": ["nowhere"]}})
    told = await previewed(town, campaign)
    assert (told["source"], told["people"], told["entries"], told["offers"]) == ("synthetic", 0, 0, 0)


async def test_wrong_days_other_workspaces_and_small_roles_are_refused(town):
    campaign = await written(town)
    path = f"/v1/campaigns/{campaign}/preview"
    for days in (0, 91):
        assert (await town.call("POST", path, {"days": days}, who="editor")).pointers == ["/days"]
    assert (await town.call("POST", path, {}, who="beta")).status == 404
    assert (await town.call("POST", path, {}, who="viewer")).status == 403


async def test_one_preview_of_a_workspace_at_a_time_and_two_in_all(town):
    campaign = await town.services.campaigns.get(ALPHA, uuid.UUID(await written(town)))
    held, free = asyncio.Event(), asyncio.Event()

    class Slow:
        async def stage(self, workspace, ident):
            held.set()
            await free.wait()
            raise LookupError

    rehearsals = Rehearsals(Slow(), town.services.catalog)
    asked = [asyncio.create_task(rehearsals.preview(uuid.UUID(int=n), campaign, 7, 1)) for n in (1, 2, 1, 3)]
    await held.wait()
    free.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["LookupError", "LookupError", "Conflict", "Unavailable"]
    with pytest.raises(LookupError):  # the first is over, though it failed
        await rehearsals.preview(uuid.UUID(int=1), campaign, 7, 1)
