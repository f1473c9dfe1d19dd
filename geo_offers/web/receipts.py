"""Receipts: with a server key, or signed as Standard Webhooks are. Late, repeated and unknown ones harm nothing."""

from typing import Final
from uuid import UUID

from geo_offers import wire
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import instant, invalid, path_id
from geo_offers.web.interactions import refuse_unsigned

MAX_BODY: Final = 256 * 1024  # of a thousand receipts
_WITH_REASON: Final = frozenset({"dismissed", "failed"})


async def tell_receipts(services: Services, given: Given) -> Reply:
    return await _keep(services, given.caller.workspace, given.body)


async def tell_signed_receipts(services: Services, given: Given) -> Reply:
    """The workspace is in the path, and its secret (`keys signing-secret`) signs the body."""
    workspace = path_id(given, "workspace")
    await refuse_unsigned(services, given, workspace)
    return await _keep(services, workspace, given.body)


async def _keep(services: Services, workspace: UUID, told: wire.ReceiptsTold) -> Reply:
    for number, receipt in enumerate(told.receipts):
        instant(receipt.at, f"/receipts/{number}/at")
        if receipt.reason is not None and receipt.type not in _WITH_REASON:
            detail = "only what is dismissed or has failed has a reason; leave it out"
            raise invalid(f"/receipts/{number}/reason", "reason", detail)
    kept = await services.receipts.keep(workspace, told.receipts)
    for offer in kept.news:
        services.dispatcher.was_shown(workspace, offer)
    return Reply(wire.ReceiptsKept(items=[wire.ReceiptKept(status=status) for status in kept.statuses]))


CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        "/v1/receipts",
        "Tell what became of offers",
        tell_receipts,
        ("server",),
        wire.ReceiptsKept,
        body=wire.ReceiptsTold,
        max_body=MAX_BODY,
        tag="receipts",
    ),
    Call(
        "POST",
        "/v1/workspaces/{id}/receipts",
        "Tell what became of offers, signed as Standard Webhooks are instead of with a key",
        tell_signed_receipts,
        (),
        wire.ReceiptsKept,
        body=wire.ReceiptsTold,
        max_body=MAX_BODY,
        tag="receipts",
    ),
)
