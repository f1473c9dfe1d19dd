"""JSON columns to values and back: consents, rhythms, zones, quiet hours, presence, a workspace's rules.

What was stored may be unreadable later: a hand's change, an older release, a time zone that is gone. That is the fault
of one row and stays with it. It is read as the strictest value there is (nothing agreed to, no offers, paused) or left
out of a list, and the log names the row, not what it holds. Writing the value anew mends it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, Final, TypeVar, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import structlog
from msgspec import UNSET, UnsetType

from geo_offers import wire
from geo_offers.errors import Conflict
from geo_offers.instants import from_us, to_us
from geo_offers.offers.caps import Use
from geo_offers.offers.context import Interaction
from geo_offers.offers.snapshot import WorkspacePolicy
from geo_offers.people.backoff import BackOff, Became
from geo_offers.people.consent import NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.people.mutes import Mutes
from geo_offers.people.profile import Account
from geo_offers.people.quiet import QuietRule, quiet_rule
from geo_offers.people.rhythm import Per, Rhythm, Rolling, Special
from geo_offers.people.stricter import locates_more, looser
from geo_offers.people.whereabouts import ANYWHERE, UNKNOWN, Locate, Whereabouts
from geo_offers.pipeline import choice
from geo_offers.places.fences import FenceId
from geo_offers.places.geometry import Circle
from geo_offers.presence import states
from geo_offers.presence.states import PresenceState

S = TypeVar("S")
T = TypeVar("T")

# Not our JSON; an instant without its offset; a name that is no time zone, or only a folder of them. A file that cannot
# be opened just now is no such fault: it may be read the next time.
_UNREADABLE: Final = (ValueError, TypeError, LookupError, IsADirectoryError, NotADirectoryError, PermissionError)

_log = structlog.get_logger()
_CONSENTS = msgspec.json.Decoder(dict[str, wire.ConsentState])
_RHYTHM = msgspec.json.Decoder(wire.Rhythm)
_SETTINGS = msgspec.json.Decoder(wire.Workspace)
_ALWAYS: Final = wire.QuietHours(days=list(get_args(wire.Day)), start="00:00", end="24:00")

REMEMBERED: Final = (
    4_096  # columns read of late: most rhythms are alike, and an offer's person is read again at its send
)
MUTED_STORES: Final = 200  # as `wire.Mutes` has them
MUTED_CATEGORIES: Final = 100
MUTED_CAMPAIGNS: Final = 500
MOST_PLACES: Final = 20
NO_OFFERS: Final = wire.Rhythm(max=0, quiet=[_ALWAYS], special=wire.SpecialBudget(allow=False), locate="off")
CLOSED: Final = wire.Workspace(paused=True, age="unknown", user_proof="required")


# ------------------------------------------------------------------------------------------------ unreadable rows
def _read(what: str, of: object, reader: Callable[[S], T], stored: S, strictest: T) -> T:
    try:
        return reader(stored)
    except _UNREADABLE as error:
        _log.error("a stored value cannot be read", what=what, of=of, error=type(error).__name__)
        return strictest


def each_readable(what: str, found: Iterable[Any], reader: Callable[[Any], T]) -> list[T]:
    """The values of these rows (each has an `id`), without those that cannot be read."""
    read = (_read(what, row["id"], reader, row, None) for row in found)
    return [value for value in read if value is not None]


# ------------------------------------------------------------------------------------------------ people
def consents(column: bytes, of: UUID | None = None) -> Consents:
    """What the person has said; nothing where that cannot be read. of: the person, for the log."""
    return _read("consents", of, _consents, column, NONE_GIVEN)


@lru_cache(maxsize=REMEMBERED)
def _consents(column: bytes) -> Consents:
    said = _CONSENTS.decode(column)
    return Consents(
        {
            Purpose(purpose): Consent(state.granted, state.text_version, to_us(state.at), state.seq)
            for purpose, state in said.items()
        }
    )


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """One field a purpose; what is not there was never said."""

    locate: wire.ConsentState | UnsetType = UNSET
    offers: wire.ConsentState | UnsetType = UNSET
    profile: wire.ConsentState | UnsetType = UNSET
    measure: wire.ConsentState | UnsetType = UNSET


_SAID = msgspec.json.Decoder(_Said)


def may_locate(column: bytes, of: UUID) -> bool:
    """`consents(column, of).granted(Purpose.LOCATE)`, several times as fast: a turn asks it of everybody."""
    return _read("consents", of, _may_locate, column, strictest=False)


def _may_locate(column: bytes) -> bool:
    said = _SAID.decode(column)
    for state in (said.locate, said.offers, said.profile, said.measure):
        if state is not UNSET and state.at.tzinfo is None:
            raise ValueError("an instant without its offset")
    return said.locate is not UNSET and said.locate.granted


def consent_states(value: Consents) -> list[wire.ConsentState]:
    return [
        wire.ConsentState(
            purpose=purpose.value,
            granted=said.granted,
            text_version=said.text_version,
            at=from_us(said.at_us),
            seq=said.seq,
        )
        for purpose, said in sorted(value.said.items())
    ]


def consents_column(value: Consents) -> bytes:
    return msgspec.json.encode({state.purpose: state for state in consent_states(value)})


def wire_rhythm(column: bytes | None, of: UUID | None = None) -> wire.Rhythm:
    """The rhythm as the person set it; the default where they did not, no offers where that cannot be read."""
    return wire.Rhythm() if column is None else _read("rhythm", of, _RHYTHM.decode, column, NO_OFFERS)


def rhythm(column: bytes | None, of: UUID | None = None) -> Rhythm:
    """As `wire_rhythm`, as decisions read it."""
    return _USUAL if column is None else _read("rhythm", of, _rhythm, column, NO_RHYTHM)


class _Profile(msgspec.Struct):
    """As it is kept; the stage is told again from the attributes wherever it decides."""

    attributes: dict[str, wire.Value] = {}
    stage: wire.Stage | None = None
    reason: str | None = None
    since: datetime | None = None


_PROFILE = msgspec.json.Decoder(_Profile)


def profile(column: bytes | None, of: UUID | None = None) -> _Profile | None:
    """What is kept of a person; None where it cannot be read, and so is not known."""
    return _Profile() if column is None else _read("profile", of, _PROFILE.decode, column, None)


def profile_column(attributes: Mapping[str, wire.Value], stage: wire.Stage, reason: str, since: datetime) -> bytes:
    return msgspec.json.encode(_Profile(dict(attributes), stage, reason, since))


def account(row: Any, said: Consents) -> Account:
    """What a decision knows of this row of a person; no profile unless they are of age and let it be."""
    allowed = row["adult"] and said.granted(Purpose.PROFILE)
    held = profile(row["profile"], row["id"]) if allowed else None
    return Account(
        attributes=None if held is None else held.attributes,
        refused=tuple(row["refused"]),
        named=row["named"],
        created_us=to_us(row["created_at"]),
    )


def rhythm_in_zone(column: bytes | None, zone: str | None, of: UUID) -> tuple[Rhythm, ZoneInfo | None]:
    """The rhythm and the zone it is kept in, None for the workspace's.

    No offers where the zone cannot be read: when it is quiet is not known then.
    """
    if zone is None:
        return rhythm(column, of), None
    found = _read("time_zone", of, ZoneInfo, zone, None)
    return (NO_RHYTHM if found is None else rhythm(column, of)), found


@lru_cache(maxsize=REMEMBERED)
def _rhythm(column: bytes) -> Rhythm:
    return as_decided(_RHYTHM.decode(column))


def as_decided(given: wire.Rhythm) -> Rhythm:
    """A rhythm as decisions read it."""
    special, mute = given.special, given.mute
    return Rhythm(
        max=given.max,
        per=_per(given.per),
        min_gap_h=given.min_gap_h,
        quiet=quiet(given.quiet),
        special=Special(special.allow, special.max, _per(special.per)),
        channels=tuple(given.channels),
        mute=Mutes(frozenset(mute.stores), frozenset(mute.categories), frozenset(mute.campaigns)),
    )


def _per(given: wire.Per) -> Per:
    return Rolling(given.hours) if isinstance(given, wire.RollingHours) else given


def rhythm_muting(column: bytes | None, campaign: UUID, of: UUID) -> bytes | None:
    """The rhythm's column with this campaign muted as well; None where it is muted already.

    What the person has not set stays unset. Conflict where nothing more can be muted.
    """
    held = wire_rhythm(column, of).mute
    if campaign in held.campaigns:
        return None
    if len(held.campaigns) >= MUTED_CAMPAIGNS:
        raise Conflict(f"a person mutes at most {MUTED_CAMPAIGNS} campaigns; unmute some first")
    mute = msgspec.structs.replace(held, campaigns=[*held.campaigns, campaign])
    said = {} if column is None else _read("rhythm", of, _said, column, msgspec.to_builtins(NO_OFFERS))
    return msgspec.json.encode(said | {"mute": mute})


def rhythm_merged(own: bytes | None, brought: bytes | None, of: UUID, *, trusted: bool) -> bytes | None:
    """The rhythm of a person who takes on a phone with a life of its own: theirs if they set one, and both's mutes.

    So are the places of both. A phone that is not trusted to speak for the person brings no rhythm that is looser than
    the default.
    """
    if brought is None:
        return own
    ours, theirs = wire_rhythm(brought, of), wire_rhythm(own, of)
    if own is None and (trusted or not made_looser(theirs, ours)):
        return brought
    mute = wire.Mutes(
        stores=_either(theirs.mute.stores, ours.mute.stores)[:MUTED_STORES],
        categories=_either(theirs.mute.categories, ours.mute.categories)[:MUTED_CATEGORIES],
        campaigns=_either(theirs.mute.campaigns, ours.mute.campaigns)[:MUTED_CAMPAIGNS],
    )
    said = {} if own is None else _read("rhythm", of, _said, own, msgspec.to_builtins(NO_OFFERS))
    return msgspec.json.encode(said | {"mute": mute, "not_at": both_places(theirs, ours)[:MOST_PLACES]})


def both_places(held: wire.Rhythm, given: wire.Rhythm) -> list[wire.NotAt]:
    """The places of two rhythms, each once."""
    return _either(held.not_at or (), given.not_at or ())


def made_looser(held: wire.Rhythm, given: wire.Rhythm) -> list[str]:
    """Where a rhythm allows what the one in force forbids, as pointers into it; its places aside."""
    found = [*looser(as_decided(held), as_decided(given))]
    return [*found, "/locate"] if locates_more(held.locate, given.locate) else found


def _either(one: Sequence[T], other: Sequence[T]) -> list[T]:
    return list(dict.fromkeys([*one, *other]))


def _said(column: bytes) -> dict[str, Any]:
    """What of a rhythm was set, of one that can be read."""
    _RHYTHM.decode(column)
    said: dict[str, Any] = msgspec.json.decode(column)
    return said


class _Where(msgspec.Struct):
    """Of a person's rhythm only this."""

    locate: Locate = "always"
    not_at: list[wire.NotAt] = []


_WHERE = msgspec.json.Decoder(_Where)


def whereabouts(column: bytes | None, of: UUID) -> Whereabouts | None:
    """What the person said of being located, None where they said nothing; nowhere where that cannot be read."""
    said = ANYWHERE if column is None else _read("rhythm", of, _whereabouts, column, UNKNOWN)
    return None if said == ANYWHERE else said


def _whereabouts(column: bytes) -> Whereabouts:
    given = _WHERE.decode(column)
    return Whereabouts(given.locate, tuple(Circle(place.lat, place.lon, place.radius_m) for place in given.not_at))


def quiet(given: Sequence[wire.QuietHours | wire.OpeningHours]) -> tuple[QuietRule, ...]:
    return tuple(quiet_rule(hours.days, hours.start, hours.end) for hours in given)


def legal_quiet(given: Sequence[wire.LegalQuiet]) -> tuple[QuietRule, ...]:
    return tuple(
        quiet_rule(
            () if rule.days is UNSET else rule.days,
            rule.start,
            rule.end,
            None if rule.holidays is UNSET else rule.holidays,
        )
        for rule in given
    )


NO_RHYTHM: Final = as_decided(NO_OFFERS)
_USUAL: Final = Rhythm()


_INTERACTIONS: Final = msgspec.json.Decoder(list[Interaction])


def interactions(column: bytes | None, of: UUID) -> Sequence[Interaction] | None:
    """What the person did, as far as it is kept; None where that cannot be read."""
    return () if column is None else _read("interactions", of, _INTERACTIONS.decode, column, None)


def use(row: Any) -> tuple[UUID, Use]:
    """Whose it is, and a reservation in use; the columns in the order in which both statements name them."""
    user, at, campaign, store, fence, tags, visit, special, ghost, became = row
    taken = Use(to_us(at), campaign, store, FenceId(fence), frozenset(tags), visit, special, ghost, Became(became))
    return user, taken


def presence(column: bytes | None, of: UUID) -> PresenceState:
    """Where a device is; nowhere where that is not kept or cannot be read."""
    return states.NOWHERE if column is None else _read("presence", of, states.load, column, states.NOWHERE)


class _Stay(msgspec.Struct):
    fence: FenceId


class _Inside(msgspec.Struct):
    """Of a device's presence only this."""

    inside: list[_Stay] = []


_INSIDE = msgspec.json.Decoder(_Inside)


def inside(column: bytes | None, of: UUID) -> list[FenceId]:
    """The fences in which a device is, without all the rest of `presence`: a person may have a thousand devices."""
    return (
        []
        if column is None
        else [stay.fence for stay in _read("presence", of, _INSIDE.decode, column, _Inside()).inside]
    )


# ------------------------------------------------------------------------------------------------ workspaces
def settings(column: bytes, of: UUID) -> wire.Workspace:
    """The workspace's rules; paused, with the strictest of each, where they cannot be read."""
    return _read("settings", of, _SETTINGS.decode, column, CLOSED)


def policy(name: str, column: bytes, of: UUID) -> WorkspacePolicy:
    """What decisions read of the workspace's rules; paused where they, or their zone, cannot be read."""
    return _read("settings", of, partial(_policy, name), column, WorkspacePolicy(name, ZoneInfo("UTC"), killed=True))


def _policy(name: str, column: bytes) -> WorkspacePolicy:
    given = _SETTINGS.decode(column)
    return WorkspacePolicy(
        name=name,
        zone=ZoneInfo(given.time_zone),
        place_gap_s=given.place_gap_s,
        store_gap_s=given.store_gap_s,
        quiet=legal_quiet(given.quiet),
        killed=given.paused,
        caps=choice.cap_rules(given.caps),
        holdout=given.holdout,
        weights=choice.weights(given.ranking),
        back_off=BackOff(given.back_off.after, given.back_off.most),
    )


# ------------------------------------------------------------------------------------------------ offers
class _Message(msgspec.Struct):
    title: str
    body: str
    link: str | None = None
    data: dict[str, str] | None = None


_MESSAGE = msgspec.json.Decoder(_Message)


def offer(row: Any) -> wire.Offer:
    """A silent copy of an offer, as the inbox and the export show it."""
    said = _MESSAGE.decode(row["message"])
    return wire.Offer(
        id=row["id"],
        campaign=row["campaign"],
        fence=row["fence"],
        title=said.title,
        body=said.body,
        link=said.link,
        data=said.data,
        lane=row["lane"],
        alert=False,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
