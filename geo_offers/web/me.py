"""The person's own calls: consent, rhythm, inbox, what became of an offer, access and erasure."""

from collections.abc import AsyncIterator
from typing import Final, cast, get_args
from uuid import UUID

import msgspec
import structlog

from geo_offers import wire
from geo_offers.errors import Fault, GeoOffersError, Invalid, NotFound
from geo_offers.pipeline import people, signals
from geo_offers.pipeline.addresses import address_faults
from geo_offers.pipeline.callers import Caller, Kind
from geo_offers.pipeline.consents import of_change, refuse_instants, refuse_tc_strings
from geo_offers.pipeline.nearby import nearby
from geo_offers.pipeline.people import Exported, take_change
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import invalid, refuse, refuse_unsafe

_DEVICE: Final[tuple[Kind, ...]] = ("device",)

_log = structlog.get_logger()
_encode = msgspec.json.Encoder().encode


async def consents(services: Services, given: Given) -> Reply:
    return Reply(wire.ConsentPage(items=list(await services.people.consents(given.caller))))


async def set_consent(services: Services, given: Given) -> Reply:
    """In force before the answer: what is queued is cancelled, what is under way is known."""
    purpose = cast("wire.PurposeName", given.path["purpose"])
    if purpose not in get_args(wire.PurposeName):
        raise Invalid(
            "there is no such purpose",
            (Fault("", "purpose", f"purposes are {', '.join(get_args(wire.PurposeName))}"),),
        )
    refuse_unsafe(given.body)
    words = [of_change(purpose, given.body)]
    refuse_instants(words)
    refuse_tc_strings(words)
    signals.refuse_grant(given.headers, [purpose] if given.body.granted else ())
    return Reply(
        await people.change_consent(
            services.people,
            services.engine,
            services.streams,
            services.changes,
            caller=given.caller,
            purpose=purpose,
            change=given.body,
        )
    )


async def rhythm(services: Services, given: Given) -> Reply:
    return Reply(await services.people.rhythm(given.caller))


async def set_rhythm(services: Services, given: Given) -> Reply:
    return Reply(await change_rhythm(services, given.caller, given.body))


async def change_rhythm(services: Services, caller: Caller, rhythm: wire.Rhythm) -> wire.Rhythm:
    """Checked beyond its types, and in force with the answer."""
    refuse_unsafe(rhythm)
    if len(set(rhythm.channels)) != len(rhythm.channels):
        raise invalid("/channels", "channels", "a channel stands in the order once; leave out the second")
    return await people.change_rhythm(services.people, services.engine, services.changes, caller, rhythm)


async def set_push(services: Services, given: Given) -> Reply:
    """A phone's token changes now and then; sends go to the newest from the answer on."""
    take_change(services.changes, given.caller)
    refuse_unsafe(given.body)
    refuse(address_faults(given.body, "", services.networks, services.push_hosts))
    await services.people.set_push(given.caller, given.body)
    return Reply(status=204)


async def drop_push(services: Services, given: Given) -> Reply:
    """What was to be pushed here goes to another phone of the person's, or stays in the app."""
    take_change(services.changes, given.caller)
    await services.people.set_push(given.caller, None)
    return Reply(status=204)


async def inbox(services: Services, given: Given) -> Reply:
    return Reply(await services.offers.inbox(given.caller, given.query.cursor, given.query.limit))


async def ask_nearby(services: Services, given: Given) -> Reply:
    return Reply(await nearby(services.looks, services.catalog, given.caller, given.body))


async def offer_event(services: Services, given: Given) -> Reply:
    """Whatever it is, the offer was seen: it alerts nowhere any more, and counts."""
    offer, event = offer_path_id(given), given.body
    if event.reason is not None and event.type != "dismissed":
        raise invalid("/reason", "reason", "only what is dismissed has a reason; leave it out")
    news = await services.offers.event(given.caller, offer, event)
    if news.seen:
        services.dispatcher.was_shown(given.caller.workspace, offer)
    if news.event and event.type != "shown":
        services.dispatcher.was_answered(given.caller.workspace, offer, event.type)
    return Reply(status=204)


def offer_path_id(given: Given) -> UUID:
    try:
        return UUID(given.path["id"])
    except ValueError as error:
        raise NotFound("no such offer") from error


async def export(services: Services, given: Given) -> Reply:
    """Written as it is read: a person of many years is no more in memory than one of a day."""
    return Reply(document(await services.people.export(given.caller)))


async def document(exported: Exported) -> AsyncIterator[bytes]:
    """The JSON of the whole. What fails on the way cuts the connection: half a document must not look like one."""
    try:
        told = msgspec.to_builtins(exported.whole)
        yield _encode({name: value for name, value in told.items() if name not in exported.lists})[:-1]
        for name, pages in exported.lists.items():
            yield b',"%b":[' % name.encode()
            comma = b""
            async for page in pages:
                if page:
                    yield comma + _encode(page)[1:-1]
                    comma = b","
            yield b"]"
        yield b"}"
    except GeoOffersError as error:
        _log.warning("an export was cut off", error=type(error).__name__)
        raise ConnectionAbortedError from error


async def erase(services: Services, given: Given) -> Reply:
    await erase_person(services, given.caller)
    return Reply(status=204)


async def erase_person(services: Services, caller: Caller) -> None:
    """Whoever calls is gone when this returns, from memory too."""
    try:
        await people.erase(services.people, services.engine, services.streams, caller)
    finally:  # it may be done though its answer was lost
        services.live.forget(caller.workspace, str(caller.user))


CALLS = (
    Call("GET", "/v1/me/consents", "Consents in force", consents, _DEVICE, wire.ConsentPage, tag="me"),
    Call(
        "PUT",
        "/v1/me/consents/{purpose}",
        "Give or withdraw consent for a purpose",
        set_consent,
        _DEVICE,
        wire.ConsentState,
        body=wire.ConsentChange,
        tag="me",
    ),
    Call("GET", "/v1/me/rhythm", "The rhythm in force", rhythm, _DEVICE, wire.Rhythm, tag="me"),
    Call(
        "PUT",
        "/v1/me/rhythm",
        "Set how often we may speak",
        set_rhythm,
        _DEVICE,
        wire.Rhythm,
        body=wire.Rhythm,
        keeps_answer=False,  # it may hold a position
        tag="me",
    ),
    Call(
        "PUT",
        "/v1/me/push",
        "Say where this phone takes push, whenever its token changes",
        set_push,
        _DEVICE,
        status=204,
        body=wire.PushAddress,
        keeps_answer=False,
        tag="me",
    ),
    Call("DELETE", "/v1/me/push", "Take no push on this phone", drop_push, _DEVICE, status=204, tag="me"),
    Call("GET", "/v1/me/offers", "Inbox, newest first", inbox, _DEVICE, wire.OfferPage, query=wire.ListQuery, tag="me"),
    Call(
        "POST",
        "/v1/me/nearby",
        "What this person may have here now, because they ask",
        ask_nearby,
        _DEVICE,
        wire.Nearby,
        body=wire.NearbyAsked,
        changes=False,
        tag="me",
    ),
    Call(
        "POST",
        "/v1/me/offers/{id}/events",
        "Say what became of an offer",
        offer_event,
        _DEVICE,
        status=204,
        body=wire.OfferEvent,
        tag="me",
    ),
    Call("GET", "/v1/me/export", "All that is held about the caller", export, _DEVICE, wire.Export, tag="me"),
    Call("DELETE", "/v1/me", "Erase the caller", erase, _DEVICE, status=204, tag="me"),
)
