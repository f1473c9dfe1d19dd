"""A decision made again from what it was made of: by the server, and by `geo-offers explain`; until it is gone."""

import json
import uuid

import msgspec
import pytest

from geo_offers.offers.keeping import again, kept
from geo_offers.offers.packing import packed, unpacked
from tests.integration.people.conftest import SHOP
from tests.support.commands import command
from tests.support.replacing import replace

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def decided(api, **consents):
    """An offer to a phone, and the decision that made it."""
    await api.shop()
    phone = await api.buyer(**consents)
    assert len((await phone.at(SHOP)).body["offers"]) == 1
    (row,) = await api.rows.fetch("SELECT id FROM decision WHERE user_id = $1", uuid.UUID(phone.user))
    return phone, str(row["id"])


async def replayed(api, decision, who="owner"):
    return await api.call("GET", f"/v1/decisions/{decision}/replay", await api.key(who))


async def explained(api, decision, *more, who="owner"):
    return await command("explain", decision, "--url", api.service.url, "--key", await api.key(who), *more)


async def strictly(api, decision):
    """As if today's code had become stricter: the snapshot allows nothing any more, while the receipt has the offer."""
    column = await api.rows.fetchval("SELECT snapshot FROM decision WHERE id = $1", uuid.UUID(decision))
    held = again(column)
    rhythm = replace(held.person.rhythm, max=0)
    changed = kept(replace(held, person=replace(held.person, rhythm=rhythm)))
    await api.rows.execute("UPDATE decision SET snapshot = $2 WHERE id = $1", uuid.UUID(decision), changed)


async def test_a_decision_made_again_is_the_same_whatever_has_changed_since(api):
    phone, decision = await decided(api)
    await phone.good("PUT", "/v1/me/rhythm", {"max": 0})
    for campaign in (await api.good("GET", "/v1/campaigns", "owner"))["items"]:
        await api.good("POST", f"/v1/campaigns/{campaign['id']}/end", "owner")
    answer = await replayed(api, decision)
    assert answer.status == 200, answer.body
    assert (answer.body["same"], answer.body["differs"]) == (True, None)
    assert answer.body["now"] == answer.body["then"]
    shown = (await api.good("GET", f"/v1/decisions/{decision}", "owner"))["gates"]
    assert [(gate["gate"], gate["passed"]) for gate in answer.body["now"]["gates"]] == [
        (gate["gate"], gate["passed"]) for gate in shown
    ]
    assert (await replayed(api, decision, "server")).status == 200
    deeds = (await api.good("GET", "/v1/audit", "owner"))["items"]
    assert [deed["subject"] for deed in deeds if deed["action"] == "decisions.replay"] == [decision, decision]


async def test_what_comes_out_otherwise_names_the_first_gate_that_differs(api):
    _, decision = await decided(api)
    await strictly(api, decision)
    body = (await replayed(api, decision)).body
    assert (body["same"], body["differs"]) == (False, "rhythm_max")
    assert (body["then"]["outcome"], body["now"]["outcome"], body["now"]["reason"]) == (
        "offer",
        "suppressed",
        "rhythm_max",
    )


async def test_only_who_sees_people_may_ask(api):
    _, decision = await decided(api)
    for who in ("viewer", "editor", "approver"):
        assert (await replayed(api, decision, who)).status == 403


async def test_a_row_takes_a_kilobyte_and_holds_neither_place_nor_words_twice(api):
    _, decision = await decided(api)
    row = await api.rows.fetchrow("SELECT receipt, snapshot FROM decision WHERE id = $1", uuid.UUID(decision))
    assert len(row["receipt"]) <= 600
    assert len(row["snapshot"]) <= 1_000
    told = unpacked(row["receipt"]) + unpacked(row["snapshot"])
    assert not any(str(degrees).encode() in told for degrees in SHOP)


@pytest.mark.parametrize("way", ["erased", "old", "profile", "unknown"])
async def test_after_erasure_or_ninety_days_or_without_the_profile_consent_it_is_gone(api, way):
    phone, decision = await decided(api)
    if way == "erased":
        await phone.good("DELETE", "/v1/me")
    elif way == "old":
        aged = "UPDATE decision SET created_at = created_at - interval '91 days' WHERE id = $1"
        await api.rows.execute(aged, uuid.UUID(decision))
    elif way == "profile":
        assert (await phone.consent("profile", granted=False)).status == 200
        assert (await api.good("GET", f"/v1/decisions/{decision}", "owner"))["outcome"] == "offer"
    else:
        decision = str(uuid.uuid4())
    answer = await replayed(api, decision)
    assert (answer.status, answer.code) == (410, "gone")
    ended = await explained(api, decision)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("geo-offers: gone: ")


async def test_the_persons_export_has_what_their_decisions_were_made_of(api):
    phone, decision = await decided(api)
    (told,) = (await phone.good("GET", "/v1/me/export"))["decisions"]
    assert (told["id"], told["snapshot"]["person"]["id"]) == (decision, phone.user)
    assert told["snapshot"].keys() == {"person", "device", "uses", "others_inside"}
    assert "snapshot" not in await api.good("GET", f"/v1/decisions/{decision}", "owner")


async def test_what_this_release_cannot_read_is_a_conflict(api):
    _, decision = await decided(api)
    other = packed(msgspec.json.encode({"now_us": "soon"}))
    await api.rows.execute("UPDATE decision SET snapshot = $2 WHERE id = $1", uuid.UUID(decision), other)
    assert (await replayed(api, decision)).status == 409


async def test_explain_tells_gate_by_gate_what_is_and_what_was(api):
    _, decision = await decided(api)
    ended = await explained(api, decision)
    assert (ended.code, ended.err) == (0, "")
    gates = [line.split()[:2] for line in ended.lines[:-3]]
    assert gates[:2] == [["kill_switch", "passed"], ["consent", "passed"]]
    assert ended.lines[-3].startswith("then: offer, campaign ")
    assert ended.lines[-3][6:] == ended.lines[-2][6:]
    assert ended.lines[-1] == "the same"
    await strictly(api, decision)
    assert (await explained(api, decision)).lines[-1] == "not the same: first by the gate rhythm_max"
    told = json.loads((await explained(api, decision, "--json")).out)
    assert (told["id"], told["same"], told["differs"]) == (decision, False, "rhythm_max")
