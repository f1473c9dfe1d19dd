"""Small files that only their owner may read: keys, and the refresh tokens of the crowd."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_private(file: Path, kind: type[T]) -> T | None:
    """Read what was kept; None where there is nothing, or nothing that can be read as such."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_private(file: Path, value: object) -> None:
    """Keep it, readable by the owner alone; a crash leaves the old file or the new one, never half of one."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(msgspec.json.encode(value))
    new.replace(file)
