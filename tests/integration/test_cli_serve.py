"""`geo-offers serve` and `geo-offers keys` as users run them, over a database and over a data folder of their own."""

import asyncio
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from geo_offers.client import Client
from geo_offers.storage.embedded import APP, OWNER
from tests.support.commands import command
from tests.support.databases import Database
from tests.support.running import Served, serving

NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/x"}  # so that no test starts a server of the machine's own
KEY = re.compile(r"(pk|sk|mk)_[0-9a-f]{32}_[0-9a-f]{16}_[0-9a-f]{64}\n")


async def test_an_unknown_setting_is_refused_in_one_line_by_every_command() -> None:
    for arguments in (("serve",), ("migrate",), ("keys", "list", "--workspace", "w")):
        ended = await command(*arguments, settings=NOWHERE | {"SPEED": "3"})
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "geo-offers: there is no setting GEO_OFFERS_SPEED\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "http"}, "geo-offers: GEO_OFFERS_PORT: "),
        ({"PORT": "70000"}, "geo-offers: GEO_OFFERS_PORT: "),
        ({"LOG_LEVEL": "loud"}, "geo-offers: GEO_OFFERS_LOG_LEVEL: 'loud' is not known here; use debug, "),
        ({"WEBHOOK_URL": "https://gateway.example"}, "geo-offers: GEO_OFFERS_WEBHOOK_URL and "),
        ({"WEBHOOK_URL": "foo", "WEBHOOK_SECRET": "whsec_AAAA"}, "geo-offers: GEO_OFFERS_WEBHOOK_URL: give an http"),
        ({}, "geo-offers: cannot connect to PostgreSQL: "),
        ({"DATABASE_URL": "nonsense"}, "geo-offers: cannot connect to PostgreSQL: invalid DSN: "),
    ],
)  # fmt: skip
async def test_a_setting_that_does_not_fit_is_named_in_one_line(settings: dict[str, str], said: str) -> None:
    ended = await command("serve", settings=NOWHERE | settings)
    assert (ended.code, ended.out, len(ended.complaints)) == (1, "", 1)
    assert ended.err.startswith(said)


async def test_serving_as_the_owner_of_the_tables_is_refused_in_one_line(database: Database) -> None:
    ended = await command("serve", settings={"DATABASE_URL": database.owner_dsn, "PORT": "0"})
    assert (ended.code, ended.out, len(ended.complaints)) == (1, "", 1)
    assert "row-level security does not bind it" in ended.err


async def test_an_address_in_use_is_refused_in_one_line(database: Database) -> None:
    holder = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with holder:
        port = holder.sockets[0].getsockname()[1]
        ended = await command("serve", settings={"DATABASE_URL": database.app_dsn, "PORT": port})
    assert (ended.code, ended.out, len(ended.complaints)) == (1, "", 1)
    assert str(port) in ended.err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_it_prints_where_it_listens_and_nothing_else_and_ends_with_0_when_asked(
    served: Served, how: signal.Signals
) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", served.url)
    async with aiohttp.ClientSession() as session, session.get(f"{served.url}/readyz") as answer:
        assert answer.status == 200
    assert served.process is not None
    served.process.send_signal(how)
    assert await asyncio.wait_for(served.process.wait(), 15) == 0
    assert await served.terminate() == 0
    assert served.stdout == [f"listening on {served.url}"]
    assert served.stderr == []


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        (("--kind", "app"), "pk"),
        (("--kind", "app", "--replay"), "pk"),
        (("--kind", "server"), "sk"),
        (("--kind", "manager"), "mk"),
        (("--kind", "manager", "--role", "owner"), "mk"),
    ],
)
async def test_a_new_key_is_printed_and_nothing_else(database: Database, given: tuple[str, ...], prefix: str) -> None:
    settings = {"DATABASE_URL": database.app_dsn}
    ended = await command("keys", "create", *given, "--workspace", "Köln süd", settings=settings)
    assert (ended.code, ended.err) == (0, "")
    assert KEY.fullmatch(ended.out)
    assert ended.out.startswith(prefix)


@pytest.mark.parametrize(
    "given",
    [
        ("--kind", "app", "--workspace", "w", "--role", "owner"),
        ("--kind", "manager", "--workspace", "w", "--replay"),
        ("--kind", "phone", "--workspace", "w"),
        ("--kind", "app"),
    ],
)
async def test_a_key_that_makes_no_sense_is_wrong_usage(given: tuple[str, ...]) -> None:
    ended = await command("keys", "create", *given, settings=NOWHERE)
    assert (ended.code, ended.out) == (2, "")
    assert ended.complaints[-1].startswith("geo-offers keys create: ")


async def test_keys_are_listed_without_secrets_and_a_revoked_one_is_good_no_more(
    served: Served, database: Database
) -> None:
    settings = {"DATABASE_URL": database.app_dsn}
    key = await served.make_key("manager", workspace="w")
    _, _, ident, secret = key.split("_")
    listed = await command("keys", "list", "--workspace", "w", settings=settings)
    assert listed.lines == [
        line for line in listed.lines if re.fullmatch(rf"{ident} manager owner [0-9-]{{10}} good", line)
    ]
    assert len(listed.lines) == 1
    assert secret not in listed.out
    assert (await command("keys", "revoke", "--workspace", "w", ident, settings=settings)).code == 0
    again = await command("keys", "revoke", "--workspace", "w", ident, settings=settings)
    assert (again.code, again.out) == (1, "")
    assert again.err == f"geo-offers: workspace 'w' has no good key {ident!r}\n"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        async with asyncio.timeout(6):
            while True:
                async with session.get(f"{served.url}/v1/workspace") as answer:
                    if answer.status == 401:
                        return
                await asyncio.sleep(0.2)


async def test_a_data_folder_is_all_that_a_server_and_the_keys_beside_it_need(
    postgres_root: Path, database: Database
) -> None:
    folder = postgres_root / "served"
    settings = {"DATA_DIR": str(folder)}
    before = await command("keys", "create", "--kind", "app", "--workspace", "w", settings=settings)
    assert before.code == 0
    assert KEY.fullmatch(before.out)
    async with serving(database, database_url=None, data_dir=folder) as served:
        beside = await command("keys", "create", "--kind", "manager", "--workspace", "w", settings=settings)
        assert (beside.code, beside.err) == (0, "")
        assert KEY.fullmatch(beside.out)
        async with Client(served.url, beside.out.strip()) as client:
            assert (await client.manager.workspace()).name == "w"
        assert await served.terminate() == 0
        assert served.stdout == [f"listening on {served.url}"]


async def test_the_installed_program_is_the_same_command_line() -> None:
    program = Path(sys.executable).with_name("geo-offers")
    ended = await command("--help", program=(str(program),))
    assert ended.code == 0
    for name in ("serve", "demo", "migrate", "import", "replay", "keys"):
        assert f"\n    {name} " in ended.out
    assert (await command("fly", program=(str(program),))).code == 2


async def test_an_own_server_is_migrated_by_its_owner_and_never_by_serving(
    empty_database: Callable[[str], str],
) -> None:
    ours, owners = {"DATABASE_URL": empty_database(APP)}, {"MIGRATE_URL": empty_database(OWNER)}
    refused = await command("serve", settings=ours | {"PORT": "0"})
    assert (refused.code, refused.out, len(refused.complaints)) == (1, "", 1)
    assert "geo-offers migrate" in refused.err
    without = await command("migrate", settings=ours)
    assert (without.code, len(without.complaints)) == (1, 1)
    assert "GEO_OFFERS_MIGRATE_URL" in without.err
    first = await command("migrate", settings=ours | owners)
    assert (first.code, first.out.splitlines()[0]) == (0, "applied 0001_foundation.sql")
    again = await command("migrate", settings=ours | owners)
    assert (again.code, again.out) == (0, "the schema is up to date\n")
    made = await command("keys", "create", "--kind", "app", "--workspace", "w", settings=ours)
    assert (made.code, bool(KEY.fullmatch(made.out))) == (0, True)
