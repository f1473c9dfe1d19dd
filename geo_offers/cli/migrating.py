"""`geo-offers migrate`: brings an own server's schema up to date; the embedded one migrates at its start."""

import argparse
from typing import Any
from urllib.parse import urlsplit

from geo_offers.errors import Misconfigured
from geo_offers.settings import Settings
from geo_offers.storage import embedded
from geo_offers.storage.migrate import migrate


def add(commands: Any) -> None:
    command = commands.add_parser("migrate", help="bring the database's schema up to date")
    command.set_defaults(run=run)


async def run(_given: argparse.Namespace, settings: Settings) -> int:
    if settings.database_url is None:
        async with await embedded.obtain(settings.folder, binaries=settings.binaries) as server:
            applied = server.applied
    else:
        if settings.migrate_url is None:
            raise Misconfigured(
                "set GEO_OFFERS_MIGRATE_URL to the owner of the database; it grants to the serving role"
            )
        role = urlsplit(settings.database_url).username
        if not role:
            raise Misconfigured("GEO_OFFERS_DATABASE_URL names no role: write it as postgresql://ROLE@…")
        applied = tuple(await migrate(settings.migrate_url, role))
    for name in applied:
        print(f"applied {name}")
    print("the schema is up to date")
    return 0
