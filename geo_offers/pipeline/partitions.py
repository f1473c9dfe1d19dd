"""Which partition a user belongs to, and the lease by which one process owns it.

A user hashes to one of 256 partitions. A partition has one owner at a time; the owner holds the presence of its
users, and every commit names the epoch under which it owns them, so that an owner who was deposed commits nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol
from uuid import UUID

import structlog

from geo_offers.errors import Misconfigured, Unavailable

PARTITIONS: Final = 256
LEASE_S: Final = 3.0
RENEW_S: Final = 1.0

_log = structlog.get_logger()


def partition_of(user: UUID) -> int:
    """FNV-1a (32 bits) of the id's text modulo 256: what a NATS subject mapping computes for the same token."""
    value = 2_166_136_261
    for byte in str(user).encode():
        value = ((value ^ byte) * 16_777_619) & 0xFFFF_FFFF
    return value % PARTITIONS


class PartitionStore(Protocol):
    async def claim(self, owner: str, lease_s: float) -> Mapping[int, int]:
        """Takes what is free, renews what is ours; epoch by partition."""
        ...

    async def release(self, owner: str) -> None: ...


class Ownership:
    """The partitions that this process owns, kept by renewing their lease."""

    def __init__(self, store: PartitionStore, owner: str) -> None:
        self._store = store
        self.owner = owner
        self.epochs: Mapping[int, int] = {}

    async def take_all(self, patience_s: float = LEASE_S * 2) -> None:
        """Claims all partitions, waiting for the lease of an owner that died; Misconfigured where one lives on."""
        try:
            async with asyncio.timeout(patience_s):
                while len(self.epochs) < PARTITIONS:
                    self.epochs = await self._store.claim(self.owner, LEASE_S)
                    if len(self.epochs) < PARTITIONS:
                        await asyncio.sleep(0.2)
        except TimeoutError as error:
            await self._store.release(self.owner)
            raise Misconfigured("another server of this database is running; stop it first") from error

    async def keep(self) -> None:
        """Renews until cancelled. A renewal that fails is tried again: commits check the epoch anyway.

        Raises Misconfigured where another process has owned a partition meanwhile: the fences in memory may be older
        than what that one was told, and the service has to start anew.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                epochs = await self._store.claim(self.owner, LEASE_S)
            except Unavailable as error:
                _log.warning("partition lease not renewed", reason=error.detail)
                continue
            before, self.epochs = self.epochs, epochs
            if any(epochs.get(partition) != epoch for partition, epoch in before.items()):
                raise Misconfigured("another server of this database has taken over; this one ends")

    async def release(self) -> None:
        await self._store.release(self.owner)
        self.epochs = {}
