"""The inbox, and what a phone says became of an offer."""

import asyncio
import json
import uuid
from base64 import urlsafe_b64encode

import pytest

from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_offers(api, count):
    """A phone with that many offers, newest first."""
    campaign = await api.shop()
    phone = await api.buyer(user=f"u-{uuid.uuid4().hex}")
    offers = []
    for _ in range(count):
        offers += (await phone.at(SHOP)).body["offers"]
        await phone.at(AWAY)
    assert len(offers) == count
    return phone, campaign, offers[::-1]


async def pages(phone, limit):
    found, path = [], f"/v1/me/offers?limit={limit}"
    while True:
        page = await phone.good("GET", path)
        assert len(page["items"]) <= limit
        found.append(page["items"])
        if page["next"] is None:
            return found
        path = f"/v1/me/offers?limit={limit}&cursor={page['next']}"


# ------------------------------------------------------------------------------------------------ the list
async def test_the_inbox_holds_a_silent_copy_of_each_offer_newest_first(api):
    phone, campaign, offers = await with_offers(api, 3)
    page = await phone.good("GET", "/v1/me/offers")
    assert page["next"] is None
    assert [item["id"] for item in page["items"]] == [offer["id"] for offer in offers]
    assert page["items"] == offers
    for item in page["items"]:
        assert (item["campaign"], item["fence"], item["alert"]) == (campaign, "stores/main", False)
        assert (item["title"], item["body"], item["lane"]) == ("Warm rolls", "Until noon", "inapp")


async def test_pages_follow_each_other_without_a_gap_or_a_repeat_though_new_offers_come(api):
    phone, _, offers = await with_offers(api, 5)
    first = await phone.good("GET", "/v1/me/offers?limit=2")
    await phone.at(SHOP)
    rest = await phone.good("GET", f"/v1/me/offers?limit=2&cursor={first['next']}")
    last = await phone.good("GET", f"/v1/me/offers?limit=2&cursor={rest['next']}")
    got = [item["id"] for page in (first, rest, last) for item in page["items"]]
    assert got == [offer["id"] for offer in offers]
    assert last["next"] is None
    assert await phone.good("GET", f"/v1/me/offers?limit=2&cursor={first['next']}") == rest


async def test_offers_of_one_instant_are_told_apart(api):
    phone, _, offers = await with_offers(api, 5)
    await api.rows.execute(
        "UPDATE offer SET created_at = date_trunc('day', created_at) WHERE user_id = $1", uuid.UUID(phone.user)
    )
    got = [item["id"] for page in await pages(phone, 2) for item in page]
    assert got == sorted((offer["id"] for offer in offers), reverse=True)


async def test_a_page_is_capped_however_much_is_asked_for(api):
    phone, _, _ = await with_offers(api, 1)
    await api.rows.execute(
        """INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, trigger, lane, message,
               created_at, expires_at)
        SELECT gen_random_uuid(), workspace, user_id, device, decision, campaign, fence, trigger, lane, message,
               created_at - make_interval(secs => n), expires_at
        FROM offer, generate_series(1, 1200) n WHERE user_id = $1""",
        uuid.UUID(phone.user),
    )
    for asked in (1001, 10**9, 10**30):
        page = await phone.good("GET", f"/v1/me/offers?limit={asked}")
        assert len(page["items"]) == 1000
        rest = await phone.good("GET", f"/v1/me/offers?limit={asked}&cursor={page['next']}")
        assert (len(rest["items"]), rest["next"]) == (201, None)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("cursor=x", 400),
        ("cursor=" + urlsafe_b64encode(b"[1, 2]").decode(), 400),
        ("cursor=" + urlsafe_b64encode(b'["2026-01-01T00:00:00Z","' + b"0" * 32 + b'"]').decode().rstrip("="), 400),
        ("cursor=" + "A" * 3000, 422),
        ("cursor=%00", 400),
        ("limit=0", 422),
        ("limit=-1", 422),
        ("limit=1.5", 422),
        ("limit=ten", 422),
        ("limit=2&limit=3", 422),
        ("user=ann", 422),
    ],
)
async def test_a_cursor_or_limit_that_is_none_is_refused(api, query, status):
    phone = await api.phone()
    answer = await phone.call("GET", f"/v1/me/offers?{query}")
    assert answer.status == status
    assert answer.code in {"malformed", "invalid"}


async def test_a_persons_inbox_is_theirs_and_that_of_an_unproven_device_holds_what_it_caused(api):
    phone, _, offers = await with_offers(api, 2)
    assert (await (await api.buyer()).good("GET", "/v1/me/offers"))["items"] == []
    name = (await phone.good("GET", "/v1/me/export"))["external_id"]
    unproven = await api.phone(user=name)
    assert (await unproven.good("GET", "/v1/me/offers"))["items"] == []
    proven = await api.phone("server", user=name)
    assert len((await proven.good("GET", "/v1/me/offers"))["items"]) == len(offers)


# ------------------------------------------------------------------------------------------------ what became of it
async def test_what_became_of_an_offer_is_noted_once_each(api):
    phone, _, (offer,) = await with_offers(api, 1)
    path = f"/v1/me/offers/{offer['id']}/events"
    for event in ({"type": "shown"}, {"type": "opened"}, {"type": "dismissed", "reason": "not_now"}, {"type": "shown"}):
        answer = await phone.call("POST", path, event)
        assert (answer.status, answer.raw) == (204, b"")
    found = await api.rows.fetch("SELECT type, reason FROM offer_event WHERE offer = $1", uuid.UUID(offer["id"]))
    assert {(row["type"], row["reason"]) for row in found} == {
        ("shown", None),
        ("opened", None),
        ("dismissed", "not_now"),
    }


async def stands(api, offer):
    """What stands of an offer: rows that would be sent, its state, that of its reservation, and what was said of it."""
    ident = uuid.UUID(offer["id"])
    return (
        await api.rows.fetchval("SELECT count(*) FROM outbox WHERE offer = $1", ident),
        await api.rows.fetchval("SELECT state FROM offer WHERE id = $1", ident),
        await api.rows.fetchval("SELECT state FROM reservation WHERE offer = $1", ident),
        [row["type"] for row in await api.rows.fetch("SELECT type FROM offer_event WHERE offer = $1", ident)],
    )


EVERY_EVENT = pytest.mark.parametrize("event", ["shown", "opened", "dismissed", "muted"])


@EVERY_EVENT
async def test_an_offer_of_which_the_phone_says_anything_was_seen_and_is_not_sent_again(api, event):
    phone, _, (offer,) = await with_offers(api, 1)
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": event})
    assert await stands(api, offer) == (0, "shown", 1, [event])


@EVERY_EVENT
async def test_an_offer_that_was_seen_on_the_persons_other_phone_does_not_alert_on_the_first(api, event):
    phone, _, (offer,) = await with_offers(api, 1)
    name = (await phone.good("GET", "/v1/me/export"))["external_id"]
    other = await api.phone("server", user=name)
    await other.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": event})
    assert await stands(api, offer) == (0, "shown", 1, [event])


async def expired(api, offer):
    """As after the dispatcher has found it so: the slot is free again."""
    ident = uuid.UUID(offer["id"])
    await api.rows.execute("DELETE FROM outbox WHERE offer = $1", ident)
    await api.rows.execute("UPDATE offer SET state = 'expired', detail = 'expired' WHERE id = $1", ident)
    await api.rows.execute("UPDATE reservation SET state = 2 WHERE offer = $1", ident)


@EVERY_EVENT
async def test_what_was_seen_after_its_end_stands_and_takes_its_slot_back(api, event):
    phone, _, (offer,) = await with_offers(api, 1)
    await expired(api, offer)
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": event})
    assert await stands(api, offer) == (0, "shown", 1, [event])


async def test_an_offer_that_was_opened_from_the_inbox_though_expired_counts_for_the_persons_rhythm(api):
    phone, _, (offer,) = await with_offers(api, 1)
    await phone.good("PUT", "/v1/me/rhythm", {"max": 1, "per": "day", "min_gap_h": 0, "quiet": []})
    await expired(api, offer)
    await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "opened"})
    assert (await phone.at(SHOP)).body["offers"] == []
    newest = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    assert newest["reason"] == "rhythm_max"


async def test_the_live_feed_is_told_once_that_an_offer_was_seen(api):
    phone, _, (offer,) = await with_offers(api, 1)
    bearer = {"Authorization": f"Bearer {await api.key('owner')}"}
    async with api.session.get(f"{api.service.url}/v1/live?types=delivery", headers=bearer) as feed:
        for event in ("opened", "shown", "dismissed", "opened"):
            await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": event})
        await phone.at(SHOP)
        (later,) = [item for item in (await phone.good("GET", "/v1/me/offers"))["items"] if item["id"] != offer["id"]]
        await phone.good("POST", f"/v1/me/offers/{later['id']}/events", {"type": "shown"})
        told = []
        async with asyncio.timeout(5):
            while (later["id"], "shown") not in told:
                line = await feed.content.readline()
                if line.startswith(b"data: "):
                    data = json.loads(line.removeprefix(b"data: "))
                    told.append((data["offer"], data["outcome"]))
    for outcome in ("shown", "opened", "dismissed"):
        assert told.count((offer["id"], outcome)) == 1
    assert told.index((offer["id"], "shown")) < told.index((offer["id"], "opened"))


async def test_who_mutes_a_campaign_hears_no_more_of_it(api):
    phone, campaign, (offer,) = await with_offers(api, 1)
    path = f"/v1/me/offers/{offer['id']}/events"
    answers = await asyncio.gather(*(phone.call("POST", path, {"type": "muted"}) for _ in range(4)))
    assert {answer.status for answer in answers} == {204}
    assert (await phone.good("GET", "/v1/me/export"))["rhythm"]["mute"]["campaigns"] == [campaign]
    assert (await phone.good("GET", "/v1/me/rhythm"))["mute"]["campaigns"] == [campaign]
    assert (await phone.at(SHOP)).body["offers"] == []
    newest = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    assert newest["reason"] == "muted"


@pytest.mark.parametrize(
    ("event", "pointer"),
    [
        ({"type": "seen"}, "/type"),
        ({}, ""),
        ({"type": "dismissed", "reason": "bored"}, "/reason"),
        ({"type": "shown", "reason": "not_now"}, "/reason"),
        ({"type": "opened", "reason": "too_many"}, "/reason"),
        ({"type": "muted", "reason": "not_for_me"}, "/reason"),
        ({"type": "shown", "at": "2026-01-01T00:00:00Z"}, "/at"),
    ],
)
async def test_an_event_that_is_none_is_refused(api, event, pointer):
    phone = await api.phone()
    answer = await phone.call("POST", f"/v1/me/offers/{uuid.uuid4()}/events", event)
    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_nobody_says_what_became_of_somebody_elses_offer(api):
    phone, _, (offer,) = await with_offers(api, 1)
    stranger = await api.phone()
    name = (await phone.good("GET", "/v1/me/export"))["external_id"]
    unproven = await api.phone(user=name)
    for who in (stranger, unproven):
        for event in ("shown", "muted"):
            answer = await who.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": event})
            assert (answer.status, answer.code) == (404, "not_found")
    for ident in ("x", "%00", str(uuid.uuid4())):
        assert (await phone.call("POST", f"/v1/me/offers/{ident}/events", {"type": "shown"})).status == 404
    assert await api.rows.fetchval("SELECT count(*) FROM offer_event WHERE offer = $1", uuid.UUID(offer["id"])) == 0
