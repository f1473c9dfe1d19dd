"""Kill switches beside a running server: a store's, and the whole installation's. What is off is silent at once."""

import asyncio
import sys
import uuid

import pytest

from tests.integration.people.conftest import AWAY, SHOP
from tests.integration.people.test_people_nearby import items
from tests.support.running import without_our_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

STORE = "/v1/stores/stores%2Fmain"  # the fence has no store: it counts as its own


@pytest.fixture
def command(shared):
    """Run `geo-offers …`: exit code and stdout; it must say nothing on stderr."""

    async def run(*arguments):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "geo_offers", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=without_our_settings() | {"GEO_OFFERS_DATABASE_URL": shared.database.app_dsn},
        )  # fmt: skip
        out, err = await process.communicate()
        assert err == b""
        return process.returncode, out.decode()

    return run


async def silence(api, phone):
    """What an arrival now comes to: its reason, and the detail of the gate that said so."""
    await phone.at(AWAY)
    await phone.at(SHOP)
    found = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    told = await api.good("GET", f"/v1/decisions/{found['id']}", "owner")
    gates = {gate["gate"]: gate["detail"] for gate in told["gates"]}
    return told.get("reason"), gates["kill_switch"].get("all", False), gates.get("live", {}).get("paused")


async def queued(api, phone):
    """An offer that waits for its phone to listen."""
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    return uuid.UUID(offer["id"])


async def ended(api, offer):
    """How the dispatcher ends an offer that would wait for an hour."""
    async with asyncio.timeout(5):
        while (row := await api.rows.fetchrow("SELECT state, detail FROM offer WHERE id = $1", offer))[0] == "queued":
            await asyncio.sleep(0.01)
    return tuple(row)


async def deeds(api):
    found = (await api.good("GET", "/v1/audit", "owner"))["items"]
    return [(deed["action"], deed["subject"]) for deed in found]


async def test_a_paused_store_is_silent_from_the_next_arrival_on_and_sends_nothing_that_waits(api):
    await api.shop()
    await api.good("PUT", STORE, "editor", {"name": "Main"})
    phone, waiting = await api.buyer(), await api.buyer()
    offer = await queued(api, waiting)
    assert (await api.good("POST", f"{STORE}/pause", "editor"))["paused"] is True
    assert await silence(api, phone) == ("not_live", False, "store")
    assert await items(phone) == []
    assert await ended(api, offer) == ("cancelled", "not_live")
    assert (await api.good("GET", STORE, "viewer"))["paused"] is True
    assert (await api.good("PUT", STORE, "editor", {"name": "Main Street"}))["paused"] is True  # a new body lets it be

    for _ in range(2):
        assert (await api.good("POST", f"{STORE}/resume", "editor"))["paused"] is False
    assert await silence(api, phone) == (None, False, None)
    assert [deed for deed in await deeds(api) if deed[0].startswith("store.")] == [
        ("store.resume", "stores/main"),
        ("store.put", "stores/main"),
        ("store.pause", "stores/main"),
        ("store.put", "stores/main"),
    ]


@pytest.mark.parametrize(
    ("switch", "reason"), [("pause", "not_live"), ("end", "not_live"), ("workspace", "kill_switch")]
)
async def test_what_waits_of_a_campaign_or_workspace_that_is_switched_off_is_cancelled_at_once(api, switch, reason):
    campaign = await api.shop()
    waiting = await api.buyer()
    offer = await queued(api, waiting)
    if switch == "workspace":
        await api.good("PATCH", "/v1/workspace", "owner", {"paused": True})
    else:
        await api.good("POST", f"/v1/campaigns/{campaign}/{switch}", "owner")
    assert await ended(api, offer) == ("cancelled", reason)
    assert (await waiting.good("GET", "/v1/me/offers"))["items"] == []


async def test_an_offer_that_a_phone_had_in_its_answer_counts_though_its_campaign_was_paused_meanwhile(api):
    campaign = await api.shop(
        caps=[{"limit": 1, "window": {"n": 1, "unit": "day"}, "mode": "rolling", "scope": "user"}]
    )
    phone = await api.buyer()
    offer = await queued(api, phone)
    await api.good("POST", f"/v1/campaigns/{campaign}/pause", "owner")
    assert await ended(api, offer) == ("cancelled", "not_live")
    await api.good("POST", f"/v1/campaigns/{campaign}/resume", "owner")
    assert (await silence(api, phone))[0] == "cap"


async def test_a_switch_lets_what_others_have_to_say_wait_for_its_phone(api):
    first, second = await api.shop(), await api.shop(priority=1)
    offer = await queued(api, await api.buyer())  # of the second, which comes first
    await api.good("POST", f"/v1/campaigns/{first}/pause", "owner")
    looked = await api.rows.fetchrow("SELECT state, due > clock_timestamp() FROM outbox WHERE offer = $1", offer)
    assert tuple(looked) == ("due", True)
    await api.good("POST", f"/v1/campaigns/{second}/pause", "owner")
    assert await ended(api, offer) == ("cancelled", "not_live")


async def test_a_store_is_paused_by_an_editor_and_only_where_there_is_one(api):
    assert (await api.call("POST", f"{STORE}/pause", "editor")).status == 404
    assert (await api.call("POST", f"{STORE}/pause", "viewer")).code == "role"


async def test_everything_of_the_installation_is_silent_at_once_and_speaks_again(api, command):
    await api.shop()
    phone, waiting = await api.buyer(), await api.buyer()
    offer = await queued(api, waiting)
    assert await command("pause", "--all") == (0, "everything is paused\n")
    try:
        assert await silence(api, phone) == ("kill_switch", True, None)
        assert await items(phone) == []
        assert await ended(api, offer) == ("cancelled", "kill_switch")
        assert await command("pause", "--all") == (0, "everything was paused already\n")
    finally:
        assert await command("resume", "--all") == (0, "everything is running\n")
    assert await silence(api, phone) == (None, False, None)
    switches = [deed for deed in await deeds(api) if deed[1] == "all"]
    assert switches == [("installation.resume", "all"), ("installation.pause", "all")]
