"""Rules over people: compiled they say what a plain reading of their JSON says, and no JSON makes them fail."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers import wire
from geo_offers.people import profile, segments
from geo_offers.people.counters import Visits
from geo_offers.people.segments import Facts, Moment
from geo_offers.people.wall import DAY_US

DECLARED = {
    "city": wire.Attribute(type="text"),
    "size": wire.Attribute(type="number"),
    "member": wire.Attribute(type="flag"),
    "born": wire.Attribute(type="date"),
    "likes": wire.Attribute(type="list"),
}
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
STAGES = ["anonymous", "identified", "lead", "customer", "ambassador"]
VALUES = {
    "city": st.sampled_from(["Bremen", "Emden", ""]),
    "size": st.sampled_from([-1.0, 0.0, 42.0, 43.5]),
    "member": st.booleans(),
    "born": st.sampled_from(["1980-02-29", "2001-12-31", "2026-01-01"]),
    "likes": st.lists(st.sampled_from(["tea", "rolls"]), max_size=2),
}
DAYS = st.integers(0, 5)

attribute_leaves = st.one_of(
    st.fixed_dictionaries({"op": st.just("attribute"), "name": st.sampled_from(list(VALUES)), "is": st.just("known")}),
    *(
        st.fixed_dictionaries(
            {
                "op": st.just("attribute"),
                "name": st.just(name),
                "is": st.sampled_from(COMPARISONS if name in {"size", "born"} else ["eq", "ne"]),
                "value": VALUES[name].filter(lambda value: value != ""),
            }
        )
        for name in ("city", "size", "member", "born")
    ),
    *(
        st.fixed_dictionaries(
            {
                "op": st.just("attribute"),
                "name": st.just(name),
                "is": st.just("in"),
                "value": st.lists(VALUES[name].filter(bool), min_size=1, max_size=3),
            }
        )
        for name in ("city", "size", "born")
    ),
    st.fixed_dictionaries(
        {"op": st.just("attribute"), "name": st.just("likes"), "is": st.just("has"), "value": st.just("tea")}
    ),
)
other_leaves = st.one_of(
    st.fixed_dictionaries(
        {"op": st.just("stage"), "in": st.lists(st.sampled_from(STAGES), min_size=1, max_size=3)},
    ),
    st.fixed_dictionaries(
        {"op": st.just("answered"), "is": st.sampled_from(COMPARISONS), "value": st.integers(0, 3)},
    ),
    st.fixed_dictionaries({"op": st.just("account_days"), "is": st.sampled_from(COMPARISONS), "value": DAYS}),
    st.fixed_dictionaries({"op": st.just("platform"), "in": st.just(["ios", "web"])}),
    st.fixed_dictionaries({"op": st.just("locale"), "in": st.sampled_from([["de"], ["pt-BR", "fr"], ["PT"]])}),
    st.fixed_dictionaries(
        {
            "op": st.just("visits"),
            "counter": st.sampled_from(["count", "days_since", "median_dwell_min"]),
            "is": st.sampled_from(COMPARISONS),
            "value": DAYS,
        },
        optional={"at": st.just("anywhere"), "store": st.sampled_from(["one", "two"])},
    ),
    st.fixed_dictionaries(
        {
            "op": st.just("visits"),
            "counter": st.sampled_from(["count", "days_since"]),
            "is": st.sampled_from(COMPARISONS),
            "value": DAYS,
            "at": st.just("here"),
        }
    ),
)


def trees(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.fixed_dictionaries(
                {"op": st.sampled_from(["all", "any"]), "of": st.lists(inner, min_size=1, max_size=3)}
            ),
            st.fixed_dictionaries({"op": st.just("not"), "of": inner}),
        ),
        max_leaves=10,
    )


rules = trees(st.one_of(attribute_leaves, other_leaves))
visits = st.builds(
    Visits, st.integers(1, 4), st.integers(0, 4).map(lambda day: day * DAY_US), st.none() | st.just(90.0)
)


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    values: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=VALUES))
    facts = Facts(
        profiled=True,
        attributes=profile.known(values, DECLARED),
        answered=len(values),
        stage=draw(st.sampled_from(STAGES)),
        platform=draw(st.sampled_from(["ios", "android"])),
        created_us=draw(st.integers(0, 5)) * DAY_US,
        visits=draw(st.dictionaries(st.sampled_from(["", "one", "two"]), visits)),
    )
    return Moment(facts, draw(st.sampled_from(["de", "de_AT", "pt-BR", "pt", "en"])), 5 * DAY_US, "one")


# ------------------------------------------------------------------------------------------------ the plain reading
def compare(sign: str, held: Any, value: Any) -> bool:
    signs = {"eq": held == value, "ne": held != value}
    if sign in signs:
        return signs[sign]
    return {"lt": held < value, "le": held <= value, "gt": held > value, "ge": held >= value}[sign]


def counter(rule: Any, moment: Moment) -> Any:
    store = rule.get("store", moment.here if rule.get("at") == "here" else "")
    seen = moment.facts.visits.get(store)
    if rule["counter"] == "count":
        return (seen.count if seen else 0) + (1 if store in {"", moment.here} else 0)
    if seen is None:
        return None
    if rule["counter"] == "days_since":
        return (moment.now_us - seen.last_us) / DAY_US
    return None if seen.median_dwell_s is None else seen.median_dwell_s / 60


def reads(rule: Any, moment: Moment) -> bool:
    facts = moment.facts
    match rule["op"]:
        case "all":
            return all(reads(inner, moment) for inner in rule["of"])
        case "any":
            return any(reads(inner, moment) for inner in rule["of"])
        case "not":
            return not reads(rule["of"], moment)
        case "stage":
            return facts.stage in rule["in"]
        case "platform":
            return facts.platform in rule["in"]
        case "locale":
            own = moment.locale.lower().replace("_", "-")
            return any(own == tag.lower() or own.startswith(tag.lower() + "-") for tag in rule["in"])
        case "answered":
            return compare(rule["is"], facts.answered, rule["value"])
        case "account_days":
            return compare(rule["is"], (moment.now_us - facts.created_us) / DAY_US, rule["value"])
        case "visits":
            held = counter(rule, moment)
            return held is not None and compare(rule["is"], held, rule["value"])
        case _:
            held = facts.attributes.get(rule["name"])
            if rule["is"] == "known" or held is None:
                return held is not None
            if rule["is"] == "in":
                return held in rule["value"]
            return rule["value"] in held if rule["is"] == "has" else compare(rule["is"], held, rule["value"])


def read(tree: Any) -> wire.Rule:
    return msgspec.json.decode(json.dumps(tree), type=wire.Rule)  # type: ignore[no-any-return]


@given(rules, moments())
def test_a_compiled_rule_says_what_a_plain_reading_says(tree, moment):
    rule = read(tree)
    if not segments.faults(rule, "", DECLARED, {}):
        assert segments.compiled(rule)(moment) is reads(tree, moment)


@given(trees(attribute_leaves), moments())
def test_rules_over_attributes_of_their_types_have_no_fault(tree, moment):
    assert {fault.code for fault in segments.faults(read(tree), "", DECLARED, {})} <= {"too_deep"}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "tea", "x" * 300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "of", "is", "in"]), inner),
    max_leaves=8,
)
words = st.sampled_from(
    [
        "all",
        "any",
        "not",
        "attribute",
        "stage",
        "visits",
        "locale",
        "segment",
        "eq",
        "in",
        "has",
        "known",
        "city",
        "likes",
    ]
)
shaped = st.recursive(
    st.dictionaries(st.sampled_from(["op", "of", "is", "in", "name", "value", "id", "counter"]), words | anything),
    lambda inner: st.fixed_dictionaries(
        {"op": st.sampled_from(["all", "any", "not"]), "of": st.lists(inner, max_size=3) | inner}
    ),
    max_leaves=8,
)


@given(anything | shaped | rules, moments())
@settings(max_examples=300)
def test_any_json_is_refused_or_holds_or_not(tree, moment):
    try:
        rule = msgspec.json.decode(json.dumps(tree), type=wire.Rule)
    except msgspec.ValidationError:
        return
    if not segments.faults(rule, "/rule", DECLARED, {}):
        assert segments.compiled(rule)(moment) in (True, False)
        assert isinstance(segments.told(rule), str)


names = st.sampled_from("abcdefgh")
named = st.fixed_dictionaries({"op": st.just("segment"), "id": names})


@given(st.dictionaries(names, trees(attribute_leaves | named), max_size=8), moments())
def test_a_book_holds_what_has_no_fault_with_all_that_it_names(trees_by_name, moment):
    """A segment is either wrong, or everything it names is right, and it says what reading it by name says."""
    book = segments.book({name: read(tree) for name, tree in trees_by_name.items()}, DECLARED)
    assert book.rules.keys() | book.faults.keys() == trees_by_name.keys()
    assert not book.rules.keys() & book.faults.keys()

    def reads_named(tree: Any) -> bool:
        if tree["op"] == "segment":
            return reads_named(trees_by_name[tree["id"]])
        if tree["op"] in {"all", "any"}:
            found = [reads_named(inner) for inner in tree["of"]]
            return all(found) if tree["op"] == "all" else any(found)
        return not reads_named(tree["of"]) if tree["op"] == "not" else reads(tree, moment)

    for name, rule in book.rules.items():
        assert segments.compiled(rule)(moment) is reads_named(trees_by_name[name])
