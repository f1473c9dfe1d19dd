"""Segments: rules over people by name, for campaigns to be for."""

from typing import Final

import msgspec

from geo_offers import wire
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import page_limit, path_text, refuse_unsafe


async def put_segment(services: Services, given: Given) -> Reply:
    """The next decision follows it."""
    segment = path_text(given, "id")
    refuse_unsafe(given.body)
    created = await services.segments.put(given.caller, segment, given.body)
    return Reply(wire.Segment(id=segment, **msgspec.structs.asdict(given.body)), 201 if created else 200)


async def get_segment(services: Services, given: Given) -> Reply:
    return Reply(await services.segments.get(given.caller.workspace, path_text(given, "id")))


async def list_segments(services: Services, given: Given) -> Reply:
    return Reply(await services.segments.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def delete_segment(services: Services, given: Given) -> Reply:
    await services.segments.delete(given.caller, path_text(given, "id"))
    return Reply(status=204)


_ONE: Final = "/v1/segments/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "PUT",
        _ONE,
        "Put a segment; it replaces what was there",
        put_segment,
        _WHO,
        wire.Segment,
        status=200,
        other_statuses=(201,),
        body=wire.SegmentBody,
        role="editor",
        tag="segments",
    ),
    Call("GET", _ONE, "One segment", get_segment, _WHO, wire.Segment, tag="segments"),
    Call("DELETE", _ONE, "Delete a segment", delete_segment, _WHO, status=204, role="editor", tag="segments"),
    Call(
        "GET",
        "/v1/segments",
        "Segments, by id",
        list_segments,
        _WHO,
        wire.SegmentPage,
        query=wire.ListQuery,
        tag="segments",
    ),
)
