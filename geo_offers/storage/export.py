"""All that is held of a person, read a page at a time: each page is one short transaction.

What is told page by page may be long, and the phone that asked may read slowly: nothing is held open meanwhile, neither
a connection nor the rows.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import structs

from geo_offers import wire
from geo_offers.errors import Unauthenticated
from geo_offers.instants import from_us
from geo_offers.offers.packing import unpacked
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.people import Exported
from geo_offers.storage import ledger, rows, scope
from geo_offers.storage.decisions import decision_answer
from geo_offers.storage.pool import NIL, Connection, Pool, transaction
from geo_offers.storage.profiles import told
from geo_offers.storage.queries import sql

PAGE: Final = 100  # rows: some milliseconds of the event loop
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)

Told = Sequence[msgspec.Struct]


@dataclass(frozen=True, slots=True)
class _List:
    """One of the export's long lists: the statement of a page, the instant it goes by, and how its rows are told.

    of_device: the statement knows the device of a row.
    """

    query: str
    by: str
    tell: Callable[[Connection, Caller, Sequence[Any]], Awaitable[Told]]
    of_device: bool = True


async def export(pool: Pool, caller: Caller) -> Exported:
    """Raises Unauthenticated where the person is gone, here or, erased meanwhile, at a later page."""
    async with transaction(pool, [caller.workspace]) as connection:
        user = await _user(connection, caller)
        devices = await connection.fetch(sql("export_devices"), caller.user, caller.confined_to)
        rhythm = await scope.rhythm_told(connection, caller, rows.wire_rhythm(user["rhythm"]))
    whole = wire.Export(
        user=user["id"],
        created_at=user["created_at"].astimezone(UTC),
        external_id=user["external_id"],
        drawn_as=user["drawn_as"],
        locale=user["locale"],
        time_zone=user["time_zone"],
        consents=rows.consent_states(rows.consents(user["consents"])),
        rhythm=rhythm,
        age=user["age"],
        interactions=[] if caller.confined_to else _interactions(user),  # told of the person, not by this device
        profile=told(user, whole=True) if caller.confined_to is None else None,
        devices=[wire.ExportedDevice(**dict(row)) for row in devices],
        visits=[],
        offers=[],
        decisions=[],
        reservations=[],
        ledger=[],
    )
    lists = {name: _pages(pool, caller, long) for name, long in _LISTS.items()}
    return Exported(whole, lists | {"ledger": _ledger(pool, caller)})


async def _user(connection: Connection, caller: Caller) -> Any:
    row = await connection.fetchrow(sql("user_read"), caller.user)
    if row is None:
        raise Unauthenticated("this person's data was erased; enrol again")
    return row


def _interactions(user: Any) -> list[wire.ExportedInteraction]:
    return [
        wire.ExportedInteraction(
            id=one.id, type=one.type, at=from_us(one.at_us), until=from_us(one.until_us), campaign=one.campaign
        )
        for one in rows.interactions(user["interactions"], user["id"]) or ()
    ]


async def _pages(pool: Pool, caller: Caller, long: _List) -> AsyncIterator[Told]:
    after: tuple[datetime, UUID] | None = (_BEGINNING, NIL)
    while after is not None:
        async with transaction(pool, [caller.workspace]) as connection:
            await _user(connection, caller)
            only = (caller.confined_to,) if long.of_device else ()
            page = await connection.fetch(sql(long.query), caller.user, *after, PAGE, *only)
            told = await long.tell(connection, caller, page)
        yield told
        after = (page[-1][long.by], page[-1]["id"]) if len(page) == PAGE else None


async def _visits(_connection: Connection, _caller: Caller, page: Sequence[Any]) -> list[wire.Visit]:
    return [wire.Visit(**dict(row)) for row in page]


async def _offers(connection: Connection, _caller: Caller, page: Sequence[Any]) -> list[wire.ExportedOffer]:
    told: dict[UUID, list[wire.ExportedEvent]] = {row["id"]: [] for row in page}
    for row in await connection.fetch(sql("export_events"), list(told)):
        event = wire.ExportedEvent(type=row["type"], at=row["at"], reason=row["reason"])
        told[row["offer"]].append(event)
    return [wire.ExportedOffer(offer=rows.offer(row), state=row["state"], events=told[row["id"]]) for row in page]


async def decisions(connection: Connection, caller: Caller, page: Sequence[Any]) -> list[wire.Decision]:
    """Of a device without proof, those to which one of its own visits led."""
    told = [decision_answer(row, str(caller.user)) for row in page]
    if caller.confined_to is None:
        return told
    visits = {edge["visit"] for one in told for edge in one.transitions}
    found = await connection.fetch(sql("export_visits_of_device"), list(visits), caller.confined_to)
    own = {str(row["id"]) for row in found}
    return [one for one in told if any(edge["visit"] in own for edge in one.transitions)]


async def _decisions(connection: Connection, caller: Caller, page: Sequence[Any]) -> list[wire.Decision]:
    """With what they were made of, which holds more of the person than one device without proof is told."""
    told = await decisions(connection, caller, page)
    if caller.confined_to is not None:
        return told
    return [structs.replace(one, snapshot=_snapshot(row)) for one, row in zip(told, page, strict=True)]


def _snapshot(row: Any) -> dict[str, Any] | None:
    """What of it is the person's; campaigns and settings are the company's."""
    if row["snapshot"] is None:
        return None
    held = msgspec.json.decode(unpacked(row["snapshot"]), type=dict[str, Any])
    return {part: held[part] for part in ("person", "device", "uses", "others_inside")}


async def _reservations(
    _connection: Connection, _caller: Caller, page: Sequence[Any]
) -> list[wire.ExportedReservation]:
    return [
        wire.ExportedReservation(
            offer=row["id"],
            at=row["at"],
            campaign=row["campaign"],
            store=row["store"],
            fence=row["fence"],
            state=_RESERVED[row["state"]],
        )
        for row in page
    ]


async def _ledger(pool: Pool, caller: Caller) -> AsyncIterator[Told]:
    """The ledger is the person's: a device without proof is told what is in force, as `consents`, and no more."""
    if caller.user is None or caller.confined_to is not None:
        return
    async for page in ledger.of_person(pool, caller.workspace, caller.user, PAGE):
        yield page


_RESERVED: Final[Sequence[Literal["held", "kept", "released"]]] = ("held", "kept", "released")
_LISTS: Final[Mapping[str, _List]] = MappingProxyType(
    {
        "visits": _List("export_visits", "entered_at", _visits),
        "offers": _List("export_offers", "created_at", _offers),
        "decisions": _List("export_decisions", "at", _decisions, of_device=False),
        "reservations": _List("export_reservations", "at", _reservations),
    }
)
