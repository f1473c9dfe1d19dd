"""`geo-offers keys`: make, list, revoke; rotate the service's own. Works beside a running server."""

import argparse
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from geo_offers.app import seals_of
from geo_offers.errors import NotFound, Unauthenticated
from geo_offers.pipeline.callers import Role
from geo_offers.pipeline.tokens import parse_key
from geo_offers.settings import Settings
from geo_offers.storage import embedded, keys, migrate, vault
from geo_offers.storage.pool import Pool, open_pool
from geo_offers.storage.vault import Safe


def add(commands: Any) -> None:
    group = commands.add_parser("keys", help="make, list and revoke keys").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    create = group.add_parser(
        "create", help="make a key, and its workspace where it is new; prints the key and nothing else"
    )
    create.add_argument("--kind", required=True, choices=["app", "server", "manager"], help="who will call with it")
    create.add_argument("--workspace", required=True, metavar="NAME")
    create.add_argument(
        "--role", choices=["viewer", "editor", "approver", "owner"], help="of a manager (default: editor)"
    )
    create.add_argument(
        "--replay", action="store_true", help="an app key whose devices have no age, future or rate bound"
    )
    create.set_defaults(run=run_create)
    listing = group.add_parser("list", help="the keys of a workspace, without secrets")
    listing.add_argument("--workspace", required=True, metavar="NAME")
    listing.set_defaults(run=run_list)
    revoke = group.add_parser("revoke", help="end a key; refused everywhere within 5 s")
    revoke.add_argument("--workspace", required=True, metavar="NAME")
    revoke.add_argument("key", metavar="KEY", help="the key, or its id as `keys list` shows it")
    revoke.set_defaults(run=run_revoke)
    rotate = group.add_parser("rotate", help="a new service key; tokens under the old one are good for 15 minutes more")
    rotate.set_defaults(run=run_rotate)
    proof = group.add_parser("proof-secret", help="the secret for user_proof of a workspace, in hex")
    proof.add_argument("--workspace", required=True, metavar="NAME")
    proof.add_argument("--new", action="store_true", help="make a new one, in force at once instead of the old")
    proof.set_defaults(run=run_proof)
    anew = group.add_parser(
        "reseal",
        help="put all secrets under the first key of GEO_OFFERS_CREDENTIALS_KEY; prints how many were not",
    )
    anew.set_defaults(run=run_reseal)
    signing = group.add_parser("signing-secret", help="the secret that signs a workspace's interactions without a key")
    signing.add_argument("--workspace", required=True, metavar="NAME")
    signing.add_argument("--new", action="store_true", help="make a new one, in force at once instead of the old")
    signing.set_defaults(run=run_signing)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Pool]:
    """A connection to the server that runs, or to one of ours that is started for this."""
    if settings.database_url is not None:
        async with open_pool(settings.database_url, size=2) as pool:
            async with pool.acquire() as connection:
                await migrate.check(connection)
            yield pool
        return
    async with (
        await embedded.obtain(settings.folder, binaries=settings.binaries) as server,
        open_pool(server.app_dsn, size=2) as pool,
    ):
        yield pool


async def run_create(given: argparse.Namespace, settings: Settings) -> int:
    wrong = _wrong(given)
    if wrong:
        print(f"geo-offers keys create: {wrong}", file=sys.stderr)
        return 2
    role: Role | None = (given.role or "editor") if given.kind == "manager" else None
    async with opened(settings) as pool:
        safe = Safe(seals_of(settings))
        print(await keys.create_key(pool, given.workspace, given.kind, role, replay=given.replay, safe=safe))
    return 0


def _wrong(given: argparse.Namespace) -> str | None:
    if given.role and given.kind != "manager":
        return "--role is for manager keys"
    if given.replay and given.kind != "app":
        return "--replay is for app keys"
    return None


async def run_list(given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        lines = await keys.list_keys(pool, given.workspace)
    for line in lines:
        print(line)
    if not lines:
        print(f"geo-offers: workspace {given.workspace!r} has no keys", file=sys.stderr)
    return 0


async def run_revoke(given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        ident = _id(given.key)
        if not await keys.revoke_key(pool, given.workspace, ident):
            raise NotFound(f"workspace {given.workspace!r} has no good key {ident!r}")
    return 0


def _id(key: str) -> str:
    """The id that a whole key holds, so that its secret is not repeated; anything else is an id."""
    try:
        return parse_key(key).id
    except Unauthenticated:
        return key


async def run_rotate(_given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        await keys.PostgresServiceKeys(pool, Safe(seals_of(settings))).rotate()
    return 0


async def run_reseal(_given: argparse.Namespace, settings: Settings) -> int:
    """1 where some do not open: the key that they are under must stay, or is lost."""
    async with opened(settings) as pool:
        done, shut = await vault.reseal(pool, seals_of(settings)())
    print(f"resealed {done}")
    if shut:
        print(f"geo-offers: {shut} cannot be opened by any key here; geo-offers doctor names them", file=sys.stderr)
    return 1 if shut else 0


async def run_proof(given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        print(await keys.proof_secret(pool, given.workspace, Safe(seals_of(settings)), new=given.new))
    return 0


async def run_signing(given: argparse.Namespace, settings: Settings) -> int:
    async with opened(settings) as pool:
        print(await keys.signing_secret(pool, given.workspace, Safe(seals_of(settings)), new=given.new))
    return 0
