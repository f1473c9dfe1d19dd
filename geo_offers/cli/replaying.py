"""`geo-offers replay`: recorded trips played as phones, one transition a line; with --explain, why, fix by fix."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geo_offers.client.pings import MAX_POINTS
from geo_offers.client.replay import Options, run_replay
from geo_offers.settings import Settings


def add(commands: Any) -> None:
    command = commands.add_parser("replay", help="play recorded trips as phones; prints device,at,type,fence")
    command.add_argument(
        "file", type=Path, metavar="FILE", help=".csv; with --explain also a trace (.json); gzipped too"
    )
    command.add_argument("--url", metavar="U", help="the server, such as http://127.0.0.1:8080")
    command.add_argument("--key", metavar="pk_…", help="an app key made with --replay")
    command.add_argument(
        "--speed", type=_speed, default=None, metavar="N|max", help="times as fast as recorded (default: max)"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--transport", choices=["http", "stream"], default="http", help="how pings go up (default: http)"
    )
    command.add_argument("--batch", type=_batch, default=500, metavar="N", help="most pings a request (default: 500)")
    offline = command.add_argument_group("without a server")
    offline.add_argument("--explain", action="store_true", help="say of each fix why it made the transitions it did")
    offline.add_argument("--fences", type=Path, metavar="F", help="the fences of a .csv: .geojson; a trace has its own")
    offline.add_argument("--record", type=Path, metavar="T", help="write the trace T (.json), expecting what was told")
    offline.add_argument(
        "--away", action="store_true", help="recorded without its place, day and names: in the open ocean"
    )
    command.set_defaults(run=run)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = math.nan
    if not 0 < speed < math.inf:
        raise argparse.ArgumentTypeError("a number above 0, or max")
    return speed


def _batch(text: str) -> int:
    batch = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= batch <= MAX_POINTS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_POINTS}")
    return batch


async def run(given: argparse.Namespace, _settings: Settings) -> int:
    if given.explain:
        return _explain(given)
    missing = [name for name in ("url", "key") if getattr(given, name) is None]
    if missing:
        given.command.error(f"the following arguments are required: {_flags(missing)}")
    offline = [name for name in ("fences", "record", "away") if getattr(given, name)]
    if offline:
        given.command.error(f"only with --explain: {_flags(offline)}")
    options = Options(speed=given.speed, as_json=given.json, transport=given.transport, batch=given.batch)
    return await run_replay(given.file, options, url=given.url, key=given.key)


def _explain(given: argparse.Namespace) -> int:
    from geo_offers.traces import explaining  # noqa: PLC0415 - what looks places up takes half a second to load

    online = [name for name in ("url", "key", "speed") if getattr(given, name) is not None]
    if online:
        given.command.error(f"--explain asks no server; leave out {_flags(online)}")
    if explaining.is_trace(given.file) == (given.fences is not None):
        given.command.error("--fences is for a .csv, which needs it; a trace (.json) has its own")
    if given.away and given.record is None:
        given.command.error("--away is for what --record writes")
    options = explaining.Options(as_json=given.json, record=given.record, away=given.away)
    return explaining.run_explain(given.file, given.fences, options)


def _flags(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)
