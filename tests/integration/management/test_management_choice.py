"""What managers set of the choice: caps of three levels, budgets, scores, tests; and what of a running test stands."""

import asyncio

import pytest

from geo_offers.offers.budgets import Budget
from geo_offers.offers.scoring import Weights, Worth
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.storage.catalogs import read_policies
from geo_offers.storage.pool import transaction

ALPHA = workspace_id("Alpha")
TEXTS = {"en": {"title": "T", "body": "B"}}
A, B = {"id": "a", "share": 0.5, "texts": TEXTS}, {"id": "b", "share": 0.5}


def rules(count, limit=1):
    return [{"limit": limit, "window": {"n": 1, "unit": "day"}}] * count


async def policies(site):
    async with transaction(site.pool, [ALPHA]) as connection:
        return await read_policies(connection, ALPHA)


async def running(site, **changes):
    made = (await site.call("POST", "/v1/campaigns", site.campaign(**changes))).body
    await site.call("POST", f"/v1/campaigns/{made['id']}/submit")
    return f"/v1/campaigns/{made['id']}"


async def test_what_is_set_is_what_decisions_read(site):
    ranking = {"value": 2.0, "margin": 0.0, "fit": 1.0, "expiry": 0.5, "fatigue": 3.0}
    await site.call("PATCH", "/v1/workspace", {"caps": rules(2), "holdout": 0.05, "ranking": ranking})
    await site.call("PUT", "/v1/stores/market", {"name": "M", "caps": rules(3), "budget": {"per_day": 7}})
    await site.call("PUT", "/v1/stores/plain", {"name": "P"})
    await running(site, value=12.5, margin=0.25, budget={"total": 9}, holdout=0.2, variants=[A, B])
    held = await policies(site)
    assert (len(held.policy.caps), held.policy.holdout) == (2, 0.05)
    assert held.policy.weights == Weights(2.0, 0.0, 1.0, 0.5, 3.0)
    assert held.store_rules.keys() == {"market"}
    assert (len(held.store_rules["market"].caps), held.store_rules["market"].budget) == (3, Budget(per_day=7))
    (campaign,) = held.campaigns
    assert (campaign.worth, campaign.budget) == (Worth(12.5, 0.25), Budget(total=9))
    assert campaign.experiment.holdout == 0.2
    assert [(arm.id, arm.share, arm.texts is None) for arm in campaign.experiment.variants] == [
        ("a", 0.5, False),
        ("b", 0.5, True),
    ]
    assert held.budgeted


async def test_who_sets_nothing_holds_out_a_tenth_of_a_campaign_and_three_in_a_hundred_of_all(site):
    await running(site)
    held = await policies(site)
    assert (held.policy.holdout, held.campaigns[0].experiment.holdout, held.budgeted) == (0.03, 0.1, False)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"variants": [A]}, "/variants"),
        ({"variants": [A, A]}, "/variants/1/id"),
        ({"variants": [A, B | {"share": 0}]}, "/variants/1/share"),
        ({"variants": [{"id": str(number), "share": 0.111} for number in range(9)]}, "/variants"),
        ({"variants": [A, B | {"texts": {"en": {"title": "{price}", "body": "b"}}}]}, "/variants/1/texts/en/title"),
        ({"budget": {}}, "/budget"),
        ({"budget": {"total": 0}}, "/budget/total"),
        ({"budget": {"per_day": -1}}, "/budget/per_day"),
        ({"budget": {"per_hour": 1}}, "/budget/per_hour"),
        ({"value": -1}, "/value"),
        ({"margin": 1.5}, "/margin"),
        ({"holdout": -0.1}, "/holdout"),
        ({"outranks": ["x"]}, "/outranks"),
    ],
)
async def test_a_campaigns_choice_with_a_fault_is_refused_with_its_place(site, change, pointer):
    answered = await site.call("POST", "/v1/campaigns", site.campaign(**change))
    assert (answered.status, pointer in answered.pointers) == (422, True), answered.body
    assert (await site.get("/v1/campaigns")).body["items"] == []


async def test_faults_of_a_workspace_and_a_store_have_their_places(site):
    tagged = [rules(1)[0], rules(1)[0] | {"scope": "user_tag"}]
    wrong = {
        ("PATCH", "/v1/workspace", "/caps/1/tag"): {"caps": tagged},
        ("PATCH", "/v1/workspace", "/ranking/fit"): {"ranking": {"fit": -1}},
        ("PATCH", "/v1/workspace", "/holdout"): {"holdout": 2},
        ("PUT", "/v1/stores/m", "/caps/1/tag"): {"name": "M", "caps": tagged},
        ("PUT", "/v1/stores/m", "/budget"): {"name": "M", "budget": {}},
        ("PUT", "/v1/stores/m", "/caps/0/limit"): {"name": "M", "caps": rules(1, limit=0)},
    }
    for (method, path, pointer), body in wrong.items():
        answered = await site.call(method, path, body)
        assert (answered.status, answered.pointers) == (422, [pointer])
    assert (await site.get("/v1/stores")).body["items"] == []


async def test_of_workspace_store_and_campaign_at_most_ten_rules_hold_at_once(site):
    path = await running(site, caps=rules(5))
    assert (await site.call("PATCH", "/v1/workspace", {"caps": rules(3)})).status == 200
    assert (await site.call("PUT", "/v1/stores/a", {"name": "A", "caps": rules(2)})).status == 201
    for method, where, body in (
        ("PATCH", "/v1/workspace", {"caps": rules(4)}),
        ("PUT", "/v1/stores/b", {"name": "B", "caps": rules(3)}),
        ("POST", "/v1/campaigns", site.campaign(caps=rules(6))),
        ("PUT", path, site.campaign(caps=rules(6))),
    ):
        answered = await site.call(method, where, body)
        assert (answered.status, answered.pointers, answered.codes) == (422, ["/caps"], ["too_many"])
    assert len((await site.get("/v1/workspace")).body["caps"]) == 3
    assert [store["id"] for store in (await site.get("/v1/stores")).body["items"]] == ["a"]
    assert (await site.get(path)).body["state"] == "approved"
    await site.call("POST", f"{path}/end")  # whose rules hold no more
    assert (await site.call("PATCH", "/v1/workspace", {"caps": rules(8)})).status == 200


async def test_two_who_add_rules_at_once_do_not_pass_the_bound_together(site):
    answered = await asyncio.gather(
        site.call("PATCH", "/v1/workspace", {"caps": rules(6)}),
        site.call("PUT", "/v1/stores/a", {"name": "A", "caps": rules(6)}),
        site.call("POST", "/v1/campaigns", site.campaign(caps=rules(6))),
    )
    assert sorted(answer.status // 100 for answer in answered) == [2, 4, 4]


@pytest.mark.parametrize("state", ["approved", "paused"])
async def test_a_running_test_does_not_change(site, state):
    path = await running(site, variants=[A, B])
    if state == "paused":
        await site.call("POST", f"{path}/pause")
    for change, pointers in (
        ({"holdout": 0.2}, ["/holdout"]),
        ({"variants": [A | {"share": 0.4}, B | {"share": 0.6}]}, ["/variants"]),
        ({"variants": []}, ["/variants"]),
        ({"texts": TEXTS}, ["/texts"]),  # which are those of variant b
    ):
        answered = await site.call("PUT", path, site.campaign(variants=[A, B]) | change)
        assert (answered.status, answered.pointers, set(answered.codes)) == (422, pointers, {"running_test"})
    held = (await site.get(path)).body
    assert (held["state"], held["version"]) == (state, 1)
    renamed = await site.call("PUT", path, site.campaign(variants=[A, B], name="Other"))
    assert (renamed.status, renamed.body["state"], renamed.body["version"]) == (200, "draft", 2)


async def test_words_that_are_not_tested_are_a_new_version_and_a_draft_may_change_its_test(site):
    path = await running(site)
    assert (await site.call("PUT", path, site.campaign(texts=TEXTS))).body["version"] == 2
    assert (await site.call("PUT", path, site.campaign(texts=TEXTS, holdout=0.3, variants=[A, B]))).status == 200
