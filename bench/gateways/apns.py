"""The lane `apns`: Apple as the tests have it, over TLS and as strict, with 1,000 streams a connection."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

from bench.gateways import Gateway, Peer, Phone
from geo_offers.gateways.apns import ApnsLane
from geo_offers.gateways.http2 import tls_context
from geo_offers.pipeline.credentials import ApnsKey
from tests.support.gateways.apns import authority_pem, serving


class OneKey:
    """A vault in which every workspace has the same key."""

    def __init__(self, key: ApnsKey) -> None:
        self._key = key

    async def of(self, workspace: UUID, lane: str) -> ApnsKey:  # noqa: ARG002  the port's signature
        return self._key


@asynccontextmanager
async def serve() -> AsyncIterator[Gateway]:
    async with serving() as apns:
        yield Gateway((apns.url, apns.key, authority_pem()), lambda: len(apns.posts))


@asynccontextmanager
async def lane(about: Any) -> AsyncIterator[ApnsLane]:
    url, key, authority = about
    with TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        ca_file.write_bytes(authority)
        made = ApnsLane(OneKey(key), tls_context(str(ca_file)), url)
    try:
        yield made
    finally:
        await made.close()


def phone(_about: Any, number: int) -> Phone:
    return Phone("ios", f"{number + 1:064x}")


PEER: Final = Peer(serve, lane, phone)
