"""What waits to be sent, what could not be, and sending it again."""

from typing import Final

import msgspec

from geo_offers import wire
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import page_limit, path_id, refuse_unsafe


async def list_letters(services: Services, given: Given) -> Reply:
    refuse_unsafe(given.query)
    asked = msgspec.structs.replace(given.query, limit=page_limit(given))
    return Reply(await services.letters.page(given.caller, asked))


async def summarize(services: Services, given: Given) -> Reply:
    return Reply(await services.letters.summary(given.caller.workspace))


async def replay_letter(services: Services, given: Given) -> Reply:
    """It is looked at again before it is sent, as any other."""
    lane = await services.letters.replay(given.caller, path_id(given, "offer"))
    services.dispatcher.wake(lane)
    return Reply(status=204)


_WHO: Final = ("manager", "server")

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "GET",
        "/v1/outbox",
        "Offers that wait, or did not arrive",
        list_letters,
        _WHO,
        wire.LetterPage,
        query=wire.OutboxQuery,
        tag="outbox",
    ),
    Call("GET", "/v1/outbox/summary", "How many, by lane and state", summarize, _WHO, wire.OutboxSummary, tag="outbox"),
    Call(
        "POST",
        "/v1/outbox/{id}/replay",
        "Send a failed offer again",
        replay_letter,
        _WHO,
        status=204,
        role="owner",
        tag="outbox",
    ),
)
