"""Webhooks: the company's own systems, what each is told, and what became of it."""

from typing import Final
from uuid import UUID, uuid4  # noqa: TID251 - an edge makes ids

from geo_offers import hosts, wire
from geo_offers.errors import NotFound
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import instant, invalid, page_limit, path_id

_WHAT: Final = "webhook"


async def add_webhook(services: Services, given: Given) -> Reply:
    """The answer holds the secret, this once."""
    _refuse_url(services, given.body.url)
    made = await services.webhooks.add(given.caller, given.key_id or uuid4(), given.body)
    return Reply(made, 201)


async def list_webhooks(services: Services, given: Given) -> Reply:
    return Reply(await services.webhooks.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def get_webhook(services: Services, given: Given) -> Reply:
    return Reply(await services.webhooks.get(given.caller.workspace, path_id(given, _WHAT)))


async def change_webhook(services: Services, given: Given) -> Reply:
    if isinstance(given.body.url, str):
        _refuse_url(services, given.body.url)
    return Reply(await services.webhooks.change(given.caller, path_id(given, _WHAT), given.body))


async def delete_webhook(services: Services, given: Given) -> Reply:
    await services.webhooks.delete(given.caller, path_id(given, _WHAT))
    return Reply(status=204)


async def rotate_secret(services: Services, given: Given) -> Reply:
    """The secret before signs too, for 24 hours."""
    return Reply(await services.webhooks.rotate(given.caller, path_id(given, _WHAT)))


async def list_deliveries(services: Services, given: Given) -> Reply:
    workspace, ident = given.caller.workspace, path_id(given, _WHAT)
    return Reply(await services.webhooks.log(workspace, ident, given.query.cursor, page_limit(given)))


async def replay_delivery(services: Services, given: Given) -> Reply:
    """Under the id that it had: a receiver that has taken it before knows that."""
    try:
        event = UUID(given.path["event"])
    except ValueError as error:
        raise NotFound("there is no such event any more") from error
    await services.webhooks.replay(given.caller, path_id(given, _WHAT), event)
    services.notifier.wake()
    return Reply(status=204)


async def replay_deliveries(services: Services, given: Given) -> Reply:
    """All that it was not told since then, of its types; at most 10,000 a call."""
    ident, since = path_id(given, _WHAT), instant(given.query.since, "/since")
    replayed = await services.webhooks.replay_since(given.caller, ident, since)
    services.notifier.wake()
    return Reply(wire.WebhookReplayed(replayed=replayed))


async def test_webhook(services: Services, given: Given) -> Reply:
    """An event that tells of nothing, to this webhook alone."""
    event = given.key_id or uuid4()
    await services.webhooks.test(given.caller, path_id(given, _WHAT), event)
    services.notifier.wake()
    return Reply(wire.WebhookTested(event=event))


def _refuse_url(services: Services, url: str) -> None:
    fault = hosts.url_fault(url, services.networks)
    if fault is not None:
        raise invalid("/url", "link", fault)


_ALL: Final = "/v1/webhooks"
_ONE: Final = "/v1/webhooks/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        _ALL,
        "Tell a system of the company's own",
        add_webhook,
        _WHO,
        wire.WebhookMade,
        status=201,
        body=wire.WebhookBody,
        role="editor",
        keeps_answer=False,
        tag="webhooks",
    ),
    Call("GET", _ALL, "Webhooks, by id", list_webhooks, _WHO, wire.WebhookPage, query=wire.ListQuery, tag="webhooks"),
    Call("GET", _ONE, "One webhook", get_webhook, _WHO, wire.Webhook, tag="webhooks"),
    Call(
        "PATCH",
        _ONE,
        "Change a webhook, disable it or enable it",
        change_webhook,
        _WHO,
        wire.Webhook,
        body=wire.WebhookPatch,
        role="editor",
        tag="webhooks",
    ),
    Call(
        "DELETE",
        _ONE,
        "Delete a webhook with its log",
        delete_webhook,
        _WHO,
        status=204,
        role="editor",
        tag="webhooks",
    ),
    Call(
        "POST",
        f"{_ONE}/secret",
        "Give a webhook a new secret",
        rotate_secret,
        _WHO,
        wire.WebhookSecret,
        role="owner",
        keeps_answer=False,
        tag="webhooks",
    ),
    Call(
        "GET",
        f"{_ONE}/deliveries",
        "What became of each event",
        list_deliveries,
        _WHO,
        wire.WebhookDeliveryPage,
        query=wire.WebhookLogQuery,
        tag="webhooks",
    ),
    Call(
        "POST",
        f"{_ONE}/deliveries/{{event}}/replay",
        "Send an event again",
        replay_delivery,
        _WHO,
        status=204,
        role="editor",
        tag="webhooks",
    ),
    Call(
        "POST",
        f"{_ONE}/replay",
        "Send what was missed again",
        replay_deliveries,
        _WHO,
        wire.WebhookReplayed,
        query=wire.WebhookReplayQuery,
        role="editor",
        tag="webhooks",
    ),
    Call(
        "POST",
        f"{_ONE}/test",
        "Send a webhook an event that tells of nothing",
        test_webhook,
        _WHO,
        wire.WebhookTested,
        role="editor",
        tag="webhooks",
    ),
)
