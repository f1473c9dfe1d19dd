"""`geo-offers outbox`: what waits to be sent, what could not be, and sending it again."""

import argparse
import sys
from typing import Any, get_args
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client import Client
from geo_offers.client.errors import ApiError, ClientError
from geo_offers.client.manager import Manager
from geo_offers.client.terminal import printable
from geo_offers.settings import Settings


def add(commands: Any) -> None:
    command = commands.add_parser("outbox", help="what waits to be sent, what could not be, and sending it again")
    parts = command.add_subparsers(required=True, metavar="WHAT")
    listing = parts.add_parser("list", help="offers that wait or did not arrive, newest first, one a line")
    listing.add_argument("--state", choices=get_args(wire.Undelivered), default="failed", help="default: failed")
    listing.add_argument("--lane", choices=get_args(wire.AnyLane), help="of one lane only")
    listing.add_argument("--most", type=_most, default=100, metavar="N", help="at most so many; default 100")
    listing.set_defaults(tell=_list)
    summary = parts.add_parser("summary", help="how many offers of the last 24 hours, by lane and state")
    summary.set_defaults(tell=_summary)
    again = parts.add_parser("replay", help="send a failed offer again, where that can still be right")
    again.add_argument("offer", type=UUID, nargs="+", metavar="ID", help="the offer's id")
    again.set_defaults(tell=_replay)
    for part in (listing, summary, again):
        part.add_argument("--url", required=True, metavar="U", help="the server, such as http://127.0.0.1:8080")
        part.add_argument("--key", required=True, metavar="K", help="a manager key; of role owner to send again")
        part.add_argument("--json", action="store_true", help="one JSON object a line")
        part.set_defaults(run=run)


def _most(text: str) -> int:
    most = int(text) if text.isascii() and text.isdigit() else 0
    if most < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return most


async def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Prints what the server says; 1 where it refuses, were it one offer of many."""
    try:
        async with Client(given.url, given.key) as client:
            await client.knock()
            code: int = await given.tell(client.manager, given)
    except ClientError as error:
        _refused(str(error))
        return 1
    return code


async def _list(manager: Manager, given: argparse.Namespace) -> int:
    left = given.most
    async for letter in manager.outbox(state=given.state, lane=given.lane):
        _say(_json(letter) if given.json else _line(letter))
        if (left := left - 1) == 0:
            break
    return 0


async def _summary(manager: Manager, given: argparse.Namespace) -> int:
    for count in (await manager.outbox_summary()).items:
        _say(_json(count) if given.json else f"{count.lane:<10}{count.state:<11}{count.count:>9,}")
    return 0


async def _replay(manager: Manager, given: argparse.Namespace) -> int:
    """Each on its own: what one is refused for says nothing of the next."""
    code = 0
    for offer in given.offer:
        try:
            await manager.send_again(offer)
        except ApiError as error:
            _refused(f"{offer}: {error}")
            code = 1
        else:
            _say(_json({"offer": offer, "state": "queued"}) if given.json else f"{offer} queued")
    return code


def _say(line: str) -> None:
    print(printable(line))


def _refused(why: str) -> None:
    print(f"geo-offers: {printable(why)}", file=sys.stderr)


def _line(letter: wire.Letter) -> str:
    when = letter.created_at.isoformat(timespec="seconds")
    why = f"{letter.attempts} attempts" if letter.state == "queued" else letter.detail or ""
    shown = "may be shown" if letter.kept else "not shown"
    return f"{letter.offer} {when} {letter.lane:<8} {letter.state:<9} {shown:<12} {why}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
