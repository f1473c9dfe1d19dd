"""The lane `webpush`: the tests' push service over TLS, which checks each sender and opens each message."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from bench.gateways import Gateway, Peer, Phone
from geo_offers.egress import guarded_session
from geo_offers.gateways.webpush import WebPushLane
from geo_offers.hosts import networks
from geo_offers.pipeline.credentials import VapidKey
from tests.support.gateways.webpush import new_key, pem_of, push_service

BROWSERS: Final = 200
LOOPBACK: Final = networks("127.0.0.1/32")


@asynccontextmanager
async def serve() -> AsyncIterator[Gateway]:
    sender = new_key()
    async with push_service(keeps=False) as service:
        browsers = [service.subscribe(sender) for _ in range(BROWSERS)]
        phones = [Phone("web", browser.endpoint, browser.keys) for browser in browsers]
        key = VapidKey(pem_of(sender), "mailto:bench@shop.example")
        yield Gateway((service.certificate.decode(), key, phones), lambda: service.taken)


class Vault:
    """One key, at hand."""

    def __init__(self, key: VapidKey) -> None:
        self._key = key

    async def of(self, workspace: UUID, lane: str) -> VapidKey:  # noqa: ARG002
        return self._key


@asynccontextmanager
async def lane(about: Any) -> AsyncIterator[WebPushLane]:
    certificate, key, _ = about
    tls = ssl.create_default_context(cadata=certificate)
    async with guarded_session(LOOPBACK, tls=tls) as session:
        made = WebPushLane(session, Vault(key), networks=LOOPBACK)
        try:
            yield made
        finally:
            await made.close()


def phone(about: Any, number: int) -> Phone:
    return about[2][number % BROWSERS]


PEER: Final = Peer(serve, lane, phone)
