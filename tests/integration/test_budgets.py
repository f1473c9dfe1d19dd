"""Budgets and ghosts in PostgreSQL: exactly what was allowed is given, whoever decides at the same time."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import msgspec
import pytest

from geo_offers.clock import now_us
from geo_offers.offers.experiment import place
from geo_offers.offers.packing import unpacked
from geo_offers.storage.pool import transaction
from geo_offers.storage.queries import sql
from tests.integration.test_turns import CONSENTS, OWNER, SHOP, Town, town  # noqa: F401 - a fixture

BOTH = CONSENTS[:-1] + b"," + CONSENTS[1:].replace(b"locate", b"offers")
CALM = b'{"max":1000,"per":"day","min_gap_h":0,"quiet":[]}'
LOOK = "SELECT day::text, used FROM budget WHERE owner = $1 ORDER BY day"


@pytest.fixture
def crowd(town):  # noqa: F811
    """People who want to hear all, at a shop whose campaigns are of this body."""

    async def made(count, **campaign):
        body = {
            "name": "c",
            "objective": "visit",
            "trigger": {"on": "enter", "fences": {"tags": ["hot"]}},
            "texts": {"en": {"title": "t", "body": "b"}},
            "holdout": 0,
        } | campaign
        await town.rows.execute(
            "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, 'approved', 'a')",
            UUID(int=7),
            OWNER,
            msgspec.json.encode(body),
        )
        settings = msgspec.json.encode({"place_gap_s": 0, "store_gap_s": 0, "holdout": 0})
        await town.rows.execute("UPDATE workspace SET settings = $1, catalog_version = catalog_version + 1", settings)
        phones = await town.phones(count, BOTH)
        await town.rows.execute("UPDATE app_user SET rhythm = $1", CALM)
        return phones

    return made


async def reasons(town):  # noqa: F811
    found = await town.rows.fetch("SELECT coalesce(reason, outcome) AS said, count(*) FROM decision GROUP BY 1")
    return {row["said"]: row["count"] for row in found}


async def spent(town, owner):  # noqa: F811
    return [(row["day"], row["used"]) for row in await town.rows.fetch(LOOK, owner)]


CAMPAIGN = f"campaign/{UUID(int=7)}"


@pytest.mark.parametrize("budget", [{"total": 7}, {"per_day": 7}, {"total": 9, "per_day": 7}])
async def test_of_many_turns_at_once_a_budget_gives_exactly_what_it_has(town, crowd, budget):  # noqa: F811
    phones = await crowd(60, budget=budget)
    at_us = now_us() - 1_000_000
    turns = [[phone.moves(at_us, True) for phone in phones[first : first + 5]] for first in range(0, 60, 5)]
    await asyncio.gather(*(town.turn(parts) for parts in turns))
    assert await reasons(town) == {"offer": 7, "budget": 53}
    (total, today) = await spent(town, CAMPAIGN)
    assert (total, today[1]) == (("-infinity", 7), 7)
    receipt = msgspec.json.decode(
        unpacked(await town.rows.fetchval("SELECT receipt FROM decision WHERE reason = 'budget' LIMIT 1"))
    )
    (told,) = [gate for gate in receipt["gates"] if gate["gate"] == "budget"]
    assert (told["passed"], told["detail"]["level"], told["detail"]["campaign"]["used"]) == (False, "campaign", 7)


async def test_a_turn_that_breaks_has_spent_nothing(town, crowd):  # noqa: F811
    (phone,) = await crowd(1, budget={"total": 1})
    part = phone.moves(now_us() - 1_000_000, True)
    await town.rows.execute("ALTER TABLE outbox RENAME TO hidden")
    with pytest.raises(Exception, match="outbox"):
        await town.turn([part])
    await town.rows.execute("ALTER TABLE hidden RENAME TO outbox")
    assert await spent(town, CAMPAIGN) == []
    await town.turn([part])
    assert await reasons(town) == {"offer": 1}


async def test_what_is_released_is_given_back_to_its_day_and_what_was_shown_all_the_same_is_taken_again(town, crowd):  # noqa: F811
    phones = await crowd(3, budget={"total": 1, "per_day": 1})
    at_us = now_us() - 1_000_000
    await town.turn([phones[0].moves(at_us, True)])
    await town.turn([phones[1].moves(at_us, True)])
    assert await reasons(town) == {"offer": 1, "budget": 1}
    await town.rows.execute("UPDATE reservation SET campaign_day = campaign_day - 1")  # it was yesterday's
    await town.rows.execute("UPDATE reservation SET state = 2")
    assert [used for _, used in await spent(town, CAMPAIGN)] == [0, 0, 0]
    await town.turn([phones[2].moves(at_us, True)])
    assert await reasons(town) == {"offer": 2, "budget": 1}
    await town.rows.execute("UPDATE reservation SET state = 1")  # shown, both
    assert [used for _, used in await spent(town, CAMPAIGN)] == [2, 1, 1]


async def test_a_days_budget_is_new_on_the_next_day_and_the_total_is_not(town, crowd):  # noqa: F811
    phones = await crowd(2, budget={"total": 9, "per_day": 1})
    await town.turn([phones[0].moves(now_us() - 1_000_000, True)])
    await town.rows.execute("UPDATE budget SET day = day - 1 WHERE day > '-infinity'")
    await town.turn([phones[1].moves(now_us() - 1_000_000, True)])
    assert await reasons(town) == {"offer": 2}
    assert [used for _, used in await spent(town, CAMPAIGN)] == [2, 1, 1]


async def test_a_store_has_a_budget_of_its_own(town, crowd, monkeypatch):  # noqa: F811
    phones = await crowd(4)
    body = msgspec.json.encode({"name": "S", "budget": {"total": 2}, "time_zone": "Asia/Tokyo"})
    await town.rows.execute("INSERT INTO store (workspace, id, body) VALUES ($1, 's', $2)", OWNER, body)
    parts = [phone.moves(now_us() - 1_000_000, True) for phone in phones]
    shop = msgspec.structs.replace(SHOP, store="s")
    for part in parts:
        for arrival in part.arrivals:
            monkeypatch.setattr(arrival, "fence", shop)
    await town.turn(parts)
    assert await reasons(town) == {"offer": 2, "budget": 2}
    assert [used for _, used in await spent(town, "store/s")] == [2, 2]
    assert await spent(town, CAMPAIGN) == []


async def test_turns_without_budgets_ask_and_write_none(town, crowd):  # noqa: F811
    (phone,) = await crowd(1)
    await town.turn([phone.moves(now_us() - 1_000_000, True)])
    assert await reasons(town) == {"offer": 1}
    assert await town.rows.fetchval("SELECT count(*) FROM budget") == 0


async def test_who_is_held_out_is_told_nothing_and_their_time_is_taken(town, crowd):  # noqa: F811
    phones = await crowd(40, holdout=0.5, budget={"total": 40}, caps=[{"limit": 1, "window": {"n": 1, "unit": "day"}}])
    at_us = now_us() - 1_000_000
    for phone in phones:
        part = phone.moves(at_us, True, False)
        await town.turn([part])
        phone.state = part.state
    held = {phone.user for phone in phones if place(phone.user, b"campaign", UUID(int=7).bytes) < 0.5}
    assert 5 < len(held) < 35
    found = await town.rows.fetch("SELECT user_id FROM decision WHERE reason = 'holdout'")
    assert {row["user_id"] for row in found} == held
    ghosts = await town.rows.fetch("SELECT * FROM reservation WHERE ghost")
    assert {row["user_id"] for row in ghosts} == held
    assert {(row["state"], row["campaign_day"], row["tags"] == ["hot"]) for row in ghosts} == {(1, None, True)}
    assert await town.rows.fetchval("SELECT count(*) FROM offer") == 40 - len(held)
    assert (await spent(town, CAMPAIGN))[0] == ("-infinity", 40 - len(held))
    for phone in phones:  # the held out meet the same cap as all others
        await town.turn([phone.moves(at_us + 3_600_000_000, True)])
    assert await reasons(town) == {"offer": 40 - len(held), "holdout": len(held), "cap": 40}


async def test_what_a_device_caused_is_erased_with_its_ghosts(town, crowd):  # noqa: F811
    (phone,) = await crowd(1, holdout=1)
    other = replace(phone, device=uuid4())
    await town.another(phone, other.device)
    for one in (phone, other):
        await town.turn([one.moves(now_us() - 1_000_000, True)])
    assert await town.rows.fetchval("SELECT count(*) FROM reservation WHERE ghost") == 1  # the other's enter: inside
    async with transaction(town.pool, [OWNER]) as connection:
        await connection.fetchval(sql("erase_device"), phone.user, other.device, OWNER)
        assert await connection.fetchval("SELECT count(*) FROM reservation") == 1
        await connection.fetchval(sql("erase_device"), phone.user, phone.device, OWNER)
        assert await connection.fetchval("SELECT count(*) FROM reservation") == 0
