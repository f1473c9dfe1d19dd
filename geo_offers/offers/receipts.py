"""The receipt: a decision as JSON, with all that explains it and nothing that locates anybody.

The words of an offer, which may hold what the person told of themselves, stand with the offer alone.

Distance to a border and accuracy stand in it for the transition that the decision answers, in whole metres. They
stand for no other: three distances to known borders would be a position.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from geo_offers.instants import from_us
from geo_offers.offers.decisions import Decision, OfferDraft
from geo_offers.presence.states import Transition


def receipt(decision: Decision, stages_ms: Mapping[str, float] | None = None) -> bytes:
    """Write a decision down. stages_ms: what each stage of its turn took, in milliseconds, where it was measured.

    Without stages the bytes follow from the snapshot alone.
    """
    written: dict[str, Any] = {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "at": from_us(decision.at_us),
        "campaign": decision.campaign,
        "transitions": [_told(decision, transition) for transition in decision.transitions],
        "gates": decision.gates,
        "offer": None if decision.offer is None else _offered(decision.offer),
        "versions": decision.versions,
    }
    if stages_ms is not None:
        written["ms"] = stages_ms
    return msgspec.json.encode(written)


def _told(decision: Decision, transition: Transition) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": transition.told,
        "fence": transition.fence,
        "fence_version": transition.fence_version,
        "at": from_us(transition.at_us),
        "visit": transition.visit,
        "confidence": round(transition.confidence, 3),
    }
    if transition is decision.primary:
        told["primary"] = True
        told["accuracy_m"] = round(transition.accuracy_m)
        told["distance_m"] = None if transition.distance_m is None else round(transition.distance_m)
    return told


def _offered(offer: OfferDraft) -> dict[str, Any]:
    return {
        "campaign": offer.campaign,
        "fence": offer.fence,
        "store": offer.store,
        "visit": offer.visit,
        "trigger": offer.trigger,
        "lane": offer.lane,
        "expires_at": from_us(offer.expires_us),
    }
