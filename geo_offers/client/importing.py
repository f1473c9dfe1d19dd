"""The `import` command: a GeoJSON file is checked against the server row by row, then applied if that is asked for.

A collection past the server's bound of features goes as several imports. All of them are checked before any is applied,
and an id that stands in two of them is refused the second time, as it would be within one.
"""

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from geo_offers import wire
from geo_offers.client.api import Client
from geo_offers.client.errors import ApiError, ClientError
from geo_offers.client.manager import Manager
from geo_offers.client.retry import Patience
from geo_offers.client.terminal import Bar, Console, Say, bar, printable, to_stderr, to_stdout

MAX_BYTES = 32 * 1024 * 1024
MAX_FEATURES = 10_000


class UnreadableFileError(Exception):
    """The file is not what the command takes; the message is one line."""


@dataclass(frozen=True, slots=True)
class Options:
    """How the server shall read the features; see the import call of the public contract."""

    set_id: str
    radius_m: float | None = None
    id_property: str | None = None
    name_property: str | None = None
    mode: Literal["raw", "calibrated"] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """What goes into one import: a GeoJSON document, and the row of the file that each of its features is."""

    document: bytes
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """One part as the server saw it, its rows numbered as in the file."""

    checked: wire.Import
    rows: tuple[wire.ImportRow, ...]


async def run_import(
    file: Path,
    options: Options,
    *,
    url: str,
    key: str,
    apply: bool = False,
    out: Say = to_stdout,
    err: Say = to_stderr,
    patience: Patience | None = None,
) -> int:
    """Check the file against the set, say what it would do, and with `apply` do it.

    Returns 0 when done, 1 when refused with a one-line reason on `err`: the file cannot be read, no row of it can be
    taken, the server said no or gave no answer.
    """
    try:
        parts = await asyncio.to_thread(lambda: split_collection(read_document(file)))
        async with Client(url, key, patience=patience) as client:
            await client.knock()
            return await _import(client.manager, parts, options, apply, Console(out, err))
    except UnreadableFileError as error:
        err(printable(str(error)))
    except ApiError as error:
        err(printable(_refusal(error)))
    except ClientError as error:
        err(printable(error.detail))
    return 1


def _refusal(error: ApiError) -> str:
    """One line: the faults with their places, or what the server said where it named none."""
    told = "; ".join(f"{fault.pointer or '/'} {fault.detail}" for fault in error.faults)
    return f"{error.status} {error.code}: {told or error.detail}"


async def _import(manager: Manager, parts: Sequence[Part], options: Options, apply: bool, console: Console) -> int:
    with bar(sum(len(part.rows) for part in parts), "fence", "checking") as progress:
        previews = await _preview_all(manager, parts, options, progress)
    rows = [row for preview in previews for row in preview.rows]
    for line in _report(rows):
        console.out(line)
    counts = Counter(row.status for row in rows)
    console.out(", ".join(f"{status} {counts[status]}" for status in ("new", "changed", "unchanged", "refused")))
    if counts.total() == counts["refused"]:
        console.err("nothing to apply: " + ("every row was refused" if rows else "the file holds no features"))
        return 1
    if not apply:
        console.out("nothing is applied yet; --apply does it")
        return 0
    with bar(counts["new"] + counts["changed"], "fence", "applying") as progress:
        await _apply_all(manager, previews, progress, console)
    return 0


async def _preview_all(manager: Manager, parts: Sequence[Part], options: Options, progress: Bar) -> list[Preview]:
    taken: dict[str, int] = {}
    previews: list[Preview] = []
    for part in parts:
        preview = await _preview(manager, part, options)
        repeated = [row for row in preview.rows if row.status != "refused" and row.external_id in taken]
        if repeated:
            again = {row.row for row in repeated}
            kept = await _preview(manager, _without(part, again), options)
            refused = [_duplicate(row, taken) for row in repeated]
            preview = Preview(kept.checked, tuple(sorted([*kept.rows, *refused], key=lambda row: row.row)))
        taken.update((row.external_id, row.row) for row in preview.rows if row.external_id and row.status != "refused")
        previews.append(preview)
        progress.update(len(part.rows))
    return previews


async def _preview(manager: Manager, part: Part, options: Options) -> Preview:
    checked = await manager.create_import(
        part.document,
        set_id=options.set_id,
        id_property=options.id_property,
        name_property=options.name_property,
        radius_m=options.radius_m,
        mode=options.mode,
        dry_run=True,
    )
    return Preview(checked, tuple(msgspec.structs.replace(row, row=_row_of(part, row.row)) for row in checked.rows))


def _row_of(part: Part, place: int) -> int:
    return part.rows[place] if place < len(part.rows) else place


def _duplicate(row: wire.ImportRow, taken: dict[str, int]) -> wire.ImportRow:
    assert row.external_id is not None
    first = taken[row.external_id]
    return wire.ImportRow(
        row=row.row,
        status="refused",
        external_id=row.external_id,
        pointer="/id",
        code="duplicate_id",
        detail=f"row {first} of this file has the same id; give each feature its own",
    )


async def _apply_all(manager: Manager, previews: Sequence[Preview], progress: Bar, console: Console) -> None:
    done = 0
    for preview in previews:
        counts = preview.checked.counts
        if counts.new + counts.changed == 0:
            continue
        try:
            applied = await manager.apply_import(preview.checked.id)
        except ClientError:
            if done:
                console.err(
                    f"{done} of the file's imports are applied, the rest are not; the same command again takes up there"
                )
            raise
        done += 1
        progress.update(counts.new + counts.changed)
        console.out(f"applied as version {applied.version}, import {applied.id}")
    if not done:
        console.out("nothing to change: the set holds all of it already")


def _report(rows: Sequence[wire.ImportRow]) -> list[str]:
    """Each refused row with its place and reason, then what was repaired or left out, by kind."""
    lines = [
        f"row {row.row}: {row.pointer or '/'} {row.code or 'refused'}: {row.detail or ''}"
        for row in rows
        if row.status == "refused"
    ]
    noted = Counter(note.code for row in rows for note in row.notes)
    for code, times in sorted(noted.items()):
        row, note = next((row, note) for row in rows for note in row.notes if note.code == code)
        lines.append(f"note {code}: {times} times, first in row {row.row}: {note.pointer or '/'} {note.detail}")
    return [printable(line) for line in lines]


# ---------------------------------------------------------------------------------------------- the file
def read_document(file: Path) -> bytes:
    """Read the file, unpacking a .gz. Raises UnreadableFileError, also past 32 MB unpacked."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as source:
            document = source.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableFileError(f"there is no file {file}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableFileError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(document) > MAX_BYTES:
        raise UnreadableFileError(f"{file} holds more than {MAX_BYTES // 2**20} MB; split it into several files")
    return document


def split_collection(document: bytes, max_features: int = MAX_FEATURES) -> list[Part]:
    """Give the document as it stands, or a larger FeatureCollection as several with the same other members.

    Raises UnreadableFileError for what is no JSON object. What is JSON and no GeoJSON is the server's to refuse.
    """
    try:
        members = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise UnreadableFileError(f"the file is not a GeoJSON object: {error}") from error
    try:
        features = msgspec.json.decode(members.get("features", b"null"), type=list[msgspec.Raw])
    except msgspec.MsgspecError:
        return [Part(document, (0,))]  # a bare Feature, or nothing that we know
    if len(features) <= max_features:
        return [Part(document, tuple(range(len(features))))]
    starts = range(0, len(features), max_features)
    slices = [features[start : start + max_features] for start in starts]
    return [
        Part(_document(members, some), tuple(range(start, start + len(some))))
        for start, some in zip(starts, slices, strict=True)
    ]


def _document(members: dict[str, msgspec.Raw], features: Sequence[msgspec.Raw]) -> bytes:
    listed = msgspec.Raw(b"[" + b",".join(bytes(feature) for feature in features) + b"]")
    return msgspec.json.encode({**members, "features": listed})


def _without(part: Part, rows: set[int]) -> Part:
    members = msgspec.json.decode(part.document, type=dict[str, msgspec.Raw])
    features = msgspec.json.decode(members["features"], type=list[msgspec.Raw])
    kept = [(row, feature) for row, feature in zip(part.rows, features, strict=True) if row not in rows]
    return Part(_document(members, [feature for _, feature in kept]), tuple(row for row, _ in kept))
