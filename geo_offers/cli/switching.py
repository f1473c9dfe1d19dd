"""`geo-offers pause --all` and `resume --all`: an operator's kill switch. Works beside a running server."""

import argparse
from typing import Any

from geo_offers.cli.keys import opened
from geo_offers.settings import Settings
from geo_offers.storage.switches import pause_all


def add(commands: Any) -> None:
    for name, told in (
        ("pause", "decide and send nothing more, whoever's it is; in force within a second"),
        ("resume", "decide and send again"),
    ):
        command = commands.add_parser(name, help=told)
        command.add_argument("--all", required=True, action="store_true", help="all workspaces of this installation")
        command.set_defaults(run=run, paused=name == "pause")


async def run(given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        changed = await pause_all(pool, paused=given.paused)
    state = "paused" if given.paused else "running"
    print(f"everything is {state}" if changed else f"everything was {state} already")
    return 0
