"""Faults of rules with their places, segments that name each other, what is not known, and words for rules."""

import msgspec
import pytest

from geo_offers import wire
from geo_offers.people import audience, segments
from geo_offers.people.counters import EVERYWHERE, Stays, Visits, counted
from geo_offers.people.segments import Facts, Moment

DECLARED = {"size": wire.Attribute(type="number"), "city": wire.Attribute(type="text")}
BIG = wire.AttributeIs(name="size", is_="ge", value=43)
NOBODY_KNOWN = Moment(Facts(), "en", 0, "one")


def rule(text: str) -> wire.Rule:
    return msgspec.json.decode(text, type=wire.Rule)


def named(*idents: str) -> wire.Rule:
    return wire.AllOf(of=[wire.InSegment(id=ident) for ident in idents])


def places(*args) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in segments.faults(*args)]


@pytest.mark.parametrize(
    ("text", "pointer", "code"),
    [
        ('{"op": "attribute", "name": "shoe", "is": "eq", "value": 1}', "/name", "unknown_attribute"),
        ('{"op": "attribute", "name": "city", "is": "lt", "value": "B"}', "/is", "type"),
        ('{"op": "attribute", "name": "size", "is": "eq", "value": "big"}', "/value", "type"),
        ('{"op": "attribute", "name": "size", "is": "eq", "value": true}', "/value", "type"),
        ('{"op": "attribute", "name": "size", "is": "eq"}', "/value", "type"),
        ('{"op": "attribute", "name": "size", "is": "known", "value": 1}', "/value", "type"),
        ('{"op": "attribute", "name": "size", "is": "in", "value": [1, "2"]}', "/value", "type"),
        ('{"op": "segment", "id": "gone"}', "/id", "unknown_segment"),
        (
            '{"op": "visits", "counter": "count", "is": "ge", "value": 1, "at": "here", "store": "x"}',
            "/store",
            "contradiction",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(text, pointer, code):
    assert places(rule(text), "/rule", DECLARED, {}) == [(f"/rule{pointer}", code)]
    deep = wire.AnyOf(of=[BIG, wire.Not(of=rule(text))])
    assert places(deep, "/rule", DECLARED, {}) == [(f"/rule/of/1/of{pointer}", code)]


def test_a_rule_is_bounded_in_depth_and_size():
    deep: wire.Rule = BIG
    for _ in range(segments.DEPTH - 1):
        deep = wire.Not(of=deep)
    assert places(deep, "", DECLARED, {}) == []
    assert places(wire.Not(of=deep), "", DECLARED, {}) == [("", "too_deep")]
    wide = wire.AllOf(of=[BIG] * 55)
    assert places(wide, "", DECLARED, {}) == []
    assert places(wire.AllOf(of=[wide, BIG]), "", DECLARED, {}) == [("", "too_large")]


def test_segments_that_name_each_other_in_a_circle_hold_for_nobody_and_the_others_stay():
    book = segments.book({"a": named("b"), "b": named("c"), "c": named("a"), "on_it": named("a"), "d": BIG}, DECLARED)
    assert set(book.rules) == {"d"}
    assert {ident: found[0].code for ident, found in book.faults.items()} == {
        "a": "cycle",
        "b": "cycle",
        "c": "cycle",
        "on_it": "broken_segment",
    }


def test_segments_cannot_grow_past_a_bound_by_naming_each_other():
    book = segments.book(
        {
            "s0": wire.AllOf(of=[BIG] * 50),
            "s1": named("s0", "s0", "s0", "s0"),
            "s2": named("s1", "s0"),
        },
        DECLARED,
    )
    assert set(book.rules) == {"s0", "s1"}
    assert book.faults["s2"][0].code == "too_large"


def test_a_long_chain_of_segments_is_refused_and_not_followed():
    chain = {f"s{number}": named(f"s{number + 1}") for number in range(500)} | {"s500": BIG}
    book = segments.book(chain, DECLARED)
    assert set(book.rules) == {f"s{number}" for number in range(500 - segments.WHOLE_DEPTH + 1, 501)}


def test_what_is_not_known_compares_as_false():
    for is_ in ("eq", "ne", "lt", "ge"):
        asked = wire.AttributeIs(name="size", is_=is_, value=43)
        assert segments.compiled(asked)(NOBODY_KNOWN) is False
        assert segments.compiled(wire.Not(of=asked))(NOBODY_KNOWN) is True
    for counter in ("days_since", "median_dwell_min"):
        asked = wire.VisitsAre(counter=counter, is_="ge", value=0)
        assert segments.compiled(asked)(NOBODY_KNOWN) is False


def test_an_audience_with_a_segment_that_is_gone_is_for_nobody_even_denied():
    book = segments.Book({}, {})
    given = wire.Audience(rule=wire.Not(of=wire.InSegment(id="gone")))
    failing = audience.audience(given, book, DECLARED).failing(NOBODY_KNOWN)
    assert failing is not None
    assert failing.part == "rule"


def test_only_rules_over_more_than_device_language_and_account_ask_for_the_profile():
    free = rule(
        '{"op": "all", "of": [{"op": "locale", "in": ["de"]}, {"op": "platform", "in": ["ios"]},'
        ' {"op": "account_days", "is": "ge", "value": 1}]}'
    )
    assert not segments.personal(free)
    assert segments.personal(wire.AllOf(of=[free, BIG]))


def test_visits_are_counted_by_store_and_over_all():
    stays = [Stays("one", 1, 10, [60.0]), Stays("one", 1, 30, []), Stays("two", 1, 20, [120.0])]
    assert counted(stays) == {
        "one": Visits(2, 30, 60.0),
        "two": Visits(1, 20, 120.0),
        EVERYWHERE: Visits(3, 30, 90.0),
    }
    assert counted([]) == {}


def test_a_rule_over_attributes_is_said_in_words():
    told = wire.AllOf(of=[BIG, wire.AnyOf(of=[wire.Not(of=BIG), wire.AttributeIs(name="city", is_="known")])])
    assert segments.told(told) == "size ≥ 43 and (not size ≥ 43 or city known)"
