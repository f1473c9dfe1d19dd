"""How fast the demo is there, and gone: from the command to the page's address, from Ctrl-C to the end.

One fresh data folder: the first run loads the town, the others find it in place.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.report import Report, Row, Tail, Yardstick
from bench.service import fresh_folder

SHORT: Final[Sequence[str]] = ()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="second runs")
    parser.add_argument("--phones", type=int, default=240, metavar="N")


def reports(given: argparse.Namespace) -> Iterator[Report]:
    yield run(given.repeats, given.phones)


def run(repeats: int, phones: int) -> Report:
    """The first run alone, then `repeats` second ones."""
    yardstick = Yardstick()
    with fresh_folder() as folder:
        first_s, _ = _once(folder, phones)
        seconds = [(yardstick.spin(), *_once(folder, phones))[1:] for _ in range(repeats)]
    rows = [
        Row("second run, until the address", len(seconds), "runs", yardstick, Tail.of("s", [s for s, _ in seconds])),
        Row("Ctrl-C, until the end", len(seconds), "runs", yardstick, Tail.of("s", [s for _, s in seconds])),
    ]
    return Report("start", {"phones": phones, "repeats": repeats}, rows, {"first_run_s": first_s})


def _once(data_dir: Path, phones: int) -> tuple[float, float]:
    """Seconds until the address was printed, and from Ctrl-C until the command had ended."""
    began = time.monotonic()
    demo = subprocess.Popen(
        [sys.executable, "-m", "geo_offers", "demo", "--phones", str(phones), "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert demo.stdout is not None
    assert "open http" in demo.stdout.readline()
    there_s = time.monotonic() - began
    time.sleep(5)
    asked = time.monotonic()
    demo.send_signal(signal.SIGINT)
    demo.wait(30)
    return there_s, time.monotonic() - asked
