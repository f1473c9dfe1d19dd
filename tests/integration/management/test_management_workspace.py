"""The workspace's own rules, and what decisions read of them."""

from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction

ALPHA, BETA = workspace_id("Alpha"), workspace_id("Beta")


async def policies(site, workspace=ALPHA):
    async with transaction(site.pool, [workspace]) as connection:
        return await read_policies(connection, workspace)


async def test_the_audit_is_read_by_owners_newest_first_and_page_by_page(site):
    campaign = (await site.call("POST", "/v1/campaigns", site.campaign(), who="editor")).body
    for move, who in (("submit", "editor"), ("approve", "approver")):
        await site.call("POST", f"/v1/campaigns/{campaign['id']}/{move}", who=who)
    told = await site.all("/v1/audit", 2)
    deeds = told[:3]
    assert {(deed["caller"], deed["action"]) for deed in told[3:]} == {("cli", "key.create")}
    assert [deed["action"] for deed in deeds] == ["campaign.approve", "campaign.submit", "campaign.write"]
    assert {deed["subject"] for deed in deeds} == {campaign["id"]}
    assert [deed["caller"] for deed in deeds] == [
        site.keys[who].split("_")[2] for who in ("approver", "editor", "editor")
    ]
    assert (await site.get("/v1/audit", who="approver")).status == 403
    (theirs,) = (await site.get("/v1/audit", who="beta")).body["items"]
    assert (theirs["action"], theirs["subject"]) == ("key.create", site.keys["beta"].split("_")[2])


async def test_a_new_workspace_has_the_defaults(site):
    answered = await site.get("/v1/workspace", who="viewer")
    assert answered.status == 200
    assert answered.body == {
        "id": str(ALPHA),
        "name": "Alpha",
        "time_zone": "UTC",
        "place_gap_s": 1800,
        "store_gap_s": 86400,
        "quiet": [],
        "holdout": 0.03,
        "age": "vouched",
        "user_proof": "off",
        "paused": False,
        "categories": [],
        "consent_texts": {},
        "caps": [],
        "ranking": {"value": 1.0, "margin": 1.0, "fit": 1.0, "expiry": 0.5, "fatigue": 1.0},
        "back_off": {"after": 3, "most": 8},
        "breaker": {"per_1000": 100, "least": 200},
        "embargo": {"days": [], "events": []},
        "audience": {
            "attributes": {},
            "stages": {
                "lead": {"op": "answered", "is": "ge", "value": 1},
                "customer": {"op": "attribute", "name": "purchases", "is": "ge", "value": 1},
                "ambassador": {
                    "op": "all",
                    "of": [
                        {"op": "attribute", "name": "purchases", "is": "ge", "value": 1},
                        {"op": "attribute", "name": "referrals", "is": "ge", "value": 1},
                    ],
                },
            },
        },
    }


async def test_a_patch_changes_what_it_names_and_nothing_else(site):
    await site.call("PATCH", "/v1/workspace", {"place_gap_s": 60, "time_zone": "Europe/Athens"})
    night = {"days": ["sun"], "start": "20:00", "end": "08:00"}
    answered = await site.call("PATCH", "/v1/workspace", {"quiet": [night]})
    assert answered.status == 200
    body = (await site.get("/v1/workspace")).body
    assert body == answered.body
    assert (body["place_gap_s"], body["time_zone"], body["store_gap_s"]) == (60, "Europe/Athens", 86400)
    assert body["quiet"] == [night]


async def test_public_holidays_of_a_region_may_be_quiet(site):
    answered = await site.call("PATCH", "/v1/workspace", {"quiet": [{"holidays": "FR"}, {"days": ["sun"]}]})
    day = {"start": "00:00", "end": "24:00"}
    assert answered.body["quiet"] == [{"holidays": "FR"} | day, {"days": ["sun"]} | day]
    whole, sundays = (await policies(site)).policy.quiet
    assert (whole.holidays, whole.days, sundays.holidays) == ("FR", frozenset(), None)


async def test_decisions_read_the_rules_as_they_are_now(site):
    before = await policies(site)
    await site.call("PATCH", "/v1/workspace", {"paused": True, "time_zone": "Asia/Tokyo", "store_gap_s": 7})
    after = await policies(site)
    assert after.version > before.version
    assert (after.policy.killed, after.policy.zone.key, after.policy.store_gap_s) == (True, "Asia/Tokyo", 7)
    assert (before.policy.killed, before.policy.name) == (False, "Alpha")


async def test_one_workspace_is_not_changed_by_another(site):
    await site.call("PATCH", "/v1/workspace", {"place_gap_s": 1}, who="beta")
    assert (await site.get("/v1/workspace")).body["place_gap_s"] == 1800
    assert (await policies(site, BETA)).policy.place_gap_s == 1
    assert (await policies(site)).version == 1


async def test_a_zone_that_is_none_is_refused_with_its_place(site):
    cases = ["Mars/X", "Europe", "../etc/passwd", "Europe/Athens\n", ""]
    for zone in cases:
        answered = await site.call("PATCH", "/v1/workspace", {"time_zone": zone})
        assert answered.status == 422
        assert answered.pointers == ["/time_zone"]


async def test_a_patch_of_what_is_not_there_or_out_of_range_is_refused(site):
    cases = [
        ({"id": "00000000-0000-0000-0000-000000000000"}, "/id"),
        ({"role": "owner"}, "/role"),
        ({"place_gap_s": -1}, "/place_gap_s"),
        ({"holdout": 1.5}, "/holdout"),
        ({"quiet": [{}]}, "/quiet/0"),
        ({"quiet": [{"days": ["sun"]}, {"start": "20:00"}]}, "/quiet/1"),
        ({"quiet": [{"holidays": "XX"}]}, "/quiet/0/holidays"),
        ({"quiet": [{"holidays": "DE-FR"}]}, "/quiet/0/holidays"),
        ({"quiet": [{"holidays": "FRA"}]}, "/quiet/0/holidays"),
        ({"quiet": [{"holidays": None}]}, "/quiet/0/holidays"),
        ({"back_off": {"after": 0}}, "/back_off/after"),
        ({"back_off": {"most": 257}}, "/back_off/most"),
        ({"back_off": {"least": 1}}, "/back_off/least"),
        ({"breaker": {"per_1000": 0}}, "/breaker/per_1000"),
        ({"breaker": {"least": 19}}, "/breaker/least"),
        ({"categories": [""]}, "/categories/0"),
        ({"categories": ["a\u200b"]}, "/categories/0"),
        ({"categories": ["a"] * 101}, "/categories"),
        ({"quiet": [{"days": ["sun"], "start": "25:00", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["sun"], "start": "21:00\n", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["sun"], "start": "0\u0668:00", "end": "08:00"}]}, "/quiet/0/start"),
        ({"quiet": [{"days": ["sun"], "start": "24:00", "end": "08:00"}]}, "/quiet/0/start"),
    ]
    for patch, pointer in cases:
        answered = await site.call("PATCH", "/v1/workspace", patch)
        assert answered.status == 422
        assert answered.pointers == [pointer]


async def test_only_an_owner_changes_the_rules(site):
    cases = ["viewer", "editor", "approver", "server", "app"]
    for who in cases:
        assert (await site.call("PATCH", "/v1/workspace", {"paused": True}, who=who)).status == 403
