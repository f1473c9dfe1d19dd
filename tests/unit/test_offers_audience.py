"""Whom a campaign is for, in a decision: what the receipt tells, what asks for consent, and what an offer asks for."""

from typing import Any

import msgspec
import pytest

from geo_offers import wire
from geo_offers.offers import campaigns as rules
from geo_offers.people.audience import Audience, Audiences, Clause, faults
from geo_offers.people.journey import Journey
from geo_offers.people.segments import Facts, book
from tests.support.replacing import replace
from tests.unit.test_offers_decide import PERSON, campaign, decided, detail

JOURNEY = Journey(wire.AudienceSettings(attributes={"size": wire.Attribute(type="number")}))
BIG: wire.Rule = wire.AttributeIs(name="size", is_="ge", value=43)
GERMAN: wire.Rule = wire.LocaleIs(in_=["de"])
SEGMENTS = Audiences(book({"big": BIG, "german": GERMAN}, JOURNEY.attributes), JOURNEY)
KNOWN = Facts(profiled=True, attributes={"size": 44.0}, stage="lead", reason="answers ≥ 1")


def asked(facts: Facts, locale: str = "de-AT", **given: Any) -> Any:
    wanted = campaign(audience=SEGMENTS.of(wire.Audience(**given)))
    return decided(campaigns=(wanted,), person=replace(PERSON, facts=facts, locale=locale))


def test_who_is_in_all_of_an_audience_gets_the_offer_and_the_receipt_has_stage_and_reason():
    found = asked(KNOWN, segments=["big", "german"], rule=wire.Not(of=GERMAN), stages=["lead"])
    assert found.reason == "audience"
    found = asked(KNOWN, segments=["big", "german"], rule=wire.AnyOf(of=[BIG, GERMAN]), stages=["lead", "customer"])
    assert found.outcome == "offer"
    assert detail(found, "audience") == {"stage": "lead", "why": "answers ≥ 1"}


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ({"segments": ["german", "big"]}, {"failed": "segment", "segment": "big"}),
        ({"rule": BIG}, {"failed": "rule"}),
        ({"stages": ["customer"]}, {"failed": "stages"}),
    ],
)
def test_the_receipt_names_what_failed_and_no_value(given, failed):
    facts = Facts(profiled=True, attributes={"size": 41.5}, stage="lead", reason="answers ≥ 1")
    found = asked(facts, **given)
    assert found.reason == "audience"
    assert detail(found, "audience") == {"stage": "lead", "why": "answers ≥ 1", **failed}
    assert "41" not in str(detail(found, "audience"))


def test_without_the_consent_nothing_is_asked_of_the_profile_not_even_its_contrary():
    for given in ({"segments": ["big"]}, {"rule": wire.Not(of=BIG)}, {"stages": ["anonymous"]}):
        found = asked(Facts(), **given)
        assert found.reason == "audience"
        assert detail(found, "audience") == {"profile": False}


def test_language_device_and_account_need_no_profile():
    assert asked(Facts(), segments=["german"]).outcome == "offer"
    assert asked(Facts(), "en", segments=["german"]).reason == "audience"
    assert asked(Facts(platform="ios"), rule=wire.PlatformIs(in_=["ios"])).outcome == "offer"


def test_a_segment_that_is_gone_or_wrong_holds_for_nobody():
    assert asked(KNOWN, segments=["gone"]).reason == "audience"
    assert asked(KNOWN, rule=wire.Not(of=wire.InSegment(id="gone"))).reason == "audience"
    assert asked(KNOWN, rule=wire.Not(of=wire.AttributeIs(name="gone", is_="known"))).reason == "audience"


def test_a_counter_of_here_is_of_the_store_of_the_arrival():
    third = wire.VisitsAre(counter="count", is_="eq", value=3, at="here")
    facts = msgspec.structs.replace(KNOWN, visits={"baker-1": {"count": 2}, "": {"count": 9}})
    facts = msgspec.convert(msgspec.to_builtins(facts), Facts)
    assert asked(facts, rule=third).outcome == "offer"
    other = wire.VisitsAre(counter="count", is_="eq", value=2, store="elsewhere")
    assert asked(facts, rule=other).reason == "audience"


ASKING = campaign(ask="size", data={"sku": "7"})


@pytest.mark.parametrize(
    ("facts", "data"),
    [
        (Facts(profiled=True), {"sku": "7", "ask": "size"}),
        (KNOWN, {"sku": "7"}),
        (Facts(profiled=True, refused=("size",)), {"sku": "7"}),
        (Facts(), {"sku": "7"}),
    ],
)
def test_an_offer_asks_only_for_what_is_unknown_and_was_never_refused(facts, data):
    found = decided(campaigns=(ASKING,), person=replace(PERSON, facts=facts))
    assert found.offer is not None
    assert found.offer.data == data


def test_what_an_offer_asks_for_stands_alone_under_its_name():
    assert [fault.pointer for fault in rules.faults(campaign(ask="size", data={"ask": "mine"}))] == ["/data/ask"]
    assert rules.faults(campaign(data={"ask": "mine"})) == ()


def test_faults_of_an_audience_have_their_places():
    given = wire.Audience(segments=["big", "gone"], rule=wire.Not(of=wire.AttributeIs(name="gone", is_="known")))
    found = [(fault.pointer, fault.code) for fault in faults(given, "purchases", SEGMENTS)]
    assert found == [
        ("/audience/segments/1", "unknown_segment"),
        ("/audience/rule/of/name", "unknown_attribute"),
        ("/ask", "not_theirs"),
    ]
    assert [fault.code for fault in faults(wire.Audience(), "gone", SEGMENTS)] == ["unknown_attribute"]


def test_an_audience_is_plain_and_comes_back_from_json_as_it_was():
    whole = SEGMENTS.of(wire.Audience(segments=["big"], rule=GERMAN, stages=["lead"]))
    assert whole.personal
    back = msgspec.json.decode(msgspec.json.encode(whole), type=Audience)
    assert back == whole
    assert back.clauses[0] == Clause("segment", "big", BIG)
