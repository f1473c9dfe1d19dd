"""Log-in: the phone of somebody unnamed becomes the phone of a person that the app names.

What protects the person comes along in any case: the offers they got and the reservations that caps count, mutes,
refusals, and their newest word on each purpose of consent. So does their place in the draws of experiments, where the
name is new; a person who was here before keeps their own. What tells of them (visits, what was decided, attributes)
comes along with the `profile` consent alone, and is deleted without it. It is one transaction under the locks of both,
while the engine holds both: they live in different partitions, and what the phone is inside of moves with it.
"""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid5

from geo_offers import wire
from geo_offers.people.consent import Consents, Purpose
from geo_offers.pipeline import people
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.people import Ended, People
from geo_offers.pipeline.streams import DeviceStreams


@dataclass(frozen=True, slots=True)
class Moved:
    """Whose the device is now. stopped: by the newest word on consent nothing is sent to the person any more.

    ended: what waited to be sent to them.
    """

    user: UUID
    epoch: int
    merged: bool
    stopped: bool = False
    ended: Sequence[Ended] = ()


class LogIns(Protocol):
    async def log_in(self, caller: Caller, said: wire.LogIn) -> Moved:
        """All or nothing. Forbidden for a proof that is missing or false, Conflict where the device is another's."""
        ...


def named_user(workspace: UUID, name: str) -> UUID:
    """A named person's id follows from the name, so that two phones that name them at once mean one person."""
    return uuid5(workspace, f"user {name}")


def newest(ours: Consents, theirs: Consents) -> tuple[Consents, list[Purpose]]:
    """Return what a person has said by two accounts of it, and where `theirs` changes `ours`; no wins a draw."""
    value, changed = ours, list[Purpose]()
    for purpose, said in theirs.said.items():
        held = ours.said.get(purpose)
        if held is None or (said.at_us, not said.granted) > (held.at_us, not held.granted):
            value = value.having(purpose, said)
            if held is None or (held.granted, held.text_version) != (said.granted, said.text_version):
                changed.append(purpose)
    return value, changed


async def log_in(
    log_ins: LogIns, held: People, engine: Engine, streams: DeviceStreams, *, caller: Caller, said: wire.LogIn
) -> Moved:
    """Tokens and streams from before are the old person's, and end."""
    assert caller.user is not None
    target = named_user(caller.workspace, said.user)
    async with AsyncExitStack() as stack:
        for user in _in_order({caller.user, target}):
            await stack.enter_async_context(engine.exclusive(user))
        try:
            moved = await log_ins.log_in(caller, said)
        finally:  # it may be done though its answer was lost
            streams.end(caller.user, caller.device)
    if moved.stopped:
        streams.clear(target)
        await people.wait_for_sends(held, Caller(caller.workspace, "device", caller.id, user=target, proven=True), None)
    return moved


def _in_order(users: Iterable[UUID]) -> list[UUID]:
    """The one order in which several people are held."""
    return sorted(users)
