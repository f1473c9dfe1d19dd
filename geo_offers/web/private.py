"""Private places: an owner says where nobody is located. What is answered is in force for the next ping there."""

import asyncio
from typing import Final

from geo_offers import wire
from geo_offers.documents import values
from geo_offers.errors import Invalid
from geo_offers.pipeline.services import Services
from geo_offers.places.importing.private import PrivateDraft, parse_private
from geo_offers.places.importing.rows import EASY_BODY
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import page_limit, path_text


async def put_place(services: Services, given: Given) -> Reply:
    draft = await asyncio.to_thread(_draft, given.raw, path_text(given, "id"))
    placed = await services.private_memory.put(given.caller, draft)
    return Reply(placed.state, 201 if placed.created else 200)


def _draft(data: bytes, ident: str) -> PrivateDraft:
    read = parse_private(values(data), ident)
    if isinstance(read, tuple):
        raise Invalid(read[0].detail[:200], read[:20])
    return read


async def get_place(services: Services, given: Given) -> Reply:
    return Reply(await services.private_places.get(given.caller.workspace, path_text(given, "id")))


async def list_places(services: Services, given: Given) -> Reply:
    return Reply(await services.private_places.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def delete_place(services: Services, given: Given) -> Reply:
    await services.private_memory.delete(given.caller, path_text(given, "id"))
    return Reply(status=204)


_PLACE: Final = "/v1/private-places/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "PUT",
        _PLACE,
        "Put a private place; geofences over it are off until they are approved",
        put_place,
        _WHO,
        wire.PrivatePlaceState,
        status=200,
        other_statuses=(201,),
        body=wire.PrivateBody,
        role="owner",
        max_body=EASY_BODY,
        elsewhere=True,
        tag="private places",
    ),
    Call(
        "GET", _PLACE, "One private place", get_place, _WHO, wire.PrivatePlaceState, role="editor", tag="private places"
    ),
    Call(
        "DELETE", _PLACE, "Delete a private place", delete_place, _WHO, status=204, role="owner", tag="private places"
    ),
    Call(
        "GET",
        "/v1/private-places",
        "Private places by id",
        list_places,
        _WHO,
        wire.PrivatePlacePage,
        query=wire.ListQuery,
        role="editor",
        tag="private places",
    ),
)
