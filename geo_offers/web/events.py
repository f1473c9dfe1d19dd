"""Events around an offer: put by managers, news approved by two others, numbers fed by the company's server."""

import asyncio
from typing import Final

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Invalid
from geo_offers.pipeline.events import event_of
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import JOINERS, invalid, page_limit, path_text, refuse_unsafe

EVENT_BODY: Final = 256 * 1024
FUTURE_US: Final = 300 * 1_000_000  # a sender's clock may be so far before ours


async def put_event(services: Services, given: Given) -> Reply:
    """Whatever is said anew has to be approved anew; what says the same as before changes nothing."""
    ident, body = path_text(given, "id"), given.body
    refuse_unsafe(_without_file(body), JOINERS)
    zone = (await services.workspaces.read(given.caller.workspace)).time_zone
    rule = await asyncio.to_thread(event_of, body, zone, now_us())
    if isinstance(rule, list):
        raise Invalid(rule[0].detail[:200], tuple(rule[:20]))
    created = await services.events.put(given.caller, ident, body, rule)
    return Reply(await services.events.get(given.caller.workspace, ident), 201 if created else 200)


def _without_file(body: wire.EventBody) -> object:
    """A calendar's file has lines, and is read as a file."""
    return body.name if isinstance(body, wire.RecurringEvent) else body


async def get_event(services: Services, given: Given) -> Reply:
    return Reply(await services.events.get(given.caller.workspace, path_text(given, "id")))


async def list_events(services: Services, given: Given) -> Reply:
    return Reply(await services.events.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def delete_event(services: Services, given: Given) -> Reply:
    await services.events.delete(given.caller, path_text(given, "id"))
    return Reply(status=204)


async def approve_event(services: Services, given: Given) -> Reply:
    """News is on from its second approval; a repeat by the same key counts once."""
    return Reply(await services.events.approve(given.caller, path_text(given, "id"), given.query.version))


async def feed_event(services: Services, given: Given) -> Reply:
    """Answers with the number that holds, which is the one before where this one is not newer."""
    value: wire.EventValue = given.body
    if value.at.timestamp() * 1e6 > now_us() + FUTURE_US:
        raise invalid("/at", "future", "this is more than 5 minutes from now; send a number once it was measured")
    return Reply(await services.events.feed(given.caller.workspace, path_text(given, "id"), value))


_EVENT: Final = "/v1/events/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "PUT",
        _EVENT,
        "Put an event; it replaces what was there",
        put_event,
        _WHO,
        wire.Event,
        status=200,
        other_statuses=(201,),
        body=wire.EventBody,
        role="editor",
        max_body=EVENT_BODY,
        tag="events",
    ),
    Call("GET", _EVENT, "One event", get_event, _WHO, wire.Event, tag="events"),
    Call(
        "DELETE",
        _EVENT,
        "Delete an event that nobody names",
        delete_event,
        _WHO,
        status=204,
        role="editor",
        tag="events",
    ),
    Call("GET", "/v1/events", "Events, by id", list_events, _WHO, wire.EventPage, query=wire.ListQuery, tag="events"),
    Call(
        "POST",
        f"{_EVENT}/approve",
        "Approve news",
        approve_event,
        _WHO,
        wire.Event,
        query=wire.SeenQuery,
        role="approver",
        tag="events",
    ),
    Call(
        "POST",
        f"{_EVENT}/value",
        "Feed a number to a predictive event",
        feed_event,
        ("server",),
        wire.FedNumber,
        body=wire.EventValue,
        tag="events",
    ),
)
