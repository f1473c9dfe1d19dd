"""The link to the database breaks right after a commit of geofences: the next pings see what was committed.

Nobody sends the change again. And a server that takes the database over loads what its predecessor committed last.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from geo_offers.errors import Unavailable
from geo_offers.pipeline.partitions import PARTITIONS
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.places.importing.geojson import parse_collection, parse_feature
from geo_offers.places.importing.rows import row_of
from geo_offers.storage.geofences import PostgresGeofences, open_set
from geo_offers.storage.imports import PostgresImports
from geo_offers.storage.pool import open_pool, transaction
from geo_offers.storage.turns import PostgresPartitions
from tests.faults.world import feature, until, world
from tests.support.fences import load_fences
from tests.support.running import WORKSPACE, make_key, running

NAMED = workspace_id(WORKSPACE)


# ---------------------------------------------------------------------------------------------- the link
@dataclass(slots=True)
class Link:
    """Between service and database. Once `doomed` was sent over a connection, the answer to its commit is lost."""

    socket: str
    doomed: bytes = b""
    cut: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server, towards = await asyncio.open_unix_connection(self.socket)
        dying = asyncio.Event()
        ways = [self.sent(reader, towards, dying), self.answered(server, writer, dying)]
        tasks = [asyncio.create_task(way) for way in ways]
        self.tasks.update(tasks)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (writer, towards):
            end.transport.abort()

    async def sent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dying: asyncio.Event) -> None:
        seen = False
        while data := await reader.read(65536):
            seen = seen or bool(self.doomed and self.doomed in data)
            if seen and b"COMMIT\x00" in data:
                self.doomed = b""
                dying.set()
            writer.write(data)

    async def answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, dying: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if dying.is_set():
                self.cut += b"COMMIT\x00" in data
                return
            writer.write(data)


@asynccontextmanager
async def linked(database):
    """The database as it is reached over a link that can be cut."""
    given = urlsplit(database.app_dsn)
    query = parse_qs(given.query)
    link = Link(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    server = await asyncio.start_server(link.take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    dsn = f"postgresql://{given.username}@127.0.0.1:{port}{given.path}?sslmode=disable"
    async with server:
        yield link, replace(database, app_dsn=dsn)
        server.close()


# ---------------------------------------------------------------------------------------------- pings see it
def of_grid(number):
    return feature(number) | {"id": f"doomed-{number}"}


async def prepared(made, call):
    """The change whose answer is to be lost, as method, path and body; and which edge a phone then sees."""
    path = "/v1/geofences/grid/doomed-0"
    if call == "put":
        return ("PUT", path, of_grid(0)), "enter"
    if call == "apply":
        report = await made.good("POST", "/v1/imports?set=grid", "manager", of_grid(0))
        return ("POST", f"/v1/imports/{report['id']}/apply", None), "enter"
    report = await made.good("POST", "/v1/imports?set=grid&dry_run=false", "manager", of_grid(0))
    if call == "delete":
        return ("DELETE", path, None), "exit"
    return ("POST", f"/v1/imports/{report['id']}/undo", None), "exit"


@pytest.mark.parametrize("call", ["put", "delete", "apply", "undo"])
async def test_pings_see_a_change_whose_answer_was_lost_though_nobody_repeats_it(database, call):
    async with (
        linked(database) as (link, reached),
        running(reached, device_rate_per_s=1e4, device_burst=1e4) as service,
        world(database, lambda: service.url) as made,
    ):
        (phone,) = await made.phones(["one"])
        change, expected = await prepared(made, call)

        async def seen():
            answer = await made.pings(phone.token, [phone.ping(0)])
            return [edge["type"] for edge in answer.body.get("transitions", [])]

        assert await seen() == (["enter"] if expected == "exit" else [])
        link.doomed = b"doomed-0"
        method, path, body = change
        assert (await made.call(method, path, "manager", body)).status == 503
        assert link.cut == 1

        async def told():
            return await seen() == [expected]

        await until(told, why=f"an {expected}")


# ---------------------------------------------------------------------------------------------- a successor
@pytest.fixture
async def pool(database) -> AsyncIterator:
    await make_key(database)  # and with it the workspace
    async with open_pool(database.app_dsn, size=4) as made:
        yield made


async def admitted(*_):
    """Room for everybody."""


async def test_who_takes_over_loads_what_its_predecessor_was_still_committing(pool):
    partitions = PostgresPartitions(pool)
    await partitions.claim("old", 60)
    async with transaction(pool, [NAMED]) as connection:
        await open_set(connection, NAMED, "grid", "old")
        await partitions.release("old")
        assert len(await partitions.claim("new", 60)) == PARTITIONS - 1
    assert len(await partitions.claim("new", 60)) == PARTITIONS


async def test_a_deposed_owner_changes_no_geofences_that_its_successor_has_loaded(pool):
    partitions = PostgresPartitions(pool)
    old, new = (PostgresGeofences(pool, owner) for owner in ("old", "new"))
    imports, ident = PostgresImports(pool, "old"), uuid4()
    draft = parse_feature(feature(0), external_id="a", strict=False)
    await partitions.claim("old", 60)
    await old.put(NAMED, "grid", draft, "author", admitted)
    await imports.create(NAMED, ident, "grid", [row_of(row) for row in parse_collection(feature(1)).rows])
    await partitions.release("old")
    await partitions.claim("new", 60)
    before = await load_fences(pool)
    with pytest.raises(Unavailable, match="another process owns"):
        await old.put(NAMED, "grid", draft, "author", admitted)
    with pytest.raises(Unavailable, match="another process owns"):
        await old.delete(NAMED, "grid", "a", "author")
    with pytest.raises(Unavailable, match="another process owns"):
        await imports.apply(NAMED, ident, "author", admitted)
    assert await load_fences(pool) == before
    await new.delete(NAMED, "grid", "a", "author")
