"""An offer whose fence is taken away before it is sent is not sent any more."""

import asyncio
import uuid

import pytest

from geo_offers.storage.pool import listed, transaction
from geo_offers.storage.queries import sql
from tests.integration.people.conftest import SHOP
from tests.support.functions import query_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFF = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
    "properties": {"name": "Main Street", "radius_m": 100, "active": False},
}


@pytest.mark.parametrize("who", ["app", "replay"])
@pytest.mark.parametrize(("method", "body"), [("DELETE", None), ("PUT", OFF)])
async def test_an_offer_that_waits_while_its_fence_is_taken_away_ends_as_not_live(api, who, method, body):
    await api.shop()
    phone = await api.buyer(who)
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    await api.good(method, "/v1/geofences/stores/main", "owner", body)
    bearer = {"Authorization": f"Bearer {phone.token}"}
    ended = "SELECT state, detail FROM offer WHERE id = $1 AND state <> 'queued'"
    async with api.session.ws_connect(f"{api.service.url}/v1/stream", headers=bearer) as line, asyncio.timeout(5):
        while (found := await api.rows.fetchrow(ended, uuid.UUID(offer["id"]))) is None:
            await asyncio.sleep(0.01)
        assert tuple(found) == ("cancelled", "not_live")
        await line.send_json([])  # frames come in order: an offer would stand before this one's answer
        assert (await line.receive_json())["type"] == "problem"


async def test_the_last_look_finds_the_fence_by_its_key_however_many_there_are(api):
    phone = await api.phone()
    await api.rows.execute(
        "INSERT INTO geofence (workspace, set_id, external_id, feature, min_lat, min_lon, max_lat, max_lon)"
        " SELECT $1, 'town', 'f/' || n, '{}', 0, 0, 1, 1 FROM generate_series(1, 5000) n",
        api.workspace,
    )
    offer = uuid.uuid4()
    await api.rows.execute(
        "INSERT INTO offer (id, workspace, user_id, device, decision, campaign, fence, trigger, lane, message,"
        " created_at, expires_at) VALUES ($1, $2, $3, $4, $1, $1, 'town/f/4999', 'enter', 'log', '{}', now(), now())",
        *(offer, api.workspace, uuid.UUID(phone.user), uuid.UUID(phone.device)),
    )
    await api.rows.execute(
        "INSERT INTO outbox (offer, workspace, partition, lane, due, state, token)"
        " VALUES ($1, $2, 0, 'none', now(), 'leased', 1)",
        *(offer, api.workspace),
    )
    await api.rows.execute("ANALYZE geofence")
    async with transaction(api.pool, [api.workspace]) as connection:
        (seen,) = await connection.fetch(sql("outbox_look"), listed([api.workspace]), [offer], [1], 10.0)
        look = await query_of(connection, "outbox_look")
        await connection.execute(f"PREPARE look (text, uuid[], bigint[], float8) AS {look}")
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE look ('{{}}', '{{{offer}}}', '{{1}}', 10)"
        )
    assert seen["fence_live"]
    text = "\n".join(row[0] for row in plan)
    assert "geofence_pkey" in text
    assert "geofence_box" not in text
