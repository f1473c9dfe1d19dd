"""Visits at calibrated fences, the default, from the phone's pings to the rows that are kept."""

import uuid
from datetime import timedelta

import pytest

from tests.integration.people.conftest import SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

NORTH_M = 111_195.0


@pytest.fixture
async def walk(api):
    """Sends one request of fixes (seconds since it began, metres north of the shop, more of the ping)."""

    async def sent(phone, *fixes, began):
        pings = [
            {"at": (began + timedelta(seconds=second)).isoformat(), "lat": SHOP[0] + north_m / NORTH_M, "lon": SHOP[1]}
            | {"accuracy_m": 8.0}
            | (more[0] if more else {})
            for second, north_m, *more in fixes
        ]
        return await phone.good("POST", "/v1/pings", {"pings": pings})

    return sent


async def shop(api, **detect):
    """The shop's fence, of 60 m, with the default mode, and a campaign at it."""
    campaign = await api.shop()
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
        "properties": {"name": "Main Street", "radius_m": 60} | ({"detect": detect} if detect else {}),
    }
    await api.good("PUT", "/v1/geofences/stores/main", "owner", feature)
    return campaign


def types(answer):
    return [edge["type"] for edge in answer["transitions"]]


async def visit(api, phone):
    return dict(await api.rows.fetchrow("SELECT * FROM visit WHERE device = $1", uuid.UUID(phone.device)))


async def test_an_offer_comes_with_the_fix_that_makes_the_visit_certain_and_not_before(api, walk):
    await shop(api)
    phone, began = await api.buyer(), before(seconds=110)
    outside = await walk(phone, *((second, -130.0) for second in range(0, 40, 10)), began=began)
    likely = await walk(phone, (70, -50.0), (80, -30.0), began=began)
    certain = await walk(phone, (100, 0.0), began=began)
    assert [types(answer) for answer in (outside, likely, certain)] == [[], ["enter"], []]
    assert [len(answer["offers"]) for answer in (outside, likely, certain)] == [0, 0, 1]
    assert 0.5 <= likely["transitions"][0]["confidence"] < 0.73
    row = await visit(api, phone)
    assert row["entered_at"] < row["confirmed_at"]
    assert row["enter_decision"] is not None
    (decision,) = (await api.good("GET", "/v1/decisions", "server"))["items"][:1]
    told = (await api.good("GET", f"/v1/decisions/{decision['id']}", "server"))["transitions"]
    assert [(edge["type"], edge["fence"]) for edge in told] == [("enter", "stores/main")]


async def test_a_visit_keeps_how_it_went_and_nothing_of_where_its_fixes_were(api, walk):
    await shop(api)
    phone, began = await api.buyer(), before(seconds=1_000)
    await walk(phone, *((second, -300.0 + 1.4 * second) for second in range(0, 220, 20)), began=began)
    await walk(phone, *((second, 3.0 * (second % 40 - 20) / 20) for second in range(220, 600, 20)), began=began)
    left = await walk(phone, *((second, 300.0) for second in range(800, 900, 20)), began=began)
    assert types(left) == ["exit"]
    row = await visit(api, phone)
    assert (row["label"], row["closed_by"]) == ("stopped", "exit")
    assert row["dwelt_at"] is not None
    assert row["confidence"] > 0.95
    assert row["fixes"] > 15
    assert row["accuracy_m"] == pytest.approx(8.0)
    (exported,) = (await phone.good("GET", "/v1/me/export"))["visits"]
    assert (exported["label"], exported["fixes"]) == ("stopped", row["fixes"])
    assert not [column for column in row if column in {"lat", "lon", "geom"}]


async def test_who_drives_past_gets_no_offer(api, walk):
    await shop(api)
    phone, began = await api.buyer(), before(seconds=110)
    fixes = [(second, -600.0 + 12.0 * second, {"speed_mps": 12.0}) for second in range(0, 105, 3)]
    answer = await walk(phone, *fixes, began=began)
    assert answer["offers"] == []


async def test_mocked_fixes_make_no_visit_and_are_answered_as_taken(api, walk):
    await shop(api)
    phone, began = await api.buyer(), before(seconds=110)
    answer = await walk(phone, *((second, 0.0, {"mock": True}) for second in range(0, 100, 10)), began=began)
    assert {result["status"] for result in answer["results"]} == {"accepted"}
    assert (types(answer), answer["offers"]) == ([], [])


async def test_a_fence_that_asks_for_more_certainty_and_time_gets_its_offer_later(api, walk):
    await shop(api, confirm_s=60)
    phone, began = await api.buyer(), before(seconds=110)
    early = await walk(phone, (0, 0.0), (20, 0.0), (40, 0.0), began=began)
    late = await walk(phone, (70, 0.0), began=began)
    assert (types(early), early["offers"]) == (["enter"], [])
    assert (types(late), len(late["offers"])) == ([], 1)


async def test_the_same_pings_in_one_request_or_many_make_the_same_visit(api, walk):
    await shop(api)
    began = before(seconds=110)
    fixes = [(second, -200.0 + 3.0 * second) for second in range(0, 100, 10)]
    at_once, one_by_one = await api.buyer(), await api.buyer()
    whole = types(await walk(at_once, *fixes[::-1], began=began))
    parts = [kind for fix in fixes for kind in types(await walk(one_by_one, fix, began=began))]
    assert whole == parts != []
    one, other = await visit(api, at_once), await visit(api, one_by_one)
    same = ("fence", "entered_at", "confirmed_at", "left_at", "label", "confidence", "fixes", "accuracy_m")
    assert {name: one[name] for name in same} == {name: other[name] for name in same}


async def test_next_asks_for_a_fix_soon_while_a_phone_is_coming_and_not_while_it_sits_there(api, walk):
    await shop(api)
    phone, began = await api.buyer(), before(seconds=700)
    await walk(phone, *((second, -200.0) for second in range(0, 60, 20)), began=began)
    coming = await walk(phone, (70, -50.0), began=began)
    sitting = await walk(phone, *((second, 0.0) for second in range(90, 600, 20)), began=began)
    assert coming["next"]["check_after_s"] <= 25.0
    assert sitting["next"]["check_after_s"] > 25.0
