"""What the commands print: lines that go past a progress bar, and text of others made harmless first."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tqdm import tqdm

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Console:
    """Where a command speaks: results on `out`, all else on `err`."""

    out: Say
    err: Say


class Bar(Protocol):
    """A progress bar, as far as the commands use it."""

    def update(self, n: float = 1) -> bool | None: ...


def to_stdout(line: str) -> None:
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()  # a pipe's reader sees each line as it comes


def to_stderr(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def bar(total: int, unit: str, doing: str) -> AbstractContextManager[Bar]:
    """Show a progress bar on stderr where that is a terminal, else nothing."""
    return tqdm(total=total, unit=unit, desc=doing, disable=None, file=sys.stderr)


def printable(text: str) -> str:
    """Spell out what a terminal would obey: control, bidi and zero-width characters."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
