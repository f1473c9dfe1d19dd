"""Imports: the rows of a file as they would be written, what writing them changed, and the way back.

Reading a file's features into fences takes long and happens in a thread, before the transaction that holds the set. So
does what else has to be known of them before they are written (`admit`).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.errors import Conflict, Fault, NotFound
from geo_offers.pipeline.management import SET_FENCES, Admit, SetChange
from geo_offers.places.fences import Geofence, fence_id
from geo_offers.places.importing.rows import ReadRow
from geo_offers.storage.features import box_of, fence_of
from geo_offers.storage.geofences import Writing, full, open_set, read_versions, write
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql

KEPT_PREVIEWS: Final = 20
Status = Literal["new", "changed", "unchanged", "refused"]


class _Report(msgspec.Struct, omit_defaults=True):
    """What a row's column holds: the fault that refused it, or what was noted of it."""

    pointer: str | None = None
    code: str | None = None
    detail: str | None = None
    notes: list[wire.ProblemFault] = []


_report = msgspec.json.Decoder(_Report)
_counts = msgspec.json.Decoder(wire.ImportCounts)
_LEFT: Final = _Report(
    code="changed_since", detail="this geofence was changed or deleted after the import and was left as it is"
)


class PostgresImports:
    """`pipeline.management.Imports`."""

    def __init__(self, pool: Pool, owner: str | None = None) -> None:
        """owner: who holds the partitions in this process; None where nobody does."""
        self._pool = pool
        self._owner = owner

    async def create(self, workspace: UUID, ident: UUID, set_id: str, rows: Sequence[ReadRow]) -> wire.Import:
        read = await asyncio.to_thread(lambda: [_kept(row) for row in rows])
        async with transaction(self._pool, [workspace]) as connection:
            if await connection.fetchrow(sql("import_read"), workspace, ident) is not None:
                return await _told(connection, workspace, ident)
            live = await _digests(connection, workspace, set_id)
            statuses = [_status(live, external_id, feature) for external_id, feature, _ in read]
            await connection.execute(sql("import_add"), ident, workspace, set_id, msgspec.json.encode(_count(statuses)))
            kept = [
                (number, status, report, external_id, feature)
                for number, (status, (external_id, feature, report)) in enumerate(zip(statuses, read, strict=True))
            ]
            await connection.execute(sql("import_rows_add"), ident, workspace, *columns(kept, 5))
            await connection.execute(sql("import_previews_forget"), workspace, KEPT_PREVIEWS)
            return await _told(connection, workspace, ident)

    async def get(self, workspace: UUID, ident: UUID) -> wire.Import:
        async with transaction(self._pool, [workspace]) as connection:
            return await _told(connection, workspace, ident)

    # ------------------------------------------------------------------------------------------ apply
    async def apply(self, workspace: UUID, ident: UUID, admit: Admit) -> SetChange[wire.Import]:
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_read", workspace, ident)
            if held["state"] == "applied":
                return SetChange(await _told(connection, workspace, ident))
            if held["state"] == "undone":
                raise Conflict("this import was undone; import the file anew")
            kept = await connection.fetch(sql("import_rows_to_apply"), workspace, ident)
        fences = await asyncio.to_thread(_fences, held["set_id"], {row["external_id"]: row["feature"] for row in kept})
        await admit(list(fences.values()))
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_lock", workspace, ident)
            await open_set(connection, workspace, held["set_id"], self._owner)
            versions = await self._write(connection, workspace, held, kept, fences)
            report = await _told(connection, workspace, ident)
        return SetChange(report, put=_versioned(fences, versions))

    async def _write(
        self, connection: Connection, workspace: UUID, held: Any, kept: Sequence[Any], fences: Mapping[str, Geofence]
    ) -> Mapping[str, int]:
        """Write what differs from what is live now; answers with the versions of what was written."""
        set_id = held["set_id"]
        live = await _digests(connection, workspace, set_id)
        statuses = {row["external_id"]: _status(live, row["external_id"], row["feature"]) for row in kept}
        if len(live) + sum(status == "new" for status in statuses.values()) > SET_FENCES:
            raise full(set_id)
        changed = [ident for ident, status in statuses.items() if status == "changed"]
        before = {
            row["external_id"]: row["feature"]
            for row in await connection.fetch(sql("geofences_features"), workspace, set_id, changed)
        }
        writing: list[Writing] = [
            (row["external_id"], row["feature"], box_of(fences[row["external_id"]].outline))
            for row in kept
            if statuses[row["external_id"]] != "unchanged"
        ]
        written = await write(connection, workspace, set_id, writing)
        versions = {row["external_id"]: row["version"] for row in written}
        done = [
            (row["row"], statuses[ident], before.get(ident), versions.get(ident))
            for row in kept
            if (ident := row["external_id"])
        ]
        await connection.execute(sql("import_rows_applied"), held["id"], *columns(done, 4))
        refused = _counts.decode(held["counts"]).refused
        counts = msgspec.structs.replace(_count(list(statuses.values())), refused=refused)
        await _set_state(connection, workspace, held["id"], "applied", counts)
        return versions

    # ------------------------------------------------------------------------------------------ undo
    async def undo(self, workspace: UUID, ident: UUID, admit: Admit) -> SetChange[wire.Import]:
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_read", workspace, ident)
            if held["state"] == "undone":
                return SetChange(await _told(connection, workspace, ident))
            if held["state"] == "previewed":
                raise Conflict("this import is not applied; there is nothing to undo")
            kept = await connection.fetch(sql("import_rows_to_undo"), workspace, ident)
            ours = await _ours(connection, workspace, held["set_id"], kept)
        set_id = held["set_id"]
        before = {row["external_id"]: row["before"] for row in kept if row["before"] is not None}
        fences = await asyncio.to_thread(_fences, set_id, before)
        gone = sorted(ours - fences.keys())
        await admit([fences[key] for key in fences if key in ours], [fence_id(set_id, key) for key in gone])
        async with transaction(self._pool, [workspace]) as connection:
            held = await _held(connection, "import_lock", workspace, ident)
            await open_set(connection, workspace, set_id, self._owner)
            restored = [(key, before[key], box_of(fences[key].geometry)) for key in fences if key in ours]
            await connection.fetch(sql("geofences_delete"), workspace, set_id, gone)
            written = await write(connection, workspace, set_id, restored)
            versions = {row["external_id"]: row["version"] for row in written}
            left = [(row["row"], _left(row["report"])) for row in kept if row["external_id"] not in ours]
            await connection.execute(sql("import_rows_report"), ident, *columns(left, 2))
            await _set_state(connection, workspace, ident, "undone", _counts.decode(held["counts"]))
            report = await _told(connection, workspace, ident)
        return SetChange(report, _versioned(fences, versions), [fence_id(set_id, key) for key in gone])


def _fences(set_id: str, features: Mapping[str, bytes]) -> dict[str, Geofence]:
    return {external_id: fence_of(set_id, external_id, 0, feature) for external_id, feature in features.items()}


def _versioned(fences: Mapping[str, Geofence], versions: Mapping[str, int]) -> list[Geofence]:
    return [replace(fences[external_id], version=version) for external_id, version in versions.items()]


# ------------------------------------------------------------------------------------------------ rows
def _kept(row: ReadRow) -> tuple[str | None, bytes | None, bytes]:
    """External id, Feature, report; a refused row has only the last. Faults after the first stand among the notes."""
    if row.faults:
        first, *rest = row.faults
        report = _Report(first.pointer, first.code, first.detail, _noted(rest))
        return None, None, msgspec.json.encode(report)
    return row.external_id, row.feature, msgspec.json.encode(_Report(notes=_noted(row.notes)))


def _noted(faults: Sequence[Fault]) -> list[wire.ProblemFault]:
    return [wire.ProblemFault(pointer=fault.pointer, code=fault.code, detail=fault.detail) for fault in faults]


def _left(report: bytes) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(_LEFT, notes=_report.decode(report).notes))


def _status(live: Mapping[str, tuple[int, bytes]], external_id: str | None, feature: bytes | None) -> Status:
    if external_id is None or feature is None:
        return "refused"
    held = live.get(external_id)
    if held is None:
        return "new"
    return "unchanged" if held[1] == sha256(feature).digest() else "changed"


def _count(statuses: Sequence[Status]) -> wire.ImportCounts:
    found = Counter(statuses)
    return wire.ImportCounts(
        new=found["new"], changed=found["changed"], unchanged=found["unchanged"], refused=found["refused"]
    )


# ------------------------------------------------------------------------------------------------ statements
async def _digests(connection: Connection, workspace: UUID, set_id: str) -> dict[str, tuple[int, bytes]]:
    """Version and digest of the Feature, by external id, of all that the set holds."""
    found = await connection.fetch(sql("geofences_digests"), workspace, set_id)
    return {row["external_id"]: (row["version"], row["digest"]) for row in found}


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


async def _told(connection: Connection, workspace: UUID, ident: UUID) -> wire.Import:
    held = await _held(connection, "import_read", workspace, ident)
    found = await connection.fetch(sql("import_rows_read"), workspace, ident)
    return wire.Import(
        id=held["id"],
        set=held["set_id"],
        state=held["state"],
        counts=_counts.decode(held["counts"]),
        rows=[_row(row) for row in found],
        version=max((row["version"] for row in found if row["version"] is not None), default=None),
    )


def _row(row: Any) -> wire.ImportRow:
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
