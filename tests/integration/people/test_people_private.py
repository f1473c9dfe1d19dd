"""Private places end to end: a ping from there is answered as any other, and leaves nothing."""

import asyncio

import pytest

from geo_offers.storage.keys import create_key
from tests.integration.people.conftest import AWAY, SHOP, before
from tests.integration.people.test_people_not_at import BESIDE, hidden, left_behind, located, ping

pytestmark = pytest.mark.asyncio(loop_scope="module")


def place(where=SHOP, radius_m=300):
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [where[1], where[0]]},
        "properties": {"category": "shelter", "radius_m": radius_m},
    }


async def private(api, where=SHOP, name="house"):
    return await api.good("PUT", f"/v1/private-places/{name}", "owner", place(where))


async def approve(api):
    """Two approvers, neither of whom wrote it."""
    for key in [await create_key(api.pool, api.name, "manager", "approver", replay=False) for _ in range(2)]:
        version = (await api.good("GET", "/v1/geofences/stores/main", key))["version"]
        await api.good("POST", f"/v1/geofences/stores/main/approve?version={version}", key)


async def test_pings_from_a_private_place_leave_no_row_and_move_no_figure(api):
    phone = await located(api)
    placed = await private(api)
    assert placed["waiting"] == ["stores/main"]
    body = await hidden(api, phone, ping(seconds=60), ping(seconds=50))
    ordinary = (await phone.call("POST", "/v1/pings", {"pings": [ping(AWAY)]})).body
    assert set(body) == set(ordinary)
    assert set(body["next"]) == set(ordinary["next"])


async def test_a_visit_under_way_ends_as_if_the_phone_fell_silent(api):
    phone = await located(api)
    await private(api, BESIDE)
    assert [edge["type"] for edge in (await phone.at(SHOP, at=before(minutes=8))).body["transitions"]] == ["enter"]
    await hidden(api, phone, ping(BESIDE, 100))
    await hidden(api, phone, ping(BESIDE, 60), ping(BESIDE, 59))
    assert [edge["type"] for edge in (await phone.at(AWAY)).body["transitions"]] == ["exit"]


async def test_even_over_an_approved_geofence_a_private_place_is_private(api):
    phone = await located(api)
    await private(api, BESIDE)
    await api.good(
        "PUT",
        "/v1/geofences/stores/main",
        "owner",
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
            "properties": {"name": "Mall", "radius_m": 2_000, "detect": {"mode": "raw"}},
        },
    )
    assert (await phone.at(SHOP, at=before(minutes=8))).body["transitions"] == []  # off
    await approve(api)
    await hidden(api, phone, ping(BESIDE, 300))
    assert [edge["type"] for edge in (await phone.at(SHOP, at=before(minutes=4))).body["transitions"]] == ["enter"]
    left = {"at": before(seconds=150).isoformat(), "region": "stores/main", "event": "leave"}
    await hidden(api, phone, ping(BESIDE, 200), left)


async def test_a_place_is_private_from_the_answer_that_puts_it_to_the_one_that_deletes_it(api):
    phone = await located(api)
    for round_ in range(3):
        name = f"house-{round_}"
        await private(api, name=name)
        await hidden(api, phone, ping(SHOP, 300 - 20 * round_))
        await api.good("DELETE", f"/v1/private-places/{name}", "owner")
        edges = (await phone.at(SHOP, at=before(seconds=290 - 20 * round_))).body["transitions"]
        assert [edge["type"] for edge in edges] == ["enter"]
        edges = (await phone.at(AWAY, at=before(seconds=285 - 20 * round_))).body["transitions"]
        assert [edge["type"] for edge in edges] == ["exit"]


async def test_no_live_event_is_told_of_it(api):
    phone = await located(api)
    await private(api, BESIDE)
    told = bytearray()
    header = {"Authorization": f"Bearer {await api.key('owner')}"}
    async with api.session.get(f"{api.service.url}/v1/live", headers=header) as response:

        async def listen():
            async for piece in response.content.iter_any():
                told.extend(piece)

        listening = asyncio.create_task(listen())
        await asyncio.sleep(2.2)  # stats come each second
        kinds = {line for line in bytes(told).decode().splitlines() if line.startswith("event:")}
        told.clear()
        before_it = await left_behind(api)
        for seconds in range(60, 40, -1):
            await hidden(api, phone, ping(BESIDE, seconds))
        await asyncio.sleep(1.2)
        listening.cancel()
    assert kinds == {"event: stats"}
    assert {line for line in bytes(told).decode().splitlines() if line.startswith("event:")} == {"event: stats"}
    assert '"pings_per_s":0.0' in bytes(told).decode()
    assert await left_behind(api) == before_it


async def test_a_server_key_learns_nothing_of_it_either(api):
    phone = await located(api)
    await private(api, BESIDE)
    await api.key("server")
    before_it = await left_behind(api)
    own = {"device": phone.device}
    answer = await api.good("POST", "/v1/pings", "server", {"pings": [ping(BESIDE, 60) | own, ping(BESIDE, 50) | own]})
    assert answer == {"results": [{"status": "accepted"}] * 2, "transitions": [], "offers": []}
    assert await left_behind(api) == before_it
