"""What one decision costs, with its receipt and without: the common case, the worst, and what of it is words.

The pure functions alone, on one core: rates by CPU time, which neighbours do not count in, and each call by the clock.
Nobody is asked twice: every snapshot has its own person, instant and past. `offer`: nothing stands in the way, so that
every gate is asked of the winner, its words are written and the receipt has the offer. `silent`: the last rule of the
caps is full for every candidate. `receipt` and `snapshot`: what is stored of the same, to explain and to decide again.
The floors (p50, quiet machine) are those of the contract: 40 us in the common case, 150 us in the worst. The collector
is set as the service sets it. As there, each snapshot is made just before it is decided; making it is not counted.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np

from bench.report import Report, Row, Tail, Value, Yardstick
from geo_offers.cli.serving import hold_no_long_pauses
from geo_offers.offers.campaigns import Campaign, Campaigns, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Past, Scope, Use
from geo_offers.offers.decide import Arrival, Decision, DeviceView, Person, Snapshot, WorkspacePolicy, decide, receipt
from geo_offers.offers.keeping import kept
from geo_offers.offers.packing import packed
from geo_offers.offers.rendering import Facts, render
from geo_offers.offers.texts import Field, Text
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.rhythm import Rhythm
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.presence.visits import visit_id

SHORT: Final = ("--calls", "1000", "--repeats", "3")
ZONE: Final = ZoneInfo("Europe/Berlin")
NOON_US: Final = 1_780_480_800_000_000  # a Wednesday in June, 12:00 in Berlin
DAY_US: Final = 86_400_000_000
STAGES: Final = {"wait": 0.1, "lock": 0.5, "read": 1.2, "decide": 0.05}
AGREED: Final = Consents({purpose: Consent(granted=True, text_version="v1", at_us=1) for purpose in Purpose})
FREE: Final = Rhythm(max=1_000, min_gap_h=0.0)
POLICY: Final = WorkspacePolicy("Seaview", ZONE, place_gap_s=60, store_gap_s=60)
STORE: Final = Geofence(
    FenceId("town/bakery"),
    4,
    "Bakery",
    Circle(53.1, 8.6, 80.0),
    "baker-1",
    ("food",),
    active=True,
    detect=Detect("raw"),
)
PLAIN: Final = {"en": Text("Warm rolls", "Until noon."), "de": Text("Brötchen", "Bis Mittag.")}
STORES: Final = {"en": Text("Warm rolls at {store}", "Fresh until noon."), "de": Text("{store}", "Bis Mittag.")}
RICH: Final = {"en": Text("{name}: {off} off", "{price} at {store} until {ends}, {far} on.")}
FIELDS: Final = (
    Field("off", "percent", 20),
    Field("price", "money", 4.9, currency="EUR"),
    Field("ends", "time", source="offer_end"),
    Field("far", "distance", source="distance"),
    Field("name", "text", source="profile", attribute="first_name"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """share: of the calls that are asked for it gets one in so many."""

    name: str
    candidates: int
    rules: int
    uses: int
    silent: bool = False
    share: int = 1


CASES: Final = (
    Case("common, offer", 3, 3, 5),
    Case("common, silent", 3, 3, 5, silent=True),
    Case("worst, offer", 30, 10, 50, share=10),
    Case("worst, silent", 30, 10, 50, silent=True, share=10),
)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calls", type=int, default=2_000, metavar="N", help="a window; a tenth of it in the worst")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="windows")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    load: dict[str, Value] = {"calls": given.calls, "windows": given.repeats, "seed": given.seed}
    windows = range(given.repeats)
    rows = []
    for case in CASES:
        people = arriving(case, given.calls // case.share * given.repeats, given.seed)
        asked = [people[window :: given.repeats] for window in windows]
        rows += [_row(case.name, _decided, asked, _made), _row(f"{case.name}, no receipt", decide, asked, _made)]
    for case in (CASES[0], CASES[2]):
        people = arriving(case, given.calls // case.share * given.repeats, given.seed)
        asked = [people[window :: given.repeats] for window in windows]
        rows.append(_row(f"receipt, {case.name}", _written, asked, lambda make: decide(make())))
        rows.append(_row(f"snapshot, {case.name}", kept, asked, _made))
    for name, texts in (("words, plain", PLAIN), ("words, a store's name", STORES), ("words, five fields", RICH)):
        fields = FIELDS if texts is RICH else ()
        facts = [_facts(number) for number in range(given.calls)]
        rows.append(
            _row(
                name,
                lambda one, texts=texts, fields=fields: render(texts, fields, one),
                [facts for _ in windows],
                _same,
            )
        )
    common = arriving(CASES[0], 1, given.seed)[0]()
    sizes: dict[str, Value] = {
        "receipt_bytes_common_offer": len(_decided(common)),
        "snapshot_bytes_common_offer": len(kept(common)),
    }
    yield Report("deciding", load, rows, sizes)


def _row(
    name: str,
    call: Callable[[Any], object],
    windows: Sequence[Sequence[Any]],
    make: Callable[[Any], Any],
) -> Row:
    """Time `call` of what `make` gives for each input; the making is not counted."""
    yardstick, rates, took_us = Yardstick(time.thread_time), [], []
    hold_no_long_pauses()
    for inputs in windows:
        yardstick.spin()
        spent_s = 0.0
        for one in inputs:
            given = make(one)
            cpu_s, clock_s = time.thread_time(), time.perf_counter()
            call(given)
            took_us.append((time.perf_counter() - clock_s) * 1e6)
            spent_s += time.thread_time() - cpu_s
        rates.append(len(inputs) / spent_s)
    return Row(name, statistics.median(rates), "calls/s", yardstick, Tail.of("us", took_us))


def _made(make: Callable[[], Snapshot]) -> Snapshot:
    return make()


def _same(one: Any) -> Any:
    return one


def _decided(snapshot: Snapshot) -> bytes:
    decision = decide(snapshot)
    assert decision is not None
    return _written(decision)


def _written(decision: Decision) -> bytes:
    return packed(receipt(decision, STAGES))


def arriving(case: Case, count: int, seed: int) -> list[Callable[[], Snapshot]]:
    """People who enter the bakery. Their past is spread over four weeks and fills no rule, or the last one alone."""
    rng = np.random.default_rng(seed)
    campaigns = Campaigns(_campaign(number, case) for number in range(case.candidates))
    pasts = rng.integers(600_000_000, 27 * DAY_US, (count, case.uses)).tolist()
    return [partial(_snapshot, number, campaigns, ago_us) for number, ago_us in enumerate(pasts)]


def _campaign(number: int, case: Case) -> Campaign:
    units = (
        (4, 1, "hour", "rolling"),
        (12, 1, "day", "calendar"),
        (35, 1, "week", "rolling"),
        (51, 2, "week", "calendar"),
    )
    rules = [
        CapRule(*units[rule * 3 % 4], scope=scope, tag="food" if scope is Scope.USER_TAG else None)
        for rule, scope in zip(range(case.rules - case.silent), list(Scope) * 3, strict=False)
    ]
    if case.silent:
        rules.append(CapRule(1, 4, "week", scope=Scope.USER))
    return Campaign(
        UUID(int=number + 1),
        f"campaign {number}",
        1,
        CampaignState.APPROVED,
        TransitionType.ENTER,
        FenceSelector(set="town"),
        STORES,
        priority=number,
        caps=tuple(rules),
    )


def snapshots(case: Case, count: int, seed: int) -> list[Snapshot]:
    return [make() for make in arriving(case, count, seed)]


def _snapshot(number: int, campaigns: tuple[Campaign, ...], past_us: Sequence[int]) -> Snapshot:
    now_us = NOON_US + number * 60_000_000 % (4 * 3_600_000_000)
    user, device = UUID(int=1_000_000 + number), UUID(int=2_000_000 + number)
    visit = visit_id(UUID(int=1), device, STORE.id, now_us)
    edge = Transition(TransitionType.ENTER, STORE.id, 4, now_us, visit, now_us, accuracy_m=8.0, distance_m=-12.0)
    return Snapshot(
        now_us,
        Person(user, AGREED, FREE, ZONE, "en-GB"),
        POLICY,
        DeviceView(device, lanes=("inapp",)),
        (Arrival(edge, STORE, ZONE, "Old Bakery"),),
        campaigns,
        Past(
            Use(now_us - ago, UUID(int=place % 7 + 1), f"s{place % 9}", FenceId("town/x"), frozenset({"food"}))
            for place, ago in enumerate(past_us)
        ),
        catalog_version=17,
        tz_version="2026a",
    )


def _facts(number: int) -> Facts:
    return Facts(
        "Old Bakery",
        "Bakery",
        "Seaview",
        ZONE,
        "en-GB",
        offer_end_us=NOON_US + number * 1_000_000,
        distance_m=float(number % 400),
        profile={"first_name": "Ada"},
    )
