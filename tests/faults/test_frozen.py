"""A server that is frozen past its lease, between a gateway's answer and its record: what it knows comes too late."""

import asyncio
import os
import signal
import uuid
from contextlib import AsyncExitStack
from pathlib import Path

from aiohttp import web

from geo_offers.pipeline.partitions import PARTITIONS, partition_of
from tests.faults.world import HOOKS, administrator, assert_each_once, until, world
from tests.support.gateways.webhook import gateway
from tests.support.running import serving

HALF = PARTITIONS // 2
LEASE_S = 6


async def test_the_record_of_a_server_that_thaws_past_its_lease_changes_nothing(database, monkeypatch, tmp_path):
    async with AsyncExitStack() as stack:
        push = await stack.enter_async_context(gateway())
        rows = await stack.enter_async_context(administrator(database))
        async with serving(database) as first, world(database, lambda: first.url) as made:
            await made.no_gaps()
            await made.fences(2)
            await made.campaign()
            people = await made.phones([f"person {number}" for number in range(20)], push=True)
            phone = next(phone for phone in people if partition_of(uuid.UUID(phone.user)) < HALF)
            await first.terminate()
        freeze_file = tmp_path / "freeze"
        freeze_file.write_text("frozen: accepted, not recorded")
        settings = {"lease_s": LEASE_S, **push.settings}
        monkeypatch.setenv("PYTHONPATH", str(HOOKS), prepend=os.pathsep)
        monkeypatch.setenv("FAULTS_PARTITIONS", f"0-{HALF - 1}")
        monkeypatch.setenv("FAULTS_KILL_FILE", str(freeze_file))
        frozen = await stack.enter_async_context(serving(database, **settings))
        monkeypatch.setenv("FAULTS_PARTITIONS", f"{HALF}-{PARTITIONS - 1}")
        monkeypatch.delenv("FAULTS_KILL_FILE")
        made = await stack.enter_async_context(world(database, lambda: frozen.url))
        arriving = asyncio.create_task(made.pings(phone.token, [phone.ping(0)]))
        await until(lambda: _stopped(frozen.pid), why="the first server is not frozen")
        assert len(push.attempts) == 1

        release = asyncio.Event()
        push.before_answer = lambda _ident: release.wait()
        push.answer_with = lambda: web.Response(status=422)
        await stack.enter_async_context(serving(database, **settings))
        await until(lambda: push.under_way == 1, why="the second server does not send again")
        freeze_file.write_text("")
        os.kill(frozen.pid, signal.SIGCONT)
        assert (await arriving).status == 200
        await asyncio.sleep(0.3)  # its record is written in some milliseconds
        assert await rows.fetchval("SELECT state FROM outbox") == "sending"
        release.set()

        async def ended():
            return await rows.fetchval("SELECT state FROM offer") != "queued"

        await until(ended, why="the second server's record")
        ending = await rows.fetchrow(
            "SELECT o.state, o.detail, r.state AS slot FROM offer o JOIN reservation r ON r.offer = o.id"
        )
        assert tuple(ending) == (
            "failed",
            "http 422",
            1,
        )  # as the second heard it; it may be shown, so the slot is kept
        assert [len(times) for times in push.attempts.values()] == [2]
        assert list(push.visible().values()) == [1]
        push.answer_with = web.Response
        assert (await made.pings(phone.token, [phone.ping(1)])).status == 200  # and the first one goes on

        async def both():
            return await rows.fetchval("SELECT count(*) FROM offer WHERE state = 'accepted'") == 1

        await until(both, why="the next offer")
        assert push.faults == []
        await assert_each_once(rows)


def _stopped(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
