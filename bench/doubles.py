"""The engine with doubles of its ports: only admission, look-up and presence are counted, no socket, no database."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from geo_offers.pipeline.catalog import Catalog
from geo_offers.pipeline.engine import Engine, Limits
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.partitions import PARTITIONS, Ownership
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Part
from geo_offers.presence import states
from geo_offers.presence.states import PresenceState

WORKSPACE: Final = UUID(int=1)


class Store:
    """Each device its own person's, in no fence when it is first heard of."""

    async def load(self, workspace: UUID, devices: Collection[UUID]) -> Sequence[KnownDevice]:
        return [known(workspace, device) for device in devices]


def known(workspace: UUID, device: UUID, state: PresenceState = states.NOWHERE) -> KnownDevice:
    user = UUID(int=device.int + (1 << 64))
    return KnownDevice(
        id=device,
        user=user,
        workspace=workspace,
        partition=user.int % PARTITIONS,
        replay=True,
        locate=True,
        of_age=True,
        proven=False,
        token_epoch=0,
        state=state,
    )


async def commit(_parts: Sequence[Part]) -> Mapping[UUID, str]:
    return {}


@asynccontextmanager
async def running(catalog: Catalog) -> AsyncIterator[Engine]:
    """An engine that owns all partitions."""
    ownership = Ownership(None, "bench")  # type: ignore[arg-type]  # it owns what it is told to, and asks nobody
    ownership.epochs = dict.fromkeys(range(PARTITIONS), 1)
    limits = Limits(devices=2_000_000)
    engine = Engine(catalog, Store(), commit, Figures(), ownership, limits=limits)  # type: ignore[arg-type]
    turns = asyncio.create_task(engine.run())
    try:
        yield engine
    finally:
        turns.cancel()
