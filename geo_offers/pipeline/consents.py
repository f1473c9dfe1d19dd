"""What bodies agree to, with the place of each word: what is wrong with it is told there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from geo_offers import wire
from geo_offers.errors import Fault, Invalid


@dataclass(frozen=True, slots=True)
class Word:
    """Where in a body a consent stands, and where its text's version does."""

    purpose: wire.PurposeName
    pointer: str
    version_at: str
    version: str
    shown: wire.ShownText | None = None


def of_change(purpose: wire.PurposeName, change: wire.ConsentChange) -> Word:
    return Word(purpose, "", "/text_version", change.text_version, change)


def of_enrolments(enrolments: Sequence[wire.Enrolment], *, many: bool) -> list[Word]:
    """All that these enrolments agree to. many: they came as an array."""
    return [
        _agreed(f"/{number}/consents/{purpose}" if many else f"/consents/{purpose}", purpose, given)
        for number, one in enumerate(enrolments)
        for purpose, given in one.consents.items()
    ]


def _agreed(pointer: str, purpose: wire.PurposeName, given: str | wire.Agreed) -> Word:
    if isinstance(given, str):
        return Word(purpose, pointer, pointer, given)
    return Word(purpose, pointer, f"{pointer}/text_version", given.text_version, given)


def refuse_unknown(words: Sequence[Word], texts: Mapping[wire.PurposeName, Collection[str]]) -> None:
    """Invalid where the workspace names the texts for a purpose, and a grant is of none of them."""
    _refuse(
        [
            Fault(word.version_at, "text_version", f"the workspace names no such text for {word.purpose}")
            for word in words
            if word.version not in texts.get(word.purpose, (word.version,))
        ]
    )


def refuse_instants(words: Sequence[Word]) -> None:
    """Invalid where a phone's time names no zone, or is none of our days: its clock may be years off."""
    _refuse(
        [
            Fault(f"{word.pointer}/said_at", "said_at", "write an instant with its zone, as 2026-05-01T09:30:00Z")
            for word in words
            if word.shown is not None
            and (at := word.shown.said_at)
            and (at.tzinfo is None or not 1970 < at.year < 2100)
        ]
    )


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, tuple(faults[:20]))
