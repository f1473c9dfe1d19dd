"""JSON columns to values and back: consents, rhythms, zones, quiet hours."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from geo_offers import wire
from geo_offers.instants import from_us, to_us
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.quiet import QuietRule, quiet_rule
from geo_offers.people.rhythm import Rhythm, Rolling

_CONSENTS = msgspec.json.Decoder(dict[str, wire.ConsentState])
_RHYTHM = msgspec.json.Decoder(wire.Rhythm)


def consents(column: bytes) -> Consents:
    said = _CONSENTS.decode(column)
    return Consents(
        {
            Purpose(purpose): Consent(state.granted, state.text_version, to_us(state.at))
            for purpose, state in said.items()
        }
    )


def consent_states(value: Consents) -> list[wire.ConsentState]:
    return [
        wire.ConsentState(
            purpose=purpose.value, granted=said.granted, text_version=said.text_version, at=from_us(said.at_us)
        )
        for purpose, said in sorted(value.said.items())
    ]


def consents_column(value: Consents) -> bytes:
    return msgspec.json.encode({state.purpose: state for state in consent_states(value)})


def wire_rhythm(column: bytes | None) -> wire.Rhythm:
    """The rhythm as the person set it; the default where they did not."""
    return wire.Rhythm() if column is None else _RHYTHM.decode(column)


def rhythm(column: bytes | None) -> Rhythm:
    given = wire_rhythm(column)
    per = Rolling(given.per.hours) if isinstance(given.per, wire.RollingHours) else given.per
    return Rhythm(max=given.max, per=per, min_gap_h=given.min_gap_h, quiet=quiet(given.quiet))


def quiet(given: Sequence[wire.QuietHours]) -> tuple[QuietRule, ...]:
    return tuple(quiet_rule(hours.days, hours.start, hours.end) for hours in given)


def zone(name: str | None) -> ZoneInfo | None:
    return None if name is None else ZoneInfo(name)


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
