"""The lane `fcm`: the tests' double of FCM, OAuth included, as strict as it is; it keeps no list of the calls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

from bench.gateways import Gateway, Peer, Phone
from geo_offers.gateways.fcm import FcmLane
from geo_offers.pipeline.credentials import FcmAccount
from tests.support.gateways.fcm import Fcm, running


@asynccontextmanager
async def serve() -> AsyncIterator[Gateway]:
    fcm = Fcm()
    fcm.keeps_calls = False
    async with running(fcm):
        yield Gateway((fcm.url, fcm.account()), lambda: fcm.taken)


class Vault:
    """One account, at hand."""

    def __init__(self, account: FcmAccount) -> None:
        self._account = account

    async def of(self, workspace: UUID, lane: str) -> FcmAccount:  # noqa: ARG002
        return self._account


@asynccontextmanager
async def lane(about: Any) -> AsyncIterator[FcmLane]:
    url, account = about
    made = FcmLane(Vault(account), base_url=url, token_url=account.token_uri)
    try:
        yield made
    finally:
        await made.close()


def phone(_about: Any, number: int) -> Phone:
    """A token is as long as FCM's are."""
    return Phone("android", f"{number:022d}:APA91b{'x' * 134}")


PEER: Final = Peer(serve, lane, phone)
