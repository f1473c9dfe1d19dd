"""The journey: anonymous device, identified, lead, customer, ambassador; and why somebody stands where they stand.

A stage follows from one row: the attributes of the profile, and whether the app has named the person. The last of the
workspace's rules that holds is the stage; who has no rule of theirs is identified by a name, and else anonymous.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec

from geo_offers import wire
from geo_offers.errors import Fault
from geo_offers.instants import text
from geo_offers.people import profile, segments
from geo_offers.people.segments import Facts, Moment, Test

REASON: Final = 120  # characters


class Standing(msgspec.Struct, frozen=True):
    """A stage, and why."""

    stage: wire.Stage
    reason: str


class Journey(msgspec.Struct, frozen=True, dict=True):
    """A workspace's attributes and its rules for stages; compiled once, when first asked."""

    settings: wire.AudienceSettings = wire.AudienceSettings()

    @cached_property
    def attributes(self) -> Mapping[str, wire.Attribute]:
        return profile.declared(self.settings)

    @cached_property
    def _stages(self) -> Sequence[tuple[wire.Stage, str, Test]]:
        """From the last stage back; a rule with a fault is nobody's stage."""
        rules = self.settings.stages
        named: tuple[tuple[wire.Stage, wire.Rule], ...] = (
            ("ambassador", rules.ambassador),
            ("customer", rules.customer),
            ("lead", rules.lead),
        )
        return [
            (stage, segments.told(rule)[:REASON], segments.compiled(rule))
            for stage, rule in named
            if not _faults(rule, "", self.attributes)
        ]

    def standing(self, values: Mapping[str, wire.Value], *, named: bool, created_us: int) -> Standing:
        """Judge a row. values: the known ones; created_us: when the person first enrolled."""
        facts = Facts(attributes=values, answered=profile.answered(values, self.attributes))
        moment = Moment(facts, "", 0, "")
        for stage, reason, test in self._stages:
            if test(moment):
                return Standing(stage, reason)
        if named:
            return Standing("identified", f"log-in {text(created_us)[:10]}")
        return Standing("anonymous", "no log-in")


DEFAULT: Final = Journey()


def faults(settings: wire.AudienceSettings, pointer: str) -> list[Fault]:
    """Find what is wrong with a workspace's rules for stages."""
    attributes = profile.declared(settings)
    rules = {
        "lead": settings.stages.lead,
        "customer": settings.stages.customer,
        "ambassador": settings.stages.ambassador,
    }
    return [fault for stage, rule in rules.items() for fault in _faults(rule, f"{pointer}/{stage}", attributes)]


def _faults(rule: wire.Rule, pointer: str, attributes: Mapping[str, wire.Attribute]) -> list[Fault]:
    if not all(isinstance(leaf, wire.AttributeIs | wire.AnsweredIs) for leaf in segments.leaves(rule)):
        return [Fault(pointer, "form", "A stage follows from attributes alone: use attribute and answered.")]
    return segments.faults(rule, pointer, attributes, {})
