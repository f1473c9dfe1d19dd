"""The life of each of the last offers: its steps in the order in which the service told them."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

KEPT = 60


class Step(Struct, frozen=True, omit_defaults=True):
    """One step; `at` is RFC 3339 text, `detail` why it came to this where the service says so."""

    step: str
    lane: str
    at: str
    detail: str | None = None


class Life(Struct, frozen=True):
    offer: str
    steps: tuple[Step, ...]


class Lives:
    """Bounded: what came first is forgotten first."""

    def __init__(self) -> None:
        self._lives: dict[str, Life] = {}

    def decided(self, offer: Mapping[str, Any]) -> Life:
        """Begin the life of an offer, as a decision told it."""
        ident = str(offer["id"])
        life = Life(ident, (Step("decided", str(offer["lane"]), str(offer["created_at"])),))
        self._lives[ident] = life
        if len(self._lives) > KEPT:
            del self._lives[next(iter(self._lives))]
        return life

    def told(self, delivery: Mapping[str, Any]) -> Life | None:
        """Add a step; None where the offer is none of these, or was at this step before: a repeat is no news."""
        life = self._lives.get(str(delivery["offer"]))
        if life is None:
            return None
        step = Step(delivery["outcome"], delivery["lane"], delivery["at"], delivery.get("detail"))
        if any((step.step, step.lane) == (one.step, one.lane) for one in life.steps):
            return None
        life = Life(life.offer, (*life.steps, step))
        self._lives[life.offer] = life
        return life

    def all(self) -> Sequence[Life]:
        """The oldest first."""
        return tuple(self._lives.values())
