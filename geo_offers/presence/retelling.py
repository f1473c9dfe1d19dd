"""A visit that was kept, told again as the transitions that it was made of.

A visit keeps no distance: every transition counts as right at the border.
"""

from uuid import UUID

import msgspec

from geo_offers.places.fences import FenceId
from geo_offers.presence.states import Course, Transition, TransitionType


class KeptVisit(msgspec.Struct, frozen=True):
    """left_us: when it was told that the person left. confidence: None at a fence that takes every fix at its word."""

    id: UUID
    fence: FenceId
    entered_us: int
    confirmed_us: int | None = None
    dwelt_us: int | None = None
    left_us: int | None = None
    confidence: float | None = None


def transitions(visit: KeptVisit) -> list[Transition]:
    """What campaigns may answer of it, in the order of time; nothing of a visit that was never certain enough."""
    if visit.confidence is None:
        told = [(TransitionType.ENTER, visit.entered_us), (TransitionType.DWELL, visit.dwelt_us)]
    elif visit.confirmed_us is None:
        return []
    else:
        later = visit.dwelt_us if visit.dwelt_us is not None and visit.dwelt_us > visit.confirmed_us else None
        told = [(TransitionType.CONFIRM, visit.confirmed_us), (TransitionType.DWELL, later)]
    told.append((TransitionType.EXIT, visit.left_us))
    return [_transition(visit, kind, at_us) for kind, at_us in told if at_us is not None]


def _transition(visit: KeptVisit, kind: TransitionType, at_us: int) -> Transition:
    return Transition(
        kind,
        visit.fence,
        0,
        at_us,
        visit.id,
        visit.entered_us,
        accuracy_m=0.0,
        distance_m=0.0,
        confidence=1.0 if visit.confidence is None else visit.confidence,
        course=None if visit.confidence is None else Course(confirmed=True, confidence=visit.confidence),
        dwelt=visit.dwelt_us is not None and visit.dwelt_us <= at_us,
    )
