"""The way in: a client for one server and one key."""

import re
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client import pings as batches
from geo_offers.client.device import Device, OnTokens, TokenKeeper
from geo_offers.client.errors import ClientError
from geo_offers.client.http import Call, Caller, KeyBearer, given, path
from geo_offers.client.manager import Manager
from geo_offers.client.retry import Patience

T = TypeVar("T")
MAX_ENROLMENTS = 1_000
_KEY = re.compile("[!-~]+")


class Client:
    """`async with Client("https://offers.example", key) as client`; key pk_, sk_ or mk_, or None to resume a device.

    patience: how often and how long each request is tried again. Raises ClientError where the address or the key cannot
    be one.
    """

    def __init__(self, url: str, key: str | None = None, *, patience: Patience | None = None) -> None:
        if key is not None and not _KEY.fullmatch(key):
            raise ClientError("the key is empty, or holds a character that no key has: give it as it was printed")
        self._caller = Caller(url, patience or Patience())
        self._bearer = KeyBearer(key)

    async def __aenter__(self) -> Self:
        await self._caller.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._caller.__aexit__(kind, error, trace)

    async def knock(self) -> None:
        """Raise ConnectionFailed soon where no server is there, for who would not wait out the patience to hear it."""
        await self._caller.knock()

    @property
    def manager(self) -> Manager:
        """The calls of an mk_ key."""
        return Manager(self._caller, self._bearer)

    async def enrol(self, enrolment: wire.Enrolment, *, on_tokens: OnTokens | None = None) -> Device:
        """Enrol one device (pk_ or sk_ key); keep its `device_id`, `refresh_token` and what `on_tokens` gets."""
        return self._device(await self._enrol(given(enrolment), wire.Enrolled), on_tokens)

    async def enrol_many(self, enrolments: Sequence[wire.Enrolment]) -> list[Device]:
        """Enrol up to 1,000 devices in one transaction (sk_ key); all or none, in the order given."""
        if len(enrolments) > MAX_ENROLMENTS:
            raise ValueError(f"at most {MAX_ENROLMENTS} devices are enrolled at once, not {len(enrolments)}")
        if not enrolments:
            return []
        return [self._device(one, None) for one in await self._enrol(list(map(given, enrolments)), list[wire.Enrolled])]

    def device(self, device_id: UUID, refresh_token: str, *, on_tokens: OnTokens | None = None) -> Device:
        """Resume a device enrolled before, after a restart of the app."""
        return Device(self._caller, device_id, None, TokenKeeper(self._caller, refresh_token, None, on_tokens))

    async def send(self, pings: Sequence[wire.Ping]) -> wire.PingsAnswer:
        """Send pings of many devices (sk_ key), each naming its `device`; results stand in the order given."""
        return await batches.send(self._caller, self._bearer, pings)

    async def tell(self, interaction: wire.Interaction) -> wire.InteractionKept:
        """Tell what a person did (sk_ key), once by its `id`. A purchase may name the offer that it redeems."""
        call = Call("POST", path("interactions"), msgspec.json.encode(given(interaction)))
        return await self._caller.ask(call, self._bearer, wire.InteractionKept)

    async def patch_profile(self, user: str, patch: wire.ProfilePatch) -> wire.Profile:
        """Change what is known of a person (sk_ key). user: the app's own name for them, or our id."""
        call = Call("PATCH", path("users", user, "profile"), msgspec.json.encode(patch))
        return await self._caller.ask(call, self._bearer, wire.Profile)

    async def _enrol(self, body: object, kind: type[T]) -> T:
        key = str(uuid.uuid4())  # noqa: TID251 - an edge makes the id: a repeat gets new tokens for the same devices
        call = Call("POST", path("devices"), msgspec.json.encode(body), idempotency_key=key)
        return await self._caller.ask(call, self._bearer, kind)

    def _device(self, enrolled: wire.Enrolled, on_tokens: OnTokens | None) -> Device:
        tokens = TokenKeeper(self._caller, enrolled.refresh_token, enrolled, on_tokens)
        return Device(self._caller, enrolled.device, enrolled.user, tokens)
