"""Rules over what is known of a person, and the segments that name them.

- A rule is data: `all`, `any` and `not` over comparisons. Nothing of a tenant's is run.
- What is not known compares as false, `ne` too; so `not` of it is true. Whoever means "known, and not" says both.
- A rule holds at most 55 comparisons, 8 levels deep. A segment may name others, not itself by any way; with those put
  in it holds at most 200 comparisons, 32 levels deep.
- A rule is compiled into one function before anybody is asked; a stored one with a fault holds for nobody.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import msgspec
from msgspec import UNSET

from geo_offers import wire
from geo_offers.errors import Fault
from geo_offers.people.counters import EVERYWHERE, NEVER, Visits
from geo_offers.people.profile import fits
from geo_offers.people.wall import DAY_US

COMPARISONS: Final = 55
DEPTH: Final = 8
WHOLE_COMPARISONS: Final = 200
WHOLE_DEPTH: Final = 32

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "text": frozenset({"eq", "ne", "in", "known"}),
    "number": frozenset({*_COMPARE, "in", "known"}),
    "flag": frozenset({"eq", "ne", "known"}),
    "date": frozenset({*_COMPARE, "in", "known"}),
    "list": frozenset({"has", "known"}),
}


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What decisions know of a person. profiled: they gave the `profile` consent and are of age, else nothing is known.

    answered: how many attributes that persons give are known. refused: attributes not to be asked for. visits: by
    store, EVERYWHERE for all; read where a campaign asks for them. created_us: when the person first enrolled.
    """

    profiled: bool = False
    attributes: Mapping[str, wire.Value] = {}
    answered: int = 0
    refused: tuple[str, ...] = ()
    stage: wire.Stage = "anonymous"
    reason: str = ""
    platform: str = "other"
    created_us: int = 0
    visits: Mapping[str, Visits] = {}


NOTHING_KNOWN: Final = Facts()


class Moment(msgspec.Struct, frozen=True):
    """Whom and where a rule is asked about. here: the store of the arrival."""

    facts: Facts
    locale: str
    now_us: int
    here: str


Test = Callable[[Moment], bool]


# ------------------------------------------------------------------------------------------------ what a rule holds
def leaves(rule: wire.Rule) -> Iterator[wire.Rule]:
    """Give each comparison of a rule."""
    match rule:
        case wire.AllOf(of=of) | wire.AnyOf(of=of):
            for inner in of:
                yield from leaves(inner)
        case wire.Not(of=inner):
            yield from leaves(inner)
        case _:
            yield rule


def personal(rule: wire.Rule) -> bool:
    """Whether a rule asks for anything that only the `profile` consent allows to know."""
    return not all(isinstance(leaf, wire.LocaleIs | wire.PlatformIs | wire.AccountDays) for leaf in leaves(rule))


def _depth(rule: wire.Rule) -> int:
    match rule:
        case wire.AllOf(of=of) | wire.AnyOf(of=of):
            return 1 + max(map(_depth, of))
        case wire.Not(of=inner):
            return 1 + _depth(inner)
        case _:
            return 1


# ------------------------------------------------------------------------------------------------ faults
def faults(
    rule: wire.Rule,
    pointer: str,
    attributes: Mapping[str, wire.Attribute],
    segments: Mapping[str, object],
) -> list[Fault]:
    """Find what is wrong with a rule by itself; pointers begin with `pointer`."""
    if _depth(rule) > DEPTH:
        return [Fault(pointer, "too_deep", f"A rule is at most {DEPTH} levels deep; make parts of it segments.")]
    if sum(1 for _ in leaves(rule)) > COMPARISONS:
        return [Fault(pointer, "too_large", f"A rule has at most {COMPARISONS} comparisons; make segments of it.")]
    return list(_faults(rule, pointer, attributes, segments))


def _faults(
    rule: wire.Rule, pointer: str, attributes: Mapping[str, wire.Attribute], segments: Mapping[str, object]
) -> Iterator[Fault]:
    match rule:
        case wire.AllOf(of=of) | wire.AnyOf(of=of):
            for number, inner in enumerate(of):
                yield from _faults(inner, f"{pointer}/of/{number}", attributes, segments)
        case wire.Not(of=inner):
            yield from _faults(inner, f"{pointer}/of", attributes, segments)
        case wire.InSegment(id=ident) if ident not in segments:
            yield Fault(f"{pointer}/id", "unknown_segment", "There is no such segment; put it first.")
        case wire.VisitsAre(at="here", store=str()):
            yield Fault(f"{pointer}/store", "contradiction", "A counter is of here or of a store, not both.")
        case wire.AttributeIs():
            yield from _attribute_faults(rule, pointer, attributes)
        case _:
            pass


def _attribute_faults(
    rule: wire.AttributeIs, pointer: str, attributes: Mapping[str, wire.Attribute]
) -> Iterator[Fault]:
    attribute = attributes.get(rule.name)
    if attribute is None:
        yield Fault(f"{pointer}/name", "unknown_attribute", "The workspace declares no attribute of this name.")
        return
    kind = attribute.type
    if rule.is_ not in _OPERATIONS[kind]:
        wanted = ", ".join(sorted(_OPERATIONS[kind]))
        yield Fault(f"{pointer}/is", "type", f"An attribute of type {kind} is compared by {wanted}.")
        return
    if not _comparable(kind, rule):
        yield Fault(f"{pointer}/value", "type", f"The value does not go with {rule.is_!r} and the type {kind}.")


def _comparable(kind: wire.AttributeType, rule: wire.AttributeIs) -> bool:
    match rule.is_:
        case "known":
            return rule.value is UNSET
        case "in":
            return isinstance(rule.value, list) and all(fits(kind, item) for item in rule.value)
        case "has":
            return isinstance(rule.value, str)
        case _:
            return fits(kind, rule.value)


# ------------------------------------------------------------------------------------------------ segments
@dataclass(frozen=True, slots=True)
class Book:
    """A workspace's segments. rules: of those without fault, with the segments they name put in."""

    rules: Mapping[str, wire.Rule]
    faults: Mapping[str, tuple[Fault, ...]]


def book(segments: Mapping[str, wire.Rule], attributes: Mapping[str, wire.Attribute]) -> Book:
    """Put segments together; pointers of their faults begin with `/rule`."""
    wrong = {ident: tuple(faults(rule, "/rule", attributes, segments)) for ident, rule in segments.items()}
    named = {
        ident: {leaf.id for leaf in leaves(rule) if isinstance(leaf, wire.InSegment) and leaf.id in segments}
        for ident, rule in segments.items()
        if not wrong[ident]
    }
    whole: dict[str, wire.Rule] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for ident in _ordered(named, wrong):
        if wrong[ident]:
            continue
        if not named[ident] <= whole.keys():
            wrong[ident] = (Fault("/rule", "broken_segment", "A segment that this one names has a fault itself."),)
            continue
        sizes[ident] = _size(segments[ident], sizes)
        if sizes[ident][0] > WHOLE_COMPARISONS or sizes[ident][1] > WHOLE_DEPTH:
            detail = f"With the segments it names, at most {WHOLE_COMPARISONS} comparisons, {WHOLE_DEPTH} levels deep."
            wrong[ident] = (Fault("/rule", "too_large", detail),)
            continue
        whole[ident] = put_in(segments[ident], whole)
    return Book(whole, {ident: found for ident, found in wrong.items() if found})


def _ordered(named: Mapping[str, set[str]], wrong: dict[str, tuple[Fault, ...]]) -> list[str]:
    """Those first that others name; those that name themselves by some way are left out and noted as wrong."""
    left = dict(named)
    while True:
        try:
            return list(TopologicalSorter(left).static_order())
        except CycleError as error:
            way: list[str] = error.args[1]
            told = " → ".join(reversed(way))[:200]
            for ident in way:
                wrong[ident] = (Fault("/rule", "cycle", f"Segments name each other in a circle: {told}."),)
                left.pop(ident, None)


def _size(rule: wire.Rule, sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Count comparisons and levels with the named segments put in."""
    match rule:
        case wire.AllOf(of=of) | wire.AnyOf(of=of):
            inner = [_size(one, sizes) for one in of]
            return sum(count for count, _ in inner), 1 + max(depth for _, depth in inner)
        case wire.Not(of=one):
            count, depth = _size(one, sizes)
            return count, 1 + depth
        case wire.InSegment(id=ident):
            return sizes[ident]
        case _:
            return 1, 1


def put_in(rule: wire.Rule, rules: Mapping[str, wire.Rule]) -> wire.Rule:
    """Return the rule with the segments it names in place of their names. Raises KeyError for one not there."""
    match rule:
        case wire.AllOf(of=of):
            return wire.AllOf(of=[put_in(inner, rules) for inner in of])
        case wire.AnyOf(of=of):
            return wire.AnyOf(of=[put_in(inner, rules) for inner in of])
        case wire.Not(of=inner):
            return wire.Not(of=put_in(inner, rules))
        case wire.InSegment(id=ident):
            return rules[ident]
        case _:
            return rule


# ------------------------------------------------------------------------------------------------ compiled
def compiled(rule: wire.Rule) -> Test:
    """Make one function of a rule without fault, with its segments put in."""
    match rule:
        case wire.AllOf(of=of):
            every = tuple(map(compiled, of))
            return lambda moment: all(test(moment) for test in every)
        case wire.AnyOf(of=of):
            some = tuple(map(compiled, of))
            return lambda moment: any(test(moment) for test in some)
        case wire.Not(of=inner):
            test = compiled(inner)
            return lambda moment: not test(moment)
        case wire.AttributeIs():
            return _attribute_test(rule)
        case wire.StageIs(in_=wanted):
            stages = frozenset(wanted)
            return lambda moment: moment.facts.stage in stages
        case wire.VisitsAre():
            return _visits_test(rule)
        case wire.AnsweredIs(is_=comparison, value=value):
            compare = _COMPARE[comparison]
            return lambda moment: compare(moment.facts.answered, value)
        case wire.LocaleIs(in_=locales):
            tags = frozenset(map(_canonical, locales))
            return lambda moment: _within(_canonical(moment.locale), tags)
        case wire.PlatformIs(in_=wanted_platforms):
            platforms = frozenset[str](wanted_platforms)
            return lambda moment: moment.facts.platform in platforms
        case wire.AccountDays(is_=comparison, value=value):
            than = _COMPARE[comparison]
            return lambda moment: than((moment.now_us - moment.facts.created_us) / DAY_US, value)
        case wire.InSegment():
            raise ValueError("a segment that was not put in")


def _attribute_test(rule: wire.AttributeIs) -> Test:
    name, value = rule.name, rule.value
    match rule.is_, value:
        case "known", _:
            return lambda moment: name in moment.facts.attributes
        case "in", list(values):
            wanted = frozenset(values)
            return lambda moment: moment.facts.attributes.get(name) in wanted
        case "has", _:
            return lambda moment: value in moment.facts.attributes.get(name, ())  # type: ignore[operator]
        case comparison, _:
            compare = _COMPARE[comparison]

            def test(moment: Moment) -> bool:
                held = moment.facts.attributes.get(name)
                return held is not None and compare(held, value)

            return test


def _visits_test(rule: wire.VisitsAre) -> Test:
    compare, value, counter = _COMPARE[rule.is_], rule.value, rule.counter
    store = rule.store if rule.store is not None else None if rule.at == "here" else EVERYWHERE

    def test(moment: Moment) -> bool:
        where = moment.here if store is None else store
        seen = moment.facts.visits.get(where, NEVER)
        match counter:
            case "count":
                return compare(seen.count + (where in (EVERYWHERE, moment.here)), value)
            case "days_since":
                return seen.last_us is not None and compare((moment.now_us - seen.last_us) / DAY_US, value)
            case "median_dwell_min":
                return seen.median_dwell_s is not None and compare(seen.median_dwell_s / 60, value)

    return test


def _canonical(locale: str) -> str:
    return locale.replace("_", "-").lower()


def _within(tag: str, wanted: frozenset[str]) -> bool:
    while tag and tag not in wanted:
        tag = tag.rpartition("-")[0]
    return bool(tag)


# ------------------------------------------------------------------------------------------------ in words
_SIGNS: Final[Mapping[str, str]] = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥"}


def told(rule: wire.Rule) -> str:
    """Say a rule over attributes in words of its own: `purchases ≥ 1`."""
    match rule:
        case wire.AllOf(of=of):
            return " and ".join(map(_part, of))
        case wire.AnyOf(of=of):
            return " or ".join(map(_part, of))
        case wire.Not(of=inner):
            return f"not {_part(inner)}"
        case wire.AttributeIs(name=name, is_="known"):
            return f"{name} known"
        case wire.AttributeIs(name=name, is_=comparison, value=value):
            return f"{name} {_SIGNS.get(comparison, comparison)} {_plain(value)}"
        case wire.AnsweredIs(is_=comparison, value=value):
            return f"answers {_SIGNS[comparison]} {value}"
        case _:
            return str(rule.__struct_config__.tag)


def _part(rule: wire.Rule) -> str:
    return f"({told(rule)})" if isinstance(rule, wire.AllOf | wire.AnyOf) else told(rule)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
