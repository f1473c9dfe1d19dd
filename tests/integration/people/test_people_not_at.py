"""Where a person is not to be located: their pings from there leave nothing, in rows, figures and answers."""

from datetime import timedelta

import pytest

from tests.integration.people.conftest import AWAY, LOOSE, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOME = {"lat": SHOP[0], "lon": SHOP[1], "radius_m": 500}
BESIDE = (SHOP[0] + 0.01, SHOP[1])  # 1.1 km from the shop


async def left_behind(api):
    """All that a ping may move: every row but those of the lease, which is renewed, and every figure."""
    page = (await api.call("GET", "/metrics", "owner")).raw.decode()
    figures = [line for line in page.splitlines() if line.startswith("geo_offers_")]
    assert "geo_offers_devices 0.0" not in figures
    return {name: rows for name, rows in (await api.tables()).items() if name != "partition"}, figures


async def hidden(api, phone, *pings):
    """The answer to pings that must leave nothing."""
    before_it = await left_behind(api)
    answer = await phone.call("POST", "/v1/pings", {"pings": list(pings)})
    assert answer.status == 200
    assert answer.body["results"] == [{"status": "accepted"}] * len(pings)
    assert (answer.body["transitions"], answer.body["offers"]) == ([], [])
    assert await left_behind(api) == before_it
    return answer.body


def ping(place=SHOP, seconds=20, **more):
    return {"at": before(seconds=seconds).isoformat(), "lat": place[0], "lon": place[1], "accuracy_m": 5} | more


async def located(api, **rhythm):
    """A phone that was heard of where it may be, so that memory has it; then the person says more."""
    await api.shop()
    phone = await api.buyer()
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | rhythm)
    assert (await phone.at(AWAY, at=before(minutes=9))).status == 200
    return phone


async def test_pings_from_where_a_person_is_not_to_be_located_leave_nothing(api):
    phone = await located(api, not_at=[HOME])
    body = await hidden(api, phone, ping(seconds=60), ping(seconds=50, foreground=True))
    assert set(body["next"]) == {"safe_radius_m", "check_after_s", "send_after_s", "regions"}  # as anywhere
    await hidden(api, phone, {"at": before(seconds=40).isoformat(), "region": "stores/main", "event": "enter"})


async def test_one_hidden_ping_among_others_is_hidden_alone(api):
    phone = await located(api, not_at=[HOME | {"radius_m": 50, "lat": BESIDE[0]}])
    answer = await phone.call("POST", "/v1/pings", {"pings": [ping(BESIDE, 60), ping(SHOP, 50), ping(BESIDE, 40)]})
    assert answer.body["results"] == [{"status": "accepted"}] * 3
    assert [edge["type"] for edge in answer.body["transitions"]] == ["enter"]


async def test_a_visit_under_way_ends_as_if_the_phone_fell_silent(api):
    phone = await located(api)
    assert [edge["type"] for edge in (await phone.at(SHOP, at=before(minutes=8))).body["transitions"]] == ["enter"]
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"not_at": [HOME | {"lat": BESIDE[0], "radius_m": 100}]})
    assert (await phone.at(SHOP, at=before(minutes=7))).status == 200
    await hidden(api, phone, ping(BESIDE, 60))  # no exit: nobody looked
    assert [edge["type"] for edge in (await phone.at(AWAY)).body["transitions"]] == ["exit"]


@pytest.mark.parametrize("locate", ["off", "coarse", "foreground"])
async def test_a_person_who_is_not_located_so_leaves_nothing_and_the_phone_may_be_silent(api, locate):
    phone = await located(api, locate=locate)
    body = await hidden(api, phone, ping())
    assert body["next"]["pause_s"] > 0
    assert (body["next"]["regions"], body["next"]["safe_radius_m"]) == ([], 0)
    assert "next" not in (await phone.call("POST", "/v1/pings?next=none", {"pings": [ping(seconds=10)]})).body


async def test_in_the_foreground_a_person_is_located_who_allows_that_alone(api):
    phone = await located(api, locate="foreground")
    answer = await phone.call("POST", "/v1/pings", {"pings": [ping(foreground=True)]})
    assert [edge["type"] for edge in answer.body["transitions"]] == ["enter"]


async def test_what_a_person_says_holds_for_all_their_phones_and_from_its_answer_on(api):
    await api.shop()
    phone = await api.buyer("server", user="ann")
    other = await api.phone(user="ann")
    for each in (phone, other):
        await each.at(AWAY, at=before(minutes=9))
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"not_at": [HOME]})
    await other.at(AWAY, at=before(minutes=8))  # in memory again
    await hidden(api, other, ping())
    await phone.good("PUT", "/v1/me/rhythm", LOOSE)
    assert [edge["type"] for edge in (await other.at(SHOP)).body["transitions"]] == ["enter"]


async def test_a_stream_hides_what_a_call_hides(api):
    phone = await located(api, not_at=[HOME])
    bearer = {"Authorization": f"Bearer {phone.token}"}
    async with api.session.ws_connect(f"{api.service.url}/v1/stream", headers=bearer) as line:
        before_it = await left_behind(api)
        for seconds in (30, 20):
            await line.send_json([ping(seconds=seconds)])
            told = await line.receive_json(timeout=5)
            assert (told["results"], told["transitions"]) == ([{"status": "accepted"}], [])
        assert await left_behind(api) == before_it


async def test_a_refused_ping_is_refused_as_anywhere(api):
    phone = await located(api, not_at=[HOME])
    late = (before(seconds=0) + timedelta(hours=1)).isoformat()
    answer = await phone.call("POST", "/v1/pings", {"pings": [ping() | {"at": late}]})
    assert answer.body["results"] == [{"status": "refused", "reason": "future"}]


async def test_the_places_are_exported_and_go_with_the_person(api):
    phone = await located(api)
    said = LOOSE | {"not_at": [HOME | {"radius_m": 777}]}
    assert (await phone.call("PUT", "/v1/me/rhythm", said, key="once")).status == 200
    assert (await phone.good("GET", "/v1/me/export"))["rhythm"]["not_at"] == [HOME | {"radius_m": 777}]
    kept = {name for name, rows in (await api.tables()).items() if '"radius_m":777' in "\n".join(rows)}
    assert "app_user" in kept
    assert "idempotency" not in kept
    await phone.good("DELETE", "/v1/me")
    rows = "\n".join(row for rows in (await api.tables()).values() for row in rows)
    assert '"radius_m":777' not in rows
