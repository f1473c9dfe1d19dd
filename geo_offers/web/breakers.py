"""Breakers: what was silenced because too many people opted out of it, and who lets it speak again."""

from typing import Final

from geo_offers import wire
from geo_offers.errors import NotFound
from geo_offers.pipeline.breakers import RESUMED_BY_THEMSELVES
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import page_limit, unsafe


async def list_breakers(services: Services, given: Given) -> Reply:
    return Reply(await services.breakers.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def resume_breaker(services: Services, given: Given) -> Reply:
    """Of a store or a fence; a campaign is resumed itself. What was opted out of until now trips it no more."""
    kind, subject = given.path["kind"], given.path["id"]
    if kind not in RESUMED_BY_THEMSELVES:
        raise NotFound(f"what is resumed here is a {' or a '.join(RESUMED_BY_THEMSELVES)}")
    if unsafe(subject):
        raise NotFound("there is no such open breaker")
    await services.breakers.resume(given.caller, kind, subject)
    return Reply(status=204)


_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "GET",
        "/v1/breakers",
        "What is silent because too many opted out",
        list_breakers,
        _WHO,
        wire.BreakerPage,
        query=wire.ListQuery,
        tag="breakers",
    ),
    Call(
        "POST",
        "/v1/breakers/{kind}/{id}/resume",
        "Let a store or a fence speak again",
        resume_breaker,
        _WHO,
        status=204,
        role="editor",
        tag="breakers",
    ),
)
