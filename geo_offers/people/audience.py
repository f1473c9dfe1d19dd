"""Whom a campaign is for, ready to be asked: segments, a rule and stages, each a clause that has to hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault
from geo_offers.people import segments
from geo_offers.people.journey import DEFAULT, Journey
from geo_offers.people.segments import Book, Moment, Test


class Clause(msgspec.Struct, frozen=True):
    """One part of an audience by the name that a receipt gives it; a rule of None holds for nobody."""

    part: str
    of: str
    rule: wire.Rule | None


class Audience(msgspec.Struct, frozen=True, dict=True):
    """All clauses have to hold; none: everybody. Compiled once, when first asked."""

    clauses: tuple[Clause, ...] = ()

    @cached_property
    def personal(self) -> bool:
        """Whether it asks for anything that only the `profile` consent allows to know."""
        return any(clause.rule is None or segments.personal(clause.rule) for clause in self.clauses)

    @cached_property
    def counts(self) -> bool:
        """Whether it asks for counters of visits."""
        rules = [clause.rule for clause in self.clauses if clause.rule is not None]
        return any(isinstance(leaf, wire.VisitsAre) for rule in rules for leaf in segments.leaves(rule))

    @cached_property
    def _tests(self) -> Sequence[tuple[Clause, Test]]:
        return [(clause, _nobody if clause.rule is None else segments.compiled(clause.rule)) for clause in self.clauses]

    def failing(self, moment: Moment) -> Clause | None:
        """Find the first clause that does not hold, None where all do."""
        for clause, test in self._tests:
            if not test(moment):
                return clause
        return None


EVERYBODY: Final = Audience()
NO_SEGMENTS: Final = Book({}, {})


def _nobody(_moment: Moment) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Audiences:
    """What a workspace's campaigns make their audiences of: its segments, and its attributes and stages."""

    book: Book = NO_SEGMENTS
    journey: Journey = DEFAULT

    def of(self, given: wire.Audience | None) -> Audience:
        """Make an audience of what was written."""
        return EVERYBODY if given is None else audience(given, self.book, self.journey.attributes)

    def ask(self, name: str | None) -> str | None:
        """The attribute to ask for, while persons give it."""
        attribute = None if name is None else self.journey.attributes.get(name)
        return name if attribute is not None and attribute.by == "person" else None


NO_AUDIENCES: Final = Audiences()


def audience(given: wire.Audience, book: Book, attributes: Mapping[str, wire.Attribute]) -> Audience:
    """Make an audience of what was written. What has a fault now holds for nobody."""
    clauses = [Clause("segment", ident, book.rules.get(ident)) for ident in given.segments]
    if given.rule is not None:
        sound = not segments.faults(given.rule, "", attributes, book.rules)
        clauses.append(Clause("rule", "", segments.put_in(given.rule, book.rules) if sound else None))
    if given.stages:
        clauses.append(Clause("stages", "", wire.StageIs(in_=given.stages)))
    return Audience(tuple(clauses))


def faults(given: wire.Audience, ask: str | None, audiences: Audiences) -> tuple[Fault, ...]:
    """Find what is wrong with a campaign's audience and with the attribute it asks for."""
    book, attributes = audiences.book, audiences.journey.attributes
    found = [
        Fault(f"/audience/segments/{number}", "unknown_segment", "There is no such segment; put it first.")
        for number, ident in enumerate(given.segments)
        if ident not in book.rules
    ]
    if given.rule is not None:
        found += segments.faults(given.rule, "/audience/rule", attributes, book.rules)
    if ask is not None and ask not in attributes:
        found.append(Fault("/ask", "unknown_attribute", "The workspace declares no attribute of this name."))
    elif ask is not None and attributes[ask].by != "person":
        found.append(Fault("/ask", "not_theirs", "The app's own server gives this attribute; a person is not asked."))
    return tuple(found)
