"""What was decided, with the receipts."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from geo_offers import clock, wire
from geo_offers.instants import from_us
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import instant, invalid, page_limit, path_id, refuse_unsafe

COUNTED: Final = timedelta(days=30)


async def list_decisions(services: Services, given: Given) -> Reply:
    query: wire.DecisionQuery = given.query
    refuse_unsafe(query)
    asked = msgspec.structs.replace(
        query, limit=page_limit(given), since=_instant(query.since, "since"), until=_instant(query.until, "until")
    )
    return Reply(await services.decisions.page(given.caller, asked))


def _instant(given: datetime | None, name: str) -> datetime | None:
    return None if given is None else instant(given, f"/{name}")


async def get_decision(services: Services, given: Given) -> Reply:
    return Reply(await services.decisions.get(given.caller, path_id(given, "decision")))


async def replay_decision(services: Services, given: Given) -> Reply:
    return Reply(await services.decisions.replay(given.caller, path_id(given, "decision")))


async def count_outcomes(services: Services, given: Given) -> Reply:
    query: wire.OutcomesQuery = given.query
    until = _instant(query.until, "until") or from_us(clock.now_us())
    since = _instant(query.since, "since") or until - COUNTED
    if since >= until:
        raise invalid("/until", "order", "the time ends before it begins; put until after since")
    ident = path_id(given, "campaign")
    return Reply(await services.decisions.outcomes(given.caller.workspace, ident, since, until))


_WHO: Final = ("manager", "server")

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "GET",
        "/v1/decisions",
        "Decisions, newest first",
        list_decisions,
        _WHO,
        wire.DecisionPage,
        query=wire.DecisionQuery,
        tag="decisions",
    ),
    Call(
        "GET",
        "/v1/campaigns/{id}/outcomes",
        "How many offers, and how many silences of which reason",
        count_outcomes,
        _WHO,
        wire.Outcomes,
        query=wire.OutcomesQuery,
        tag="campaigns",
    ),
    Call(
        "GET", "/v1/decisions/{id}", "One decision with its receipt", get_decision, _WHO, wire.Decision, tag="decisions"
    ),
    Call(
        "GET",
        "/v1/decisions/{id}/replay",
        "One decision made again by today's code",
        replay_decision,
        _WHO,
        wire.Replayed,
        tag="decisions",
    ),
)
