"""What no sequence of decisions may break, each offer fed back as a use: rhythm, gaps, caps and quiet hours.

Every promise is checked from its definition over the list of offers made, with the zone's own calendar, not with the
windows that the product computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.offers import ranking
from geo_offers.offers.answers import Answers
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Past, Scope, Use
from geo_offers.offers.decide import (
    Arrival,
    Decision,
    DeviceView,
    Person,
    Reason,
    Snapshot,
    WorkspacePolicy,
    decide,
    receipt,
)
from geo_offers.offers.gates import GATES
from geo_offers.offers.rendering import Text
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.quiet import QuietRule
from geo_offers.people.rhythm import Per, Rhythm, Rolling, Special
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.fixes import Fix
from geo_offers.presence.machine import step
from geo_offers.presence.states import NOWHERE, Transition, TransitionType
from geo_offers.presence.visits import visit_id
from tests.support.replacing import replace

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/Santiago", "UTC", "Australia/Lord_Howe")]
WORKSPACE, DEVICE = UUID(int=1), UUID(int=2)
AGREED = Consents({purpose: Consent(granted=True, text_version="v", at_us=0) for purpose in Purpose})
TEXTS = {"en": Text("{store}", "{fence}")}


def fence(number: int, store: str | None, tags: tuple[str, ...] = ()) -> Geofence:
    return Geofence(
        FenceId(f"town/{number}"),
        1,
        f"f{number}",
        Circle(50.0, 8.0, 60.0),
        store,
        tags,
        active=True,
        detect=Detect("raw"),
    )


FENCES = [fence(0, "s0", ("food",)), fence(1, "s0"), fence(2, "s1", ("food", "hot")), fence(3, None), fence(4, "s2")]


def edge(where: Geofence, kind: TransitionType, at_us: int, entered_us: int, distance_m: float = -5.0) -> Transition:
    visit = visit_id(WORKSPACE, DEVICE, where.id, entered_us)
    return Transition(kind, where.id, 1, at_us, visit, entered_us, accuracy_m=8.0, distance_m=distance_m)


# ------------------------------------------------------------------------------------------------ what is drawn
pers = st.sampled_from(["day", "week", "month"]) | st.builds(Rolling, st.integers(1, 200))
quiet_rules = st.builds(QuietRule, st.frozensets(st.integers(0, 6)), st.integers(0, 1439), st.integers(0, 1440))
rhythms = st.builds(
    Rhythm,
    max=st.integers(0, 4),
    per=pers,
    min_gap_h=st.sampled_from([0.0, 0.5, 6.0, 24.0]),
    quiet=st.lists(quiet_rules, max_size=1).map(tuple),
)
policies = st.builds(
    WorkspacePolicy,
    name=st.just("w"),
    zone=st.just(ZoneInfo("UTC")),
    place_gap_s=st.sampled_from([0, 1800]),
    store_gap_s=st.sampled_from([0, 3600, 86_400]),
    quiet=st.lists(quiet_rules, max_size=1).map(tuple),
)
cap_rules = st.sampled_from(
    [
        CapRule(limit, n, unit, mode, scope, "food" if scope is Scope.USER_TAG else None)
        for limit in (1, 3)
        for n, unit in ((1, "hour"), (7, "hour"), (1, "day"), (3, "day"), (1, "week"), (1, "month"))
        for mode in ("rolling", "calendar")
        for scope in Scope
    ]
)


@st.composite
def campaigns(draw: st.DrawFn, max_caps: int = 2) -> tuple[Campaign, ...]:
    drawn = draw(st.lists(st.lists(cap_rules, max_size=max_caps), min_size=1, max_size=3))
    return tuple(
        Campaign(
            UUID(int=number + 1),
            f"c{number}",
            1,
            CampaignState.APPROVED,
            TransitionType.ENTER,
            FenceSelector(set="town"),
            TEXTS,
            priority=draw(st.integers(0, 1)),
            caps=tuple(rules),
        )
        for number, rules in enumerate(drawn)
    )


# Around the changes of Berlin's and Santiago's clocks, in steps from minutes to days: every kind of bound is met.
starts = st.sampled_from(
    [
        datetime(2026, 3, 27, 6, tzinfo=UTC),
        datetime(2026, 9, 4, 1, tzinfo=UTC),
        datetime(2026, 10, 23, 4, tzinfo=UTC),
        datetime(2026, 4, 2, 22, tzinfo=UTC),
    ]
).map(lambda start: (start - EPOCH) // timedelta(microseconds=1))
waits = st.integers(1, 90) | st.integers(1, 40).map(lambda hours: hours * 60) | st.sampled_from([1439, 1440, 1441])
walks = st.lists(st.tuples(waits, st.sets(st.integers(0, 4), min_size=1, max_size=3)), min_size=1, max_size=40)
Walk = list[tuple[int, set[int]]]


@st.composite
def tracks(draw: st.DrawFn) -> Walk:
    """Instants, and the fences entered at each."""
    at, now_us = [], draw(starts)
    for wait, near in draw(walks):
        now_us += wait * MINUTE_US
        at.append((now_us, near))
    return at


@st.composite
def people(draw: st.DrawFn) -> Person:
    return Person(UUID(int=3), AGREED, draw(rhythms), draw(st.sampled_from(ZONES)), "en")


@dataclass
class Played:
    """All decisions of one person's sequence."""

    decisions: list[Decision]
    uses: list[Use]


def played(person: Person, policy: WorkspacePolicy, drawn: Sequence[Campaign], at: Walk) -> Played:
    seen = Played([], [])
    for now_us, near in at:
        arrivals = tuple(
            Arrival(edge(FENCES[number], TransitionType.ENTER, now_us, now_us), FENCES[number], person.zone)
            for number in sorted(near)
        )
        found = decide(
            Snapshot(now_us, person, policy, DeviceView(DEVICE), arrivals, drawn, tuple(seen.uses), tz_version="x")
        )
        assert found is not None
        seen.decisions.append(found)
        if found.offer is not None:
            offer = found.offer
            use = Use(now_us, offer.campaign, offer.store, offer.fence, offer.tags, offer.visit, offer.special)
            seen.uses.append(use)
    return seen


# ------------------------------------------------------------------------------------------------ what must hold
def shown(at_us: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


def unit_of(at_us: int, unit: str, zone: ZoneInfo) -> int:
    """The number of the calendar unit in which an instant lies."""
    wall = shown(at_us, zone)
    day: date = wall.date()
    return {
        "hour": (at_us - wall.minute * MINUTE_US - wall.second * 1_000_000) // HOUR_US,
        "day": day.toordinal(),
        "week": (day.toordinal() - 1) // 7,
        "month": day.year * 12 + day.month,
    }[unit]


def most_in_any_window(times: Sequence[int], per: Per, zone: ZoneInfo) -> int:
    if isinstance(per, Rolling):
        return most_rolling(times, round(per.hours * HOUR_US))
    return most_calendar(times, 1, per, zone)


def most_rolling(times: Sequence[int], length_us: int) -> int:
    return max((sum(start <= at < start + length_us for at in times) for start in times), default=0)


def most_calendar(times: Sequence[int], n: int, unit: str, zone: ZoneInfo) -> int:
    units = [unit_of(at, unit, zone) for at in times]
    return max((sum(first <= found < first + n for found in units) for first in units), default=0)


def closest(times: Sequence[int]) -> int | None:
    ordered = sorted(times)
    return min((after - before for before, after in pairwise(ordered)), default=None)


def quiet_by_the_wall(rule: QuietRule, wall: datetime) -> bool:
    for back in (0, 1):
        day = datetime(wall.year, wall.month, wall.day) - timedelta(days=back)  # noqa: DTZ001 - wall time
        start = day + timedelta(minutes=rule.start_minute)
        length = timedelta(minutes=(rule.end_minute - rule.start_minute) % 1440 or 1440)
        if day.weekday() in rule.days and start <= wall.replace(tzinfo=None) < start + length:
            return True
    return False


def check_person(person: Person, policy: WorkspacePolicy, uses: Sequence[Use]) -> None:
    times = [use.at_us for use in uses]
    assert most_in_any_window(times, person.rhythm.per, person.zone) <= person.rhythm.max
    gap = closest(times)
    assert gap is None or gap >= person.rhythm.min_gap_h * HOUR_US
    assert gap is None or gap >= policy.place_gap_s * 1_000_000
    for store in {use.store for use in uses}:
        gap = closest([use.at_us for use in uses if use.store == store])
        assert gap is None or gap >= policy.store_gap_s * 1_000_000
    for at_us in times:
        for rule in (*person.rhythm.quiet, *policy.quiet):
            assert not quiet_by_the_wall(rule, shown(at_us, person.zone))


@given(people(), policies, campaigns(), tracks())
@settings(max_examples=80, deadline=None)
def test_no_sequence_of_arrivals_breaks_what_the_person_allowed(
    person: Person, policy: WorkspacePolicy, drawn: tuple[Campaign, ...], track: Walk
) -> None:
    check_person(person, policy, played(person, policy, drawn, track).uses)


@given(people(), policies, tracks(), st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_nor_does_any_order_in_which_the_decisions_are_made(
    person: Person, policy: WorkspacePolicy, track: Walk, shuffler: Any
) -> None:
    """A recorded track beside a live phone: decisions of one person do not come in the order of their instants."""
    shuffler.shuffle(track)
    check_person(person, policy, played(person, policy, [campaign_of(())], track).uses)


specials = st.builds(Special, allow=st.booleans(), max=st.integers(0, 2), per=pers)


@given(people(), specials, policies, tracks(), st.none() | st.randoms(use_true_random=False))
@settings(max_examples=120, deadline=None)
def test_special_offers_keep_to_a_budget_of_their_own_and_leave_the_ordinary_one_as_it_is(
    person: Person, special: Special, policy: WorkspacePolicy, track: Walk, shuffler: Any
) -> None:
    person = replace(person, rhythm=replace(person.rhythm, special=special))
    ordinary = campaign_of(())
    drawn = [ordinary, replace(ordinary, id=UUID(int=2), special=True)]
    if shuffler is not None:
        shuffler.shuffle(track)
    uses = played(person, policy, drawn, track).uses
    check_person(person, policy, [use for use in uses if not use.special])
    past = [use.at_us for use in uses if use.special]
    assert most_in_any_window(past, special.per, person.zone) <= (special.max if special.allow else 0)
    for at_us in past:
        assert not any(quiet_by_the_wall(rule, shown(at_us, person.zone)) for rule in person.rhythm.quiet)
    for number, use in enumerate(uses):
        near = [abs(use.at_us - before.at_us) for before in uses[:number]]
        assert min(near, default=10**18) >= person.rhythm.min_gap_us


def campaign_of(caps: tuple[CapRule, ...]) -> Campaign:
    return Campaign(
        UUID(int=1), "c", 1, CampaignState.APPROVED, TransitionType.ENTER, FenceSelector(set="town"), TEXTS, caps=caps
    )


@given(cap_rules, st.sampled_from(ZONES), tracks(), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_no_cap_is_ever_exceeded_and_none_silences_without_need(
    rule: CapRule, zone: ZoneInfo, track: Walk, shuffled: bool, shuffler: Any
) -> None:
    person = Person(UUID(int=3), AGREED, Rhythm(max=1000, min_gap_h=0.0, quiet=()), zone, "en")
    policy = WorkspacePolicy("w", zone, place_gap_s=0, store_gap_s=0)
    if shuffled:
        shuffler.shuffle(track)
    seen = played(person, policy, [campaign_of((rule,))], track)
    for key in {key_of(rule, use) for use in seen.uses} - {None}:
        assert most(rule, [use.at_us for use in seen.uses if key_of(rule, use) == key], zone) <= rule.limit
    if shuffled:
        return
    for (now_us, near), decision in zip(track, seen.decisions, strict=True):
        if decision.outcome == "suppressed":
            assert decision.reason is Reason.CAP
            before = [use for use in seen.uses if use.at_us < now_us]
            assert all(would_exceed(rule, before, FENCES[number], now_us, zone) for number in near)


def key_of(rule: CapRule, use: Use) -> object:
    """What a use counts under; None when the rule does not count it."""
    return {
        Scope.USER: True,
        Scope.USER_STORE: use.store,
        Scope.USER_CAMPAIGN: use.campaign,
        Scope.USER_TAG: True if "food" in use.tags else None,
    }[rule.scope]


def most(rule: CapRule, times: Sequence[int], zone: ZoneInfo) -> int:
    unit_hours = {"hour": 1, "day": 24, "week": 168, "month": 31 * 24}[rule.unit]
    if rule.mode == "rolling":
        return most_rolling(times, rule.n * unit_hours * HOUR_US)
    return most_calendar(times, rule.n, rule.unit, zone)


def would_exceed(rule: CapRule, before: Sequence[Use], where: Geofence, now_us: int, zone: ZoneInfo) -> bool:
    one_more = Use(now_us, UUID(int=1), where.store or where.id, where.id, frozenset(where.tags))
    key = key_of(rule, one_more)
    if key is None:
        return False
    times = [use.at_us for use in (*before, one_more) if key_of(rule, use) == key]
    return most(rule, times, zone) > rule.limit


@given(people(), policies, campaigns(), tracks())
@settings(max_examples=30, deadline=None)
def test_whatever_is_not_offered_has_a_failing_gate_and_whatever_is_has_none(
    person: Person, policy: WorkspacePolicy, drawn: tuple[Campaign, ...], track: Walk
) -> None:
    for found in played(person, policy, drawn, track).decisions:
        failed = [gate.gate for gate in found.gates if not gate.passed]
        assert (found.outcome == "offer") == (found.reason is None) == (not failed) == (found.offer is not None)


@given(people(), specials, policies, campaigns(), tracks())
@settings(max_examples=30, deadline=None)
def test_each_candidate_is_told_the_reason_of_its_own_first_failing_gate_whoever_was_asked_before(
    person: Person, special: Special, policy: WorkspacePolicy, drawn: tuple[Campaign, ...], track: Walk
) -> None:
    drawn = tuple(replace(campaign, special=number % 2 == 1) for number, campaign in enumerate(drawn))
    person = replace(person, rhythm=replace(person.rhythm, special=special))
    uses = Past(played(person, policy, drawn, track).uses)
    reasons = {rule.gate: rule.reason for rule in GATES}
    for now_us, near in track:
        arrivals = tuple(
            Arrival(edge(FENCES[number], TransitionType.ENTER, now_us, now_us), FENCES[number], person.zone)
            for number in sorted(near)
        )
        snapshot = Snapshot(now_us, person, policy, DeviceView(DEVICE), arrivals, drawn, uses)
        answers, candidates = Answers(snapshot), ranking.shortlisted(snapshot, ranking.found(snapshot))
        assert answers.agreed(candidates[0])
        for candidate in candidates:
            alone = Answers(snapshot)
            assert alone.agreed(candidate)
            failed = [reasons[gate.gate] for gate in alone.gates(candidate) if not gate.passed]
            assert answers.first_failure(candidate) == (failed[0] if failed else None)


@given(campaigns(max_caps=0), st.sets(st.integers(0, 4), min_size=1), st.permutations(range(5)), st.data())
@settings(max_examples=60, deadline=None)
def test_of_overlapping_campaigns_one_wins_the_others_are_outranked_and_order_is_nothing(
    drawn: tuple[Campaign, ...], near: set[int], order: list[int], data: st.DataObject
) -> None:
    person = Person(UUID(int=3), AGREED, Rhythm(quiet=()), ZONES[0], "en")
    distances = data.draw(st.lists(st.floats(-60, 60), min_size=5, max_size=5))
    arrivals = {
        number: Arrival(
            edge(FENCES[number], TransitionType.ENTER, 10**15, 10**15, distances[number]), FENCES[number], ZONES[0]
        )
        for number in near
    }
    policy = WorkspacePolicy("w", ZONES[0])

    def decided(numbers: Sequence[int], campaigns_: Sequence[Campaign]) -> Decision:
        found = decide(
            Snapshot(10**15, person, policy, DeviceView(DEVICE), tuple(arrivals[n] for n in numbers), campaigns_)
        )
        assert found is not None
        return found

    found = decided(sorted(near), drawn)
    turned = decided([number for number in order if number in near], drawn[::-1])
    assert found.outcome == "offer"
    assert (found.offer, found.id, found.gates) == (turned.offer, turned.id, turned.gates)
    (ranking,) = [gate.detail for gate in found.gates if gate.gate == "ranking"]
    told = {(other["campaign"], other["fence"]) for other in ranking["others"]}
    winner = (found.campaign, found.primary.fence)
    assert {other["reason"] for other in ranking["others"]} <= {Reason.OUTRANKED}
    assert told | {winner} == {(campaign.id, FENCES[number].id) for campaign in drawn for number in near}
    assert winner not in told


coordinates = st.floats(-89.9, 89.9).filter(lambda degrees: abs(degrees - round(degrees, 2)) > 1e-6)


def numbers_in(told: Any) -> list[float]:
    if isinstance(told, dict):
        return [number for value in told.values() for number in numbers_in(value)]
    if isinstance(told, list):
        return [number for value in told for number in numbers_in(value)]
    return [float(told)] if isinstance(told, int | float) and not isinstance(told, bool) else []


@given(st.tuples(coordinates, coordinates), people(), policies, campaigns(), starts)
@settings(max_examples=80, deadline=None)
def test_a_receipt_never_holds_a_coordinate_and_the_same_snapshot_writes_the_same_bytes(
    place: tuple[float, float], person: Person, policy: WorkspacePolicy, drawn: tuple[Campaign, ...], now_us: int
) -> None:
    lat, lon = place
    here = msgspec.structs.replace(FENCES[0], outline=Circle(lat, lon, 60.0))
    fix = Fix(now_us, lat, lon, accuracy_m=12.345678)
    _, edges = step(NOWHERE, fix, [here], [], workspace=WORKSPACE, device=DEVICE)
    arrivals = tuple(Arrival(found, here, ZONES[0]) for found in edges)
    snapshot = Snapshot(now_us, person, policy, DeviceView(DEVICE), arrivals, drawn)
    written = [receipt(found) for found in (decide(snapshot), decide(replace(snapshot))) if found is not None]
    assert len(written) == 2
    assert written[0] == written[1]
    words = written[0].decode()
    for degrees in (lat, lon):
        assert repr(degrees) not in words
        assert f"{degrees:.4f}" not in words
        assert all(abs(number - degrees) > 1e-6 for number in numbers_in(msgspec.json.decode(words)))
