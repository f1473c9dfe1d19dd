"""Caps, budgets, tests and weights from the public contract into what decisions read."""

from collections.abc import Iterable, Sequence

from geo_offers import wire
from geo_offers.errors import Fault
from geo_offers.offers import caps
from geo_offers.offers.budgets import Budget
from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.caps import CapRule, Scope
from geo_offers.offers.experiment import Experiment, Variant, changes
from geo_offers.offers.scoring import Weights, Worth
from geo_offers.offers.stores import StoreRules
from geo_offers.pipeline.wording import texts_of


def cap_rules(given: Iterable[wire.CapRule]) -> tuple[CapRule, ...]:
    return tuple(
        CapRule(rule.limit, rule.window.n, rule.window.unit, rule.mode, Scope(rule.scope), rule.tag) for rule in given
    )


def budget(given: wire.Budget | None) -> Budget | None:
    return None if given is None else Budget(given.total, given.per_day)


def weights(given: wire.Ranking) -> Weights:
    return Weights(given.value, given.margin, given.fit, given.expiry, given.fatigue)


def store_rules(given: Sequence[wire.CapRule], limit: wire.Budget | None) -> StoreRules:
    return StoreRules(cap_rules(given), budget(limit))


def worth(body: wire.CampaignBody) -> Worth:
    return Worth(body.value, body.margin)


def experiment(body: wire.CampaignBody) -> Experiment:
    return Experiment(
        body.holdout,
        tuple(
            Variant(variant.id, variant.share, None if variant.texts is None else texts_of(variant.texts))
            for variant in body.variants
        ),
    )


def cap_faults(given: Sequence[wire.CapRule]) -> tuple[Fault, ...]:
    """Find what is wrong with caps of a workspace or a store; pointers begin with /caps."""
    rules = cap_rules(given)
    return tuple(fault for number, rule in enumerate(rules) for fault in caps.faults(rule, f"/caps/{number}"))


def running_test_faults(before: Campaign, after: Campaign) -> tuple[Fault, ...]:
    """Find what of a running test a new version of its campaign would change."""
    return changes(before.experiment, after.experiment, before.texts, after.texts)
