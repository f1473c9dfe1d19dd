"""The person's own calls: consent, rhythm, inbox, what became of an offer, access and erasure."""

from typing import Final, cast, get_args
from uuid import UUID

from geo_offers import wire
from geo_offers.errors import Fault, Invalid, NotFound
from geo_offers.pipeline import people
from geo_offers.pipeline.callers import Kind
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import refuse_unsafe

_DEVICE: Final[tuple[Kind, ...]] = ("device",)


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
    return Reply(
        await people.change_consent(
            services.people, services.engine, services.streams, caller=given.caller, purpose=purpose, change=given.body
        )
    )


async def rhythm(services: Services, given: Given) -> Reply:
    return Reply(await services.people.rhythm(given.caller))


async def set_rhythm(services: Services, given: Given) -> Reply:
    refuse_unsafe(given.body)
    return Reply(await people.change_rhythm(services.people, services.engine, given.caller, given.body))


async def inbox(services: Services, given: Given) -> Reply:
    return Reply(await services.offers.inbox(given.caller, given.query.cursor, given.query.limit))


async def offer_event(services: Services, given: Given) -> Reply:
    offer, caller = offer_path_id(given), given.caller
    await services.offers.event(caller, offer, given.body)
    if given.body.type == "shown" and caller.device is not None:
        await services.dispatcher.shown(caller.workspace, offer, caller.device)
    return Reply(status=204)


def offer_path_id(given: Given) -> UUID:
    try:
        return UUID(given.path["id"])
    except ValueError as error:
        raise NotFound("no such offer") from error


async def export(services: Services, given: Given) -> Reply:
    return Reply(await services.people.export(given.caller))


async def erase(services: Services, given: Given) -> Reply:
    await people.erase(services.people, services.engine, services.streams, given.caller)
    services.live.forget(given.caller.workspace, str(given.caller.user))
    return Reply(status=204)


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
        tag="me",
    ),
    Call("GET", "/v1/me/offers", "Inbox, newest first", inbox, _DEVICE, wire.OfferPage, query=wire.ListQuery, tag="me"),
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
