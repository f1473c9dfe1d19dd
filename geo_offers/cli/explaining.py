"""`geo-offers explain`: one decision made again by today's code, gate by gate, and whether it comes to the same."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client import Client
from geo_offers.client.errors import ApiError, ClientError
from geo_offers.client.terminal import printable
from geo_offers.settings import Settings

GONE = 410


def add(commands: Any) -> None:
    command = commands.add_parser("explain", help="make a decision again by today's code; say whether it is the same")
    command.add_argument("decision", type=UUID, metavar="ID", help="the decision's id")
    command.add_argument("--url", required=True, metavar="U", help="the server, such as http://127.0.0.1:8080")
    command.add_argument("--key", required=True, metavar="K", help="a server key, or a manager key of role owner")
    command.add_argument("--json", action="store_true", help="one JSON object")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, _settings: Settings) -> int:
    """Prints what the server found; 1 where the decision is gone, or cannot be asked for."""
    try:
        async with Client(given.url, given.key) as client:
            await client.knock()
            found = await client.manager.replay(given.decision)
    except ApiError as error:
        said = f"gone: {error.detail}" if error.status == GONE else str(error)
        print(f"geo-offers: {printable(said)}", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"geo-offers: {printable(error.detail)}", file=sys.stderr)
        return 1
    told = [msgspec.json.encode(found).decode()] if given.json else lines(found)
    print("\n".join(printable(line) for line in told))
    return 0


def lines(found: wire.Replayed) -> list[str]:
    """Today's gates, one a line: the gate, whether it passed, and what it looked at; then what it comes to."""
    told = [f"{gate.gate:<14}{'passed' if gate.passed else 'failed':<8}{_why(gate.detail)}" for gate in found.now.gates]
    told += [f"then: {_came_to(found.then)}", f"now:  {_came_to(found.now)}"]
    if found.same:
        return [*told, "the same"]
    return [*told, "not the same" if found.differs is None else f"not the same: first by the gate {found.differs}"]


def _why(detail: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {msgspec.json.encode(value).decode()}" for name, value in detail.items())


def _came_to(of: wire.Outcome) -> str:
    return f"{of.outcome}, campaign {of.campaign}" + ("" if of.reason is None else f", {of.reason}")
