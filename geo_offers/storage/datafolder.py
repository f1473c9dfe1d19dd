"""The data folder of an embedded PostgreSQL: who runs it, what it holds, where its server's socket is.

<root>/lock             held by the owner, whose PostgreSQL runs here; the system lets go of it however the owner ends
<root>/lock-host        held by the host, whose server the others share, from before it is the owner
<root>/pgdata-<major>   PostgreSQL's own folder, which only that major version can open
<root>/endpoint.json    how other processes reach the server, there while it may be shared
<root>/postgres.log     what the server says; the one before it in postgres.log.1
<root>/programs-<…>     PostgreSQL's programs, only where its user cannot reach the installed ones
"""

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from geo_offers.errors import Misconfigured
from geo_offers.storage.processes import Account, barrier, is_filled

PORT = 5432  # of the socket's name only: the server listens on no network
_SOCKET_NAME = f".s.PGSQL.{PORT}"
_SOCKET_PATH_BYTES = 100  # 104 on macOS, 108 on Linux, with the closing zero
_SOCKET_FOLDER = "geo-offers-pg-"

OWNER_LOCK = "lock"
HOST_LOCK = "lock-host"


class AlreadyRunning(Misconfigured):
    """The data folder has another host, or an owner that does not end."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server's socket is: a folder that only PostgreSQL's user, and root, may enter."""

    folder: Path
    major: int

    def dsn(self, role: str, database: str) -> str:
        """URL of a database for that role over the private socket, as asyncpg and libpq read it."""
        return f"postgresql://{quote(role)}@/{quote(database)}?host={quote(str(self.folder), safe='')}&port={PORT}"


def make_root(root: Path) -> None:
    """Make the root if it is absent. As root PostgreSQL's user must pass through it, without reading it."""
    try:
        root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"the data folder {root} cannot be made: {error.strerror}") from error


def try_lock(root: Path, name: str) -> int | None:
    """Take one of the folder's locks: a descriptor to be closed at the end; None where another process holds it."""
    import fcntl  # noqa: PLC0415 - absent on Windows, where this module must still import

    try:
        descriptor = os.open(root / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise Misconfigured(
            f"{root} belongs to another user: run geo-offers as that user, or choose another data folder"
        ) from error
    except OSError as error:
        raise Misconfigured(f"the data folder {root} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_locked(root: Path, name: str) -> bool:
    """Whether some process holds that lock. Asking holds it for an instant."""
    if not (root / name).exists():
        return False
    descriptor = try_lock(root, name)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def publish(root: Path, endpoint: Endpoint) -> None:
    """Let other processes share the host's server: the file appears whole or not at all."""
    fresh = root / "endpoint.json.new"
    fresh.write_text(json.dumps({"folder": str(endpoint.folder), "major": endpoint.major}), encoding="utf-8")
    fresh.replace(root / "endpoint.json")


def withdraw(root: Path) -> None:
    """Stop others from sharing the server; nothing when it is not shared."""
    (root / "endpoint.json").unlink(missing_ok=True)


def published(root: Path) -> Endpoint | None:
    """Read which server is to be shared, as far as the file tells: after a crash it may be gone."""
    try:
        found = json.loads((root / "endpoint.json").read_text(encoding="utf-8"))
        return Endpoint(Path(found["folder"]), int(found["major"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def refuse_other_major(root: Path, major: int) -> None:
    """Raise Misconfigured, with what to do, when the folder's data was made by another major version.

    An older version's folder beside one of this version is left over from a move and does no harm.
    """
    wanted = root / f"pgdata-{major}"
    if is_filled(wanted):
        try:
            found = (wanted / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError as error:
            raise Misconfigured(
                f"{wanted} holds files but no PostgreSQL database: move them away, or choose another data folder"
            ) from error
        where = wanted
    else:
        others = {path.name[7:]: path for path in root.glob("pgdata-*") if path.name[7:].isdigit() and is_filled(path)}
        found = max(others, key=int, default=str(major))
        where = others.get(found, wanted)
    if found != str(major):
        raise Misconfigured(
            f"{where} was made by PostgreSQL {found} and this program runs PostgreSQL {major}: move the data with "
            f"pg_dump of PostgreSQL {found}, or give the folder of its programs in GEO_OFFERS_POSTGRES_BIN, "
            f"or move {where.name} away to begin anew"
        )


def make_socket_folder(account: Account | None) -> Path:
    """Make a fresh folder that only the account may enter: without that door trust authentication would be open."""
    temporary = Path(tempfile.gettempdir())
    for parent in (temporary, Path("/tmp")):  # noqa: S108 - mkdtemp makes a private name in it
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_FOLDER, dir=parent))
        if account is not None:
            os.chown(folder, account.uid, account.gid)
        if len(os.fsencode(folder / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES and barrier(folder, account) is None:
            return folder
        folder.rmdir()
    raise Misconfigured(f"PostgreSQL's user may not enter {temporary}, where its socket goes: run chmod 1777 /tmp")


def clear_sockets(folder: Path) -> None:
    """Remove what a crashed server left in its socket folder, else the next one takes it for alive."""
    for left in folder.glob(f"{_SOCKET_NAME}*"):
        left.unlink(missing_ok=True)


def remove_socket_folder(folder: Path) -> None:
    """Remove a socket folder that we made and its sockets; anything else stays."""
    if folder.name.startswith(_SOCKET_FOLDER) and folder.is_dir() and not folder.is_symlink():
        clear_sockets(folder)
        with contextlib.suppress(OSError):  # not empty: then it is not only ours
            folder.rmdir()
