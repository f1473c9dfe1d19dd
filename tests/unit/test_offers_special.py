"""Special offers: a budget of their own beside the ordinary one, and nothing else that they may go past."""

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest

from geo_offers import wire
from geo_offers.instants import to_us
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Scope, Use
from geo_offers.offers.decide import Arrival, Decision, DeviceView, Person, Reason, Snapshot, WorkspacePolicy, decide
from geo_offers.offers.rendering import Text
from geo_offers.people.backoff import Became
from geo_offers.people.consent import NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.people.mutes import Mutes
from geo_offers.people.quiet import quiet_rule
from geo_offers.people.rhythm import Rhythm, Rolling, Special
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from tests.support.replacing import replace

BERLIN = ZoneInfo("Europe/Berlin")
NOW_US = to_us(datetime(2026, 6, 3, 12, 0, tzinfo=BERLIN))  # a Wednesday noon
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

BAKERY = Geofence(FenceId("town/bakery"), 1, "B", Circle(53.0, 8.0, 100.0), "baker", (), True, Detect("raw"))
ENTER = Transition(TransitionType.ENTER, BAKERY.id, 1, NOW_US, UUID(int=5), NOW_US, 7.0, distance_m=-10.0)
AGREED = Consents({purpose: Consent(granted=True, text_version="1", at_us=1) for purpose in Purpose})
RHYTHM = Rhythm(max=1, per="week", min_gap_h=24, quiet=(), special=Special(allow=True, max=1, per="month"))
SPECIAL = Campaign(
    UUID(int=1),
    "special",
    1,
    CampaignState.APPROVED,
    TransitionType.ENTER,
    FenceSelector(set="town"),
    {"en": Text("Today", "only")},
    special=True,
)
ORDINARY = replace(SPECIAL, id=UUID(int=2), special=False)


def use(ago_us: int, *, special: bool = False) -> Use:
    return Use(NOW_US - ago_us, UUID(int=9), "elsewhere", FenceId("town/other"), special=special)


def decided(
    *uses: Use, rhythm: Rhythm = RHYTHM, campaigns: tuple[Campaign, ...] = (SPECIAL,), **changed: Any
) -> Decision:
    person = Person(UUID(int=3), AGREED, rhythm, BERLIN, "en")
    snapshot = Snapshot(
        NOW_US,
        person,
        WorkspacePolicy("w", BERLIN, place_gap_s=0, store_gap_s=0),
        DeviceView(UUID(int=4), lanes=("inapp",)),
        (Arrival(ENTER, BAKERY, BERLIN),),
        campaigns,
        uses,
    )
    found = decide(replace(snapshot, **changed))
    assert found is not None
    return found


def special_of(found: Decision) -> bool | None:
    return None if found.offer is None else found.offer.special


def test_a_special_offer_is_an_ordinary_one_while_that_budget_has_room() -> None:
    assert special_of(decided()) is False
    assert special_of(decided(use(9 * DAY_US))) is False  # last week's counts no more


def test_past_max_it_comes_out_of_its_own_budget() -> None:
    spent = use(2 * DAY_US)
    assert special_of(decided(spent)) is True
    assert special_of(decided(spent, campaigns=(ORDINARY,))) is None


def test_its_own_budget_is_as_strict_as_the_person_says() -> None:
    spent = use(2 * DAY_US)
    drawn = decided(spent, use(2 * DAY_US + 1, special=True))
    assert drawn.reason is Reason.RHYTHM_MAX
    (gate,) = [gate for gate in drawn.gates if gate.gate == "rhythm_max"]
    assert (gate.detail["used"], gate.detail["special"]["used"]) == (1, 1)
    assert decided(spent, rhythm=replace(RHYTHM, special=Special(allow=False))).reason is Reason.RHYTHM_MAX
    assert decided(spent, rhythm=replace(RHYTHM, special=Special(max=0))).reason is Reason.RHYTHM_MAX
    two_days = replace(RHYTHM, special=Special(max=1, per=Rolling(48)))
    assert special_of(decided(spent, use(2 * DAY_US, special=True), rhythm=two_days)) is True
    assert decided(spent, use(2 * DAY_US - 1, special=True), rhythm=two_days).reason is Reason.RHYTHM_MAX


@pytest.mark.parametrize("most", [1, 9])
def test_it_keeps_the_persons_gap_from_every_offer(most: int) -> None:
    rhythm = replace(RHYTHM, max=most)
    for special in (False, True):
        assert decided(use(DAY_US - 1, special=special), rhythm=rhythm).reason is Reason.RHYTHM_GAP
        assert decided(use(DAY_US, special=special), rhythm=replace(rhythm, special=Special(max=2))).offer is not None


def test_a_gap_that_back_off_has_grown_holds_for_it_too() -> None:
    disliked = msgspec.structs.replace(use(2 * DAY_US), became=Became.UNWANTED)  # four times the gap
    assert decided(disliked).reason is Reason.RHYTHM_GAP
    assert special_of(decided(msgspec.structs.replace(use(4 * DAY_US), became=Became.UNWANTED))) is False  # last week's


def test_a_special_offer_takes_no_ordinary_place_but_keeps_ordinary_ones_apart() -> None:
    assert decided(use(2 * DAY_US, special=True), campaigns=(ORDINARY,)).offer is not None
    assert decided(use(DAY_US - 1, special=True), campaigns=(ORDINARY,)).reason is Reason.RHYTHM_GAP


def test_a_special_one_wins_where_the_ordinary_ones_are_used_up() -> None:
    first = replace(ORDINARY, priority=9)
    found = decided(use(2 * DAY_US), campaigns=(first, SPECIAL))
    assert (found.campaign, special_of(found)) == (SPECIAL.id, True)


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        (Reason.QUIET_HOURS, {"rhythm": replace(RHYTHM, quiet=(quiet_rule(["wed"], "11:00", "13:00"),))}),
        (Reason.MUTED, {"rhythm": replace(RHYTHM, mute=Mutes(stores=frozenset({"baker"})))}),
        (Reason.MUTED, {"rhythm": replace(RHYTHM, mute=Mutes(campaigns=frozenset({SPECIAL.id})))}),
        (Reason.MUTED, {"rhythm": replace(RHYTHM, channels=())}),
        (Reason.NO_CONSENT, {"person": Person(UUID(int=3), NONE_GIVEN, RHYTHM, BERLIN, "en")}),
        (Reason.RHYTHM_GAP, {"rhythm": replace(RHYTHM, min_gap_h=49)}),
        (Reason.CAP, {"campaigns": (replace(SPECIAL, caps=(CapRule(1, scope=Scope.USER),)),)}),
    ],
)
def test_nothing_but_max_gives_way_to_a_special_offer(reason: Reason, changed: dict[str, Any]) -> None:
    assert decided(use(2 * DAY_US), **changed).reason is reason


@pytest.mark.parametrize(
    "loosening", ["max", "per", "min_gap_h", "quiet", "place_gap_s", "store_gap_s", "ignore_rhythm", "channels", "mute"]
)
def test_a_campaign_has_no_field_by_which_it_could_be_looser_than_the_person(loosening: str) -> None:
    body = {
        "name": "n",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "town"}},
        "texts": {"en": {"title": "t", "body": "b"}},
    }
    msgspec.convert(body, wire.CampaignBody)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(body | {loosening: 0}, wire.CampaignBody)
