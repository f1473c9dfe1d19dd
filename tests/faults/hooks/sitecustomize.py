"""Plants faults in a child process: Python loads a module of this name before it runs a program.

FAULTS_KILL_FILE names a file; while the file holds the name of a point, the process dies there as by kill -9, and
where `frozen: ` stands before the name it stops there as by SIGSTOP.
FAULTS_POISON: an offer for this push token ends the process that sends it.
FAULTS_PARTITIONS, as 64-127: the process owns these partitions alone, and leaves the others to others.
FAULTS_STUMBLE_MPS: a fix of this speed cannot be stepped, and the error names all that is known of it.
"""

import asyncio
import functools
import os
import signal
from pathlib import Path

from geo_offers.gateways.webhook import WebhookLane
from geo_offers.pipeline.devices import Devices
from geo_offers.pipeline.partitions import LEASE_S, Ownership
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.turns import PostgresPartitions, PostgresTurn

KILL_FILE = os.environ.get("FAULTS_KILL_FILE")
POISON = os.environ.get("FAULTS_POISON")
PARTITIONS = os.environ.get("FAULTS_PARTITIONS")
STUMBLE_MPS = os.environ.get("FAULTS_STUMBLE_MPS")


def armed(point):
    return KILL_FILE is not None and Path(KILL_FILE).read_text() == point


def dies_after(owner, method, point, *, of_note=lambda _result: True):
    """Wrap an async method so that the process ends when a call of it has returned something of note."""
    real = getattr(owner, method)

    @functools.wraps(real)
    async def wrapped(*arguments, **named):
        result = await real(*arguments, **named)
        if of_note(result) and armed(point):
            os.kill(os.getpid(), signal.SIGKILL)
        if of_note(result) and armed(f"frozen: {point}"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return result

    setattr(owner, method, wrapped)


dies_after(PostgresTurn, "write", "written, not committed")
dies_after(DecisionTurn, "__call__", "committed, not answered")
dies_after(
    PostgresOutbox, "take", "marked as being sent", of_note=lambda taken: bool(taken.looked and taken.looked.ready)
)
dies_after(WebhookLane, "send", "accepted, not recorded")
dies_after(PostgresOutbox, "finish", "recorded", of_note=bool)

if POISON is not None:
    real_send = WebhookLane.send

    async def send(self, message, start_by):
        if message.push_token == POISON:
            os._exit(1)
        return await real_send(self, message, start_by)

    WebhookLane.send = send

if PARTITIONS is not None:
    first, last = map(int, PARTITIONS.split("-"))
    free = "FROM partition WHERE owner IS DISTINCT FROM $1"
    assert sql("partitions_claim").count(free) == 1
    claim_some = sql("partitions_claim").replace(free, f"{free} AND id BETWEEN {first} AND {last}")

    async def claim(self, owner, lease_s):
        async with transaction(self._pool, []) as connection:
            return {row["id"]: row["epoch"] for row in await connection.fetch(claim_some, owner, lease_s)}

    async def take_all(self):
        while len(self.epochs) <= last - first:
            self.epochs = await self._store.claim(self.owner, LEASE_S)
            await asyncio.sleep(0.1)

    PostgresPartitions.claim = claim
    Ownership.take_all = take_all

if STUMBLE_MPS is not None:
    real_step = Devices.step

    def step(self, part, index):
        for point in (part.request.points[number] for number in part.numbers):
            if point.speed_mps == float(STUMBLE_MPS):
                raise ValueError(f"cannot step {point} after {self.state(part.device)}")
        return real_step(self, part, index)

    Devices.step = step
