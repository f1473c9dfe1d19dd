"""What bodies agree to, with the place of each word: what is wrong with it is told there."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from geo_offers import wire
from geo_offers.errors import Fault, Forbidden, Invalid
from geo_offers.people.tcf import precise_location


@dataclass(frozen=True, slots=True)
class Word:
    """Where in a body a consent stands, and where its text's version does. granted: false where it is withdrawn."""

    purpose: wire.PurposeName
    pointer: str
    version_at: str
    version: str
    shown: wire.ShownText | None = None
    granted: bool = True


def of_change(purpose: wire.PurposeName, change: wire.ConsentChange) -> Word:
    return Word(purpose, "", "/text_version", change.text_version, change, change.granted)


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


def refuse_tc_strings(words: Sequence[Word]) -> None:
    """Invalid where a TC string is none, or stands where it says nothing; Forbidden where it does not let us locate."""
    given = [(word, word.shown, word.shown.tc_string) for word in words if word.shown and word.shown.tc_string]
    wrong = [(word, _tc_fault(word, shown, text)) for word, shown, text in given]
    _refuse([Fault(f"{word.pointer}/tc_string", "tc_string", detail) for word, detail in wrong if detail is not None])
    if any(word.granted and not precise_location(text) for word, _, text in given):
        raise Forbidden("the TC string has no opt-in to special feature 1, precise location: nothing is granted", "tcf")


def _tc_fault(word: Word, shown: wire.ShownText, text: str) -> str | None:
    if word.purpose != "locate":
        return "a TC string is about locate alone; leave it out"
    if shown.proof is not None:
        return "the proof is this string's own SHA-256; leave proof out"
    try:
        precise_location(text)
    except ValueError:
        return "this is no TC string of the framework's version 2; give it as the consent tool does"
    return None


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, tuple(faults[:20]))
