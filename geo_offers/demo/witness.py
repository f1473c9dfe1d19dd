"""What presence looks like for each phone of the crowd, from the simulator's own memory: path and probabilities.

The simulator knows where its invented people are. It runs presence over the very fixes that it sends, so that the page
can show why an enter came when it came; the service is asked nothing, and no call of it gives a position out.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from geo_offers.places.fences import FenceId, Geofence
from geo_offers.places.importing.geojson import FenceDraft, parse_feature
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.explain import PRESENCE, Explained, Step
from geo_offers.presence.fixes import Fix
from geo_offers.presence.states import TransitionType

WINDOW_S: Final = 180.0
FENCES: Final = 3
"""More lines in a small chart nobody tells apart."""
COMING_S: Final = 20.0
ARRIVED_S: Final = 30.0
"""So long the page stays with a phone that it has chosen by itself: one that comes, and one that is inside."""


class _Seen(NamedTuple):
    fix: Fix
    step: Step


class _Phone:
    def __init__(self, index: GeofenceIndex) -> None:
        self.explained = Explained(index)
        self.seen: deque[_Seen] = deque()

    def take(self, fix: Fix) -> None:
        self.seen.append(_Seen(fix, self.explained.take(fix)))
        while self.seen[0].fix.at_us < fix.at_us - WINDOW_S * 1e6:
            self.seen.popleft()

    @property
    def inside(self) -> bool:
        return any(standing.inside for standing in self.seen[-1].step.standings)

    @property
    def likeliest(self) -> float:
        """The highest probability of being inside of a fence; 0 where there is none."""
        return max((one.probability or 0.0 for one in self.seen[-1].step.standings), default=0.0)


class Witness:
    """Remembers the last minutes of every phone. features: the fences as the service has them, by whole ids."""

    def __init__(self, features: Iterable[Mapping[str, Any]]) -> None:
        self._index = GeofenceIndex(map(_fence, features))
        self._phones: dict[int, _Phone] = {}
        self._chosen: int | None = None
        self._chosen_us = 0

    def saw(self, n: int, fix: Fix) -> None:
        """A fix that person n's phone has sent."""
        if n not in self._phones:
            self._phones[n] = _Phone(self._index)
        self._phones[n].take(fix)

    def forget(self, n: int) -> None:
        self._phones.pop(n, None)

    def tell(self, n: int | None) -> Mapping[str, Any] | None:
        """The last minutes of one phone, or of one that is about to arrive; None where there is nothing to tell."""
        n = self._arriving() if n is None else n
        phone = None if n is None else self._phones.get(n)
        return None if phone is None else {"n": n, **self._told(phone)}

    def _arriving(self) -> int | None:
        """The likeliest to be inside of those who are on no visit yet, and then the same one until it has arrived."""
        newest_us = max((phone.seen[-1].fix.at_us for phone in self._phones.values()), default=0)
        chosen = None if self._chosen is None else self._phones.get(self._chosen)
        if chosen is not None and newest_us - self._chosen_us < (ARRIVED_S if chosen.inside else COMING_S) * 1e6:
            return self._chosen
        coming = [(phone.likeliest, n) for n, phone in self._phones.items() if not phone.inside]
        if coming:
            self._chosen, self._chosen_us = max(coming)[1], newest_us
        return self._chosen

    def _told(self, phone: _Phone) -> Mapping[str, Any]:
        lines = self._lines(phone)
        return {
            "window_s": WINDOW_S,
            "presence": PRESENCE,
            "path": [[seen.fix.at_us // 1000, seen.fix.lat, seen.fix.lon] for seen in phone.seen],
            "fences": [{"id": fence, **self._standing(phone, fence), "line": line} for fence, line in lines.items()],
            "marks": [
                {"at": edge.at_us // 1000, "fence": edge.fence, "type": kind, "probability": edge.confidence}
                for seen in phone.seen
                for edge in seen.step.edges
                if edge.fence in lines
                for kind in _kinds(edge.type, confirmed=edge.course is not None and edge.course.confirmed)
            ],
        }

    def _lines(self, phone: _Phone) -> dict[FenceId, list[tuple[int, float]]]:
        """The probabilities at the fences that were likeliest of late, each as (ms, probability)."""
        lines: dict[FenceId, list[tuple[int, float]]] = {}
        for fix, step in phone.seen:
            for standing in step.standings:
                if standing.probability is not None:
                    lines.setdefault(standing.fence, []).append((fix.at_us // 1000, round(standing.probability, 3)))
        nearest = {standing.fence: place for place, standing in enumerate(phone.seen[-1].step.standings)}
        likeliest = sorted(
            lines,
            key=lambda fence: (-round(max(p for _, p in lines[fence]), 1), nearest.get(fence, len(nearest)), fence),
        )
        return {fence: lines[fence] for fence in likeliest[:FENCES]}

    def _standing(self, phone: _Phone, fence: FenceId) -> Mapping[str, Any]:
        """How the phone stands to the fence now; far from it nothing is known but that."""
        known = self._index.get(fence)
        now = next((one for one in phone.seen[-1].step.standings if one.fence == fence), None)
        return {
            "offer": None if known is None else known.detect.min_confidence,
            "away_m": None if now is None or now.away_m is None else round(now.away_m, 1),
            "probability": None if now is None or now.probability is None else round(now.probability, 3),
            "inside": now is not None and now.inside,
            "confirmed": now is not None and now.confirmed,
        }


def _kinds(kind: TransitionType, *, confirmed: bool) -> tuple[str, ...]:
    return ("enter", "confirm") if kind is TransitionType.ENTER and confirmed else (kind.value,)


def _fence(feature: Mapping[str, Any]) -> Geofence:
    draft = parse_feature(feature, strict=False)
    assert isinstance(draft, FenceDraft)  # the service has taken it
    return Geofence(
        FenceId(draft.external_id), 1, draft.name, draft.geometry, draft.store, draft.tags, draft.active, draft.detect
    )
