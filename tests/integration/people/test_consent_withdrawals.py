"""What goes with a consent that is taken back, and what stays."""

import uuid

import pytest

from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALL = {"locate": "v1", "offers": "v1", "measure": "v1"}


async def ended(api, phone):
    """Of each visit of the phone, whether it has ended."""
    query = "SELECT left_at IS NOT NULL AS ended FROM visit WHERE device = $1 ORDER BY entered_at"
    return [row["ended"] for row in await api.rows.fetch(query, uuid.UUID(phone.device))]


async def been(api, **person):
    """A phone with a visit that ended and one that did not."""
    await api.shop()
    phone = await api.buyer(**person)
    for place in (SHOP, AWAY, SHOP):
        await phone.at(place)
    assert await ended(api, phone) == [True, False]
    return phone


async def test_with_the_consent_to_be_located_all_visits_go(api):
    phone = await been(api)
    await phone.consent("locate", granted=False)
    assert await ended(api, phone) == []


async def test_visits_that_ended_stay_where_they_may_be_measured(api):
    phone = await been(api, consents=ALL)
    await phone.consent("locate", granted=False)
    assert await ended(api, phone) == [True]


async def test_what_stayed_to_be_measured_goes_with_the_consent_to_measure(api):
    phone = await been(api, consents=ALL)
    await phone.consent("locate", granted=False)
    await phone.consent("measure", granted=False)
    assert await ended(api, phone) == []


async def test_visits_stay_without_measuring_while_the_person_is_located(api):
    phone = await been(api, consents=ALL)
    await phone.consent("measure", granted=False)
    assert await ended(api, phone) == [True, False]


async def test_the_visits_of_others_stay(api):
    await api.shop()
    mine, other = await api.buyer(), await api.buyer()
    for phone in (mine, other):
        await phone.at(SHOP)
    await mine.consent("locate", granted=False)
    assert await ended(api, other) == [False]


@pytest.mark.parametrize("told", [True, False])
async def test_who_opts_out_and_in_again_finds_the_caps_as_they_were(api, told):
    await api.shop(caps=[{"limit": 1, "window": {"n": 31, "unit": "day"}, "mode": "rolling", "scope": "user"}])
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    if told:
        await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "shown"})
    await phone.at(AWAY)
    for purpose in ("offers", "locate"):
        await phone.consent(purpose, granted=False)
        await phone.consent(purpose, granted=True)
    assert (await phone.at(SHOP)).body["offers"] == []
    decision = (await api.good("GET", "/v1/decisions", "owner"))["items"][0]
    assert decision["reason"] == "cap"
