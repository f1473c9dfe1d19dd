"""Counters and latencies of the running service: over its life for `/metrics`, of late for the live feed.

`/metrics` is the operator's and counts the whole process. The live feed is the workspaces', and a workspace is told its
own: pings, decisions and their latency are counted by workspace, of which there are as many as have keys. One figure is
the machine's: what a look-up takes. It says how fast the process is, and nothing of who keeps it busy.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client import Counter as Total

from geo_offers.pipeline.requests import RESULTS, Code, Status
from geo_offers.presence.states import TransitionType
from geo_offers.presence.trail import Worth

RECENT: Final = 4_096
_ACCEPTED: Final = Code.ACCEPTED.value
_UNCOUNTED: Final = frozenset({Code.ACCEPTED.value, Code.PRIVATE.value, Code.UNSEEN.value})


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99 of the values; empty in, empty out."""
    if not values:
        return {}
    ordered = sorted(values)
    last = len(ordered) - 1
    return {"p50": ordered[round(last * 0.50)], "p99": ordered[round(last * 0.99)]}


class _Decided(msgspec.Struct):
    """A workspace's decisions: by reason since the start, and how long those of late took."""

    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    ms: deque[float] = msgspec.field(default_factory=partial(deque, maxlen=RECENT))


class Figures:
    """One instance a process. Labels are bounded: reasons, lanes, outcomes; never a person, a fence or a place."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.points = Total(
            "geo_offers_points", "Points of requests by what became of them", ["status"], registry=self.registry
        )
        self.transitions = Total("geo_offers_transitions", "Transitions by type", ["type"], registry=self.registry)
        self.decisions = Total(
            "geo_offers_decisions", "Decisions by outcome or reason", ["reason"], registry=self.registry
        )
        self.fixes_left_out = Total(
            "geo_offers_fixes_left_out",
            "Fixes of which calibrated fences took no note, or (stray) which they doubted, by why",
            ["worth"],
            registry=self.registry,
        )
        self.deliveries = Total(
            "geo_offers_deliveries", "Sends by lane and outcome", ["lane", "outcome"], registry=self.registry
        )
        self.turn_seconds = Histogram(
            "geo_offers_turn_seconds",
            "One decision transaction",
            buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 3, 10),
            registry=self.registry,
        )
        self.queued = Gauge("geo_offers_queued_points", "Points that wait for their answer", registry=self.registry)
        self.devices = Gauge("geo_offers_devices", "Devices held in memory", registry=self.registry)
        self.fences = Gauge("geo_offers_fences", "Fences in the index", registry=self.registry)
        self.streams = Gauge("geo_offers_streams", "Open device streams", registry=self.registry)
        self.lane_breakers = Gauge(
            "geo_offers_lane_breakers_open",
            "Projects, teams, origins or gateways that a lane does not send to just now",
            ["lane"],
            registry=self.registry,
        )
        self.oldest_due = Gauge(
            "geo_offers_outbox_oldest_due_seconds", "Age of the oldest due offer", ["lane"], registry=self.registry
        )
        self.swept_rows = Total(
            "geo_offers_retention_rows",
            "Rows that the sweep deleted or wiped, by kind",
            ["kind"],
            registry=self.registry,
        )
        self.swept_at = Gauge(
            "geo_offers_retention_last_run_timestamp_seconds",
            "When a sweep last came to its end",
            registry=self.registry,
        )
        self.overdue = Gauge(
            "geo_offers_retention_overdue_seconds",
            "For how long the oldest row that the sweep has left should be gone, by kind; 0 where none should",
            ["kind"],
            registry=self.registry,
        )
        self._accepted = 0
        self._others: Counter[Status] = Counter()
        self._moved = {kind: self.transitions.labels(kind.value) for kind in TransitionType}
        self._lookup_us: deque[float] = deque(maxlen=RECENT)
        self._decided: dict[int, _Decided] = {}
        self._untold: Counter[str] = Counter()
        self._pings: Counter[int] = Counter()  # by the id's number, whose hash is not Python's to compute

    def looked_up(self, points: int, seconds: float) -> None:
        """One look-up, of whatever workspace: the time of each of its points."""
        if points:
            self._lookup_us.append(seconds / points * 1e6)

    def received(self, workspace: UUID, points: int) -> None:
        self._pings[workspace.int] += points

    def answered(self, codes: bytearray) -> None:
        """Counts a request's points by what became of them; of those that are hidden nothing is told."""
        accepted = codes.count(_ACCEPTED)
        self._accepted += accepted
        if accepted != len(codes):
            self._others.update(RESULTS[code].status for code in codes if code not in _UNCOUNTED)

    def moved(self, kind: TransitionType) -> None:
        """Counts a transition."""
        self._moved[kind].inc()

    def left_out(self, worths: Mapping[Worth, int]) -> None:
        """Counts fixes that were left out or doubted, by what they were worth."""
        for worth, fixes in worths.items():
            self.fixes_left_out.labels(worth.value).inc(fixes)

    def swept(self, rows: Mapping[str, int], overdue: Mapping[str, float] | None, at_s: float) -> None:
        """One sweep of what was kept too long; `overdue` is None where it did not come to its end."""
        for kind, count in rows.items():
            self.swept_rows.labels(kind).inc(count)
        if overdue is not None:
            self.swept_at.set(at_s)
            for kind in rows:
                self.overdue.labels(kind).set(overdue.get(kind, 0.0))

    def decided(self, workspace: UUID, reason: str, ms: float) -> None:
        """One decision; `reason` is `offer` or the silence's; `ms` from the ping's receipt to the commit."""
        decided = self._decided.get(workspace.int)
        if decided is None:
            decided = self._decided[workspace.int] = _Decided()
        decided.reasons[reason] += 1
        decided.ms.append(ms)
        self._untold[reason] += 1

    def page(self) -> bytes:
        """All of it for `/metrics`. Points and decisions are plain numbers until then: no request asks for a lock."""
        for status, points in (("accepted", self._accepted), *self._others.items()):
            self.points.labels(status).inc(points)
        self._accepted = 0
        self._others.clear()
        for reason, decisions in self._untold.items():
            self.decisions.labels(reason).inc(decisions)
        self._untold.clear()
        return generate_latest(self.registry)

    def pings(self, workspace: UUID) -> int:
        """Points received of a workspace since the start."""
        return self._pings[workspace.int]

    def stats(self, workspace: UUID) -> dict[str, Any]:
        """What a workspace may see: the machine's look-ups, its own decisions of late and by reason since the start."""
        decided = self._decided.get(workspace.int, _Decided())
        return {
            "lookup_us": quantiles(self._lookup_us),
            "decision_ms": quantiles(decided.ms),
            "decisions": dict(decided.reasons),
        }
