"""The rhythm: the default, its round trip, what is refused, and that the next decision keeps to it."""

import json

import pytest

from tests.integration.people.conftest import AWAY, LOOSE, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEFAULT = {
    "max": 2,
    "per": "week",
    "min_gap_h": 24.0,
    "quiet": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "21:00", "end": "08:00"}],
    "special": {"allow": True, "max": 1, "per": "month"},
    "channels": ["push", "inapp"],
    "mute": {"stores": [], "categories": [], "campaigns": []},
    "locate": "always",
    "not_at": [],
}
NOBODY = "00000000-0000-0000-0000-000000000001"
LOOSE_COLUMN = json.dumps(LOOSE).encode()
ALL_DAY = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "start": "00:00", "end": "23:59"}


async def test_the_default_is_in_force_until_the_person_changes_it(api):
    assert await (await api.phone()).good("GET", "/v1/me/rhythm") == DEFAULT


@pytest.mark.parametrize(
    "rhythm",
    [
        LOOSE,
        DEFAULT,
        {"max": 0, "per": "month", "min_gap_h": 0.5, "quiet": []},
        {
            "max": 5,
            "per": {"hours": 36},
            "min_gap_h": 744,
            "quiet": [{"days": ["sun"], "start": "00:00", "end": "00:00"}],
        },
        LOOSE | {"quiet": [{"days": ["sun"], "start": "18:00", "end": "24:00"}]},
        LOOSE | {"special": {"allow": False, "max": 0, "per": {"hours": 5}}, "channels": []},
        LOOSE | {"channels": ["inapp"], "mute": {"stores": ["s"], "categories": ["c"], "campaigns": [NOBODY]}},
        LOOSE | {"locate": "coarse", "not_at": [{"lat": -90.0, "lon": 180.0, "radius_m": 50.0}] * 20},
        {
            "max": 1,
            "per": "day",
            "min_gap_h": 1,
            "quiet": [ALL_DAY, {"days": ["fri"], "start": "22:15", "end": "02:45"}],
        },
    ],
)
async def test_what_is_put_is_what_is_got_on_every_phone(api, rhythm):
    one, other = await api.phone("server", user="ann"), await api.phone("server", user="ann")
    whole = DEFAULT | rhythm
    assert await one.good("PUT", "/v1/me/rhythm", rhythm) == whole
    assert await one.good("GET", "/v1/me/rhythm") == whole
    assert await other.good("GET", "/v1/me/rhythm") == whole


async def test_a_rhythm_replaces_the_one_before_and_what_it_leaves_out_is_the_default(api):
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", LOOSE)
    assert await phone.good("PUT", "/v1/me/rhythm", {"max": 1}) == DEFAULT | {"max": 1}


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"max": -1}, "/max"),
        ({"max": 1001}, "/max"),
        ({"max": 1.5}, "/max"),
        ({"max": "2"}, "/max"),
        ({"max": None}, "/max"),
        ({"per": "year"}, "/per"),
        ({"per": {"hours": 0}}, "/per/hours"),
        ({"per": {"hours": 745}}, "/per/hours"),
        ({"per": {"days": 1}}, "/per/days"),
        ({"min_gap_h": -0.1}, "/min_gap_h"),
        ({"min_gap_h": 745}, "/min_gap_h"),
        ({"quiet": [{"days": [], "start": "21:00", "end": "08:00"}]}, "/quiet/0/days"),
        ({"quiet": [{"days": ["monday"], "start": "21:00", "end": "08:00"}]}, "/quiet/0/days/0"),
        ({"quiet": [{"days": ["mon"], "start": "24:00", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["mon"], "start": "21:00", "end": "8:00"}]}, "/quiet/0/end"),
        ({"quiet": [{"days": ["mon"], "start": "21:00\n", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["mon"], "start": "\u0662\u0661:\u0660\u0660", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["mon"], "start": "0\u0668:00", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["mon"], "start": "21:00", "end": "08:0\u0660"}]}, "/quiet/0/end"),
        ({"quiet": [{"days": ["mon"], "start": "21:00", "end": "24:01"}]}, "/quiet/0/end"),
        ({"quiet": [{"days": ["mon"], "start": "21:00"}]}, "/quiet/0"),
        ({"quiet": [ALL_DAY] * 21}, "/quiet"),
        ({"special": {"allow": 1}}, "/special/allow"),
        ({"special": {"max": -1}}, "/special/max"),
        ({"special": {"per": {"hours": 745}}}, "/special/per/hours"),
        ({"special": {"gap": 1}}, "/special/gap"),
        ({"channels": ["sms"]}, "/channels/0"),
        ({"channels": ["push", "push"]}, "/channels"),
        ({"mute": {"stores": [""]}}, "/mute/stores/0"),
        ({"mute": {"categories": ["x"] * 101}}, "/mute/categories"),
        ({"mute": {"categories": ["\u202e"]}}, "/mute/categories/0"),
        ({"mute": {"campaigns": ["rolls"]}}, "/mute/campaigns/0"),
        ({"mute": {"people": []}}, "/mute/people"),
        ({"until": "08:00"}, "/until"),
        ({"locate": "sometimes"}, "/locate"),
        ({"not_at": [{"lat": 90.1, "lon": 0, "radius_m": 50}]}, "/not_at/0/lat"),
        ({"not_at": [{"lat": 0, "lon": -181, "radius_m": 50}]}, "/not_at/0/lon"),
        ({"not_at": [{"lat": 0, "lon": 0, "radius_m": 49}]}, "/not_at/0/radius_m"),
        ({"not_at": [{"lat": 0, "lon": 0, "radius_m": 50_001}]}, "/not_at/0/radius_m"),
        ({"not_at": [{"lat": 0, "lon": 0}]}, "/not_at/0"),
        ({"not_at": [{"lat": 0, "lon": 0, "radius_m": 50}] * 21}, "/not_at"),
    ],
)
async def test_a_rhythm_that_cannot_be_meant_is_refused_with_its_place(api, change, pointer):
    phone = await api.phone()
    answer = await phone.call("PUT", "/v1/me/rhythm", change)
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert await phone.good("GET", "/v1/me/rhythm") == DEFAULT


async def reason(api):
    newest = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    return newest.get("reason")


async def test_the_next_decision_keeps_to_the_rhythm_as_it_is_now(api):
    await api.shop()
    phone = await api.phone()
    expected = [
        (LOOSE | {"quiet": [ALL_DAY, ALL_DAY | {"start": "23:59", "end": "00:00"}]}, "quiet_hours"),
        (LOOSE | {"max": 0}, "rhythm_max"),
        (LOOSE, None),
        (LOOSE | {"min_gap_h": 1}, "rhythm_gap"),
        (LOOSE | {"max": 1}, "rhythm_max"),
        (LOOSE | {"max": 1, "per": {"hours": 1}}, "rhythm_max"),
        (LOOSE, None),
    ]
    for rhythm, silence in expected:
        await phone.good("PUT", "/v1/me/rhythm", rhythm)
        answer = await phone.at(SHOP)
        assert len(answer.body["offers"]) == (silence is None)
        assert await reason(api) == silence
        await phone.at(AWAY)


async def newest(api):
    found = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"][0]
    return await api.good("GET", f"/v1/decisions/{found['id']}", "owner")


def gate(decision, name):
    (found,) = [gate for gate in decision["gates"] if gate["gate"] == name]
    return found["detail"]


async def test_a_person_mutes_by_store_by_category_and_by_having_no_channel(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"categories": ["bread", "shoes"]})
    await api.shop(category="bread")
    phone = await api.phone()
    for change, by in (
        ({"mute": {"stores": ["stores/main"]}}, "store"),
        ({"mute": {"categories": ["bread"]}}, "category"),
        ({"channels": []}, "channel"),
        ({"channels": ["push"]}, "channel"),  # it has no push address
        ({"mute": {"categories": ["shoes"], "stores": ["stores/other"]}}, None),
    ):
        await phone.good("PUT", "/v1/me/rhythm", LOOSE | change)
        await phone.at(SHOP)
        told = await newest(api)
        assert (told.get("reason"), gate(told, "muted")["by"]) == ("muted" if by else None, by)
        await phone.at(AWAY)


async def test_a_special_campaign_goes_past_the_rhythm_out_of_a_budget_of_its_own(api):
    await api.shop(special=True)
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"max": 1, "special": {"max": 1, "per": "day"}})
    offered = []
    for _ in range(3):
        offered.append(len((await phone.at(SHOP)).body["offers"]))
        await phone.at(AWAY)
    assert offered == [1, 1, 0]
    told = await newest(api)
    assert told["reason"] == "rhythm_max"
    assert gate(told, "rhythm_max")["special"]["used"] == 1
    rows = "SELECT special FROM reservation WHERE workspace = $1 ORDER BY at"
    assert [row["special"] for row in await api.rows.fetch(rows, api.workspace)] == [False, True]


async def test_a_mute_from_an_offer_leaves_all_else_as_the_person_set_it_or_unset(api):
    campaign = await api.shop()
    phone = await api.phone()
    for rhythm in (None, {"quiet": [], "min_gap_h": 1}):
        if rhythm is not None:
            await phone.good("PUT", "/v1/me/rhythm", rhythm)
        held = await phone.good("GET", "/v1/me/rhythm")
        await api.rows.execute("UPDATE app_user SET rhythm = $2 WHERE id = $1", phone.user, LOOSE_COLUMN)
        (offer,) = (await phone.at(SHOP)).body["offers"]
        column = None if rhythm is None else json.dumps(rhythm).encode()
        await api.rows.execute("UPDATE app_user SET rhythm = $2 WHERE id = $1", phone.user, column)
        await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "muted"})
        muting = {"mute": {"stores": [], "categories": [], "campaigns": [campaign]}}
        stored = json.loads(await api.rows.fetchval("SELECT rhythm FROM app_user WHERE id = $1", phone.user))
        assert stored == (rhythm or {}) | muting
        assert await phone.good("GET", "/v1/me/rhythm") == held | muting
        await phone.at(AWAY)


async def test_who_mutes_the_last_campaign_that_can_be_muted_is_told_so(api):
    await api.shop()
    phone = await api.buyer()
    full = {"campaigns": [NOBODY] * 500}
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"mute": full})
    (offer,) = (await phone.at(SHOP)).body["offers"]
    answer = await phone.call("POST", f"/v1/me/offers/{offer['id']}/events", {"type": "muted"})
    assert (answer.status, answer.code) == (409, "conflict")


async def test_what_a_person_says_of_their_offers_keeps_the_next_ones_further_apart(api):
    await api.shop()
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"min_gap_h": 1})
    steps = []
    for event in ({"type": "opened"}, {"type": "dismissed", "reason": "too_many"}, {"type": "dismissed"}):
        (offer,) = (await phone.at(SHOP)).body["offers"]
        for told in ({"type": "shown"}, event):
            await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", told)
        await phone.at(AWAY)
        await phone.at(SHOP)
        silence = await newest(api)
        assert silence["reason"] == "rhythm_gap"
        steps.append(gate(silence, "rhythm_gap")["step"])
        await phone.at(AWAY)
        await api.rows.execute("UPDATE reservation SET at = at - interval '10 hours' WHERE user_id = $1", phone.user)
    assert steps == [0, 2, 3]


async def test_of_several_things_that_are_told_of_an_offer_the_greatest_counts_in_any_order(api):
    await api.shop()
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    became = []
    for told in (
        {"type": "opened"},
        {"type": "shown"},
        {"type": "dismissed", "reason": "wrong_place"},
        {"type": "muted"},
        {"type": "dismissed"},
    ):
        await phone.good("POST", f"/v1/me/offers/{offer['id']}/events", told)
        row = "SELECT became FROM reservation WHERE offer = $1"
        became.append(await api.rows.fetchval(row, offer["id"]))
    assert became == [2, 2, 3, 6, 6]
