"""Campaigns: written, submitted, approved, paused, resumed, edited, ended."""

import base64
import json
import uuid

import pytest

from geo_offers.offers import risk
from geo_offers.offers.campaigns import CampaignState
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage import campaigns
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction

ALPHA = workspace_id("Alpha")


async def write(site, who="editor", key=None, **changes):
    return await site.call("POST", "/v1/campaigns", site.campaign(**changes), who=who, key=key)


async def move(site, campaign, name, who="owner"):
    return await site.call("POST", f"/v1/campaigns/{campaign['id']}/{name}", who=who)


async def test_nobody_approves_an_edit_of_a_campaign_that_they_have_not_seen(site):
    campaign = (await write(site)).body
    await move(site, campaign, "submit", who="editor")
    await site.call("PUT", f"/v1/campaigns/{campaign['id']}", site.campaign(name="Other"), who="editor")
    await move(site, campaign, "submit", who="editor")
    refused = await move(site, campaign, f"approve?version={campaign['version']}", who="approver")
    assert (refused.status, refused.body["code"], await state_of(site, campaign)) == (409, "conflict", "submitted")
    for _ in range(2):  # the first answer may have been lost
        agreed = await move(site, campaign, "approve?version=2", who="approver")
        assert (agreed.status, agreed.body["state"]) == (200, "approved")


async def state_of(site, campaign):
    return (await site.get(f"/v1/campaigns/{campaign['id']}")).body["state"]


async def policies(site):
    async with transaction(site.pool, [ALPHA]) as connection:
        return await read_policies(connection, ALPHA)


async def test_a_campaign_is_written_as_a_draft(site):
    answered = await write(site, schedule={"from": "2031-01-01T00:00:00+02:00"}, data={"image": "bread"})
    body = answered.body
    assert (answered.status, body["state"], body["running"], body["version"]) == (201, "draft", False, 1)
    assert body["schedule"] == {"from": "2031-01-01T00:00:00+02:00", "until": None, "hours": []}
    assert (await site.get(f"/v1/campaigns/{body['id']}", who="viewer")).body == body


async def test_text_alone_from_an_owner_is_approved_at_once(site):
    campaign = (await write(site)).body
    answered = await move(site, campaign, "submit", who="owner")
    assert (answered.status, answered.body) == (200, {"state": "approved", "risk": 0, "reasons": [], "approvers": 0})
    body = (await site.get(f"/v1/campaigns/{campaign['id']}")).body
    assert (body["state"], body["running"], body["version"]) == ("approved", True, 1)


async def test_an_editors_campaign_waits_for_somebody_elses_approval(site):
    campaign = (await write(site)).body
    answered = await move(site, campaign, "submit", who="editor")
    assert (answered.status, answered.body["state"], answered.body["approvers"]) == (202, "submitted", 1)
    assert len(answered.body["reasons"]) == answered.body["risk"] == 2  # no owner, and a key of today
    assert (await move(site, campaign, "approve", who="editor")).status == 403
    approved = await move(site, campaign, "approve", who="approver")
    assert (approved.status, approved.body["state"]) == (200, "approved")


async def test_nobody_approves_what_they_have_written_not_even_an_owner(site):
    campaign = (await write(site, who="approver")).body
    await move(site, campaign, "submit", who="approver")
    refused = await move(site, campaign, "approve", who="approver")
    assert (refused.status, refused.body["code"]) == (403, "own_campaign")
    assert (await move(site, campaign, "approve", who="second approver")).status == 200
    own = (await write(site, who="owner")).body
    await move(site, own, "submit", who="editor")
    assert (await move(site, own, "approve", who="owner")).status == 403
    assert (await move(site, own, "approve", who="approver")).body["state"] == "approved"


async def test_a_high_risk_needs_two_others_each_once(site):
    campaign = (await write(site, who="editor", stakes={"discount_percent": 50})).body
    answered = await move(site, campaign, "submit", who="owner")
    assert (answered.status, answered.body["approvers"], answered.body["state"]) == (202, 2, "submitted")
    for _ in range(2):
        first = (await move(site, campaign, "approve", who="approver")).body
        assert (first["state"], first["approvals"], first["assessment"]["approvers"]) == ("submitted", 1, 2)
    assert not (await policies(site)).campaigns
    second = (await move(site, campaign, "approve", who="second approver")).body
    assert (second["state"], second["approvals"], second["running"]) == ("approved", 2, True)


async def test_an_edit_takes_every_approval_and_the_assessment_back(site):
    campaign = (await write(site, stakes={"discount_percent": 50})).body
    await move(site, campaign, "submit", who="editor")
    await move(site, campaign, "approve", who="approver")
    edited = await site.call("PUT", f"/v1/campaigns/{campaign['id']}", site.campaign(stakes={"liability": 20_000}))
    assert (edited.body["approvals"], edited.body["assessment"]) == (0, None)
    again = await move(site, campaign, "submit", who="editor")
    assert again.body["approvers"] == 2
    assert (await move(site, campaign, "approve", who="approver")).body["approvals"] == 1


async def approved_by_two(site, **changes):
    campaign = (await write(site, who="editor", stakes={"discount_percent": 50}, **changes)).body
    await move(site, campaign, "submit", who="owner")
    for who in ("approver", "second approver"):
        await move(site, campaign, "approve", who=who)
    return campaign


async def put(site, path, body):
    answered = await site.call("PUT", path, body)
    assert answered.status in {200, 201}, answered.body


@pytest.mark.parametrize("named", ["events", "unless"])
async def test_when_an_approved_campaign_speaks_does_not_change_unseen(site, named):
    def fair(day):
        at = f"2030-05-{day:02}T10:00:00Z"
        return {"kind": "corporate", "name": "Fair", "start": at, "end": at.replace("10", "18", 1)}

    await put(site, "/v1/events/fair", fair(2))
    campaign = await approved_by_two(site, when={named: ["fair"]})
    await put(site, "/v1/events/fair", fair(2))
    assert await state_of(site, campaign) == "approved"
    await put(site, "/v1/events/fair", fair(1))
    assert await state_of(site, campaign) == "submitted"


async def test_reach_and_overlap_are_reasons_once_it_is_not_text_alone(site, monkeypatch):
    monkeypatch.setattr(risk, "WIDE_REACH", 2)
    for name in ("a", "b"):
        await site.call("PUT", f"/v1/geofences/town/{name}", site.point(21, 11, name=name, tags=["food"]))
    await move(site, (await write(site)).body, "submit")
    risks = {}
    for ids in ("set", "tags", "ids"):
        fences = {"set": {"set": "town"}, "tags": {"tags": ["food", "no"]}, "ids": {"ids": ["town/a"]}}[ids]
        campaign = (await write(site, stakes={"liability": 5}, trigger=at(**fences))).body
        risks[ids] = (await move(site, campaign, "submit")).body["reasons"]
    assert [len(risks[ids]) for ids in ("set", "tags", "ids")] == [4, 3, 3]  # cost, new key; reach and overlap


async def test_whoever_edits_last_is_the_author(site):
    campaign = (await write(site, who="editor")).body
    await site.call("PUT", f"/v1/campaigns/{campaign['id']}", site.campaign(name="Mine"), who="approver")
    await move(site, campaign, "submit", who="editor")
    assert (await move(site, campaign, "approve", who="approver")).status == 403


async def test_any_edit_takes_the_approval_back(site):
    campaign = (await write(site)).body
    await move(site, campaign, "submit")
    edited = await site.call("PUT", f"/v1/campaigns/{campaign['id']}", site.campaign(priority=5), who="editor")
    assert (edited.status, edited.body["state"], edited.body["version"]) == (200, "draft", 2)
    assert edited.body["priority"] == 5
    assert not (await policies(site)).campaigns
    await move(site, campaign, "submit")
    (held,) = (await policies(site)).campaigns
    assert (held.state, held.version, held.priority) == (CampaignState.APPROVED, 2, 5)


MOVES = {
    "draft": {"submit": "approved", "end": "ended"},
    "submitted": {"submit": "approved", "approve": "approved", "end": "ended"},
    "approved": {"submit": "approved", "approve": "approved", "resume": "approved", "pause": "paused", "end": "ended"},
    "paused": {"pause": "paused", "resume": "approved", "end": "ended"},
    "ended": {"end": "ended"},
}
WAY = {
    "draft": [],
    "submitted": [("submit", "editor")],
    "approved": [("submit", "owner")],
    "paused": [("submit", "owner"), ("pause", "owner")],
    "ended": [("end", "owner")],
}


@pytest.mark.parametrize("state", list(MOVES))
async def test_a_state_takes_its_own_moves_and_no_other(site, state):
    for name in ("submit", "approve", "pause", "resume", "end"):
        campaign = (await write(site)).body
        for step, who in WAY[state]:
            await move(site, campaign, step, who)
        assert await state_of(site, campaign) == state
        answered = await move(site, campaign, name)
        assert answered.status == (200 if name in MOVES[state] else 409)
        assert await state_of(site, campaign) == MOVES[state].get(name, state)


async def test_an_ended_campaign_is_not_edited_and_concerns_nobody(site):
    campaign = (await write(site)).body
    await move(site, campaign, "end")
    assert (await site.call("PUT", f"/v1/campaigns/{campaign['id']}", site.campaign())).status == 409
    assert not (await policies(site)).campaigns


@pytest.mark.parametrize("state", list(MOVES))
async def test_decisions_read_what_is_approved_or_paused_and_nothing_else(site, state):
    campaign = (await write(site)).body
    for step, who in WAY[state]:
        await move(site, campaign, step, who)
    held = [(str(one.id), one.state.value) for one in (await policies(site)).campaigns]
    assert held == ([(campaign["id"], state)] if state in {"approved", "paused"} else [])


async def test_every_change_of_a_campaign_is_a_new_catalog(site):
    versions = [await site.catalog_version()]
    campaign = (await write(site)).body
    versions.append(await site.catalog_version())
    for name in ("submit", "pause", "resume", "end"):
        await move(site, campaign, name)
        versions.append(await site.catalog_version())
    assert versions == sorted(set(versions))


async def test_decisions_read_all_that_was_written(site):
    caps = [
        {"limit": 3, "window": {"n": 2, "unit": "day"}, "scope": "user_tag", "tag": "food", "mode": "calendar"},
        {"limit": 1, "window": {"n": 1, "unit": "week"}},
    ]
    texts = {
        "de": {"title": "Brot", "body": "Heute bei {store}", "link": "https://example.com/brot"},
        "fa": {
            "title": "\u0645\u06cc\u200c\u062e\u0648",
            "body": "👨\u200d👩\u200d👧",
        },  # joiners are part of the script
    }
    trigger = {"on": "dwell", "fences": {"ids": ["town/a/b", "town/c"]}}
    schedule = {"from": "2030-01-01T00:00:00Z", "until": "2030-01-02T00:00:00Z"}
    body = (
        await write(site, caps=caps, texts=texts, trigger=trigger, schedule=schedule, data={"k": "v"}, priority=-3)
    ).body
    await move(site, body, "submit")
    (held,) = (await policies(site)).campaigns
    assert (str(held.id), held.name, held.version, held.state.value) == (body["id"], "Bread", 1, "approved")
    assert (held.trigger_on.value, held.fences.ids) == ("dwell", {"town/a/b", "town/c"})
    assert (held.texts["de"].link, list(held.texts)) == ("https://example.com/brot", ["de", "fa"])
    assert held.until_us - held.from_us == 86_400_000_000
    assert [(rule.limit, rule.n, rule.unit, rule.mode, rule.scope.value, rule.tag) for rule in held.caps] == [
        (3, 2, "day", "calendar", "user_tag", "food"),
        (1, 1, "week", "rolling", "user_campaign", None),
    ]
    assert (held.priority, held.objective, held.data) == (-3, "visit", {"k": "v"})


def cap(**changes):
    return [{"limit": 1, "window": {"n": 1, "unit": "day"}} | changes]


def text(**changes):
    return {"en": {"title": "T", "body": "B"} | changes}


def at(**fences):
    return {"on": "enter", "fences": fences}


async def test_a_campaign_with_a_fault_is_refused_with_its_place(site):
    cases = [
        ({"trigger": at()}, "/trigger/fences"),
        ({"trigger": at(set="a", tags=["b"])}, "/trigger/fences"),
        ({"trigger": at(ids=["noslash"])}, "/trigger/fences/ids/0"),
        ({"trigger": at(ids=["ok/x", "set/" + "y" * 300])}, "/trigger/fences/ids/1"),
        ({"trigger": at(set="a/b")}, "/set"),
        ({"trigger": {"on": "cross", "fences": {"set": "a"}}}, "/trigger/on"),
        ({"schedule": {"from": "2030-01-02T00:00:00Z", "until": "2030-01-01T00:00:00Z"}}, "/schedule/until"),
        ({"schedule": {"from": "2030-01-02T00:00:00"}}, "/schedule/from"),
        ({"schedule": {"until": "soon"}}, "/schedule/until"),
        ({"texts": {}}, "/texts"),
        ({"texts": text(title="")}, "/texts/en/title"),
        ({"texts": text(body="{unknown}")}, "/texts/en/body"),
        ({"texts": text(body="a\u0000b")}, "/texts/en/body"),
        ({"texts": text(title="a\r\nSet-Cookie: b")}, "/texts/en/title"),
        ({"texts": text(title="a\u202eb")}, "/texts/en/title"),
        ({"texts": text(link="javascript:alert(1)")}, "/texts/en/link"),
        ({"texts": text(link="https://user:secret@example.com")}, "/texts/en/link"),
        ({"texts": text(link="https://127.0.0.1/")}, "/texts/en/link"),
        ({"texts": {"en\n": {"title": "T", "body": "B"}}}, "/texts/en\n"),
        ({"caps": cap(limit=0)}, "/caps/0/limit"),
        ({"caps": cap(limit=-1)}, "/caps/0/limit"),
        ({"caps": cap(window={"n": 2, "unit": "month"})}, "/caps/0/window/n"),
        ({"caps": cap(scope="user_tag")}, "/caps/0/tag"),
        ({"caps": cap() * 11}, "/caps"),
        ({"name": "a\u0007"}, "/name"),
        ({"data": {"k": "a\u0000"}}, "/data/k"),
        ({"priority": 1e6}, "/priority"),
        ({"state": "approved"}, "/state"),
        ({"holdout": 1.5}, "/holdout"),
        ({"objective": "money"}, "/objective"),
    ]
    for change, pointer in cases:
        answered = await write(site, **change)
        assert answered.status == 422, answered.body
        assert pointer in answered.pointers
        assert (await site.get("/v1/campaigns")).body["items"] == []


async def test_doubled_braces_markup_and_percent_signs_are_literal(site):
    body = (await write(site, texts=text(body="{{7*7}} %s <script> {store}"))).body
    assert body["texts"]["en"]["body"] == "{{7*7}} %s <script> {store}"


@pytest.mark.parametrize(
    "words",
    [
        "{0.__class__}",
        "{store.__class__}",
        "{store!r}",
        "{ store }",
        "{first name}",
        "{}",
        "{store",
        "store}",
        "{{{0}}}",
    ],
)
async def test_a_brace_around_anything_but_a_field_is_refused_with_its_place(site, words):
    answered = await write(site, texts=text(body=f"Warm rolls {words}"))
    assert answered.status == 422, answered.body
    assert answered.pointers == ["/texts/en/body"]
    assert (await site.get("/v1/campaigns")).body["items"] == []


async def test_another_workspace_does_not_see_or_touch_a_campaign(site):
    campaign = (await write(site)).body
    path = f"/v1/campaigns/{campaign['id']}"
    assert (await site.get(path, who="beta")).status == 404
    assert (await site.call("PUT", path, site.campaign(), who="beta")).status == 404
    for name in ("submit", "approve", "pause", "resume", "end"):
        assert (await move(site, campaign, name, who="beta")).status == 404
    assert (await site.get("/v1/campaigns", who="beta")).body["items"] == []
    assert await state_of(site, campaign) == "draft"


async def test_an_id_that_is_none_names_nothing(site):
    for ident in ("none", str(uuid.uuid4())):
        assert (await site.get(f"/v1/campaigns/{ident}")).status == 404
        assert (await site.call("PUT", f"/v1/campaigns/{ident}", site.campaign())).status == 404


@pytest.mark.parametrize("who", ["viewer", "server", "app"])
async def test_campaigns_are_written_by_editors_only(site, who):
    campaign = (await write(site)).body
    assert (await write(site, who=who)).status == 403
    for name in ("submit", "approve", "pause", "resume", "end"):
        assert (await move(site, campaign, name, who=who)).status == 403


async def test_a_list_gives_every_campaign_once_oldest_first(site):
    names = [f"c{number}" for number in range(5)]
    for name in names:
        await write(site, name=name)
    for limit in (1, 2, 5):
        assert [item["name"] for item in await site.all("/v1/campaigns", limit)] == names
    for at in ("2020-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        forged = base64.urlsafe_b64encode(json.dumps([at, str(uuid.UUID(int=1))], separators=(",", ":")).encode())
        assert (await site.get("/v1/campaigns", cursor=forged.decode().rstrip("="))).status == 400


async def test_a_repeat_under_the_same_key_finds_the_campaign_that_it_made(site, database):
    first = (await write(site, key="k")).body
    async with transaction(site.pool, [ALPHA]) as connection:  # as after a crash before the answer was kept
        await connection.execute("DELETE FROM idempotency")
    again = await write(site, key="k")
    assert (again.status, again.body["id"]) == (201, first["id"])
    assert len(await site.all("/v1/campaigns", 10)) == 1


async def test_a_workspace_has_room_for_so_many_campaigns(site, monkeypatch):
    monkeypatch.setattr(campaigns, "CAMPAIGNS", 1)
    first = (await write(site)).body
    assert (await write(site)).status == 409
    await move(site, first, "end")
    assert (await write(site)).status == 201


@pytest.mark.parametrize(
    ("name", "who", "before"),
    [
        ("submit", "editor", []),
        ("submit", "owner", []),
        ("approve", "approver", [("submit", "editor")]),
        ("pause", "editor", [("submit", "owner")]),
        ("resume", "editor", [("submit", "owner"), ("pause", "owner")]),
        ("end", "editor", []),
    ],
)
async def test_a_move_that_was_made_is_answered_again_as_the_first_time_and_changes_nothing(site, name, who, before):
    campaign = (await write(site)).body
    for step, by in before:
        await move(site, campaign, step, by)
    first = await move(site, campaign, name, who)
    assert first.status in {200, 202}
    version, audited = await site.catalog_version(), await audits(site)
    again = await move(site, campaign, name, who)
    assert (again.status, again.body) == (first.status, first.body)
    assert (await site.catalog_version(), await audits(site)) == (version, audited)


async def test_a_repeated_move_is_no_way_around_a_right(site):
    campaign = (await write(site, who="approver")).body
    await move(site, campaign, "submit", "editor")
    await move(site, campaign, "approve", "second approver")
    refused = await move(site, campaign, "approve", "approver")
    assert (refused.status, refused.body["code"]) == (403, "own_campaign")
    assert (await move(site, campaign, "approve", "editor")).status == 403
    assert (await move(site, campaign, "resume", "viewer")).status == 403


async def audits(site):
    async with transaction(site.pool, [ALPHA]) as connection:
        return await connection.fetchval("SELECT count(*) FROM audit")


async def test_moves_are_audited(site):
    campaign = (await write(site)).body
    await move(site, campaign, "submit", who="editor")
    await move(site, campaign, "approve", who="approver")
    async with transaction(site.pool, [ALPHA]) as connection:
        found = await connection.fetch("SELECT caller, action, subject FROM audit WHERE caller <> 'cli' ORDER BY id")
    told = [(row["caller"], row["action"], row["subject"]) for row in found if row["action"] != "campaign.write"]
    editor, approver = (site.keys[who].split("_")[2] for who in ("editor", "approver"))
    assert told == [
        (editor, "campaign.submit", campaign["id"]),
        (approver, "campaign.approve", campaign["id"]),
    ]
