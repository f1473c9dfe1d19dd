"""What a workspace signs in to push services with. A secret goes in and is never told again."""

import asyncio
from typing import Final, cast

from geo_offers import wire
from geo_offers.pipeline.credentials import Credential, apns_key, fcm_account, vapid_key
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Handle, Reply


async def list_credentials(services: Services, given: Given) -> Reply:
    return Reply(wire.PushCredentials(items=await services.credentials.all(given.caller.workspace)))


async def put_fcm(services: Services, given: Given) -> Reply:
    # beside the loop: to check an RSA key takes some milliseconds
    account = await asyncio.to_thread(fcm_account, given.body, services.fcm_token_url)
    return await _put(services, given, "fcm", account)


async def put_apns(services: Services, given: Given) -> Reply:
    return await _put(services, given, "apns", apns_key(given.body))


async def put_webpush(services: Services, given: Given) -> Reply:
    """Subscriptions are bound to the key: it changes only where another is given."""
    body: wire.WebPushCredentials = given.body
    return await _put(services, given, "webpush", vapid_key(body), keep_key=body.private_key is None)


async def _put(
    services: Services, given: Given, lane: wire.LaneName, credential: Credential, *, keep_key: bool = False
) -> Reply:
    told, new = await services.credentials.put(given.caller, lane, credential, keep_key=keep_key)
    return Reply(told, 201 if new else 200)


async def delete_credentials(services: Services, given: Given) -> Reply:
    """From the next decision on the lane reaches nobody; what was decided waits for new credentials, or expires."""
    await services.credentials.delete(given.caller, cast("wire.LaneName", given.path["lane"]))
    return Reply(status=204)


def _put_call(lane: str, handle: Handle, body: type[wire.Request]) -> Call:
    return Call(
        "PUT",
        f"/v1/workspace/push/{lane}",
        f"Set what the workspace signs in to {lane} with",
        handle,
        ("manager",),
        wire.PushCredential,
        body=body,
        role="owner",
        other_statuses=(201,),
        keeps_answer=False,
        tag="workspace",
    )


CALLS: Final[tuple[Call, ...]] = (
    Call(
        "GET",
        "/v1/workspace/push",
        "What the workspace signs in to push services with, without secrets",
        list_credentials,
        ("manager",),
        wire.PushCredentials,
        role="owner",
        tag="workspace",
    ),
    _put_call("fcm", put_fcm, wire.FcmCredentials),
    _put_call("apns", put_apns, wire.ApnsCredentials),
    _put_call("webpush", put_webpush, wire.WebPushCredentials),
    Call(
        "DELETE",
        "/v1/workspace/push/{lane}",
        "Forget what the workspace signs in to a push service with",
        delete_credentials,
        ("manager",),
        status=204,
        role="owner",
        tag="workspace",
    ),
)
