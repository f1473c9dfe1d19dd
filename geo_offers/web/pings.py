"""Pings over HTTP, and what both transports share: pings to points, an engine's answer to the wire."""

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

import msgspec

from geo_offers import instants, wire
from geo_offers.errors import Fault, Forbidden, Invalid
from geo_offers.pipeline import quick
from geo_offers.pipeline.advice import WISHES, pause_s
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.quick import Batch
from geo_offers.pipeline.requests import RESULTS, MadeOffer, Point, Points, Request
from geo_offers.pipeline.services import Services
from geo_offers.web import bodies, regions
from geo_offers.web.calls import PINGS_BODY, Call, Given, Reply

_NOBODY = UUID(int=0)  # a ping that names no device under a server key: unknown, refused by its index
_RESULTS = [wire.PointResult(status=result.status, reason=result.reason) for result in RESULTS]  # type: ignore[arg-type]


class _Message(msgspec.Struct):
    title: str
    body: str
    link: str | None = None
    data: dict[str, str] | None = None


_message = msgspec.json.Decoder(_Message)
_encoder = msgspec.json.Encoder()
_frame = msgspec.json.Decoder(wire.Ping | list[wire.Ping])
PINGS = 1_000
_DOUBLED = (b'"at"', b'"lat"', b'"lon"')


def suspicious(data: bytes, pings: int) -> bool:
    """Whether a key may stand twice in one ping: each of them has `at`, `lat` and `lon` at most once."""
    return any(data.count(key) > pings for key in _DOUBLED)


def own(caller: Caller, batch: Batch) -> Batch:
    """The pings as the caller's. Raises Forbidden where a device's token sends another's."""
    if caller.device is not None and not batch.sent_by(caller.device):
        raise _not_own()
    return batch


def _not_own() -> Forbidden:
    return Forbidden("a device's token sends the pings of that device only", "other_device")


def points(caller: Caller, pings: Sequence[wire.Ping]) -> list[Point]:
    """Raises Invalid or Forbidden for what cannot be meant; what one point alone gets wrong is answered by index."""
    made: list[Point] = []
    mine = caller.device
    for number, ping in enumerate(pings):
        if mine is not None and ping.device is not None and ping.device != mine:
            raise _not_own()
        device = mine or ping.device or _NOBODY
        at_us = instants.parse(ping.at)
        if (ping.region is None) != (ping.event is None):
            raise _shape(number, "`region` and `event` go together")
        if ping.region is not None:
            if ping.lat is not None or ping.lon is not None:
                raise _shape(number, "a ping is a position or a region event, not both")
            made.append(
                Point(
                    device,
                    at_us,
                    None,
                    None,
                    region=ping.region,
                    entered=ping.event == "enter",
                    foreground=bool(ping.foreground),
                )
            )
            continue
        if ping.lat is None or ping.lon is None:
            raise _shape(number, "a ping has `lat` and `lon`, or `region` and `event`")
        made.append(
            Point(
                device,
                at_us,
                ping.lat,
                ping.lon,
                ping.accuracy_m,
                ping.speed_mps,
                bool(ping.mock),
                foreground=bool(ping.foreground),
            )
        )
    return made


def _shape(number: int, detail: str) -> Invalid:
    return Invalid(detail, (Fault(f"/pings/{number}", "shape", detail),))


def answer(services: Services, caller: Caller, request: Request, wish: wire.NextWish, seq: int | None = None) -> bytes:
    """The engine's answer, `wire.PingsAnswer` in JSON; `next` for a phone, which can use it, as it wishes."""
    said = [b'{"results":', _results(bytes(request.codes))]
    if request.transitions or request.offers:
        said += [b',"transitions":', _transitions(request, caller), b',"offers":', _offers(request)]
    else:
        said.append(b',"transitions":[],"offers":[]')
    if caller.device is not None:
        advice = _next(services, caller, request, wish)
        if advice is not None:
            said += [b',"next":', _encoder.encode(advice)]
    said.append(b"}" if seq is None else b',"seq":%d}' % seq)
    return b"".join(said)


@lru_cache(maxsize=256)  # of a thousand points an entry takes 25 to 50 KB
def _results(codes: bytes) -> bytes:
    """Nearly all requests of a size are answered the same: every point accepted."""
    return _encoder.encode([_RESULTS[code] for code in codes])


def _transitions(request: Request, caller: Caller) -> bytes:
    many = caller.device is None
    return _encoder.encode(
        [
            wire.TransitionSeen(
                type=seen.transition.told,
                fence=seen.transition.fence,
                at=instants.from_us(seen.transition.at_us),
                confidence=seen.transition.confidence,
                device=seen.device if many else None,
            )
            for seen in request.transitions
        ]
    )


def _offers(request: Request) -> bytes:
    return _encoder.encode([offer(made) for made in request.offers])


def offer(made: MadeOffer) -> wire.Offer:
    """A silent copy: showing it is the lane's."""
    said = _message.decode(made.message)
    return wire.Offer(
        id=made.id,
        campaign=made.campaign,
        fence=made.fence,
        title=said.title,
        body=said.body,
        link=said.link,
        data=said.data,
        lane=made.lane,
        alert=False,
        created_at=instants.from_us(made.created_us),
        expires_at=instants.from_us(made.expires_us),
    )


def _next(services: Services, caller: Caller, request: Request, wish: wire.NextWish) -> wire.Next | None:
    last = None if caller.device is None or wish == "none" else request.last
    if last is None or caller.device is None:
        return regions.UNSEEN if request.is_unseen and wish != "none" else None
    found = services.engine.advise(caller.device, last, WISHES[wish])
    if found is None:
        return None
    return regions.told(found, pause_s(services.catalog, caller.workspace, request.received_us))


def bound(batch: Sequence[wire.Ping]) -> None:
    """A stream's frame holds as many pings as a request."""
    if not 1 <= len(batch) <= PINGS:
        raise Invalid(f"a frame holds 1 to {PINGS} pings", (Fault("", "length", f"send 1 to {PINGS} pings"),))


def plain_frame(caller: Caller, data: str) -> Points | None:
    """The pings of a stream's frame that is written plainly; None where `read_frame` has to look at it."""
    plain = quick.read(data, PINGS, wrapped=False)
    return None if plain is None else own(caller, plain)


def read_frame(caller: Caller, data: str) -> Points:
    """The pings of any other frame: an object, or an array of at most `PINGS`."""
    raw = data.encode()
    sent = bodies.decode(_frame, raw)
    batch: list[wire.Ping] = sent if isinstance(sent, list) else [sent]
    if suspicious(raw, len(batch)):
        bodies.refuse_duplicates(raw)
    bound(batch)
    return points(caller, batch)


def plain_body(data: bytes) -> Batch | None:
    """The pings of a body that is written plainly; None where the general reader has to look at it."""
    return quick.read(data, PINGS, wrapped=True)


async def post_pings(services: Services, given: Given) -> Reply:
    """200 when every point is answered for good; 503 when any could not be taken now."""
    sent: Points
    if isinstance(given.body, wire.Pings):
        if suspicious(given.raw, len(given.body.pings)):
            bodies.refuse_duplicates(given.raw)
        sent = points(given.caller, given.body.pings)
    else:
        sent = own(given.caller, given.body)
    request = await services.engine.take(given.caller.workspace, sent, caller=given.caller.device)
    return Reply(answer(services, given.caller, request, given.query.next))


CALLS = (
    Call(
        "POST",
        "/v1/pings",
        "Send positions; every point is answered by index",
        post_pings,
        ("device", "server"),
        wire.PingsAnswer,
        body=wire.Pings,
        plain=plain_body,
        query=wire.PingsQuery,
        max_body=PINGS_BODY,
        hot=True,
        tag="pings",
    ),
)
