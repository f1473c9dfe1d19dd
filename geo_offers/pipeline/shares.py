"""How a lane's slots are shared: one scope holds half of them at most, so that one whose gateway hangs holds no other.

What finds its scope's share taken goes back to its row. So that a healthy scope with a backlog is not claimed in vain,
no more is claimed than the scope that was last turned away has room for; unless its gateway says nothing more: then
claims go on past it, to reach those who wait behind.
"""

from dataclasses import dataclass
from typing import Final

BRIEFLY_S: Final = 0.1  # what is turned away asks again after that where the gateway answers
HANGING_S: Final = 1.0  # and after that where it does not
_SILENT_S: Final = 0.25  # none of a scope's sends has begun or ended for so long: its gateway hangs


@dataclass(slots=True)
class _Share:
    held: int
    moved_s: float  # when the first of these sends began, or the last one ended


class Shares:
    """The slots of one lane that its scopes hold; times are seconds of one steady clock."""

    def __init__(self, slots: int, alone: str) -> None:
        """alone: the scope that has no other beside it, and so may hold all slots."""
        self._slots = slots
        self._alone = alone
        self._shares: dict[str, _Share] = {}
        self._crowd: str | None = None  # who was turned away last

    def take(self, scope: str, now_s: float) -> float:
        """Take a slot, to be given back; else the seconds after which it is worth asking again."""
        share = self._shares.get(scope)
        if share is None:
            share = self._shares[scope] = _Share(0, now_s)
        if share.held < self._most(scope):
            share.held += 1
            return 0.0
        self._crowd = scope
        return HANGING_S if _hangs(share, now_s) else BRIEFLY_S

    def give_back(self, scope: str, now_s: float) -> None:
        share = self._shares[scope]
        share.held -= 1
        share.moved_s = now_s
        if not share.held:
            del self._shares[scope]

    def worth_claiming(self, free: int, now_s: float) -> int:
        """How many rows to claim for so many free slots."""
        if self._crowd is None:
            return free
        share = self._shares.get(self._crowd)
        if share is not None and _hangs(share, now_s):
            return free
        return min(free, self._most(self._crowd) - (0 if share is None else share.held))

    def _most(self, scope: str) -> int:
        return self._slots if scope == self._alone else (self._slots + 1) // 2


def _hangs(share: _Share, now_s: float) -> bool:
    return now_s - share.moved_s > _SILENT_S
