"""A rhythm that is judged no looser allows nothing that the one before forbade: asked of whole decisions."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import event, given, settings
from hypothesis import strategies as st

from geo_offers.instants import to_us
from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.caps import Use
from geo_offers.offers.decide import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy, decide
from geo_offers.offers.rendering import Text
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.mutes import Mutes
from geo_offers.people.quiet import QuietRule
from geo_offers.people.rhythm import Channel, Per, Rhythm, Rolling, Special
from geo_offers.people.stricter import locates_more, looser
from geo_offers.people.whereabouts import Locate, Whereabouts
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType

HOUR_US = 3_600_000_000
EARLIEST_US = to_us(datetime(2026, 2, 20, tzinfo=UTC))
BERLIN = ZoneInfo("Europe/Berlin")
BAKERY = Geofence(FenceId("town/bakery"), 1, "B", Circle(53.0, 8.0, 100.0), "baker", (), True, Detect("raw"))
AGREED = Consents({purpose: Consent(granted=True, text_version="1", at_us=1) for purpose in Purpose})
CAMPAIGN = Campaign(
    UUID(int=1),
    "rolls",
    1,
    CampaignState.APPROVED,
    TransitionType.ENTER,
    FenceSelector(set="town"),
    {"en": Text("Rolls", "warm")},
)

pers = st.sampled_from(cast("list[Per]", ["day", "week", "month", Rolling(5), Rolling(30), Rolling(200)]))
few = st.integers(0, 3)
quiet = st.lists(
    st.builds(
        QuietRule,
        st.frozensets(st.integers(0, 6), min_size=1),
        st.sampled_from([0, 540, 720, 1260, 1439]),
        st.sampled_from([0, 60, 540, 780, 1440]),
    ),
    max_size=3,
).map(tuple)
channels = st.sampled_from(
    cast("list[tuple[Channel, ...]]", [("push", "inapp"), ("inapp", "push"), ("push",), ("inapp",), ()])
)
mutes = st.builds(
    Mutes,
    st.sampled_from([frozenset[str](), frozenset({"baker"}), frozenset({"x"}), frozenset({"baker", "x"})]),
    st.just(frozenset[str]()),
    st.sampled_from([frozenset[UUID](), frozenset({CAMPAIGN.id})]),
)
gaps = st.sampled_from([0.0, 1.0, 24.0, 100.0])
specials = st.builds(Special, st.booleans(), few, pers)
rhythms = st.builds(Rhythm, few, pers, gaps, quiet, specials, channels, mutes)
OPEN = Rhythm(max=3, per="day", min_gap_h=0.0, quiet=(), special=Special(max=3, per="day"))
PARTS: list[st.SearchStrategy[dict[str, Any]]] = [
    st.fixed_dictionaries({"max": few, "per": pers, "special": st.just(Special(allow=False))}),
    st.fixed_dictionaries({"max": st.just(0), "special": specials}),
    st.fixed_dictionaries({"min_gap_h": gaps}),
    st.fixed_dictionaries({"quiet": quiet}),
    st.fixed_dictionaries({"channels": channels}),
    st.fixed_dictionaries({"mute": mutes}),
]
# Two rhythms that differ in one part, where the rest stands little in the way of an offer; or in anything.
pairs = st.one_of(
    *(st.tuples(part, part).map(lambda two: (replace(OPEN, **two[0]), replace(OPEN, **two[1]))) for part in PARTS),
    st.tuples(rhythms, rhythms),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, Sequence[Use]]:
    """An instant around the end of a month, and the person's offers before it."""
    hours = st.integers(9 * 24, 10 * 24) | st.integers(0, 20 * 24)  # the first of March is a Sunday
    now_us = EARLIEST_US + draw(hours) * HOUR_US
    ago_h = st.integers(1, 48) | st.integers(1, 30 * 24)
    spent = draw(st.lists(st.tuples(ago_h, st.booleans()), max_size=4))
    uses = [
        Use(now_us - ago * HOUR_US, UUID(int=9), "elsewhere", FenceId("town/other"), special=special)
        for ago, special in spent
    ]
    return now_us, sorted(uses, key=lambda use: use.at_us)


def allows(rhythm: Rhythm, history: tuple[int, Sequence[Use]], lanes: tuple[str, ...], *, special: bool) -> bool:
    now_us, uses = history
    enter = Transition(TransitionType.ENTER, BAKERY.id, 1, now_us, UUID(int=5), now_us, 7.0, distance_m=-10.0)
    found = decide(
        Snapshot(
            now_us,
            Person(UUID(int=3), AGREED, rhythm, BERLIN, "en"),
            WorkspacePolicy("w", BERLIN, place_gap_s=0, store_gap_s=0),
            DeviceView(UUID(int=4), lanes=lanes),
            (Arrival(enter, BAKERY, BERLIN),),
            (replace(CAMPAIGN, special=special),),
            uses,
        )
    )
    assert found is not None
    return found.offer is not None


@given(pairs, histories(), st.sampled_from([("inapp",), ("fcm", "inapp")]), st.booleans())
@settings(max_examples=1_000)
def test_what_is_no_looser_allows_no_offer_that_was_forbidden(
    two: tuple[Rhythm, Rhythm],
    history: tuple[int, Sequence[Use]],
    lanes: tuple[str, ...],
    special: bool,
) -> None:
    before, after = two
    if list(looser(before, after)):
        event("looser")
        return
    event("stricter")
    allowed = allows(after, history, lanes, special=special)
    event("an offer" if allowed else "none")
    assert not allowed or allows(before, history, lanes, special=special)


@given(rhythms)
def test_a_rhythm_is_no_looser_than_itself(rhythm: Rhythm) -> None:
    assert list(looser(rhythm, rhythm)) == []


@given(
    st.sampled_from(["off", "coarse", "foreground", "always"]),
    st.sampled_from(["off", "coarse", "foreground", "always"]),
)
def test_who_is_located_no_more_is_unseen_wherever_they_were(before: Locate, after: Locate) -> None:
    if not locates_more(before, after):
        for foreground in (False, True):
            seen = not Whereabouts(after).is_unseen(foreground=foreground)
            assert not seen or not Whereabouts(before).is_unseen(foreground=foreground)
