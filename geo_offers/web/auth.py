"""Who is calling: a bearer key or access token, checked; what was good is remembered for some seconds."""

from collections import OrderedDict
from typing import Final

from geo_offers.clock import now_us
from geo_offers.errors import NotFound, Unauthenticated
from geo_offers.pipeline.callers import Caller, Keys
from geo_offers.pipeline.engine import Engine
from geo_offers.pipeline.tokens import ACCESS, LINK, PREFIXES, AccessTokens, digest, parse_key

REMEMBER_US: Final = 4_000_000  # an open line asks every second: 5 s after its end a key is refused everywhere
REMEMBERED: Final = 10_000


class Authenticator:
    """Answers the caller of an Authorization header."""

    def __init__(self, keys: Keys, tokens: AccessTokens, engine: Engine) -> None:
        self._keys = keys
        self._tokens = tokens
        self._engine = engine
        self._known: OrderedDict[bytes, tuple[int, Caller]] = OrderedDict()

    async def caller(self, header: str | None) -> Caller:
        """Raises Unauthenticated where there is no good key or token in the header."""
        if not header:
            raise Unauthenticated("send `Authorization: Bearer` with a key or an access token")
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise Unauthenticated("send `Authorization: Bearer` with a key or an access token")
        return await self.bearer(text.strip())

    async def bearer(self, text: str) -> Caller:
        return await (self._device(text) if text.startswith(f"{ACCESS}_") else self._key(text))

    async def link(self, text: str) -> Caller:
        """The device that a signed link was made for."""
        return await self._device(text, LINK)

    async def _device(self, text: str, kind: str = ACCESS) -> Caller:
        access = await self._tokens.check(text, now_us(), kind)
        try:
            device = await self._engine.known(access.workspace, access.device)
        except NotFound as error:
            raise Unauthenticated("this device is not enrolled any more") from error
        if device.token_epoch != access.epoch or device.user != access.user:
            raise Unauthenticated("this token was revoked")
        return Caller(
            workspace=access.workspace,
            kind="device",
            id=str(device.id),
            replay=device.replay,
            device=device.id,
            user=device.user,
            proven=device.proven,
            epoch=access.epoch,
        )

    async def _key(self, text: str) -> Caller:
        key = parse_key(text)
        mark, now = digest(text), now_us()
        held = self._known.get(mark)
        if held is not None and held[0] > now:
            return held[1]
        caller = await self._keys.find(key.workspace, key.id, digest(key.secret))
        if caller is None or PREFIXES.get(key.prefix) != caller.kind:
            raise Unauthenticated("this key is not good")
        self._known[mark] = (now + REMEMBER_US, caller)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return caller
