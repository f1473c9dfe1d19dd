"""How many entries a second a campaign's preview decides: the pure core alone, on one core.

The common case: 3 campaigns of 3 cap rules each where people come, the previewed one among them; the default rhythm.
Ranked last it takes no place in anybody's time and each entry is decided once; ranked first it takes what the others
would have got, and from then on each entry of that person is decided twice, with it and without it.
A visit a day for four weeks; one in ten people has a past of five offers. Rates by CPU time. The floor is that of the
contract: 10,000 entries/s on a quiet machine.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

import numpy as np

from bench.deciding import AGREED, CASES, DAY_US, NOON_US, POLICY, STORE, ZONE, snapshots
from bench.report import Report, Row, Value, Yardstick
from geo_offers.cli.serving import hold_no_long_pauses
from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.caps import Use
from geo_offers.offers.decide import Arrival, DeviceView, Person
from geo_offers.offers.rehearsal import Rehearsal, Walker
from geo_offers.people.rhythm import Rhythm
from geo_offers.places.fences import FenceId
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.presence.visits import visit_id

SHORT: Final = ("--people", "50", "--repeats", "3")
DAYS: Final = 28


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--people", type=int, default=200, metavar="N", help="a window; 28 visits each")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="windows")
    parser.add_argument("--seed", type=int, default=7, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    load: dict[str, Value] = {"people": given.people, "windows": given.repeats, "seed": given.seed}
    campaigns = snapshots(CASES[0], 1, given.seed)[0].campaigns
    rows = [_row(name, own, campaigns, given) for name, own in (("last", campaigns[0]), ("first", campaigns[-1]))]
    yield Report("preview", load, rows)


def _row(name: str, own: Campaign, campaigns: Sequence[Campaign], given: argparse.Namespace) -> Row:
    rng, rates, yardstick = np.random.default_rng(given.seed), list[float](), Yardstick(time.thread_time)
    others = [campaign for campaign in campaigns if campaign is not own]
    hold_no_long_pauses()
    for window in range(given.repeats):
        people = [_walker(window * given.people + number, rng) for number in range(given.people)]
        rehearsal = Rehearsal(own, others, POLICY, DAYS)
        yardstick.spin()
        started = time.thread_time()
        for walker in people:
            for _ in rehearsal.play(walker):
                pass
        rates.append(rehearsal.findings().entries / (time.thread_time() - started))
    return Row(f"ranked {name}", statistics.median(rates), "entries/s", yardstick)


def _walker(number: int, rng: np.random.Generator) -> Walker:
    user = UUID(int=1_000_000 + number)
    begin_us = NOON_US - DAYS * DAY_US
    minutes = np.sort(rng.integers(-180, 480, DAYS)).tolist()
    uses = [
        Use(begin_us - (past + 1) * DAY_US, UUID(int=past + 1), f"s{past}", FenceId("town/x"), frozenset({"food"}))
        for past in range(5 if number % 10 == 0 else 0)
    ]
    arrivals = [_arrival(user, begin_us + day * DAY_US + minute * 60_000_000) for day, minute in enumerate(minutes)]
    return Walker(Person(user, AGREED, Rhythm(), ZONE, "en-GB"), DeviceView(user, lanes=("inapp",)), arrivals, uses)


def _arrival(user: UUID, at_us: int) -> Arrival:
    visit = visit_id(UUID(int=1), user, STORE.id, at_us)
    edge = Transition(TransitionType.ENTER, STORE.id, 4, at_us, visit, at_us, accuracy_m=8.0, distance_m=0.0)
    return Arrival(edge, STORE, ZONE, "Old Bakery")
