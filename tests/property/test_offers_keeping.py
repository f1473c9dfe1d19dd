"""Snapshots as they are stored: read again, they decide the same, and they hold no place and nobody unasked for."""

import zlib
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers import wire
from geo_offers.offers.breakers import Tripped
from geo_offers.offers.budgets import Budget, Spent, of_campaign, of_store
from geo_offers.offers.campaigns import Campaign, Campaigns, CampaignState, FenceSelector
from geo_offers.offers.caps import CapRule, Past, Use
from geo_offers.offers.context import Interaction, Moment, State, When
from geo_offers.offers.decide import Arrival, DeviceView, Person, Snapshot, WorkspacePolicy, decide
from geo_offers.offers.experiment import Experiment, Variant
from geo_offers.offers.hours import Opening
from geo_offers.offers.keeping import again, kept
from geo_offers.offers.packing import WORDS, packed, unpacked
from geo_offers.offers.ranking import SCORED, found, shortlisted
from geo_offers.offers.scoring import Worth
from geo_offers.offers.stores import StoreRules
from geo_offers.offers.texts import Field, Form, Plural, Text
from geo_offers.people.audience import Audience, Clause
from geo_offers.people.backoff import Became
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.counters import Visits
from geo_offers.people.mutes import Mutes
from geo_offers.people.rhythm import Rhythm
from geo_offers.people.segments import Facts
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Course, TransitionType
from tests.property.test_offers_decide import (
    AGREED,
    DEVICE,
    FENCES,
    ZONES,
    cap_rules,
    edge,
    people,
    policies,
    quiet_rules,
)
from tests.support.replacing import replace

NOW_US = 1_780_480_800_000_000
RULES = (
    wire.StageIs(in_=["lead", "customer"]),
    wire.AttributeIs(name="age", is_="ge", value=18),
)
AUDIENCES = st.sampled_from([(), *((Clause("rule", "", rule),) for rule in RULES), (Clause("segment", "s", None),)])
TEXTS = {
    "en": Text("{name}: {off}", "At {store}", "https://a.example", plural=Plural("n", (Form("one", "One"),))),
    "ar": Text("خصم", "{store}", image="https://a.example/i.png"),
}
FIELDS = (
    Field("off", "percent", 20),
    Field("n", "number", 1),
    Field("name", "text", source="profile", attribute="first", fallback=(("en", "You"), ("ar", "أنت"))),
)
PLAIN = Campaign(UUID(int=1), "c", 1, CampaignState.APPROVED, TransitionType.ENTER, FenceSelector(set="town"), TEXTS)
PERSON = Person(UUID(int=3), AGREED, Rhythm(), ZONES[0], "en")
FULL = {"tags": [], "visit": None, "special": False, "ghost": False, "became": 0}
FACTS = {
    "profiled": False,
    "attributes": {},
    "answered": 0,
    "refused": [],
    "stage": "anonymous",
    "reason": "",
    "platform": "other",
    "created_us": 0,
    "visits": {},
}
FULL_PERSON = {"words": {}, "interactions": [], "facts": FACTS, "drawn_as": None}
FULL_POLICY = {
    "place_gap_s": 1_800,
    "store_gap_s": 86_400,
    "quiet": [],
    "killed": False,
    "killed_all": False,
    "paused_stores": [],
    "caps": [],
    "holdout": 0.0,
    "weights": {"value": 1.0, "margin": 1.0, "fit": 1.0, "expiry": 0.5, "fatigue": 1.0},
    "back_off": {"after": 3, "most": 8},
    "tripped": {"campaigns": [], "stores": [], "fences": []},
}
FULL_ARRIVAL = {
    "store_name": None,
    "category": None,
    "rules": {"caps": [], "budget": None},
    "moment": {"opening": None, "events": {}, "embargo": {"on": False, "why": None, "until_us": None}},
}
states = st.sampled_from([State(on=True), State(on=False, why="over"), State(None, "unknown", NOW_US + 5)])
moments = st.builds(
    Moment,
    opening=st.none() | st.builds(Opening, st.booleans(), st.none() | st.just(NOW_US + 10**9)),
    events=st.dictionaries(st.sampled_from(["sale", "rain"]), states),
    embargo=states,
)
uses = st.builds(
    Use,
    at_us=st.integers(NOW_US - 32 * 86_400_000_000, NOW_US + 10**9),
    campaign=st.integers(1, 3).map(lambda number: UUID(int=number)),
    store=st.sampled_from(["s0", "s1"]),
    place=st.sampled_from([fence.id for fence in FENCES]),
    tags=st.frozensets(st.sampled_from(["food", "hot"])),
    visit=st.none() | st.uuids(),
    special=st.booleans(),
    ghost=st.booleans(),
    became=st.sampled_from(Became),
)
rules = st.builds(
    StoreRules, caps=st.lists(cap_rules, max_size=1).map(tuple), budget=st.none() | st.just(Budget(per_day=3))
)
facts = st.builds(
    Facts,
    profiled=st.booleans(),
    attributes=st.fixed_dictionaries(
        {}, optional={"age": st.sampled_from([17, 18.5]), "likes": st.just(["tea", "cake"]), "vip": st.booleans()}
    ),
    refused=st.sampled_from([(), ("size",)]),
    stage=st.sampled_from(["anonymous", "lead", "customer"]),
    visits=st.dictionaries(st.sampled_from(["s0", "*"]), st.builds(Visits)),
)


@st.composite
def campaigns(draw: st.DrawFn, number: int) -> Campaign:
    ident = UUID(int=number)
    variants = (Variant("a", 0.5), Variant("b", 0.5, TEXTS)) if draw(st.booleans()) else ()
    return Campaign(
        ident,
        f"c{number}",
        number,
        draw(st.sampled_from([CampaignState.APPROVED] * 4 + [CampaignState.PAUSED])),
        TransitionType.ENTER,
        draw(st.sampled_from([FenceSelector(set="town"), FenceSelector(tags=frozenset({"food"}))])),
        TEXTS,
        until_us=draw(st.sampled_from([None, NOW_US - 1, NOW_US + 10**10])),
        priority=draw(st.integers(0, 1)),
        caps=tuple(draw(st.lists(cap_rules, max_size=2))),
        data=draw(st.sampled_from([{}, {"k": "v"}])),
        category=draw(st.sampled_from([None, "bakery"])),
        special=draw(st.booleans()),
        fields=FIELDS,
        worth=Worth(draw(st.sampled_from([0.0, 3.5])), 0.25),
        experiment=Experiment(draw(st.sampled_from([0.0, 0.5])), variants),
        budget=draw(st.sampled_from([None, Budget(total=5)])),
        hours=tuple(draw(st.lists(quiet_rules, max_size=1))),
        when=draw(st.sampled_from([When()] * 2 + [When(("sale",), ("rain",))])),
        audience=Audience(draw(AUDIENCES)),
        ask=draw(st.sampled_from([None, "size"])),
    )


@st.composite
def persons(draw: st.DrawFn) -> Person:
    person = draw(people())
    said = {purpose: Consent(draw(st.booleans()), "v1", 1, draw(st.none() | st.integers(1, 9))) for purpose in Purpose}
    bought = Interaction(id="i", type="purchase", at_us=NOW_US - 5, until_us=NOW_US + 5, campaign=UUID(int=1))
    return replace(
        person,
        id=draw(st.uuids()),
        consents=draw(st.sampled_from([AGREED] * 4 + [Consents(said)])),
        locale=draw(st.sampled_from(["en-GB", "ar", ""])),
        words=draw(st.sampled_from([{}, {"first": "Ada"}])),
        interactions=draw(st.sampled_from([(), (bought,)])),
        facts=draw(facts),
        rhythm=replace(person.rhythm, mute=draw(st.sampled_from([Mutes(), Mutes(stores=frozenset({"s0"}))]))),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    course = draw(st.none() | st.just(Course(confirmed=True, confidence=0.9, fixes=3)))
    arrivals = tuple(
        Arrival(
            msgspec.structs.replace(edge(FENCES[number], TransitionType.ENTER, NOW_US - 10**6, NOW_US), course=course),
            FENCES[number],
            draw(st.sampled_from(ZONES)),
            draw(st.sampled_from([None, "Old Bakery"])),
            draw(st.sampled_from([None, "food"])),
            draw(rules),
            draw(moments),
        )
        for number in sorted(draw(st.sets(st.integers(0, 4), min_size=1)))
    )
    return Snapshot(
        NOW_US,
        draw(persons()),
        replace(
            draw(policies),
            holdout=draw(st.sampled_from([0.0, 0.5])),
            tripped=draw(st.sampled_from([Tripped(), Tripped(stores=frozenset({"s1"}))])),
        ),
        DeviceView(DEVICE, draw(st.booleans()), draw(st.sampled_from([(), ("webhook", "inapp")]))),
        arrivals,
        draw(st.sampled_from([tuple, Campaigns]))(
            [draw(campaigns(number)) for number in range(1, draw(st.integers(1, 3)) + 1)]
        ),
        Past(draw(st.lists(uses, max_size=4))),
        draw(st.frozensets(st.sampled_from([fence.id for fence in FENCES]), max_size=1)),
        catalog_version=7,
        tz_version="2026a",
        holidays_version="0.1",
        spent=draw(st.sampled_from([{}, {of_campaign(UUID(int=1)): Spent(1, 1), of_store("s0"): Spent(3, 3)}])),
    )


@given(snapshots())
@settings(max_examples=300, deadline=None)
def test_a_snapshot_that_was_stored_decides_the_same(snapshot: Snapshot) -> None:
    decided = decide(snapshot)
    if decided is not None:
        assert decide(again(kept(snapshot))) == decided


@given(snapshots())
@settings(max_examples=50, deadline=None)
def test_what_an_older_release_stored_decides_the_same(snapshot: Snapshot) -> None:
    decided = decide(snapshot)
    if decided is not None:
        told = msgspec.json.decode(unpacked(kept(snapshot)))
        told["uses"] = [FULL | use for use in told["uses"]]
        told["person"], told["policy"] = FULL_PERSON | told["person"], FULL_POLICY | told["policy"]
        told["arrivals"] = [
            FULL_ARRIVAL | arrival | {"fence": {"store": None, "tags": []} | arrival["fence"]}
            for arrival in told["arrivals"]
        ]
        deflate = zlib.compressobj(1, zlib.DEFLATED, -14, zdict=WORDS)
        stored = b"\x01" + deflate.compress(msgspec.json.encode(told)) + deflate.flush()
        assert decide(again(stored)) == decided


@given(snapshots())
@settings(max_examples=25, deadline=None)
def test_campaigns_that_were_written_before_are_written_the_same(snapshot: Snapshot) -> None:
    if decide(snapshot) is not None:
        held = replace(snapshot, campaigns=Campaigns(snapshot.campaigns))
        anew = kept(replace(snapshot, campaigns=tuple(snapshot.campaigns)))
        assert [kept(held), kept(held)] == [anew, anew]


def test_another_version_of_a_campaign_is_written_as_it_is() -> None:
    arrival = Arrival(edge(FENCES[0], TransitionType.ENTER, NOW_US, NOW_US), FENCES[0], ZONES[0])
    snapshot = Snapshot(NOW_US, PERSON, WorkspacePolicy("w", ZONES[0]), DeviceView(DEVICE), (arrival,), ())
    first, second = (Campaigns([replace(PLAIN, name=name)]) for name in ("first", "second"))
    names = [again(kept(replace(snapshot, campaigns=held))).campaigns[0].name for held in (first, second, first)]
    assert names == ["first", "second", "first"]


def test_another_version_of_a_policy_is_written_as_it_is() -> None:
    arrival = Arrival(edge(FENCES[0], TransitionType.ENTER, NOW_US, NOW_US), FENCES[0], ZONES[0])
    named = [WorkspacePolicy(name, ZONES[0], killed=name == "second") for name in ("first", "second", "first")]
    snapshots = [Snapshot(NOW_US, PERSON, policy, DeviceView(DEVICE), (arrival,), (PLAIN,)) for policy in named]
    assert [again(kept(snapshot)).policy for snapshot in snapshots] == named


@pytest.mark.parametrize("arrivals", [1, 2])
def test_of_too_many_candidates_those_that_were_asked_are_stored(arrivals: int) -> None:
    several = Campaigns(
        replace(PLAIN, id=UUID(int=number + 1), priority=number % 3, texts={"en": Text("Hello", "There")})
        for number in range(SCORED + 5)
    )
    at = tuple(
        Arrival(edge(fence, TransitionType.ENTER, NOW_US, NOW_US), fence, ZONES[0]) for fence in FENCES[:arrivals]
    )
    snapshot = Snapshot(NOW_US, PERSON, WorkspacePolicy("w", ZONES[0]), DeviceView(DEVICE), at, several)
    asked = {candidate.campaign.id for candidate in shortlisted(snapshot, found(snapshot))}
    stored = again(kept(snapshot))
    assert len(asked) <= SCORED < len(several)
    assert {campaign.id for campaign in stored.campaigns} == asked
    then, now = decide(snapshot), decide(stored)
    assert then is not None
    assert now is not None
    assert (now.outcome, now.reason, now.offer) == (then.outcome, then.reason, then.offer)


def test_what_a_row_leaves_out_means_what_it_meant_when_it_was_written() -> None:
    full = {"n": 1, "unit": "week", "mode": "rolling", "scope": "user_campaign", "tag": None}
    assert msgspec.convert({"limit": 2}, CapRule) == msgspec.convert({"limit": 2} | full, CapRule)
    use = {"at_us": NOW_US, "campaign": str(UUID(int=1)), "store": "s", "place": "town/s"}
    assert msgspec.convert(use, Use) == msgspec.convert(use | FULL, Use)
    arrival = Arrival(edge(FENCES[0], TransitionType.ENTER, NOW_US, NOW_US), FENCES[0], ZONES[0])
    snapshot = Snapshot(
        NOW_US, PERSON, WorkspacePolicy("w", ZONES[0]), DeviceView(DEVICE), (arrival,), Campaigns([PLAIN])
    )
    told = msgspec.json.decode(unpacked(kept(snapshot)))
    assert told["person"].keys().isdisjoint(FULL_PERSON)
    assert told["policy"] == {"name": "w", "zone": ZONES[0].key}
    assert told["arrivals"][0].keys() == {"transition", "fence", "zone"}
    full = told | {
        "person": told["person"] | FULL_PERSON,
        "policy": told["policy"] | FULL_POLICY,
        "arrivals": [one | FULL_ARRIVAL for one in told["arrivals"]],
    }
    written, left_out = again(packed(msgspec.json.encode(full))), again(kept(snapshot))
    assert (written.person.interactions, left_out.person.interactions) == ([], ())
    assert replace(written, person=replace(written.person, interactions=())) == left_out


@given(snapshots(), st.floats(10.1, 89).filter(lambda degrees: len(repr(degrees)) > 8))
@settings(max_examples=50, deadline=None)
def test_where_the_fences_lie_is_not_stored(snapshot: Snapshot, degrees: float) -> None:
    placed = tuple(
        replace(arrival, fence=msgspec.structs.replace(arrival.fence, outline=Circle(degrees, degrees, 60.0)))
        for arrival in snapshot.arrivals
    )
    assert repr(degrees).encode() not in unpacked(kept(replace(snapshot, arrivals=placed)))


def test_of_a_person_nothing_is_stored_that_no_candidate_asks_for() -> None:
    known = Facts(profiled=True, attributes={"shoe": "secret"})
    person = replace(PERSON, facts=known)
    arrival = Arrival(edge(FENCES[0], TransitionType.ENTER, NOW_US, NOW_US), FENCES[0], ZONES[0])
    other = replace(PLAIN, id=UUID(int=2), fences=FenceSelector(set="elsewhere"), ask="size", name="unasked")
    snapshot = Snapshot(NOW_US, person, WorkspacePolicy("w", ZONES[0]), DeviceView(DEVICE), (arrival,), (PLAIN, other))
    told = unpacked(kept(snapshot))
    assert b"secret" not in told
    assert b"unasked" not in told
    asking = replace(snapshot, campaigns=(replace(PLAIN, ask="size"),))
    assert b"secret" in unpacked(kept(asking))


@pytest.mark.parametrize("column", [b"{}", packed(b"[]"), b"\x01x"])
def test_what_cannot_be_read_is_refused(column: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        again(column)
