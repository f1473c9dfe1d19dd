"""`POST /v1/me/nearby`: what a person who asks may have here now, and what asking leaves behind."""

import pytest

from tests.integration.people.conftest import AWAY, LOOSE, SHOP
from tests.integration.people.test_people_not_at import left_behind

pytestmark = pytest.mark.asyncio(loop_scope="module")

BESIDE = (SHOP[0] + 0.003, SHOP[1])  # 334 m from the shop, 234 m from its fence
CIRCLE = {"lat": SHOP[0], "lon": SHOP[1], "radius_m": 500}
NOBODY = {
    "max": 0,
    "channels": [],
    "quiet": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "24:00"}],
}


async def asked(phone, place=SHOP, **more):
    return await phone.call("POST", "/v1/me/nearby", {"lat": place[0], "lon": place[1]} | more)


async def items(phone, place=SHOP, **more):
    answer = await asked(phone, place, **more)
    assert answer.status == 200, answer.body
    return answer.body["items"]


async def test_who_asks_is_told_what_is_here_and_near_in_the_words_of_an_offer(api):
    campaign = await api.shop(
        texts={"en": {"title": "Warm rolls at {where}", "body": "{away} from you", "link": "https://example.org/"}},
        fields={"where": {"type": "text", "from": "store"}, "away": {"type": "distance", "from": "distance"}},
        data={"sku": "7"},
    )
    phone = await api.buyer()
    (here,) = await items(phone)
    assert (here["campaign"], here["fence"], here["place"], here["distance_m"]) == (
        campaign,
        "stores/main",
        "Main Street",
        0,
    )
    assert (here["title"], here["link"], here["data"]) == (
        "Warm rolls at Main Street",
        "https://example.org/",
        {"sku": "7"},
    )
    (near,) = await items(phone, BESIDE)
    assert near["distance_m"] == 250  # 234 m, rounded up
    assert await items(phone, AWAY) == []


async def test_the_rhythm_caps_and_holdouts_of_what_nobody_asked_for_hold_nobody_back_who_asks(api):
    await api.shop(caps=[{"limit": 1, "window": {"n": 1, "unit": "day"}}], holdout=1)
    await api.good("PATCH", "/v1/workspace", "owner", {"holdout": 0.9, "place_gap_s": 86_400})
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", NOBODY)
    assert [one["title"] for one in await items(phone)] == ["Warm rolls"]


async def test_asking_reserves_sends_and_keeps_nothing(api):
    await api.shop(budget={"total": 1})
    phone = await api.buyer()
    await phone.at(AWAY)
    before_it = await left_behind(api)
    for _ in range(3):
        assert len(await items(phone)) == 1
    assert await left_behind(api) == before_it
    assert len((await phone.at(SHOP)).body["offers"]) == 1
    assert await items(phone) == []  # the budget's only one was given


@pytest.mark.parametrize("purpose", ["locate", "offers"])
async def test_without_the_consent_nothing_is_told(api, purpose):
    await api.shop()
    phone = await api.buyer()
    assert len(await items(phone)) == 1
    await phone.consent(purpose, granted=False)
    answer = await asked(phone)
    assert (answer.status, answer.code) == (403, "consent_required")


async def test_who_is_not_of_age_is_not_located_for_asking_either(api):
    await api.shop()
    phone = await api.buyer(age="minor", consents={})
    answer = await asked(phone)
    assert (answer.status, answer.code) == (403, "age")


@pytest.mark.parametrize(
    "rhythm",
    [{"not_at": [CIRCLE]}, {"locate": "off"}, {"locate": "coarse"}, {"mute": {"stores": ["stores/main"]}}],
    ids=["not_at", "off", "coarse", "mute"],
)
async def test_what_the_person_has_ruled_out_is_answered_as_where_nothing_is(api, rhythm):
    await api.shop()
    phone = await api.buyer()
    nothing = await asked(phone, AWAY)
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"locate": "foreground"})
    assert len(await items(phone)) == 1  # who asks has the app open
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | rhythm)
    answer = await asked(phone)
    assert (answer.status, answer.raw) == (nothing.status, nothing.raw)


async def test_at_a_private_place_nothing_is_told_and_nothing_tells_that_it_is_one(api):
    await api.shop()
    phone = await api.buyer()
    nothing = await asked(phone, AWAY)
    assert len(await items(phone, BESIDE)) == 1
    place = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [BESIDE[1], BESIDE[0]]},
        "properties": {"radius_m": 60, "category": "health"},
    }
    await api.good("PUT", "/v1/private-places/clinic", "owner", place)
    answer = await asked(phone, BESIDE)
    assert (answer.status, answer.raw) == (nothing.status, nothing.raw)
    assert len(await items(phone)) == 1


@pytest.mark.parametrize("switch", ["campaign", "workspace"])
async def test_a_switch_is_felt_by_the_next_who_asks(api, switch):
    campaign = await api.shop()
    phone = await api.buyer()
    assert len(await items(phone)) == 1
    if switch == "campaign":
        await api.good("POST", f"/v1/campaigns/{campaign}/pause", "owner")
    else:
        await api.good("PATCH", "/v1/workspace", "owner", {"paused": True})
    assert await items(phone) == []


async def test_what_is_over_and_what_is_said_to_those_who_leave_is_not_told(api):
    await api.shop(schedule={"until": "2020-01-01T00:00:00Z"})
    await api.shop(trigger={"on": "exit", "fences": {"set": "stores"}})
    assert await items(await api.buyer()) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"lat": 91, "lon": 0}, "/lat"),
        ({"lat": 0, "lon": 181}, "/lon"),
        ({"lat": 0, "lon": 0, "accuracy_m": -1}, "/accuracy_m"),
        ({"lat": 0}, ""),
        ({"lat": 0, "lon": 0, "radius_m": 5}, "/radius_m"),
    ],
)
async def test_a_wrong_question_is_refused_with_its_place(api, body, pointer):
    phone = await api.phone()
    answer = await phone.call("POST", "/v1/me/nearby", body)
    assert (answer.status, answer.pointers) == (422, [pointer])


async def test_a_device_asks_at_the_rate_of_its_calls(api):
    phone = await api.buyer()
    answers = [(await asked(phone)).status for _ in range(80)]
    assert 429 in answers
