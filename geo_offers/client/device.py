"""A phone, as the server knows it: its tokens, its person's consents and rhythm, its pings and its offers."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, TypeVar
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client import pings as batches
from geo_offers.client.http import NOBODY, Call, Caller, path
from geo_offers.client.retry import Patience
from geo_offers.client.seen import FileSeenStore, SeenStore
from geo_offers.client.stream import STREAM_PATIENCE, Stream

T = TypeVar("T")
OnTokens = Callable[[wire.Tokens], Awaitable[None] | None]
EventType = Literal["shown", "opened", "dismissed", "muted"]
DismissReason = Literal["not_now", "too_many", "not_for_me", "wrong_place"]


_UNTOLD: Final = wire.ShownText()


class TokenKeeper:
    """A device's tokens: a short access token, renewed ahead of its end, and the refresh token that renews it.

    However many calls find the token stale at once, one renewal is made and all of them use it. `on_tokens` gets each
    new pair before anything uses it, so that an app can keep the refresh token; the server takes the one before it
    until then.
    """

    def __init__(
        self, caller: Caller, refresh_token: str, enrolled: wire.Enrolled | None, on_tokens: OnTokens | None
    ) -> None:
        self._caller = caller
        self._on_tokens = on_tokens
        self._turn = asyncio.Lock()
        self.refresh_token = refresh_token
        self._access: str | None = None
        self._stale_at_s = 0.0
        if enrolled is not None:
            self._install(enrolled.access_token, enrolled.expires_in)

    async def token(self) -> str:
        if self._access is None or asyncio.get_running_loop().time() >= self._stale_at_s:
            await self.renew(self._access)
        assert self._access is not None
        return self._access

    async def renew(self, stale: str | None) -> bool:
        """Replace `stale`, unless that has happened meanwhile. Raises ApiError where the refresh token is not good."""
        async with self._turn:
            if self._access == stale:
                body = msgspec.json.encode(wire.TokenRequest(refresh_token=self.refresh_token))
                tokens = await self._caller.ask(Call("POST", "/v1/devices/token", body), NOBODY, wire.Tokens)
                self.refresh_token = tokens.refresh_token
                self._install(tokens.access_token, tokens.expires_in)
                told = self._on_tokens(tokens) if self._on_tokens is not None else None
                if told is not None:
                    await told
        return True

    async def log_in(self, said: wire.LogIn) -> wire.LoggedIn:
        """The access token ends with it, and the one in the answer is used from then on; the refresh token stays."""
        call = Call("POST", path("me", "user"), msgspec.json.encode(said))
        told = await self._caller.ask(call, self, wire.LoggedIn)
        self._install(told.access_token, told.expires_in)
        return told

    def _install(self, access_token: str, expires_in_s: float) -> None:
        self._access = access_token
        early_s = min(30.0, expires_in_s / 5)
        self._stale_at_s = asyncio.get_running_loop().time() + expires_in_s - early_s


class Device:
    """One enrolled device; made by `Client.enrol`, or by `Client.device` from a refresh token kept by the app."""

    def __init__(self, caller: Caller, device_id: UUID, user: UUID | None, tokens: TokenKeeper) -> None:
        self._caller = caller
        self._tokens = tokens
        self._sending = asyncio.Lock()
        self.device_id = device_id
        self.user = user

    @property
    def refresh_token(self) -> str:
        """The one to keep: good for `Client.device` after a restart."""
        return self._tokens.refresh_token

    async def set_consent(
        self, purpose: wire.PurposeName, granted: bool, text_version: str, shown: wire.ShownText = _UNTOLD
    ) -> wire.ConsentState:
        """Grant or withdraw. A withdrawal is in effect when this returns. shown: what proves it."""
        change = wire.ConsentChange(
            granted=granted,
            text_version=text_version,
            locale=shown.locale,
            proof=shown.proof,
            said_at=shown.said_at,
            tc_string=shown.tc_string,
        )
        return await self._ask("PUT", path("me", "consents", purpose), wire.ConsentState, change)

    async def consents(self) -> list[wire.ConsentState]:
        """List what the person has agreed to or withdrawn, by purpose."""
        return (await self._ask("GET", path("me", "consents"), wire.ConsentPage)).items

    async def rhythm(self) -> wire.Rhythm:
        return await self._ask("GET", path("me", "rhythm"), wire.Rhythm)

    async def set_rhythm(self, rhythm: wire.Rhythm) -> wire.Rhythm:
        return await self._ask("PUT", path("me", "rhythm"), wire.Rhythm, rhythm)

    async def profile(self) -> wire.Profile:
        """What is known of the person; ApiError 403 where this device has no proof of whose it is."""
        return await self._ask("GET", path("me", "profile"), wire.Profile)

    async def patch_profile(self, patch: wire.ProfilePatch) -> wire.Profile:
        """Give, change, forget or refuse attributes, as an offer's `ask` wants one; language and zone."""
        return await self._ask("PATCH", path("me", "profile"), wire.Profile, patch)

    async def log_in(self, user: str, user_proof: str | None = None) -> wire.LoggedIn:
        """Name the person who has logged in, who was unnamed so far; `user` of this device is theirs from then on.

        An open stream goes on by itself. ApiError 409 where the device is another named person's.
        """
        told = await self._tokens.log_in(wire.LogIn(user=user, user_proof=user_proof))
        self.user = told.user
        return told

    async def link(self) -> wire.PreferenceLink:
        """Make an address of the hosted preference page for this person; whoever has it may change what they allow."""
        return await self._ask("POST", path("me", "link"), wire.PreferenceLink)

    async def send(self, pings: Sequence[wire.Ping], *, wish: wire.NextWish = "regions") -> wire.PingsAnswer:
        """Send pings by HTTP, any number; results stand in the order given.

        wish: what `next` is to say: `ios` or `android` with the refresh circle that `client.saving` makes most of.
        Sends of one device go out one after the other, so that a later one never overtakes. Raises ApiError,
        ConnectionFailed; sending the same pings again is safe (what was applied answers `duplicate` or `late`).
        """
        async with self._sending:
            return await batches.send(self._caller, self._tokens, pings, wish)

    async def nearby(self, lat: float, lon: float, accuracy_m: float = 0.0) -> list[wire.NearbyOffer]:
        """Ask what the person may have here now, the nearest first; the position is kept nowhere."""
        asked = wire.NearbyAsked(lat=lat, lon=lon, accuracy_m=accuracy_m)
        return (await self._ask("POST", path("me", "nearby"), wire.Nearby, asked)).items

    async def inbox(self) -> list[wire.Offer]:
        """List the person's offers: silent copies of what was decided for them."""
        offers: list[wire.Offer] = []
        query: dict[str, str] = {}
        while True:
            page = await self._caller.ask(Call("GET", path("me", "offers"), query=query), self._tokens, wire.OfferPage)
            offers.extend(page.items)
            if page.next is None:
                return offers
            query = {"cursor": page.next}

    async def event(self, offer: UUID, kind: EventType, reason: DismissReason | None = None) -> None:
        """Tell what the person did with an offer; `reason` only goes with `dismissed`."""
        body = msgspec.json.encode({"type": kind} if reason is None else {"type": kind, "reason": reason})
        where = path("me", "offers", offer, "events")
        await self._caller.send(Call("POST", where, body, idempotency_key=str(uuid.uuid4())), self._tokens)  # noqa: TID251 - an edge makes the id

    async def export(self) -> wire.Export:
        """Everything the server holds about the caller."""
        return await self._ask("GET", path("me", "export"), wire.Export)

    async def erase(self) -> None:
        """Erase the person, or what this device caused; its tokens are dead afterwards, its file of ids is gone.

        An ApiError 401 means that an earlier try, whose answer was lost, had done it.
        """
        await self._caller.send(Call("DELETE", path("me")), self._tokens)
        await asyncio.to_thread(FileSeenStore.of(self.device_id).forget)

    def stream(
        self,
        *,
        seen: SeenStore | None = None,
        in_flight: int = 1,
        auto_shown: bool = True,
        wish: wire.NextWish = "regions",
        heartbeat_s: float = 20.0,
        patience: Patience = STREAM_PATIENCE,
    ) -> Stream:
        """Open a line for pings and offers, to be used as `async with device.stream() as stream`.

        seen: keeps the ids of the offers handed over, so that none is shown twice. By default a file of this device in
        the user's state folder; `FileSeenStore(path)` puts it elsewhere, `MemorySeenStore()` forgets at a restart.
        Where the file cannot be read or written, entering the stream or `Stream.offers` raises OSError.
        in_flight: sends that wait for their answers at a time. With 1 none overtakes: when the server asks for a frame
        again (503), no later one has been applied, behind which it would be `late` and cause nothing. More are faster
        on a slow line, where the order does not matter.
        auto_shown: say `shown` for each offer handed over; otherwise the app calls `Stream.shown`.
        wish: what `next` of every answer is to say, as in `send`.
        """
        return Stream(
            self._caller,
            self._tokens,
            seen=FileSeenStore.of(self.device_id) if seen is None else seen,
            in_flight=in_flight,
            auto_shown=auto_shown,
            wish=wish,
            heartbeat_s=heartbeat_s,
            patience=patience,
        )

    async def _ask(self, method: str, where: str, kind: type[T], body: msgspec.Struct | None = None) -> T:
        given = None if body is None else msgspec.json.encode(body)
        return await self._caller.ask(Call(method, where, given), self._tokens, kind)
