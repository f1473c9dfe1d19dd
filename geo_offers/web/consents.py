"""What a consent must be beyond the types of `wire`: to a text that there is, at an instant of our days."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from geo_offers import wire
from geo_offers.errors import Fault, Forbidden, Invalid
from geo_offers.people.consent import BY_SIGNAL
from geo_offers.pipeline import signals
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Given


@dataclass(frozen=True, slots=True)
class Word:
    """Where in a body a consent stands, and what it says; version_at: where its text's version stands."""

    purpose: str
    pointer: str
    version_at: str
    version: str
    shown: wire.ShownText | None = None


def enrolled(enrolments: Sequence[wire.Enrolment], *, many: bool) -> list[Word]:
    """All that these enrolments agree to."""
    return [
        _agreed(f"/{number}/consents/{purpose}" if many else f"/consents/{purpose}", purpose, given)
        for number, one in enumerate(enrolments)
        for purpose, given in one.consents.items()
    ]


def _agreed(pointer: str, purpose: str, given: str | wire.Agreed) -> Word:
    if isinstance(given, str):
        return Word(purpose, pointer, pointer, given)
    return Word(purpose, pointer, f"{pointer}/text_version", given.text_version, given)


async def check_change(services: Services, given: Given, purpose: wire.PurposeName) -> None:
    """Invalid for what cannot be meant, Forbidden for a grant of what the same call's `Sec-GPC: 1` refuses.

    A refusal needs no text that there is.
    """
    change: wire.ConsentChange = given.body
    word = Word(purpose, "", "/text_version", change.text_version, change)
    if not change.granted:
        _refuse(_faulty_instants([word]))
        return
    if purpose in BY_SIGNAL and signals.refuses(given.headers):
        raise Forbidden(
            f"this call says {signals.HEADER}: 1, which refuses {purpose}; grant it by a call without", "gpc"
        )
    await check(services, given, [word])


async def check(services: Services, given: Given, words: Sequence[Word]) -> None:
    """Invalid, with the place of each fault, where any of these grants cannot be meant."""
    if not words:
        return
    texts = (await services.workspaces.read(given.caller.workspace)).consent_texts
    unknown = [
        Fault(
            word.version_at, "text_version", f"the workspace names no such text for {word.purpose}; show one it names"
        )
        for word in words
        if word.purpose in texts and word.version not in texts[word.purpose]
    ]
    _refuse([*_faulty_instants(words), *unknown])


def _faulty_instants(words: Iterable[Word]) -> list[Fault]:
    """Those that name no zone, or are none of our days: a phone's clock may be years off."""
    return [
        Fault(f"{word.pointer}/said_at", "said_at", "write an instant with its zone, as 2026-05-01T09:30:00Z")
        for word in words
        if word.shown is not None and (at := word.shown.said_at) and (at.tzinfo is None or not 1970 < at.year < 2100)
    ]


def _refuse(faults: Sequence[Fault]) -> None:
    if faults:
        raise Invalid(faults[0].detail, tuple(faults[:20]))
