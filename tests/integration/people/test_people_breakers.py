"""Breakers: what too many opt out of silences itself, says why, and trips no more on the same offers once resumed."""

import uuid

import pytest

from geo_offers.people.backoff import Became
from geo_offers.storage.breakers import PostgresBreakers
from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORE = "stores/main"  # the fence has no store: it counts as its own
RESUME = f"/v1/breakers/store/{STORE.replace('/', '%2F')}/resume"


async def offered(api, campaign, told, *, store=STORE, fence=STORE, state=1):
    """As many offers as `told` says of what became of them, made just now."""
    await api.rows.execute(
        "INSERT INTO reservation (user_id, at, offer, workspace, campaign, store, fence, state, became)"
        " SELECT gen_random_uuid(), clock_timestamp(), gen_random_uuid(), $1, $2, $3, $4, $5, became"
        " FROM unnest($6::smallint[]) q (became)",
        *(api.workspace, campaign, store, fence, state, [int(became) for became in told]),
    )


async def swept(api):
    """The open breakers after a sweep, by kind."""
    await PostgresBreakers(api.pool).sweep()
    items = (await api.good("GET", "/v1/breakers", "viewer"))["items"]
    return {item["kind"]: (item["id"], item["offers"], item["opt_outs"], item["per_1000"]) for item in items}


def of(offers, **became):
    told = [Became[name.upper()] for name, count in became.items() for _ in range(count)]
    return [*told, *[Became.SHOWN] * (offers - len(told))]


async def newest(api):
    found = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    told = await api.good("GET", f"/v1/decisions/{found['id']}", "owner")
    (live,) = [gate["detail"] for gate in told["gates"] if gate["gate"] == "live"]
    return told.get("reason"), live.get("breaker")


async def arrives(api, phone):
    """What an arrival at the shop comes to: the silence, and whose breaker it was."""
    await phone.at(AWAY)
    await phone.at(SHOP)
    return await newest(api)


async def test_a_campaign_and_a_store_pause_themselves_say_why_and_speak_again_when_resumed(api):
    campaign = await api.shop()
    await api.good("PUT", "/v1/stores/stores%2Fmain", "owner", {"name": "Main"})
    phone = await api.buyer()
    await offered(api, campaign, of(200, muted=8, unwanted=7, wrong_place=6))
    found = await swept(api)
    assert found == {"campaign": (campaign, 200, 21, 100), "store": (STORE, 200, 21, 100)}
    held = await api.good("GET", f"/v1/campaigns/{campaign}", "viewer")
    assert (held["state"], held["breaker"]["opt_outs"], held["breaker"]["offers"]) == ("paused", 21, 200)
    assert (await api.good("GET", "/v1/campaigns", "viewer"))["items"][0]["breaker"] == held["breaker"]
    store = await api.good("GET", "/v1/stores/stores%2Fmain", "viewer")
    assert store["breaker"]["per_1000"] == 100
    assert (await api.good("GET", "/v1/stores", "viewer"))["items"] == [store]
    assert await arrives(api, phone) == ("not_live", "campaign")

    assert "breaker" not in await api.good("POST", f"/v1/campaigns/{campaign}/resume", "editor")
    assert await arrives(api, phone) == ("not_live", "store")
    await api.good("POST", RESUME, "editor")
    assert await arrives(api, phone) == (None, None)
    assert "breaker" not in await api.good("GET", "/v1/stores/stores%2Fmain", "viewer")

    # Neither the same offers nor what is told of them later trips it again; as many new ones do.
    assert await swept(api) == {}
    await api.rows.execute("UPDATE reservation SET became = 6 WHERE workspace = $1", api.workspace)
    assert await swept(api) == {}
    await offered(api, campaign, of(200, muted=1))
    assert await swept(api) == {}
    await offered(api, campaign, of(200, muted=60))
    assert (await swept(api))["store"] == (STORE, 401, 62, 100)  # with the one that the arrival made
    audit = "SELECT caller, action FROM audit WHERE workspace = $1 AND caller = 'breaker' ORDER BY id"
    told = [tuple(row) for row in await api.rows.fetch(audit, api.workspace)]
    assert told == [("breaker", "campaign.pause"), ("breaker", "store.pause")] * 2
    assert "store.resume" in await api.rows.fetchval("SELECT array_agg(action) FROM audit WHERE subject = $1", STORE)


@pytest.mark.parametrize(
    "told",
    [
        of(200, muted=20),  # the bound itself is borne
        of(199, muted=199),  # too few to tell
        of(400, put_off=300, opened=50, redeemed=50),  # not now is no opt-out
    ],
)
async def test_what_does_not_pass_the_bound_goes_on(api, told):
    campaign = await api.shop()
    await offered(api, campaign, told)
    assert await swept(api) == {}
    assert (await api.good("GET", f"/v1/campaigns/{campaign}", "viewer"))["state"] == "approved"


async def test_offers_that_nobody_saw_or_of_another_week_do_not_count(api):
    campaign = await api.shop()
    await offered(api, campaign, of(300, muted=300), state=2)
    await offered(api, campaign, of(300, muted=300))
    await api.rows.execute("UPDATE reservation SET created_at = created_at - interval '8 days' WHERE state = 1")
    assert await swept(api) == {}


async def test_a_fence_is_judged_by_the_wrong_place_alone(api):
    campaign = await api.shop()
    phone = await api.buyer()
    await api.good("PATCH", "/v1/workspace", "owner", {"breaker": {"per_1000": 300, "least": 20}})
    await offered(api, uuid.uuid4(), of(20, wrong_place=7), store="one")  # of many stores and campaigns, of one fence
    await offered(api, uuid.uuid4(), of(20, muted=5, opened=15), store="two", fence="stores/other")
    found = await swept(api)
    assert found["fence"] == (STORE, 20, 7, 300)
    assert set(found) == {"fence", "store"}
    assert await arrives(api, phone) == ("not_live", "fence")
    await api.good("POST", RESUME.replace("store", "fence", 1), "editor")
    assert await arrives(api, phone) == (None, None)
    assert (await api.good("GET", f"/v1/campaigns/{campaign}", "viewer"))["state"] == "approved"


async def test_a_bound_of_all_is_never_passed(api):
    campaign = await api.shop()
    await api.good("PATCH", "/v1/workspace", "owner", {"breaker": {"per_1000": 1000, "least": 20}})
    await offered(api, campaign, of(100, muted=100))
    assert await swept(api) == {}


async def test_nobody_resumes_what_is_not_open_or_not_theirs(api):
    await api.shop()
    assert (await api.call("POST", RESUME, "editor")).status == 404
    assert (await api.call("POST", RESUME, "viewer")).status == 403
    for path in ("/v1/breakers/campaign/x/resume", "/v1/breakers/person/x/resume", "/v1/breakers/store/%00/resume"):
        assert (await api.call("POST", path, "editor")).status == 404
