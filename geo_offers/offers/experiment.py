"""Which words a person gets, and who is kept without: variants by fixed shares, and two holdouts.

Everybody has a place from 0 to 1 in each draw, a hash of who they are and what is drawn: the same at every decision, in
every process, and independent from draw to draw. Nothing is stored for it but who somebody was before a log-in. A draw
for a holdout does not know the test: whoever is held out stays so while the share is not lowered. A draw for a variant
does: a test of other variants is drawn anew.

The workspace's holdout goes without any offer, a campaign's without this campaign's; both are asked last, of who
would have got the offer. So probabilities are known: all of the arms add up to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isclose
from typing import Final, Literal
from uuid import UUID

import msgspec

from geo_offers.errors import Fault
from geo_offers.offers.texts import Text
from geo_offers.places.fences import FenceId

MAX_VARIANTS: Final = 8
HELD_OUT: Final = "holdout"
MAIN: Final = "main"
_PLACES: Final = 2**53


@dataclass(frozen=True, slots=True)
class Variant:
    """One arm of a test: its share of those who are not held out, and its texts, where they are not the campaign's."""

    id: str
    share: float
    texts: Mapping[str, Text] | None = None

    def words(self) -> list[tuple[str, str]]:
        return [(locale, repr(text)) for locale, text in sorted((self.texts or {}).items())]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A campaign's test. version: names its variants with their shares and words; empty where there are none."""

    holdout: float = 0.0
    variants: tuple[Variant, ...] = ()
    version: str = field(init=False)

    def __post_init__(self) -> None:
        said = repr([(variant.id, variant.share, variant.words()) for variant in self.variants])
        version = blake2b(said.encode(), digest_size=4).hexdigest() if self.variants else ""
        object.__setattr__(self, "version", version)


NO_EXPERIMENT: Final = Experiment()


class Arm(msgspec.Struct, frozen=True):
    """What was drawn for a person. probabilities: of every arm that could have been; by: whose holdout it is.

    texts: the arm's own words; None: the campaign's.
    """

    name: str
    probabilities: Mapping[str, float]
    by: Literal["workspace", "campaign"] | None = None
    texts: Mapping[str, Text] | None = None


@dataclass(frozen=True, slots=True)
class Ghost:
    """The place in a person's time that an offer not made takes: the held out meet the same gates as all others."""

    campaign: UUID
    fence: FenceId
    store: str
    visit: UUID
    tags: frozenset[str]
    special: bool = False


def assign(experiment: Experiment, campaign: UUID, person: UUID, *, workspace: str, holdout: float) -> Arm:
    """Draw a person's arm. person: their `lot`; holdout: the workspace's own share, drawn by its name."""
    chances = probabilities(experiment, holdout)
    if holdout and place(person, b"workspace", workspace.encode()) < holdout:
        return Arm(HELD_OUT, chances, by="workspace")
    if experiment.holdout and place(person, b"campaign", campaign.bytes) < experiment.holdout:
        return Arm(HELD_OUT, chances, by="campaign")
    if not experiment.variants:
        return Arm(MAIN, chances)
    drawn, reached = place(person, b"variant", campaign.bytes + experiment.version.encode()), 0.0
    for variant in experiment.variants:
        reached += variant.share
        if drawn < reached:
            break
    return Arm(variant.id, chances, texts=variant.texts)


def probabilities(experiment: Experiment, holdout: float) -> dict[str, float]:
    """How likely each arm is for somebody of whom nothing is known."""
    told = (1 - holdout) * (1 - experiment.holdout)
    arms = (
        {variant.id: variant.share * told for variant in experiment.variants} if experiment.variants else {MAIN: told}
    )
    return arms if told == 1 else {HELD_OUT: 1 - told} | arms


def place(person: UUID, draw: bytes, of: bytes) -> float:
    """Where a person stands in a draw: 0 <= place < 1, evenly spread."""
    drawn = blake2b(draw + b"\x1f" + of + person.bytes, digest_size=8).digest()
    return (int.from_bytes(drawn, "big") >> 11) / _PLACES


def faults(experiment: Experiment) -> tuple[Fault, ...]:
    """Find what is wrong with a test as written; pointers are those of a campaign's body."""
    if not experiment.variants:
        return ()
    found: list[Fault] = []
    if len(experiment.variants) > MAX_VARIANTS:
        found.append(Fault("/variants", "too_many", f"A test has at most {MAX_VARIANTS} variants; drop some."))
    seen = {HELD_OUT}
    for number, variant in enumerate(experiment.variants):
        if variant.id in seen:
            found.append(
                Fault(f"/variants/{number}/id", "taken", "Each variant has a name of its own, and none is holdout.")
            )
        seen.add(variant.id)
        if not variant.share > 0:
            found.append(Fault(f"/variants/{number}/share", "range", "A share is more than 0; drop the variant."))
    if not isclose(sum(variant.share for variant in experiment.variants), 1, abs_tol=1e-6):
        found.append(Fault("/variants", "shares", "The shares of the variants add up to 1; the holdout comes before."))
    return tuple(found)


def changes(
    before: Experiment, after: Experiment, texts: Mapping[str, Text], new_texts: Mapping[str, Text]
) -> tuple[Fault, ...]:
    """Find what a new version of a campaign would change of the test that runs."""
    found: list[str] = []
    if before.holdout != after.holdout:
        found.append("/holdout")
    if before.variants != after.variants:
        found.append("/variants")
    if texts != new_texts and any(variant.texts is None for variant in before.variants):
        found.append("/texts")
    why = "A test does not change while it runs; make a new campaign for the other one."
    return tuple(Fault(pointer, "running_test", why) for pointer in found)
