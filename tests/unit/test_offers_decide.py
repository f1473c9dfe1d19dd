"""Every gate of a decision alone, their order, the ranking, and what the receipt holds."""

from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5
from zoneinfo import ZoneInfo

import holidays
import msgspec
import pytest

from geo_offers.instants import text, to_us
from geo_offers.offers.budgets import Budget
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Scope, Use
from geo_offers.offers.context import Moment
from geo_offers.offers.decide import (
    Arrival,
    Decision,
    DeviceView,
    Person,
    Reason,
    Snapshot,
    WorkspacePolicy,
    decide,
    decision_id,
    lane,
    offer_id,
    receipt,
)
from geo_offers.offers.experiment import Experiment
from geo_offers.offers.gates import GATES
from geo_offers.offers.hours import Opening
from geo_offers.offers.texts import Field, Text
from geo_offers.people.audience import Audience, Clause
from geo_offers.people.consent import NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.people.mutes import Mutes
from geo_offers.people.quiet import quiet_rule
from geo_offers.people.rhythm import Rhythm, Rolling
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.wire import StageIs
from tests.support.replacing import replace

BERLIN = ZoneInfo("Europe/Berlin")
NOW_US = to_us(datetime(2026, 6, 3, 12, 0, tzinfo=BERLIN))  # a Wednesday noon
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
LAT, LON = 53.123456, 8.654321


def consents(*granted: Purpose) -> Consents:
    return Consents({purpose: Consent(granted=True, text_version="v1", at_us=1) for purpose in granted})


def fence(name: str, store: str | None = None, tags: tuple[str, ...] = ()) -> Geofence:
    return Geofence(
        FenceId(f"town/{name}"),
        4,
        name.title(),
        Circle(LAT, LON, 100.0),
        store,
        tags,
        active=True,
        detect=Detect("raw"),
    )


BAKERY = fence("bakery", "baker-1", ("food",))
MALL = fence("mall")


def visit_of(where: Geofence) -> UUID:
    return uuid5(NAMESPACE_URL, where.id)


def arrival(
    where: Geofence = BAKERY,
    kind: TransitionType = TransitionType.ENTER,
    at_us: int = NOW_US,
    distance_m: float | None = -12.34,
) -> Arrival:
    visit = None if kind is TransitionType.CROSS else visit_of(where)
    edge = Transition(kind, where.id, where.version, at_us, visit, at_us, accuracy_m=7.6, distance_m=distance_m)
    return Arrival(edge, where, BERLIN, "Old Bakery" if where.store else None)


def campaign(number: int = 1, **changed: Any) -> Campaign:
    base = Campaign(
        UUID(int=number),
        f"campaign {number}",
        2,
        CampaignState.APPROVED,
        TransitionType.ENTER,
        FenceSelector(set="town"),
        {
            "en": Text("{store}", "Hello from {workspace}, {fence}", "https://shop.example/1"),
            "de": Text("{store}", "Moin"),
        },
    )
    return replace(base, **changed)


PERSON = Person(UUID(int=100), consents(Purpose.LOCATE, Purpose.OFFERS), Rhythm(), BERLIN, "en")
POLICY = WorkspacePolicy("Seaview", BERLIN)
BASE = Snapshot(
    NOW_US,
    PERSON,
    POLICY,
    DeviceView(UUID(int=200), lanes=("webhook", "inapp")),
    (arrival(),),
    (campaign(),),
    catalog_version=17,
    tz_version="2026a",
    holidays_version="0.109",
)


def use(
    ago_us: int,
    store: str = "elsewhere",
    campaign_number: int = 9,
    visit: UUID | None = None,
    place: str = "town/elsewhere",
) -> Use:
    return Use(NOW_US - ago_us, UUID(int=campaign_number), store, FenceId(place), visit=visit)


def decided(**changed: Any) -> Decision:
    found = decide(replace(BASE, **changed))
    assert found is not None
    return found


def rhythm(**changed: Any) -> Person:
    return replace(PERSON, rhythm=replace(Rhythm(max=100, min_gap_h=0, quiet=()), **changed))


def detail(decision: Decision, name: str) -> Any:
    (found,) = [gate.detail for gate in decision.gates if gate.gate == name]
    return found


FREE = rhythm()
NO_GAPS = replace(POLICY, place_gap_s=0, store_gap_s=0)


def test_somebody_who_arrives_and_has_agreed_gets_the_offer() -> None:
    found = decided()
    assert (found.outcome, found.reason, found.campaign) == ("offer", None, UUID(int=1))
    assert all(gate.passed for gate in found.gates)
    offer = found.offer
    assert offer is not None
    assert (offer.title, offer.body, offer.link) == (
        "Old Bakery",
        "Hello from Seaview, Bakery",
        "https://shop.example/1",
    )
    assert (offer.fence, offer.store, offer.visit) == (BAKERY.id, "baker-1", found.primary.visit)
    assert (offer.lane, offer.trigger, offer.tags) == ("webhook", "enter", {"food"})
    assert offer.expires_us == NOW_US + HOUR_US // 2


def test_an_arrival_that_no_campaign_is_about_decides_nothing() -> None:
    assert decide(replace(BASE, campaigns=())) is None
    assert decide(replace(BASE, campaigns=(campaign(fences=FenceSelector(set="village")),))) is None
    assert decide(replace(BASE, arrivals=(arrival(kind=TransitionType.EXIT),))) is None
    assert decide(replace(BASE, arrivals=(arrival(kind=TransitionType.CROSS),))) is None
    assert decide(replace(BASE, arrivals=())) is None


def test_all_gates_stand_in_the_receipt_in_their_order() -> None:
    expected = [rule.gate for rule in GATES]
    assert [gate.gate for gate in decided().gates] == [*expected, "ranking", "experiment", "render"]
    assert [gate.gate for gate in decided(policy=replace(POLICY, killed=True)).gates] == [*expected, "ranking"]


NICKNAME = Field("nickname", "text", source="profile", attribute="nickname")

SILENCES: list[tuple[Reason, dict[str, Any]]] = [
    (Reason.KILL_SWITCH, {"policy": replace(POLICY, killed=True)}),
    (Reason.NO_CONSENT, {"person": replace(PERSON, consents=consents(Purpose.LOCATE))}),
    (Reason.NO_CONSENT, {"person": replace(PERSON, consents=consents(Purpose.OFFERS))}),
    (Reason.NO_CONSENT, {"person": replace(PERSON, consents=NONE_GIVEN)}),
    (Reason.NOT_LIVE, {"campaigns": (campaign(state=CampaignState.PAUSED),)}),
    (Reason.NOT_LIVE, {"campaigns": (campaign(texts={}),)}),
    (Reason.SCHEDULE, {"campaigns": (campaign(from_us=NOW_US + 1),)}),
    (Reason.SCHEDULE, {"campaigns": (campaign(until_us=NOW_US),)}),
    (Reason.AUDIENCE, {"campaigns": (campaign(fields=(NICKNAME,), texts={"en": Text("Hi {nickname}", "b")}),)}),
    (Reason.STALE, {"arrivals": (arrival(at_us=NOW_US - 120 * SECOND_US - 1),)}),
    (Reason.USER_INSIDE, {"others_inside": frozenset({BAKERY.id})}),
    (Reason.AUDIENCE, {"campaigns": (campaign(audience=Audience((Clause("stages", "", StageIs(in_=["lead"])),))),)}),
    (Reason.MUTED, {"person": rhythm(mute=Mutes(campaigns=frozenset({UUID(int=1)})))}),
    (Reason.MUTED, {"person": rhythm(mute=Mutes(stores=frozenset({"baker-1"})))}),
    (Reason.MUTED, {"person": rhythm(mute=Mutes(categories=frozenset({"food"})))}),
    (Reason.MUTED, {"person": rhythm(channels=())}),
    (Reason.MUTED, {"person": rhythm(channels=("push",)), "device": DeviceView(UUID(int=200), lanes=())}),
    (Reason.QUIET_HOURS, {"person": rhythm(quiet=(quiet_rule(["wed"], "11:00", "13:00"),))}),
    (Reason.QUIET_HOURS, {"policy": replace(POLICY, quiet=(quiet_rule(["wed"], "12:00", "12:01"),))}),
    (Reason.RHYTHM_MAX, {"uses": (use(25 * HOUR_US), use(50 * HOUR_US))}),
    (Reason.RHYTHM_MAX, {"person": rhythm(max=0)}),
    (Reason.RHYTHM_MAX, {"person": rhythm(max=1, per=Rolling(2)), "uses": (use(HOUR_US),)}),
    (Reason.RHYTHM_GAP, {"uses": (use(24 * HOUR_US - 1),)}),
    (Reason.PLACE_GAP, {"person": FREE, "uses": (use(1800 * SECOND_US - 1),)}),
    (Reason.PLACE_GAP, {"person": FREE, "policy": NO_GAPS, "uses": (use(HOUR_US, visit=arrival().transition.visit),)}),
    (Reason.STORE_GAP, {"person": FREE, "uses": (use(DAY_US - 1, store="baker-1"),)}),
    (
        Reason.CAP,
        {"person": FREE, "uses": (use(2 * HOUR_US),), "campaigns": (campaign(caps=(CapRule(1, scope=Scope.USER),)),)},
    ),
    (Reason.BUDGET, {"campaigns": (campaign(budget=Budget(total=1)),)}),
    (Reason.HOLDOUT, {"campaigns": (campaign(experiment=Experiment(holdout=1.0)),)}),
    (Reason.HOLDOUT, {"policy": replace(POLICY, holdout=1.0)}),
]


@pytest.mark.parametrize(("reason", "changed"), SILENCES, ids=[reason for reason, _ in SILENCES])
def test_each_silence_has_its_reason(reason: Reason, changed: dict[str, Any]) -> None:
    found = decided(**changed)
    assert (found.outcome, found.reason, found.offer) == ("suppressed", reason, None)
    failed = [gate.gate for gate in found.gates if not gate.passed and gate.gate != "ranking"]
    reasons = {rule.gate: rule.reason for rule in GATES} | {"experiment": Reason.HOLDOUT}
    assert [reasons[gate] for gate in failed] == [reason]


def test_the_receipt_names_the_holidays_that_it_went_by() -> None:
    policy = replace(POLICY, quiet=(quiet_rule([], "00:00", "24:00", "FR"),))
    quiet = detail(decided(policy=policy), "quiet_hours")
    assert quiet == {
        "zone": "Europe/Berlin",
        "until": None,
        "holidays": ["FR"],
        "holidays_version": holidays.__version__,
    }
    fourteenth = to_us(datetime(2026, 7, 14, 12, 0, tzinfo=BERLIN))
    found = decided(policy=policy, now_us=fourteenth, arrivals=(arrival(at_us=fourteenth),))
    assert found.reason is Reason.QUIET_HOURS


def test_every_reason_is_shown_by_some_silence() -> None:
    assert {reason for reason, _ in SILENCES} == set(Reason) - {Reason.OUTRANKED}


@pytest.mark.parametrize(
    "changed",
    [
        {"campaigns": (campaign(from_us=NOW_US, until_us=NOW_US + 1),)},
        {"arrivals": (arrival(at_us=NOW_US - 120 * SECOND_US),)},
        {"arrivals": (arrival(at_us=NOW_US + 200 * SECOND_US),)},
        {"arrivals": (arrival(at_us=NOW_US - DAY_US),), "device": DeviceView(UUID(int=1), replay=True)},
        {"others_inside": frozenset({MALL.id})},
        {"person": rhythm(quiet=(quiet_rule(["wed"], "11:00", "12:00"),))},
        {"uses": (use(24 * HOUR_US),)},
        {"uses": (use(3 * DAY_US), use(4 * DAY_US))},  # last week
        {"person": rhythm(max=1, per=Rolling(2)), "uses": (use(2 * HOUR_US),)},
        {"person": FREE, "uses": (use(1800 * SECOND_US),)},
        {"person": FREE, "policy": NO_GAPS, "uses": (use(0),)},
        {"person": FREE, "uses": (use(DAY_US, store="baker-1"),)},
        {"person": FREE, "uses": (use(HOUR_US),), "campaigns": (campaign(caps=(CapRule(1, unit="hour"),)),)},
    ],
)
def test_just_past_a_bound_the_offer_is_made(changed: dict[str, Any]) -> None:
    assert decided(**changed).reason is None


@pytest.mark.parametrize(("kind", "reason"), [("enter", Reason.USER_INSIDE), ("dwell", None), ("exit", None)])
def test_only_an_enter_is_silent_while_another_device_of_the_person_is_inside(kind: str, reason: Reason | None) -> None:
    trigger = TransitionType(kind)
    found = decided(
        arrivals=(arrival(kind=trigger),),
        campaigns=(campaign(trigger_on=trigger),),
        others_inside=frozenset({BAKERY.id}),
    )
    assert found.reason is reason


@pytest.mark.parametrize("first", range(len(SILENCES)))
def test_the_first_failure_in_the_order_of_gates_is_the_reason(first: int) -> None:
    order = [*(rule.reason for rule in GATES), Reason.HOLDOUT]
    reason, changed = SILENCES[first]
    for later, also in SILENCES:
        if not changed.keys() & also.keys():
            expected = min(reason, later, key=order.index)
            assert decided(**changed, **also).reason is expected


def test_after_a_consent_failure_nothing_more_is_read() -> None:
    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was read")

        def __iter__(self) -> Any:
            raise AssertionError("it was read")

        __contains__ = __len__ = __iter__

    untouchable: Any = Untouchable()
    person = Person(UUID(int=1), NONE_GIVEN, untouchable, untouchable, untouchable)
    found = decided(person=person, uses=untouchable, others_inside=untouchable, device=untouchable)
    assert [gate.gate for gate in found.gates] == ["kill_switch", "consent"]
    assert found.reason is Reason.NO_CONSENT


def test_a_person_near_five_stores_gets_one_offer() -> None:
    near = [fence(f"store-{number}", f"s{number}") for number in range(5)]
    found = decided(arrivals=tuple(arrival(where) for where in near), campaigns=(campaign(1), campaign(2)))
    assert found.outcome == "offer"
    assert len(found.transitions) == 5
    others = detail(found, "ranking")["others"]
    assert [other["reason"] for other in others] == [Reason.OUTRANKED] * 9
    assert detail(found, "ranking")["candidates"] == 10


def test_transitions_that_no_campaign_is_about_are_not_the_decisions() -> None:
    mine = campaign(fences=FenceSelector(ids=frozenset({BAKERY.id})))
    found = decided(arrivals=(arrival(MALL), arrival()), campaigns=(mine,))
    assert [edge.fence for edge in found.transitions] == [BAKERY.id]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("arrivals", "campaigns", "winner"),
    [
        ((arrival(distance_m=-50.0), arrival(MALL, distance_m=-3.0)), (campaign(1),), (1, MALL.id)),
        ((arrival(distance_m=2.0), arrival(MALL, distance_m=-3.0)), (campaign(1),), (1, BAKERY.id)),
        ((arrival(distance_m=None), arrival(MALL, distance_m=-900.0)), (campaign(1),), (1, MALL.id)),
        ((arrival(),), (campaign(2), campaign(1)), (1, BAKERY.id)),
        ((arrival(),), (campaign(1), campaign(2, priority=1)), (2, BAKERY.id)),
        (
            (arrival(distance_m=-1.0), arrival(MALL, distance_m=-900.0)),
            (campaign(1, fences=FenceSelector(ids=frozenset({MALL.id})), priority=5), campaign(2)),
            (1, MALL.id),
        ),
        ((arrival(MALL), arrival()), (campaign(1),), (1, BAKERY.id)),
    ],
)
def test_priority_wins_then_the_nearest_border_then_the_id(
    arrivals: tuple[Arrival, ...], campaigns: tuple[Campaign, ...], winner: tuple[int, str], turned: bool
) -> None:
    step = -1 if turned else 1
    found = decided(arrivals=arrivals[::step], campaigns=campaigns[::step])
    assert (found.campaign, found.primary.fence) == (UUID(int=winner[0]), winner[1])
    assert found.offer is not None
    assert (found.offer.campaign, found.offer.fence) == (UUID(int=winner[0]), winner[1])


def test_the_best_that_may_speak_wins_over_a_better_one_that_may_not() -> None:
    paused = campaign(1, priority=9, state=CampaignState.PAUSED)
    found = decided(campaigns=(paused, campaign(2), campaign(3)))
    assert found.campaign == UUID(int=2)
    others = [(other["campaign"].int, other["reason"]) for other in detail(found, "ranking")["others"]]
    assert others == [(1, Reason.NOT_LIVE), (3, Reason.OUTRANKED)]
    assert detail(found, "live")["state"] == "approved"


def test_when_nobody_may_speak_the_best_ranked_ones_reason_is_the_decisions() -> None:
    first = campaign(1, priority=1, until_us=NOW_US)
    second = campaign(2, state=CampaignState.PAUSED)
    found = decided(campaigns=(second, first))
    assert (found.reason, found.campaign) == (Reason.SCHEDULE, UUID(int=1))
    assert [other["reason"] for other in detail(found, "ranking")["others"]] == [Reason.NOT_LIVE]


def test_a_receipt_names_a_bounded_number_of_others_and_counts_all() -> None:
    found = decided(campaigns=tuple(campaign(number) for number in range(1, 101)))
    assert len(detail(found, "ranking")["others"]) == 29  # thirty are asked, the winner among them
    assert detail(found, "ranking")["candidates"] == 100


def test_a_full_gate_says_until_when() -> None:
    uses = (use(23 * HOUR_US), use(30 * HOUR_US))
    found = decided(uses=uses)
    assert detail(found, "rhythm_max") == {"max": 2, "per": "week", "used": 2, "until": "2026-06-07T22:00:00Z"}
    assert detail(found, "rhythm_gap") == {"min_gap_h": 24.0, "step": 0, "until": "2026-06-03T11:00:00Z"}
    rolling = decided(person=rhythm(max=1, per=Rolling(48)), uses=uses)
    assert detail(rolling, "rhythm_max") == {"max": 1, "per": {"hours": 48}, "used": 2, "until": "2026-06-04T11:00:00Z"}
    quiet = decided(person=rhythm(quiet=(quiet_rule(["wed"], "11:00", "13:00"),)))
    assert detail(quiet, "quiet_hours") == {"zone": "Europe/Berlin", "until": "2026-06-03T11:00:00Z"}


@pytest.mark.parametrize(
    ("name", "person", "policy", "uses"),
    [
        ("rhythm_max", PERSON, POLICY, (use(25 * HOUR_US), use(50 * HOUR_US))),
        ("rhythm_max", rhythm(max=2, per=Rolling(48)), NO_GAPS, tuple(use(hours * HOUR_US) for hours in (1, 5, 9))),
        ("rhythm_gap", rhythm(min_gap_h=7), POLICY, (use(6 * HOUR_US),)),
        ("place_gap", FREE, POLICY, (use(SECOND_US), use(700 * SECOND_US))),
        ("store_gap", FREE, POLICY, (use(20 * HOUR_US, "baker-1"), use(2 * HOUR_US, "baker-1"))),
        ("quiet_hours", rhythm(quiet=(quiet_rule(["wed"], "10:00", "16:15"),)), POLICY, ()),
    ],
)
def test_a_gate_opens_at_the_instant_it_told_and_not_before(
    name: str, person: Person, policy: WorkspacePolicy, uses: tuple[Use, ...]
) -> None:
    told = detail(decided(person=person, policy=policy, uses=uses), name)["until"]
    until_us = to_us(datetime.fromisoformat(told))
    for now_us, passed in ((until_us - 1, False), (until_us, True)):
        found = decided(person=person, policy=policy, uses=uses, now_us=now_us, arrivals=(arrival(at_us=now_us),))
        assert [gate.passed for gate in found.gates if gate.gate == name] == [passed]


def test_a_use_at_a_later_instant_counts_as_well() -> None:
    assert decided(uses=(use(-HOUR_US),)).reason is Reason.RHYTHM_GAP
    assert decided(person=FREE, uses=(use(-HOUR_US, store="baker-1"),)).reason is Reason.STORE_GAP
    assert decided(person=rhythm(max=1, per=Rolling(2)), uses=(use(-HOUR_US),)).reason is Reason.RHYTHM_MAX


def test_a_visit_that_had_its_offer_gets_no_second_one_however_short_the_gaps() -> None:
    visit = arrival().transition.visit
    found = decided(
        person=FREE,
        policy=NO_GAPS,
        uses=(use(9 * HOUR_US, visit=visit),),
        arrivals=(arrival(kind=TransitionType.DWELL),),
        campaigns=(campaign(trigger_on=TransitionType.DWELL),),
    )
    assert found.reason is Reason.PLACE_GAP
    assert detail(found, "place_gap") == {"gap_s": 0, "until": None, "visit_answered": True}


def test_a_fence_without_a_store_counts_as_its_own_store() -> None:
    found = decided(person=FREE, arrivals=(arrival(MALL),), uses=(use(2 * HOUR_US, store="town/mall"),))
    assert found.reason is Reason.STORE_GAP
    free = decided(person=FREE, arrivals=(arrival(MALL),))
    assert free.offer is not None
    assert (free.offer.store, free.offer.title) == ("town/mall", "Mall")


def test_an_offer_ends_with_its_campaign() -> None:
    found = decided(campaigns=(campaign(until_us=NOW_US + SECOND_US),))
    assert found.offer is not None
    assert found.offer.expires_us == NOW_US + SECOND_US


@pytest.mark.parametrize(
    ("closes_s", "ends_s", "lasts_s"), [(600, 900, 600), (900, 600, 600), (None, 3600, 1800), (7200, 3600, 1800)]
)
def test_an_offer_ends_with_the_first_of_its_store_its_campaign_and_half_an_hour(
    closes_s: int | None, ends_s: int, lasts_s: int
) -> None:
    until_us = None if closes_s is None else NOW_US + closes_s * SECOND_US
    here = replace(arrival(), moment=Moment(opening=Opening(open=True, until_us=until_us)))
    found = decided(arrivals=(here,), campaigns=(campaign(until_us=NOW_US + ends_s * SECOND_US),))
    assert found.offer is not None
    assert found.offer.expires_us == NOW_US + lasts_s * SECOND_US


def test_an_offer_speaks_the_persons_language() -> None:
    found = decided(person=replace(PERSON, locale="de-AT"))
    assert found.offer is not None
    assert found.offer.body == "Moin"
    assert detail(found, "render") == {"locale": "de", "wanted": "de-AT"}


@pytest.mark.parametrize(
    ("replay", "lanes", "chosen"),
    [
        (False, ("webhook", "inapp"), "webhook"),
        (False, (), "inapp"),
        (True, ("webhook", "log"), "log"),
        (True, ("webhook",), "inapp"),
    ],
)
def test_one_lane_alerts_and_a_recorded_track_alerts_nobody_outside(
    replay: bool, lanes: tuple[str, ...], chosen: str
) -> None:
    assert lane(DeviceView(UUID(int=1), replay, lanes)) == chosen


def test_a_resent_turn_makes_the_same_ids_and_another_edge_another() -> None:
    first = decided()
    assert first.id == decided().id == decision_id(visit_of(BAKERY), TransitionType.ENTER, NOW_US)
    visit = UUID(int=5)
    ids = {
        decision_id(visit, TransitionType.ENTER, NOW_US),
        decision_id(visit, TransitionType.EXIT, NOW_US),
        decision_id(visit, TransitionType.ENTER, NOW_US + 1),
        decision_id(UUID(int=6), TransitionType.ENTER, NOW_US),
        offer_id(first.id),
    }
    assert len(ids) == 5
    assert {found.int >> 80 for found in ids} == {NOW_US // 1000}


def test_the_receipt_says_all_and_locates_nobody() -> None:
    found = decided(arrivals=(arrival(), arrival(MALL)), uses=(use(3 * DAY_US),))
    told = msgspec.json.decode(receipt(found))
    assert (told["outcome"], told["reason"], told["at"]) == ("offer", None, text(NOW_US))
    assert [gate["gate"] for gate in told["gates"]] == [gate.gate for gate in found.gates]
    assert told["versions"] == {"catalog": 17, "campaign": 2, "fence": 4, "tzdata": "2026a", "holidays": "0.109"}
    assert found.offer is not None
    assert found.offer.title == "Old Bakery"
    assert told["offer"].keys().isdisjoint({"title", "body", "link", "data"})  # those stand with the offer
    primary, other = told["transitions"]
    assert (primary["accuracy_m"], primary["distance_m"], primary["confidence"]) == (8, -12, 1.0)
    assert primary["primary"]
    assert other.keys().isdisjoint({"accuracy_m", "distance_m"})
    assert "ms" not in told


def test_a_receipt_keeps_the_time_that_each_stage_took() -> None:
    told = msgspec.json.decode(receipt(decided(), {"lock": 0.2, "decide": 0.05}))
    assert told["ms"] == {"lock": 0.2, "decide": 0.05}


# ------------------------------------------------------------------------------------------------ words
def test_who_has_no_value_for_a_field_gets_the_next_campaign_and_who_has_one_gets_this() -> None:
    first = campaign(1, priority=5, fields=(NICKNAME,), texts={"en": Text("Hi {nickname}", "b")})
    campaigns = (first, campaign(2))
    assert decided(campaigns=campaigns).campaign == UUID(int=2)
    known = replace(PERSON, words={"nickname": "Ada"})
    found = decided(campaigns=campaigns, person=known)
    assert found.offer is not None
    assert (found.campaign, found.offer.title) == (UUID(int=1), "Hi Ada")


def test_the_gate_names_the_field_and_not_a_value() -> None:
    lonely = campaign(fields=(NICKNAME,), texts={"en": Text("Hi {nickname}", "b")})
    found = decided(campaigns=(lonely,), person=replace(PERSON, words={"shoe": "secret"}))
    assert next(gate.detail for gate in found.gates if gate.gate == "words") == {"lacking": ["nickname"]}
    assert b"secret" not in receipt(found)


def test_a_campaign_that_is_silent_for_want_of_texts_may_have_fields() -> None:
    assert decided(campaigns=(campaign(texts={}, fields=(NICKNAME,)),)).reason is Reason.NOT_LIVE


def test_the_offers_end_and_the_way_to_the_border_are_told_where_the_fence_is() -> None:
    fields = (Field("ends", "time", source="offer_end"), Field("far", "distance", source="distance"))
    said = {"de": Text("Bis {ends}", "noch {far}")}
    there = replace(arrival(distance_m=123.4), zone=ZoneInfo("Asia/Tokyo"))
    found = decided(arrivals=(there,), campaigns=(campaign(fields=fields, texts=said),)).offer
    assert found is not None
    assert (found.title, found.body) == ("Bis 19:30", "noch 120 m")
    inside = decided(campaigns=(campaign(fields=fields, texts=said),)).offer
    assert inside is not None
    assert (inside.title, inside.body) == ("Bis 12:30", "noch 0 m")


def test_words_that_are_too_many_are_cut_and_the_receipt_says_which() -> None:
    endless = replace(arrival(), store_name="Baker " * 33)
    found = decided(arrivals=(endless,), campaigns=(campaign(texts={"en": Text("{store}", "b")}),))
    assert found.offer is not None
    assert len(found.offer.title) <= 100
    assert found.offer.title.endswith("Baker\u2026")
    assert found.gates[-1].detail == {"locale": "en", "wanted": "en", "cut": ("title",)}


def test_a_text_written_from_the_right_says_so_beside_its_image() -> None:
    arabic = Text("خبز", "{store}", image="https://shop.example/bread.png")
    found = decided(campaigns=(campaign(texts={"ar": arabic}, data={"sku": "7"}),)).offer
    assert found is not None
    assert found.body == "\u2068Old Bakery\u2069"
    assert found.data == {"sku": "7", "dir": "rtl", "image": "https://shop.example/bread.png"}
