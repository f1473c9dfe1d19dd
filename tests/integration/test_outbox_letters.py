"""What a lane gave up: seen by who runs the workspace, and sent again where that can still be right."""

import json
from uuid import uuid4

import pytest
from aiohttp import web

from tests.faults.world import until, world
from tests.support.commands import command
from tests.support.gateways.webhook import gateway
from tests.support.running import running


@pytest.fixture
async def house(database):
    """A workspace whose gateway refuses, and one phone that has just arrived at a fence with a campaign."""
    async with gateway() as push:
        push.answer_with = lambda: web.Response(status=400)
        async with (
            running(database, **push.settings, lease_s=1.0) as service,
            world(database, lambda: service.url) as town,
        ):
            await town.fences(2)
            await town.no_gaps()
            await town.campaign()
            (phone,) = await town.phones(["ann"], push=True)
            yield service, town, push, phone


async def letters(town, query=""):
    return (await town.good("GET", f"/v1/outbox{query}", "manager"))["items"]


async def failed(house):
    _, town, _, phone = house
    await town.pings(phone.token, [phone.ping(0)])

    async def there():
        return len(await letters(town)) == 1

    await until(there, why="the refused offer is a dead letter")
    (letter,) = await letters(town)
    return letter


async def test_what_the_gateway_refuses_is_listed_with_its_reason_and_no_name(house):
    _, town, _, phone = house
    letter = await failed(house)
    assert (letter["lane"], letter["state"], letter["detail"], letter["kept"]) == (
        "webhook",
        "failed",
        "http 400",
        False,
    )
    assert letter["user"] == phone.user  # this key's role is owner
    summary = (await town.good("GET", "/v1/outbox/summary", "manager"))["items"]
    assert [(one["lane"], one["state"], one["count"]) for one in summary] == [("webhook", "failed", 1)]
    assert await letters(town, "?lane=fcm") == []
    assert await letters(town, "?state=ambiguous") == []


async def test_a_failed_offer_that_is_sent_again_arrives_once_and_counts(house, database):
    service, town, push, _phone = house
    letter = await failed(house)
    push.answer_with = web.Response
    key = town.keys["manager"]
    ended = await command("outbox", "replay", letter["offer"], "--url", service.url, "--key", key)
    assert (ended.code, ended.out) == (0, f"{letter['offer']} queued\n")
    await until(lambda: len(push.attempts[letter["offer"]]) == 2, why="it was sent again")
    assert push.visible()[letter["offer"]] == 1

    async def accepted():
        return await letters(town, "?state=queued") == [] and await letters(town) == []

    await until(accepted, why="it is no dead letter any more")
    actions = [row["action"] for row in (await town.good("GET", "/v1/audit", "manager"))["items"]]
    assert "outbox.replay" in actions
    again = await command("outbox", "replay", letter["offer"], "--url", service.url, "--key", key)
    assert again.code == 1
    assert "only what has failed is sent again" in again.err


async def test_of_many_offers_each_is_sent_again_or_refused_by_its_name(house):
    service, town, push, _phone = house
    letter, stranger = await failed(house), str(uuid4())
    asked = ("--url", service.url, "--key", town.keys["manager"])
    ended = await command("outbox", "replay", stranger, letter["offer"], *asked)
    assert (ended.code, ended.out) == (1, f"{letter['offer']} queued\n")
    assert ended.err.startswith(f"geo-offers: {stranger}: ")
    await until(lambda: len(push.attempts[letter["offer"]]) == 2, why="it was sent again")


async def test_a_failed_offer_stays_dead_where_the_person_was_promised_something_since(house):
    _, town, push, phone = house
    letter = await failed(house)
    push.answer_with = web.Response
    await town.pings(phone.token, [phone.ping(1)])
    await until(lambda: len(push.attempts) == 2, why="the second offer has arrived")
    answer = await town.call("POST", f"/v1/outbox/{letter['offer']}/replay", "manager")
    assert (answer.status, answer.body["detail"]) == (409, "the person was promised something else since")
    assert len(push.attempts[letter["offer"]]) == 1


@pytest.mark.parametrize("budget", [{"total": 1}, {"per_day": 1}])
async def test_a_failed_offer_stays_dead_where_its_budget_went_to_somebody_else(house, budget):
    _, town, push, _ = house
    (campaign,) = (await town.good("GET", "/v1/campaigns", "manager"))["items"]
    await town.good("POST", f"/v1/campaigns/{campaign['id']}/pause", "manager")
    await town.campaign(budget=budget)
    letter = await failed(house)
    push.answer_with = web.Response
    (other,) = await town.phones(["bob"], push=True)
    answer = await town.pings(other.token, [other.ping(0)])
    assert len(answer.body["offers"]) == 1
    refused = await town.call("POST", f"/v1/outbox/{letter['offer']}/replay", "manager")
    assert (refused.status, refused.body["detail"]) == (
        409,
        "the budget that it was made from is given to others since",
    )
    assert len(push.attempts[letter["offer"]]) == 1


async def test_a_failed_offer_is_sent_again_within_its_budget(house):
    _, town, push, _ = house
    (campaign,) = (await town.good("GET", "/v1/campaigns", "manager"))["items"]
    await town.good("POST", f"/v1/campaigns/{campaign['id']}/pause", "manager")
    await town.campaign(budget={"total": 1})
    letter = await failed(house)
    push.answer_with = web.Response
    assert (await town.call("POST", f"/v1/outbox/{letter['offer']}/replay", "manager")).status == 204
    await until(lambda: len(push.attempts[letter["offer"]]) == 2, why="it was sent again")


async def test_an_offer_that_is_none_and_a_key_that_may_not_are_told_so(house):
    _, town, _, phone = house
    assert (await town.call("POST", f"/v1/outbox/{uuid4()}/replay", "manager")).status == 404
    assert (await town.call("POST", "/v1/outbox/none/replay", "manager")).status == 404
    assert (await town.call("GET", "/v1/outbox", phone.token)).status == 403
    assert (await town.call("GET", "/v1/outbox?state=lost", "manager")).status == 422


async def test_the_command_lists_one_offer_a_line(house):
    service, town, _, _ = house
    letter = await failed(house)
    asked = ("--url", service.url, "--key", town.keys["manager"])
    ended = await command("outbox", "list", *asked)
    assert ended.code == 0
    (line,) = ended.lines
    assert line.split()[0] == letter["offer"]
    assert line.endswith("not shown    http 400")
    told = json.loads((await command("outbox", "list", "--json", *asked)).out)
    assert told == letter
    assert (await command("outbox", "summary", *asked)).lines == ["webhook   failed             1"]
    for wrong in (("--state", "lost"), ("--lane", "pigeon"), ("--most", "0"), ("--most", "-5")):
        assert (await command("outbox", "list", *wrong, *asked)).code == 2
    assert (await town.call("GET", "/v1/outbox?lane=pigeon", "manager")).status == 422
