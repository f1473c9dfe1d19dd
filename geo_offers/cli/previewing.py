"""`geo-offers preview`: what a campaign would have done in the last days, with no effect."""

import argparse
from typing import Any
from uuid import UUID

from geo_offers.client.rehearsing import run_preview
from geo_offers.settings import Settings

MAX_DAYS = 90


def add(commands: Any) -> None:
    command = commands.add_parser("preview", help="what a campaign would have done of late: offers, silences, cost")
    command.add_argument("campaign", type=_campaign, metavar="CAMPAIGN", help="its id")
    command.add_argument("--url", required=True, metavar="U", help="the server, such as http://127.0.0.1:8080")
    command.add_argument("--key", required=True, metavar="mk_…", help="a manager key of role editor or above")
    command.add_argument("--days", type=_days, default=28, metavar="N", help="of visits, back from now (default: 28)")
    command.add_argument("--json", action="store_true", help="the answer as it comes")
    command.set_defaults(run=run)


def _campaign(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a campaign's id is a UUID") from None


def _days(text: str) -> int:
    days = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= days <= MAX_DAYS:
        raise argparse.ArgumentTypeError(f"1 to {MAX_DAYS}")
    return days


async def run(given: argparse.Namespace, _settings: Settings) -> int:
    return await run_preview(given.campaign, given.days, url=given.url, key=given.key, as_json=given.json)
