"""`python -m bench [lookup | next | pings | start] …`: without a name the short ones of all, in some three minutes."""

import argparse
import asyncio
import math
import sys
from collections.abc import Sequence

from bench import lookup, pings, report, savings, start

SIZES = (1_000, 10_000, 100_000)


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m bench", description="Benches of geo-offers; results in bench/results/."
    )
    root.add_argument(
        "name", nargs="?", choices=["lookup", "next", "pings", "start"], help="one bench alone (default: all, short)"
    )
    root.add_argument("--seed", type=int, default=7)
    root.add_argument(
        "--fences", type=_sizes, metavar="N[,N…]", help="lookup: sizes; next and pings: the first of them is used"
    )
    root.add_argument("--repeats", type=int, metavar="N", help="repeats of each measurement")
    root.add_argument("--pings", type=int, default=10_000, metavar="N", help="lookup: pings a repeat")
    root.add_argument("--phones", type=int, default=100, metavar="N", help="pings: phones on each line")
    root.add_argument("--seconds", type=float, default=3.0, metavar="N", help="pings: length of each repeat")
    return root


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part.replace("_", "")) for part in text.split(","))
    if not all(1 <= size <= 1_000_000 for size in sizes):
        raise argparse.ArgumentTypeError("1 to 1,000,000 fences")
    return sizes


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    if given.name in {None, "lookup"}:
        sizes = given.fences or SIZES
        limit_s = lookup.SHORT_BUILD_S if given.name is None else math.inf
        options = lookup.Options(given.pings, given.repeats or 5, given.seed, limit_s)
        report.publish(lookup.run(sizes, options))
    if given.name in {None, "next"}:
        report.publish(savings.run(_savings(given)))
    if given.name in {None, "pings"}:
        fences = given.fences[0] if given.fences else 10_000
        asked = pings.Options(fences, given.phones, given.seconds, given.repeats or 3, given.seed)
        report.publish([asyncio.run(pings.run(asked))])
    if given.name in {None, "start"}:
        report.publish([start.run(given.repeats or 3, 240)])
    return 0


def _savings(given: argparse.Namespace) -> savings.Options:
    fences = given.fences[0] if given.fences else 100_000
    if given.name is None:
        return savings.Options(10_000, 100, savings.SHORT_FIXES, 1_000, given.seed)
    return savings.Options(fences, seed=given.seed)


if __name__ == "__main__":
    sys.exit(main())
