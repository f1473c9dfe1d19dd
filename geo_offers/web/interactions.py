"""What people did, as the company tells it: with a server key, or signed as Standard Webhooks are."""

from base64 import b64encode
from typing import Final
from uuid import UUID

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Unauthenticated
from geo_offers.offers.context import PURCHASE
from geo_offers.pipeline.services import Services
from geo_offers.signing import verify
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import invalid, path_id, refuse_unsafe


async def tell_interaction(services: Services, given: Given) -> Reply:
    """Once by its `id`; kept for as long as it is valid, 30 days at most."""
    return await _keep(services, given.caller.workspace, given.body)


async def tell_signed_interaction(services: Services, given: Given) -> Reply:
    """The workspace is in the path, and its secret (`keys signing-secret`) signs the body."""
    workspace = path_id(given, "workspace")
    await refuse_unsigned(services, given, workspace)
    return await _keep(services, workspace, given.body)


async def refuse_unsigned(services: Services, given: Given, workspace: UUID) -> None:
    """Unauthenticated where the body is not signed by the workspace's secret."""
    secret = await services.interactions.secret(workspace)
    if secret is None:
        raise Unauthenticated("no signature of this call is good")
    verify([b64encode(secret).decode()], given.headers, given.raw, now_s=now_us() // 1_000_000)


async def _keep(services: Services, workspace: UUID, told: wire.Interaction) -> Reply:
    refuse_unsafe(told)
    if told.at.year >= _NEVER:
        raise invalid("/at", "at", "nobody has done this yet: an instant is one of our days")
    if told.offer is not None and told.type != PURCHASE:
        raise invalid("/offer", "offer", "a purchase alone redeems an offer; leave it out")
    kept = await services.interactions.keep(workspace, told)
    if kept.seen and told.offer is not None:
        services.dispatcher.was_shown(workspace, told.offer)
    if kept.answer.redeemed is True and told.offer is not None:
        services.dispatcher.was_answered(workspace, told.offer, "redeemed")
    return Reply(kept.answer)


_NEVER: Final = 2100

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        "/v1/interactions",
        "Tell what a person did",
        tell_interaction,
        ("server",),
        wire.InteractionKept,
        body=wire.Interaction,
        tag="interactions",
    ),
    Call(
        "POST",
        "/v1/workspaces/{id}/interactions",
        "Tell what a person did, signed as Standard Webhooks are instead of with a key",
        tell_signed_interaction,
        (),
        wire.InteractionKept,
        body=wire.Interaction,
        tag="interactions",
    ),
)
