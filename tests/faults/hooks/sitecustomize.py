"""Plants faults in a child process: Python loads a module of this name before it runs a program.

FAULTS_KILL_FILE names a file; while the file holds the name of a point, the process dies there as by kill -9.
FAULTS_STUMBLE_MPS: a fix of this speed cannot be stepped, and the error names all that is known of it.
"""

import functools
import os
import signal
from pathlib import Path

from geo_offers.gateways.webhook import WebhookLane
from geo_offers.pipeline.devices import Devices
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.turns import PostgresTurn

KILL_FILE = os.environ.get("FAULTS_KILL_FILE")
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
        return result

    setattr(owner, method, wrapped)


dies_after(PostgresTurn, "write", "written, not committed")
dies_after(DecisionTurn, "__call__", "committed, not answered")
dies_after(PostgresOutbox, "claim", "claimed", of_note=bool)
dies_after(PostgresOutbox, "recheck", "marked as being sent", of_note=lambda looked: bool(looked.ready))
dies_after(WebhookLane, "send", "accepted, not recorded")
dies_after(PostgresOutbox, "finish", "recorded", of_note=bool)

if STUMBLE_MPS is not None:
    real_step = Devices.step

    def step(self, part, index):
        for point in (part.request.points[number] for number in part.numbers):
            if point.speed_mps == float(STUMBLE_MPS):
                raise ValueError(f"cannot step {point} after {self.state(part.device)}")
        return real_step(self, part, index)

    Devices.step = step
