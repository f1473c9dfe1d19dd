"""What the company's gateway tells of offers: in whatever order it comes, it never undoes what is known."""

import json
import uuid

import pytest

from geo_offers.clock import now_us
from geo_offers.signing import signed_headers
from geo_offers.storage.keys import signing_secret
from tests.integration.people.conftest import SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def offered(api, state="accepted"):
    """An offer that the gateway took, as the outbox leaves it."""
    await api.shop()
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    await api.rows.execute("DELETE FROM outbox WHERE offer = $1", uuid.UUID(offer["id"]))
    await api.rows.execute("UPDATE offer SET state = $2 WHERE id = $1", uuid.UUID(offer["id"]), state)
    await api.rows.execute("UPDATE reservation SET state = 1 WHERE offer = $1", uuid.UUID(offer["id"]))
    return offer["id"]


def receipt(offer, kind, **more):
    return {"offer": offer, "type": kind, "at": before(seconds=1).isoformat()} | more


async def tell(api, *receipts):
    answer = await api.good("POST", "/v1/receipts", "server", {"receipts": list(receipts)})
    return [item["status"] for item in answer["items"]]


async def stands(api, offer):
    row = await api.rows.fetchrow(
        "SELECT o.state, r.state AS slot, r.became FROM offer o JOIN reservation r ON r.offer = o.id WHERE o.id = $1",
        uuid.UUID(offer),
    )
    return row["state"], row["slot"], row["became"]


async def test_what_was_shown_is_an_impression(api):
    offer = await offered(api)
    assert await tell(api, receipt(offer, "delivered"), receipt(offer, "shown")) == ["kept", "kept"]
    assert await stands(api, offer) == ("shown", 1, 1)


async def test_a_repeat_and_an_unknown_offer_harm_nothing(api):
    offer = await offered(api)
    told = [receipt(offer, "shown"), receipt(str(uuid.uuid4()), "shown"), receipt(offer, "delivered")]
    assert await tell(api, *told) == ["kept", "unknown", "kept"]
    assert await tell(api, *told) == ["known", "unknown", "known"]
    assert await stands(api, offer) == ("shown", 1, 1)


async def test_an_earlier_kind_that_comes_late_undoes_nothing(api):
    offer = await offered(api)
    assert await tell(api, receipt(offer, "opened")) == ["kept"]
    late = (receipt(offer, "shown"), receipt(offer, "delivered"), receipt(offer, "failed", reason="not_shown"))
    assert await tell(api, *late) == ["kept", "kept", "kept"]
    assert await stands(api, offer) == ("shown", 1, 2)


async def test_a_failure_keeps_the_slot_where_it_may_have_been_shown(api):
    offer = await offered(api)
    assert await tell(api, receipt(offer, "failed")) == ["kept"]
    assert await stands(api, offer) == ("accepted", 1, 0)


async def test_a_failure_that_was_surely_not_shown_gives_the_slot_back(api):
    offer = await offered(api)
    await tell(api, receipt(offer, "failed", reason="not_shown"))
    assert await stands(api, offer) == ("failed", 2, 0)
    await tell(api, receipt(offer, "shown"))  # the phone knows better
    assert await stands(api, offer) == ("shown", 1, 1)


async def test_what_went_unanswered_has_arrived_after_all(api):
    offer = await offered(api, "ambiguous")
    await tell(api, receipt(offer, "delivered"))
    assert await stands(api, offer) == ("accepted", 1, 0)


async def test_another_workspaces_offer_is_unknown(api, shared, session, rows):
    offer = await offered(api)
    other = type(api)(shared.service, shared.pool, session, rows)
    assert await tell(other, receipt(offer, "shown")) == ["unknown"]
    assert await stands(api, offer) == ("accepted", 1, 0)


async def test_a_signature_stands_for_a_key(api):
    offer = await offered(api)
    await api.key("server")
    secret = await signing_secret(api.pool, api.name)
    body = json.dumps({"receipts": [receipt(offer, "shown")]}).encode()
    path = f"/v1/workspaces/{api.workspace}/receipts"
    signed = signed_headers([secret], "msg_1", now_us() // 1_000_000, body)
    assert (await api.call("POST", path, body=body, headers=signed)).body == {"items": [{"status": "kept"}]}
    assert (await api.call("POST", path, body=body.replace(b"shown", b"opened"), headers=signed)).status == 401


async def test_no_more_than_a_thousand_at_once_and_no_reason_where_none_belongs(api):
    one = receipt(str(uuid.uuid4()), "shown")
    assert len(await tell(api, *[one] * 1000)) == 1000
    assert (await api.call("POST", "/v1/receipts", "server", {"receipts": [one] * 1001})).status == 413
    refused = await api.call("POST", "/v1/receipts", "server", {"receipts": [one | {"reason": "not_now"}]})
    assert refused.pointers == ["/receipts/0/reason"]
    assert (await api.call("POST", "/v1/receipts", "app", {"receipts": [one]})).status == 403
