"""`geo-offers demo`: the invented town with walking phones, on one page."""

import argparse
from pathlib import Path
from typing import Any

from geo_offers.settings import Settings


def add(commands: Any) -> None:
    command = commands.add_parser("demo", help="run the invented town and print its page's address")
    command.add_argument("--phones", type=_phones, default=240, metavar="N", help="how many phones walk (default: 240)")
    command.add_argument("--data-dir", type=Path, metavar="D", help="where its database lives (default: as for serve)")
    command.set_defaults(run=run)


def _phones(text: str) -> int:
    from geo_offers.demo.main import LEAST_PHONES, MOST_PHONES  # noqa: PLC0415 - as below

    phones = int(text) if text.isascii() and text.isdigit() else -1
    if not LEAST_PHONES <= phones <= MOST_PHONES:
        raise argparse.ArgumentTypeError(f"{LEAST_PHONES} to {MOST_PHONES}")
    return phones


async def run(given: argparse.Namespace, settings: Settings) -> int:
    from geo_offers.demo import main  # noqa: PLC0415 - no other command needs the simulator in memory

    return await main.run(given.data_dir or settings.folder, phones=given.phones)
