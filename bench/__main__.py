"""`python -m bench NAME …` runs one bench; without a name each that has a short form."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from bench import (
    calibrated,
    deciding,
    delivery,
    exactness,
    growth,
    live,
    lookup,
    nearby,
    notifying,
    pings,
    previewing,
    profile,
    report,
    restart,
    savings,
    seclusion,
    start,
    switches,
    turns,
)
from bench.detection import measure as detection


class Bench(Protocol):
    """What a module has to be named in the table."""

    SHORT: Sequence[str] | None
    """Arguments of its short form; None leaves it out of the run without a name."""

    def options(self, parser: argparse.ArgumentParser) -> None:
        """Add its own arguments; the module's first line is its description."""
        ...

    def reports(self, given: argparse.Namespace) -> Iterable[report.Report]:
        """Measure."""
        ...


BENCHES: Final[Mapping[str, Bench]] = {
    "calibrated": calibrated,
    "deciding": deciding,
    "delivery": delivery,
    "notifying": notifying,
    "detection": detection,
    "exactness": exactness,
    "growth": growth,
    "live": live,
    "lookup": lookup,
    "nearby": nearby,
    "next": savings,
    "preview": previewing,
    "profile": profile,
    "pings": pings,
    "restart": restart,
    "seclusion": seclusion,
    "start": start,
    "switches": switches,
    "turns": turns,
}


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="python -m bench", description="Benches of geo-offers; results in bench/results/."
    )
    named = root.add_subparsers(dest="name", metavar="NAME")
    for name, bench in BENCHES.items():
        about = (bench.__doc__ or "").partition("\n")[0]
        bench.options(named.add_parser(name, help=about, description=about))
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    known, given = parser(), sys.argv[1:] if arguments is None else arguments
    runs = [given] if given else [(name, *bench.SHORT) for name, bench in BENCHES.items() if bench.SHORT is not None]
    for run in runs:
        asked = known.parse_args(run)
        report.publish(BENCHES[asked.name].reports(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
