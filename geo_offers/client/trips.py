"""Recorded trips from a CSV file, to be replayed as phones.

Columns, by name: device (`device_id`, `device`, `vehicle_id` or `id`), time (`time_utc`, `at`, `time`, `timestamp`: RFC
3339, read as UTC where it names no zone), `lat`/`latitude`, `lon`/`lng`/`longitude`, and where there are any
`accuracy_m`/`accuracy`, `speed_mps` or `speed_kmh`, `course_deg`/`bearing_deg`/`bearing`. Others are left alone.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from geo_offers import instants, wire

MAX_ROWS = 2_000_000

_DEVICE = ("device_id", "device", "vehicle_id", "id")
_TIME = ("time_utc", "at", "time", "timestamp")
_LAT = ("lat", "latitude")
_LON = ("lon", "lng", "longitude")
_ACCURACY = ("accuracy_m", "accuracy")
_COURSE = ("course_deg", "bearing_deg", "bearing")
_KMH_A_MPS = 3.6

Cells = dict[str, str]


class UnreadableTripsError(Exception):
    """The file as a whole cannot be replayed; the message is one line."""


class RowFaultError(Exception):
    """One row cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One position of the file; `line` counts from 1, the header included."""

    line: int
    device: str
    at_us: int
    ping: wire.Ping


@dataclass(frozen=True, slots=True)
class Trips:
    """The file: each device's rows by time, and the lines that could not be read with the reason of each."""

    devices: dict[str, list[Row]]
    faults: list[tuple[int, str]]

    @property
    def rows(self) -> int:
        return sum(map(len, self.devices.values()))


def read_trips(file: Path) -> Trips:
    """Read a .csv or .csv.gz file. Raises UnreadableTripsError where it is none or has not the columns."""
    try:
        if file.suffix == ".gz":
            with gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="") as source:
                return parse_trips(source)
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as source:
            return parse_trips(source)
    except FileNotFoundError:
        raise UnreadableTripsError(f"there is no file {file}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableTripsError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def parse_trips(source: TextIO) -> Trips:
    devices: dict[str, list[Row]] = {}
    faults: list[tuple[int, str]] = []
    for line, cells in _records(source):
        try:
            row = _row(line, cells) if isinstance(cells, dict) else _fault(cells)
        except RowFaultError as fault:
            faults.append((line, str(fault)))
            continue
        devices.setdefault(row.device, []).append(row)
    for rows in devices.values():
        rows.sort(key=lambda row: row.at_us)
    return Trips(devices, faults)


def _records(source: TextIO) -> Iterator[tuple[int, Cells | str]]:
    """Each line's cells by column, or why it has none."""
    reader = csv.reader(source)
    header = _header(reader)
    count = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, f"is no CSV: {error}"
            continue
        if cells is None:
            return
        count += 1
        if count > MAX_ROWS:
            raise UnreadableTripsError(f"the file has more than {MAX_ROWS} rows; split it")
        if not cells:
            continue
        if len(cells) != len(header):
            yield reader.line_num, f"has {len(cells)} fields where the header has {len(header)}"
        else:
            yield reader.line_num, dict(zip(header, map(str.strip, cells), strict=True))


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise UnreadableTripsError(f"the file is no CSV: {error}") from error
    for meaning, names in (("device", _DEVICE), ("time", _TIME), ("latitude", _LAT), ("longitude", _LON)):
        if not set(names) & set(header):
            raise UnreadableTripsError(f"the file has no {meaning} column; name it {' or '.join(names)}")
    return header


def _fault(reason: str) -> Row:
    raise RowFaultError(reason)


def _row(line: int, cells: Cells) -> Row:
    device = _first(cells, _DEVICE)
    if device is None:
        raise RowFaultError("names no device")
    at_us = _time_us(cells)
    lat, lon = _number(cells, _LAT), _number(cells, _LON)
    if lat is None or lon is None:
        raise RowFaultError("has no position")
    speed_mps, speed_kmh = _number(cells, ("speed_mps",)), _number(cells, ("speed_kmh",))
    if speed_mps is None and speed_kmh is not None:
        speed_mps = speed_kmh / _KMH_A_MPS
    ping = wire.Ping(
        at=instants.text(at_us),
        lat=lat,
        lon=lon,
        accuracy_m=_number(cells, _ACCURACY),
        speed_mps=speed_mps,
        course_deg=_number(cells, _COURSE),
    )
    return Row(line, device, at_us, ping)


def _first(cells: Cells, names: Sequence[str]) -> str | None:
    return next((cells[name] for name in names if cells.get(name)), None)


def _time_us(cells: Cells) -> int:
    given = _first(cells, _TIME)
    if given is None:
        raise RowFaultError("has no time")
    try:
        instant = datetime.fromisoformat(given)
        return instants.to_us(instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant)
    except (ValueError, OverflowError):
        raise RowFaultError(f"time {given[:64]!r} is no RFC 3339 time") from None


def _number(cells: Cells, names: Sequence[str]) -> float | None:
    given = _first(cells, names)
    if given is None:
        return None
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RowFaultError(f"{' or '.join(names)} {given[:64]!r} is no number")
    return number
