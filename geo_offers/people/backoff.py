"""Back-off: whoever does not answer, or does not like what they get, hears less often.

A person stands on a step; each step doubles the gap between their offers. The step is a fold over what became of
their newest offers, oldest first, and is kept nowhere else:

- `after` offers in a row that were shown and not answered are one step up.
- An offer that was dismissed, or muted, is two steps up; for the wrong place it says nothing of the person.
- One that was redeemed is two steps down. Any answer ends the row of silent ones.
- What nobody saw, or what is not known to have been seen, counts for nothing.

What falls out of the time that is looked at falls out of the fold. It is the oldest first, so that forgetting never
takes anybody up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Became(IntEnum):
    """What became of an offer, as far as it was told. Of several things that are told the greatest counts."""

    NOTHING = 0
    SHOWN = 1
    OPENED = 2
    WRONG_PLACE = 3
    PUT_OFF = 4
    UNWANTED = 5
    MUTED = 6
    REDEEMED = 7


_STEPS: Final = MappingProxyType(
    {
        Became.OPENED: 0,
        Became.WRONG_PLACE: 0,
        Became.PUT_OFF: 2,
        Became.UNWANTED: 2,
        Became.MUTED: 2,
        Became.REDEEMED: -2,
    }
)
_DISMISSED: Final = MappingProxyType(
    {"wrong_place": Became.WRONG_PLACE, "too_many": Became.UNWANTED, "not_for_me": Became.UNWANTED}
)
_TOLD: Final = MappingProxyType(
    {"shown": Became.SHOWN, "opened": Became.OPENED, "muted": Became.MUTED, "redeemed": Became.REDEEMED}
)


@dataclass(frozen=True, slots=True)
class BackOff:
    """after: silent offers in a row that are a step; most: so many times the person's own gap and no more."""

    after: int = 3
    most: int = 8


USUAL: Final = BackOff()
_NOTHING, _SHOWN = Became.NOTHING, Became.SHOWN


def became(event: str, reason: str | None) -> Became:
    """What an event of an offer tells of it. reason: of one that is dismissed."""
    if event == "dismissed":
        return _DISMISSED.get(reason or "", Became.PUT_OFF)
    return _TOLD[event]


def step(told: Iterable[Became], rule: BackOff) -> int:
    """On which step these leave a person; told: oldest first. The gap is doubled so often."""
    highest = rule.most.bit_length() - 1
    reached = silent = 0
    for one in told:
        if one is _NOTHING:
            continue
        if one is _SHOWN:
            silent += 1
            if silent == rule.after:
                reached, silent = min(reached + 1, highest), 0
        else:
            reached, silent = max(0, min(reached + _STEPS[one], highest)), 0
    return reached
