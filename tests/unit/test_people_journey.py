"""Stages of the journey with their reasons, and what a profile takes."""

from datetime import datetime

import pytest

from geo_offers import wire
from geo_offers.instants import to_us
from geo_offers.people import journey, profile
from geo_offers.people.journey import Journey, Standing

DECLARED = profile.declared(
    wire.AudienceSettings(
        attributes={
            "shoe_size": wire.Attribute(type="number"),
            "member": wire.Attribute(type="flag"),
            "born": wire.Attribute(type="date"),
            "likes": wire.Attribute(type="list"),
            "city": wire.Attribute(type="text"),
        }
    )
)
OURS = Journey(wire.AudienceSettings(attributes={"shoe_size": wire.Attribute(type="number")}))
CREATED_US = to_us(datetime.fromisoformat("2026-05-01T09:30:00+00:00"))


@pytest.mark.parametrize(
    ("values", "named", "standing"),
    [
        ({}, False, Standing("anonymous", "no log-in")),
        ({}, True, Standing("identified", "log-in 2026-05-01")),
        ({"shoe_size": 42.0}, True, Standing("lead", "answers ≥ 1")),
        ({"purchases": 0.0}, True, Standing("identified", "log-in 2026-05-01")),
        ({"purchases": 1.0}, True, Standing("customer", "purchases ≥ 1")),
        ({"purchases": 2.0, "referrals": 1.0}, True, Standing("ambassador", "purchases ≥ 1 and referrals ≥ 1")),
    ],
)
def test_a_stage_follows_from_the_row_and_says_why(values, named, standing):
    assert OURS.standing(values, named=named, created_us=CREATED_US) == standing


def test_a_workspace_says_what_makes_a_customer():
    member = wire.AttributeIs(name="member", is_="eq", value=True)
    own = Journey(
        wire.AudienceSettings(
            attributes={"member": wire.Attribute(type="flag")}, stages=wire.StageRules(customer=member)
        )
    )
    assert own.standing({"member": True}, named=False, created_us=0).stage == "customer"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (wire.StageIs(in_=["lead"]), "form"),
        (wire.VisitsAre(counter="count", is_="ge", value=3), "form"),
        (wire.AttributeIs(name="gone", is_="known"), "unknown_attribute"),
    ],
)
def test_a_stage_is_refused_that_would_not_follow_from_the_row(rule, code):
    settings = wire.AudienceSettings(stages=wire.StageRules(lead=rule))
    assert [fault.code for fault in journey.faults(settings, "/audience/stages")] == [code]
    assert Journey(settings).standing({}, named=False, created_us=0).stage == "anonymous"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("city", "Bremen", 1.0),
        ("shoe_size", 42.0, True),
        ("shoe_size", -1.5, 1e16),
        ("member", False, 0.0),
        ("born", "2001-02-28", "2001-02-29"),
        ("born", "2001-12-31", "20011231"),
        ("likes", ["tea"], "tea"),
    ],
)
def test_a_profile_takes_values_of_the_declared_type_alone(name, good, bad):
    def faults(value):
        found = profile.faults(wire.ProfilePatch(attributes={name: value}), DECLARED, by_person=True)
        return [(fault.pointer, fault.code) for fault in found]

    assert faults(good) == []
    assert faults(None) == []
    assert faults(bad) == [(f"/attributes/{name}", "type")]


def test_a_person_gives_neither_what_is_not_declared_nor_what_the_server_gives():
    patch = wire.ProfilePatch(attributes={"gone": 1.0, "purchases": 9.0, "city": "Bremen"}, refused=["gone", "city"])
    found = profile.faults(patch, DECLARED, by_person=True)
    assert [(fault.pointer, fault.code) for fault in found] == [
        ("/attributes/gone", "unknown_attribute"),
        ("/attributes/purchases", "not_yours"),
        ("/refused/0", "unknown_attribute"),
        ("/refused/1", "contradiction"),
    ]
    by_server = profile.faults(wire.ProfilePatch(attributes={"purchases": 9.0}), DECLARED, by_person=False)
    assert by_server == ()


def test_what_was_kept_under_another_declaration_is_not_known():
    held = {"city": 3.0, "shoe_size": 42.0, "gone": "x"}
    assert profile.known(held, DECLARED) == {"shoe_size": 42.0}
