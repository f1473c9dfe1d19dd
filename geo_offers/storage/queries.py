"""Loads the named statements of `sql/queries/`: `-- name: x` opens one, the next name or the file's end closes it."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from geo_offers.errors import Misconfigured
from geo_offers.storage.files import sql_folder

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


def load(folder: Path) -> Mapping[str, str]:
    """All statements under the folder by name; a name used twice is refused."""
    statements: dict[str, str] = {}
    for file in sorted(folder.glob("*.sql")):
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in statements:
                raise Misconfigured(f"the statement {name!r} stands twice in {folder.name}, again in {file.name}")
            statements[name] = text.strip()
    return MappingProxyType(statements)


@cache
def _statements() -> Mapping[str, str]:
    return load(sql_folder() / "queries")


def sql(name: str) -> str:
    """The text of one named statement."""
    return _statements()[name]
