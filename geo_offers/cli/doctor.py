"""`geo-offers doctor`: what an installation is, and what keeps it from serving. It changes nothing, starts no server.

A check is ok, a note (it serves, with less than it could have) or wrong (it does not serve, or should not). Secrets are
never shown.
"""

import argparse
import os
import platform
import re
import shutil
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

import asyncpg
import msgspec

import geo_offers
from geo_offers.app import seals_of
from geo_offers.errors import GeoOffersError, Misconfigured
from geo_offers.places.importing.rows import EASY_BODY, Manner
from geo_offers.places.table import BestTable, PlainTable
from geo_offers.sandbox.reader import ChildReader
from geo_offers.settings import FOR_OTHERS, PREFIX, Settings
from geo_offers.storage import datafolder, embedded, migrate
from geo_offers.storage.pool import open_pool
from geo_offers.storage.proofs import prove
from geo_offers.storage.sealing import KEY_FILE, Seals
from geo_offers.storage.vault import looked
from geo_offers.web.connections import most_connections

NAMED: Final = ("aiohttp", "asyncpg", "h3", "numpy", "shapely")
LEAST_FREE: Final = 256 * 2**20
FREE: Final = 2 * 2**30
STREAMS: Final = 1_000
CONNECT_S: Final = 5.0
NO_ANSWER: Final = "cannot connect to PostgreSQL: it does not answer"
_PASSWORD: Final = re.compile(r"(?::|password=)([^:@/?&]+)(?:@|&|$)")
"""In a database's URL, before the host or among the parameters."""


class Finding(msgspec.Struct, frozen=True):
    check: str
    state: Literal["ok", "note", "wrong"]
    detail: str


class Report(msgspec.Struct, frozen=True):
    serves: bool
    findings: list[Finding]


def add(commands: Any) -> None:
    command = commands.add_parser("doctor", help="look at this installation: versions, settings, rights, database")
    command.add_argument("--json", action="store_true", help="one JSON object")
    command.set_defaults(run=run)


async def run(given: argparse.Namespace, settings: Settings) -> int:
    """Prints what was found; 1 where anything is wrong."""
    findings = [_shown(await _made(name, check, settings), settings) for name, check in CHECKS.items()]
    serves = all(finding.state != "wrong" for finding in findings)
    if given.json:
        print(msgspec.json.encode(Report(serves, findings)).decode())
    else:
        for finding in findings:
            print(f"{finding.state:<6}{finding.check:<12}{finding.detail}")
    return 0 if serves else 1


async def _made(name: str, check: "Check", settings: Settings) -> Finding:
    try:
        return await check(name, settings)
    except GeoOffersError as error:
        return Finding(name, "wrong", error.detail)
    except (OSError, RuntimeError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return Finding(name, "wrong", f"{type(error).__name__}: {error}")


def _shown(finding: Finding, settings: Settings) -> Finding:
    """In one line, without what only the operator may know."""
    detail = " ".join(finding.detail.split())
    for secret in _secrets(settings):
        detail = detail.replace(secret, "***")
    return msgspec.structs.replace(finding, detail=detail)


def _secrets(settings: Settings) -> Iterator[str]:
    yield from f"{settings.webhook_secret or ''} {settings.credentials_key or ''}".split()
    for address in (settings.database_url, settings.migrate_url):
        if address is not None:
            found = _PASSWORD.search(address)
            yield from () if found is None else {found[1], unquote(found[1])}
            yield address


# ------------------------------------------------------------------------------------------------ checks
async def _versions(name: str, _settings: Settings) -> Finding:
    named = [f"{each} {version(each)}" for each in NAMED]
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding(name, "ok", ", ".join([f"geo-offers {version('geo-offers')}", system, *named]))


async def _table(name: str, _settings: Settings) -> Finding:
    """Which table looks points up; the compiled parts are beside their sources."""
    root = Path(geo_offers.__file__).parent
    parts = [".".join(path.relative_to(root.parent).with_suffix("").parts) for path in sorted(root.rglob("*.pyx"))]
    missing = [part for part in parts if not _is_there(part)]
    if BestTable.__name__ != PlainTable.__name__ and not missing:
        return Finding(name, "ok", "compiled")
    why = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not built here; {_lacking()}"
    broken = "the compiled one is here and cannot be loaded; build it anew with make setup"
    return Finding(name, "note", f"plain, several times slower: {why if missing else broken}")


def _is_there(part: str) -> bool:
    try:
        return find_spec(part) is not None
    except ImportError:
        return False


def _lacking() -> str:
    header = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which("cc") is None:
        return "there is no C compiler: install one (Debian: gcc libc6-dev) and run make setup"
    if not header.exists():
        return f"there is no {header}: install Python's headers (Debian: python3-dev) and run make setup"
    return "run make setup, which tells why"


async def _given(name: str, _settings: Settings) -> Finding:
    """They were read before this command: a wrong one had ended it."""
    given = [each for each in os.environ if each.startswith(PREFIX) and each.removeprefix(PREFIX) not in FOR_OTHERS]
    return Finding(name, "ok", ", ".join(sorted(given)) or "none are given, the defaults hold")


async def _files(name: str, _settings: Settings) -> Finding:
    most = most_connections()
    few = f"{most} connections at once: let the process open more files (ulimit -n, LimitNOFILE=)"
    return Finding(name, "ok", f"{most} connections at once") if most >= STREAMS else Finding(name, "note", few)


async def _children(name: str, _settings: Settings) -> Finding:
    async with ChildReader() as reader:
        await reader.read(b'{"type": "FeatureCollection", "features": []}' + b" " * EASY_BODY, Manner())
    return Finding(name, "ok", "a child process that reads large files starts")


async def _folder(name: str, settings: Settings) -> Finding:
    """The data folder, which only a PostgreSQL of our own needs."""
    if settings.database_url is not None:
        return Finding(name, "ok", "not used: GEO_OFFERS_DATABASE_URL names a server")
    root = settings.folder
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(name, "wrong", f"{there} cannot be written to by this user: choose another GEO_OFFERS_DATA_DIR")
    free = shutil.disk_usage(there).free
    said = f"{root}, {free / 2**30:.1f} GiB free" + ("" if root.exists() else ", made at the first start")
    if free < LEAST_FREE:
        return Finding(name, "wrong", f"{said}: PostgreSQL needs some hundred MiB to start")
    return Finding(name, "note" if free < FREE else "ok", said)


async def _database(name: str, settings: Settings) -> Finding:
    """Whether it answers, has this program's schema, and binds the role that serves."""
    async with _serving_dsn(settings) as dsn:
        if dsn is None:
            return Finding(name, "ok", "a PostgreSQL of its own, which starts with serve; none runs now")
        try:
            connection = await asyncpg.connect(dsn, timeout=CONNECT_S)
        except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            return Finding(name, "wrong", f"cannot connect to PostgreSQL: {error}" if f"{error}" else NO_ANSWER)
        try:
            warnings = await migrate.check(connection)
            server = await connection.fetchval("SHOW server_version")
            role = await connection.fetchval("SELECT session_user")
        finally:
            await connection.close()
    said = f"PostgreSQL {server}, this program's schema, role {role} bound by row-level security"
    return Finding(name, "note" if warnings else "ok", "; ".join([said, *warnings]))


async def _consents(name: str, settings: Settings) -> Finding:
    """Each workspace's ledger is one whole chain, and says of everybody what their own row says.

    It tells the heads: one that is kept elsewhere shows later whether rows were cut off since.
    """
    async with _serving_dsn(settings) as dsn:
        if dsn is None:
            return Finding(name, "ok", "not looked at: no server runs")
        try:
            async with open_pool(dsn, size=1) as pool, pool.acquire() as connection:
                await migrate.check(connection)
        except Misconfigured:
            return Finding(name, "note", "not looked at: the database is not in order")
        async with open_pool(dsn, size=1) as pool:
            proofs = await prove(pool)
    wrong = [f"{proof.workspace}: {fault}" for proof in proofs for fault in proof.faults]
    if wrong:
        return Finding(name, "wrong", "; ".join(wrong))
    told = [f"{proof.workspace}: {proof.rows} rows, head {proof.head.hex()}" for proof in proofs if proof.rows]
    return Finding(name, "ok", "; ".join(told) or "the ledger is empty")


async def _credentials(name: str, settings: Settings) -> Finding:
    """Whether every secret is sealed, and can be opened by the keys that are here."""
    async with _serving_dsn(settings) as dsn:
        if dsn is None:
            return Finding(name, "ok", "not looked at: no server runs")
        try:
            async with open_pool(dsn, size=1) as pool, pool.acquire() as connection:
                await migrate.check(connection)
        except Misconfigured:
            return Finding(name, "note", "not looked at: the database is not in order")
        async with open_pool(dsn, size=1) as pool:
            secrets = await looked(pool, _keys_here(settings))
    if secrets.shut:
        return Finding(name, "wrong", f"no key here opens {'; '.join(secrets.shut)}: see GEO_OFFERS_CREDENTIALS_KEY")
    if secrets.plain:
        keyless = settings.database_url is not None and settings.credentials_key is None
        mend = f"{'set GEO_OFFERS_CREDENTIALS_KEY, then ' if keyless else ''}geo-offers keys reseal seals them"
        return Finding(name, "note", f"{secrets.plain} of {secrets.found} lie in the database in plain: {mend}")
    return Finding(name, "ok", f"{secrets.found} kept, all sealed" if secrets.found else "none are kept")


def _keys_here(settings: Settings) -> Callable[[], Seals]:
    """As serve has them, but for a key that it would make."""
    own = settings.database_url is None and settings.credentials_key is None
    return Seals if own and not (settings.folder / KEY_FILE).exists() else seals_of(settings)


@asynccontextmanager
async def _serving_dsn(settings: Settings) -> AsyncIterator[str | None]:
    """What serve would connect to; None where its own server does not run."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    if not (settings.folder / datafolder.HOST_LOCK).exists():
        yield None
        return
    server = await embedded.share(settings.folder, wait_s=CONNECT_S)
    yield None if server is None else server.app_dsn


Check = Callable[[str, Settings], Awaitable[Finding]]
CHECKS: Final[dict[str, Check]] = {
    "versions": _versions,
    "table": _table,
    "settings": _given,
    "open files": _files,
    "children": _children,
    "data folder": _folder,
    "database": _database,
    "consents": _consents,
    "credentials": _credentials,
}
