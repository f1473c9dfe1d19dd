"""`geo-offers replay`: recorded trips played as phones, one transition a line."""

import argparse
import math
from pathlib import Path
from typing import Any

from geo_offers.client.pings import MAX_POINTS
from geo_offers.client.replay import Options, run_replay
from geo_offers.settings import Settings


def add(commands: Any) -> None:
    command = commands.add_parser("replay", help="play recorded trips as phones; prints device,at,type,fence")
    command.add_argument("file", type=Path, metavar="FILE", help=".csv, also gzipped")
    command.add_argument("--url", required=True, metavar="U", help="the server, such as http://127.0.0.1:8080")
    command.add_argument("--key", required=True, metavar="pk_…", help="an app key made with --replay")
    command.add_argument(
        "--speed", type=_speed, default=None, metavar="N|max", help="times as fast as recorded (default: max)"
    )
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--transport", choices=["http", "stream"], default="http", help="how pings go up (default: http)"
    )
    command.add_argument("--batch", type=_batch, default=500, metavar="N", help="most pings a request (default: 500)")
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
    options = Options(speed=given.speed, as_json=given.json, transport=given.transport, batch=given.batch)
    return await run_replay(given.file, options, url=given.url, key=given.key)
