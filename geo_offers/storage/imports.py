"""Imports: the rows of a file as they would be written, what writing them changed, and the way back.

What is to be known of the fences before they are written is asked (`admit`) before the transaction that holds the set.
Whatever is done with all rows goes page by page, a slice at a time: pings go on, however large the file is.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from geo_offers import wire
from geo_offers.errors import Conflict, Fault, NotFound
from geo_offers.pipeline.management import SET_FENCES, Admit, ImportReport, SetChange
from geo_offers.pipeline.slices import batches
from geo_offers.places.fences import Geofence, fence_id
from geo_offers.places.importing.rows import ReadRow
from geo_offers.storage import private
from geo_offers.storage.auditing import note
from geo_offers.storage.features import box_of, fence_of
from geo_offers.storage.geofences import Writing, full, open_set, read_versions, write
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

T = TypeVar("T")

PAGE: Final = 125  # rows a statement: encoding them, and reading an answer of as many, is a slice or two
KEPT_PREVIEWS: Final = 20
Status = Literal["new", "changed", "unchanged", "refused"]


class _Report(msgspec.Struct, omit_defaults=True):
    """What a row's column holds: the fault that refused it, or what was noted of it."""

    pointer: str | None = None
    code: str | None = None
    detail: str | None = None
    notes: list[wire.ProblemFault] = []


_encoder = msgspec.json.Encoder()
_report = msgspec.json.Decoder(_Report)
_counts = msgspec.json.Decoder(wire.ImportCounts)
_NOTHING_SAID: Final = msgspec.json.encode(_Report())
_LEFT: Final = _Report(
    code="changed_since", detail="this geofence was changed or deleted after the import and was left as it is"
)


class PostgresImports:
    """`pipeline.management.Imports`."""

    def __init__(self, pool: Pool, owner: str | None = None) -> None:
        """owner: who holds the partitions in this process; None where nobody does."""
        self._pool = pool
        self._owner = owner

    async def create(self, workspace: UUID, ident: UUID, set_id: str, rows: Sequence[ReadRow]) -> str:
        async with transaction(self._pool, [workspace]) as connection:
            held = await connection.fetchrow(sql("import_read"), workspace, ident)
            if held is not None:
                return str(held["set_id"])
            counts: Counter[Status] = Counter()
            there = await connection.fetchval(sql("geofences_count"), workspace, set_id)
            any_private = await connection.fetchval(sql("private_places_count"), workspace) > 0
            await connection.execute(sql("import_add"), ident, workspace, set_id, msgspec.json.encode(_told(counts)))
            async for first, page in _pages(rows):
                names = [row.external_id for row in page if row.external_id] if there else []
                live = await _digests(connection, workspace, set_id, names)
                statuses = [_status(live, row.external_id, row.feature) for row in page]
                noted = await _noted_private(connection, workspace, set_id, page, any_private=any_private)
                kept = [
                    (first + number, status, _report_on(row), row.external_id, row.feature)
                    for number, (status, row) in enumerate(zip(statuses, noted, strict=True))
                ]
                await connection.execute(sql("import_rows_add"), ident, workspace, *columns(kept, 5))
                counts.update(statuses)
            await _set_state(connection, workspace, ident, "previewed", _told(counts))
            await connection.execute(sql("import_previews_forget"), workspace, KEPT_PREVIEWS)
        return set_id

    async def set_of(self, workspace: UUID, ident: UUID) -> str:
        async with transaction(self._pool, [workspace]) as connection:
            return str((await _held(connection, "import_read", workspace, ident))["set_id"])

    async def get(self, workspace: UUID, ident: UUID) -> ImportReport:
        async with transaction(self._pool, [workspace]) as connection:
            return await _report_of(connection, workspace, ident)

    # ------------------------------------------------------------------------------------------ apply
    async def apply(self, workspace: UUID, ident: UUID, author: str, admit: Admit) -> SetChange[ImportReport]:
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_read", workspace, ident)
            if held["state"] == "applied":
                return SetChange(await _report_of(connection, workspace, ident))
            if held["state"] == "undone":
                raise Conflict("this import was undone; import the file anew")
            kept = await connection.fetch(sql("import_rows_to_apply"), workspace, ident)
        fences = await _fences(held["set_id"], [(row["external_id"], row["feature"]) for row in kept])
        await admit(list(fences.values()))
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_lock", workspace, ident)
            await open_set(connection, workspace, held["set_id"], self._owner)
            versions, off = await self._write(connection, workspace, held, kept, fences, author=author)
            await note(connection, workspace, author, "import.apply", str(ident))
            report = await _report_of(connection, workspace, ident)
        return SetChange(report, put=await _versioned(fences, versions, off))

    async def _write(
        self,
        connection: Connection,
        workspace: UUID,
        held: Any,
        kept: Sequence[Any],
        fences: Mapping[str, Geofence],
        *,
        author: str,
    ) -> tuple[Mapping[str, int], Collection[str]]:
        """Write what differs from what is live now; the versions of what was written, and what waits for approval."""
        set_id, versions, off = held["set_id"], dict[str, int](), set[str]()
        counts: Counter[Status] = Counter({"refused": _counts.decode(held["counts"]).refused})
        there = await connection.fetchval(sql("geofences_count"), workspace, set_id)
        async for _, page in _pages(kept):
            live = await _digests(connection, workspace, set_id, [row["external_id"] for row in page] if there else [])
            statuses = {row["external_id"]: _status(live, row["external_id"], row["feature"]) for row in page}
            counts.update(statuses.values())
            if there + counts["new"] > SET_FENCES:
                raise full(set_id)
            changed = [ident for ident, status in statuses.items() if status == "changed"]
            before = await _features(connection, workspace, set_id, changed)
            differing = [row for row in page if statuses[row["external_id"]] != "unchanged"]
            places = await private.over(
                connection, workspace, {row["external_id"]: fences[row["external_id"]] for row in differing}
            )
            off |= places.keys()
            writing: list[Writing] = [
                (ident, row["feature"], box_of(fences[ident].outline), places.get(ident))
                for row in differing
                if (ident := row["external_id"])
            ]
            written = await write(connection, workspace, set_id, writing, author)
            versions |= {row["external_id"]: row["version"] for row in written}
            done = [
                (row["row"], statuses[ident], before.get(ident), versions.get(ident))
                for row in page
                if (ident := row["external_id"])
            ]
            await connection.execute(sql("import_rows_applied"), held["id"], *columns(done, 4))
        await _set_state(connection, workspace, held["id"], "applied", _told(counts))
        return versions, off

    # ------------------------------------------------------------------------------------------ undo
    async def undo(self, workspace: UUID, ident: UUID, author: str, admit: Admit) -> SetChange[ImportReport]:
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_read", workspace, ident)
            if held["state"] == "undone":
                return SetChange(await _report_of(connection, workspace, ident))
            if held["state"] == "previewed":
                raise Conflict("this import is not applied; there is nothing to undo")
            kept = await connection.fetch(sql("import_rows_to_undo"), workspace, ident)
            ours = await _ours(connection, workspace, held["set_id"], kept)
        set_id = held["set_id"]
        before = {
            row["external_id"]: row["before"]
            for row in kept
            if row["before"] is not None and row["external_id"] in ours
        }
        fences = await _fences(set_id, list(before.items()))
        gone = sorted(ours - fences.keys())
        dropped = [fence_id(set_id, key) for key in gone]
        await admit(list(fences.values()), dropped)
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_lock", workspace, ident)
            await open_set(connection, workspace, set_id, self._owner)
            versions, off = dict[str, int](), set[str]()
            async for _, names in _pages(gone):
                await connection.fetch(sql("geofences_delete"), workspace, set_id, names)
            async for _, keys in _pages(list(fences)):
                places = await private.over(connection, workspace, {key: fences[key] for key in keys})
                off |= places.keys()
                restored = [(key, before[key], box_of(fences[key].outline), places.get(key)) for key in keys]
                written = await write(connection, workspace, set_id, restored, author)
                versions |= {row["external_id"]: row["version"] for row in written}
            async for _, page in _pages([row for row in kept if row["external_id"] not in ours]):
                left = [(row["row"], _left(row["report"])) for row in page]
                await connection.execute(sql("import_rows_report"), ident, *columns(left, 2))
            await _set_state(connection, workspace, ident, "undone", _counts.decode(held["counts"]))
            await note(connection, workspace, author, "import.undo", str(ident))
            report = await _report_of(connection, workspace, ident)
        return SetChange(report, await _versioned(fences, versions, off), dropped)


# ------------------------------------------------------------------------------------------------ fences
async def _fences(set_id: str, features: Sequence[tuple[str, bytes]]) -> dict[str, Geofence]:
    """Of version 0, by external id."""
    fences: dict[str, Geofence] = {}
    async for some in batches(features, 16):
        fences.update((external_id, fence_of(set_id, external_id, 0, feature)) for external_id, feature in some)
    return fences


async def _versioned(
    fences: Mapping[str, Geofence], versions: Mapping[str, int], off: Collection[str]
) -> list[Geofence]:
    """off: those that wait for approval."""
    found: list[Geofence] = []
    async for some in batches(versions.items(), 16):
        for name, version in some:
            found.append(replace(fences[name], version=version, active=fences[name].active and name not in off))
    return found


async def _pages(rows: Sequence[T]) -> AsyncIterator[tuple[int, Sequence[T]]]:
    """Where each page begins, and its rows; others have the loop before each."""
    for first in range(0, len(rows), PAGE):
        await asyncio.sleep(0)
        yield first, rows[first : first + PAGE]


# ------------------------------------------------------------------------------------------------ rows
def _report_on(row: ReadRow) -> bytes:
    """Faults after the first stand among the notes."""
    if not row.faults:
        return msgspec.json.encode(_Report(notes=_noted(row.notes))) if row.notes else _NOTHING_SAID
    first, *rest = row.faults
    return msgspec.json.encode(_Report(first.pointer, first.code, first.detail, _noted(rest)))


async def _noted_private(
    connection: Connection, workspace: UUID, set_id: str, page: Sequence[ReadRow], *, any_private: bool
) -> Sequence[ReadRow]:
    """The rows, each with a note where it would lie over a private place and be off until it is approved."""
    if not any_private:
        return page
    named = [(row.external_id, row.feature) for row in page if row.external_id and row.feature]
    places = await private.over(connection, workspace, await _fences(set_id, named))
    return [
        replace(row, notes=(*row.notes, private.sensitive(places[row.external_id])))
        if row.external_id in places
        else row
        for row in page
    ]


def _noted(faults: Sequence[Fault]) -> list[wire.ProblemFault]:
    return [wire.ProblemFault(pointer=fault.pointer, code=fault.code, detail=fault.detail) for fault in faults]


def _left(report: bytes) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(_LEFT, notes=_report.decode(report).notes))


def _status(live: Mapping[str, bytes], external_id: str | None, feature: bytes | None) -> Status:
    if external_id is None or feature is None:
        return "refused"
    held = live.get(external_id)
    if held is None:
        return "new"
    return "unchanged" if held == sha256(feature).digest() else "changed"


def _told(counts: Mapping[Status, int]) -> wire.ImportCounts:
    return wire.ImportCounts(
        new=counts["new"], changed=counts["changed"], unchanged=counts["unchanged"], refused=counts["refused"]
    )


# ------------------------------------------------------------------------------------------------ statements
async def _digests(
    connection: Connection, workspace: UUID, set_id: str, external_ids: Sequence[str]
) -> dict[str, bytes]:
    """Digests of the Features that the set holds of these, by external id."""
    found = await connection.fetch(sql("geofences_digests"), workspace, set_id, external_ids) if external_ids else ()
    return {row["external_id"]: row["digest"] for row in found}


async def _features(
    connection: Connection, workspace: UUID, set_id: str, external_ids: Sequence[str]
) -> dict[str, bytes]:
    found = await connection.fetch(sql("geofences_features"), workspace, set_id, external_ids) if external_ids else ()
    return {row["external_id"]: row["feature"] for row in found}


async def _ours(connection: Connection, workspace: UUID, set_id: str, kept: Sequence[Any]) -> set[str]:
    """Those of an applied import's fences that nobody has changed since, by external id."""
    live = await read_versions(connection, workspace, set_id)
    return {row["external_id"] for row in kept if live.get(row["external_id"]) == row["version"]}


async def _held(connection: Connection, query: str, workspace: UUID, ident: UUID) -> Any:
    row = await connection.fetchrow(sql(query), workspace, ident)
    if row is None:
        raise NotFound("there is no such import")
    return row


async def _set_state(
    connection: Connection, workspace: UUID, ident: UUID, state: str, counts: wire.ImportCounts
) -> None:
    await connection.execute(sql("import_set_state"), workspace, ident, state, msgspec.json.encode(counts))


async def _report_of(connection: Connection, workspace: UUID, ident: UUID) -> ImportReport:
    held = await _held(connection, "import_read", workspace, ident)
    rows, version, counts = list[bytes](), None, _counts.decode(held["counts"])
    for first in range(0, counts.new + counts.changed + counts.unchanged + counts.refused, PAGE):
        page = await connection.fetch(sql("import_rows_read"), workspace, ident, first, first + PAGE)
        version = max((row["version"] for row in page if row["version"] is not None), default=version)
        rows += [_encoder.encode(_row(row)) for row in page]
    told = wire.Import(id=held["id"], set=held["set_id"], state=held["state"], counts=counts, rows=[], version=version)
    head, tail = _encoder.encode(told).split(b'"rows":[]', 1)
    return ImportReport(held["set_id"], b"".join((head, b'"rows":[', b",".join(rows), b"]", tail)))


def _row(row: Any) -> wire.ImportRow:
    if row["report"] == _NOTHING_SAID:
        return wire.ImportRow(row=row["row"], status=row["status"], external_id=row["external_id"])
    report = _report.decode(row["report"])
    return wire.ImportRow(
        row=row["row"],
        status=row["status"],
        external_id=row["external_id"],
        pointer=report.pointer,
        code=report.code,
        detail=report.detail,
        notes=report.notes,
    )
