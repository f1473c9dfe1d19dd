"""Geofences, one at a time. What is answered is in memory already: the next ping sees it."""

import asyncio
import math
from functools import partial
from typing import Final

from geo_offers import wire
from geo_offers.documents import values
from geo_offers.errors import Invalid
from geo_offers.pipeline.services import Services
from geo_offers.places.geometry import Box
from geo_offers.places.importing.geojson import FenceDraft, parse_feature
from geo_offers.places.importing.rows import EASY_BODY, Manner
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import invalid, page_limit, path_text, set_name

FEATURE_BODY: Final = 16 * 1024 * 1024  # so that an outline of far too many points is told so, not that it is too long


async def put_geofence(services: Services, given: Given) -> Reply:
    workspace, set_id, external_id = given.caller.workspace, set_name(path_text(given, "set")), _external_id(given)
    draft = await asyncio.to_thread(_draft, await _normal(services, given.raw, external_id), external_id)
    put = partial(services.geofences.put, workspace, set_id, draft, given.caller.id)
    placed = await services.fence_memory.change(workspace, set_id, put)
    return Reply(placed.state, 201 if placed.created else 200)


async def _normal(services: Services, data: bytes, external_id: str) -> bytes:
    """A text that costs little to read: the one given, or its normal form where it is large."""
    if len(data) <= EASY_BODY:
        return data
    (row,) = await services.reader.read(data, Manner(external_id=external_id, strict=True))
    if row.feature is None:
        raise Invalid(row.faults[0].detail[:200], row.faults)
    return row.feature


def _draft(data: bytes, external_id: str) -> FenceDraft:
    """The Feature as a draft; takes some milliseconds for a large outline, so it runs in a thread."""
    read = parse_feature(values(data), external_id=external_id, strict=True)
    if isinstance(read, tuple):
        raise Invalid(read[0].detail[:200], read)
    return read


async def approve_geofence(services: Services, given: Given) -> Reply:
    """A fence over a private place is on once two have approved it."""
    set_id, query = set_name(path_text(given, "set")), given.query
    approve = partial(services.geofences.approve, given.caller, set_id, _external_id(given), query.version)
    return Reply(await services.fence_memory.change(given.caller.workspace, set_id, approve))


async def get_geofence(services: Services, given: Given) -> Reply:
    set_id = set_name(path_text(given, "set"))
    return Reply(await services.geofences.get(given.caller.workspace, set_id, _external_id(given)))


async def list_geofences(services: Services, given: Given) -> Reply:
    query: wire.GeofenceQuery = given.query
    set_id = None if query.set is None else set_name(query.set)
    box = None if query.bbox is None else _box(query.bbox)
    page = await services.geofences.page(given.caller.workspace, set_id, box, query.cursor, page_limit(given))
    return Reply(page)


async def delete_geofence(services: Services, given: Given) -> Reply:
    """Who is inside leaves with their next fix."""
    workspace, set_id, external_id = given.caller.workspace, set_name(path_text(given, "set")), _external_id(given)
    await services.fence_memory.change(
        workspace, set_id, lambda _: services.geofences.delete(workspace, set_id, external_id, given.caller.id)
    )
    return Reply(status=204)


def _external_id(given: Given) -> str:
    return path_text(given, "external_id")


def _box(text: str) -> Box:
    """The corners of a GeoJSON bbox (lon first) in our order; west may be greater than east (RFC 7946, 5.2)."""
    try:
        min_lon, min_lat, max_lon, max_lat = (float(part) for part in text.split(","))
    except ValueError as error:
        raise invalid("/bbox", "bbox", "a bbox is four numbers: min_lon,min_lat,max_lon,max_lat") from error
    in_range = max(abs(min_lon), abs(max_lon)) <= 180 and max(abs(min_lat), abs(max_lat)) <= 90
    if not in_range or math.isnan(min_lon + max_lon + min_lat + max_lat) or min_lat > max_lat:
        raise invalid("/bbox", "bbox", "longitudes are within 180 degrees, latitudes within 90, and south is not north")
    return min_lat, min_lon, max_lat, max_lon


_GEOFENCE: Final = "/v1/geofences/{set}/{external_id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "PUT",
        _GEOFENCE,
        "Put a geofence; it replaces what was there",
        put_geofence,
        _WHO,
        wire.GeofenceState,
        status=200,
        other_statuses=(201,),
        body=wire.FeatureBody,
        role="editor",
        max_body=FEATURE_BODY,
        elsewhere=True,
        tag="geofences",
    ),
    Call(
        "POST",
        f"{_GEOFENCE}/approve",
        "Approve a geofence over a private place",
        approve_geofence,
        _WHO,
        wire.GeofenceState,
        query=wire.ApprovalQuery,
        role="approver",
        tag="geofences",
    ),
    Call("GET", _GEOFENCE, "One geofence", get_geofence, _WHO, wire.GeofenceState, tag="geofences"),
    Call("DELETE", _GEOFENCE, "Delete a geofence", delete_geofence, _WHO, status=204, role="editor", tag="geofences"),
    Call(
        "GET",
        "/v1/geofences",
        "Geofences by set and id, of a set or touching a box",
        list_geofences,
        _WHO,
        wire.GeofencePage,
        query=wire.GeofenceQuery,
        tag="geofences",
    ),
)
