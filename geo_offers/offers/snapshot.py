"""All that a decision may know: one value, read under the person's lock, complete before the first gate is asked.

Nothing in it is a position. How far a border is and how sure the fix was come with each transition.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.offers.breakers import NONE_TRIPPED, Tripped
from geo_offers.offers.budgets import Spent
from geo_offers.offers.campaigns import Campaign
from geo_offers.offers.caps import CapRule, Use
from geo_offers.offers.context import ORDINARY, Interaction, Moment
from geo_offers.offers.scoring import EVEN, Weights
from geo_offers.offers.stores import NO_RULES, StoreRules
from geo_offers.offers.texts import Value
from geo_offers.people.backoff import USUAL, BackOff
from geo_offers.people.consent import Consents
from geo_offers.people.quiet import QuietRule
from geo_offers.people.rhythm import Rhythm
from geo_offers.people.segments import NOTHING_KNOWN, Facts
from geo_offers.places.fences import FenceId, Geofence
from geo_offers.presence.states import Transition


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the person allows, and how to speak to them. zone: theirs, or the workspace's where they gave none.

    words: attributes of theirs that may stand in an offer's text; none without the consent `profile`.
    drawn_as: the id by which experiments draw them, None for their own; see `lot`.
    """

    id: UUID
    consents: Consents
    rhythm: Rhythm
    zone: ZoneInfo
    locale: str
    words: Mapping[str, Value] = {}
    interactions: Sequence[Interaction] = ()
    facts: Facts = NOTHING_KNOWN
    drawn_as: UUID | None = None

    @property
    def lot(self) -> UUID:
        """Whose place in a draw is theirs: whoever was held out stays so when the app learns their name."""
        return self.drawn_as or self.id


class WorkspacePolicy(msgspec.Struct, frozen=True, cache_hash=True, omit_defaults=True):
    """The workspace's own rules; they can only make a person's stricter.

    killed: everything of it is switched off; killed_all: everything of the installation, whoever's it is.
    paused_stores: by the name that gaps and caps count by.
    holdout: the share of its people who get no offer at all, so that the others' can be measured against them.
    """

    name: str
    zone: ZoneInfo
    place_gap_s: float = 1_800
    store_gap_s: float = 86_400
    quiet: tuple[QuietRule, ...] = ()
    killed: bool = False
    killed_all: bool = False
    paused_stores: frozenset[str] = frozenset()
    caps: tuple[CapRule, ...] = ()
    holdout: float = 0.0
    weights: Weights = EVEN
    back_off: BackOff = USUAL
    tripped: Tripped = NONE_TRIPPED


class DeviceView(msgspec.Struct, frozen=True):
    """The device that arrived. lanes: those that reach it, in the order of the person's channels."""

    id: UUID
    replay: bool = False
    lanes: tuple[str, ...] = ()


class Arrival(msgspec.Struct, frozen=True):
    """A transition and the fence it is about. zone: the fence's own; store_name: what people call its store.

    category: the store's; rules: its caps and budget; moment: what goes on there now.
    """

    transition: Transition
    fence: Geofence
    zone: ZoneInfo
    store_name: str | None = None
    category: str | None = None
    rules: StoreRules = NO_RULES
    moment: Moment = ORDINARY


class Snapshot(msgspec.Struct, frozen=True):
    """One user's turn.

    now_us: the transaction's database time; for a replay device the fix's own instant.
    uses: those of the last 32 days (`caps.USES_SPAN_US`), in any order; as a `caps.Past` they are looked at once.
    others_inside: fences in which another device of the person is.
    spent: of every budget that a candidate has, by `budgets.of_campaign` and `budgets.of_store`.
    """

    now_us: int
    person: Person
    policy: WorkspacePolicy
    device: DeviceView
    arrivals: tuple[Arrival, ...]
    campaigns: Sequence[Campaign]
    uses: Sequence[Use] = ()
    others_inside: AbstractSet[FenceId] = frozenset()
    catalog_version: int = 0
    tz_version: str = ""
    holidays_version: str = ""
    stale_after_s: float = 120.0
    spent: Mapping[str, Spent] = {}
