"""A private place from GeoJSON: a Feature as a fence's, with a category, and without what is a fence's alone."""

from typing import Any, Final, get_args

import msgspec

from geo_offers.errors import Fault
from geo_offers.places.geometry import Circle, Geometry, enclosing
from geo_offers.places.importing.findings import echo, token
from geo_offers.places.importing.geojson import parse_feature
from geo_offers.places.private import Category

MAX_AROUND_M: Final = 50_000.0
"""Of the circle around an area: what is larger is no place."""
_PROPERTIES: Final = frozenset({"name", "radius_m", "category"})


class PrivateDraft(msgspec.Struct, frozen=True):
    """A private place read and found good, not yet stored. `feature`: as it is stored, always the same bytes."""

    id: str
    category: Category
    geometry: Geometry
    feature: bytes


def parse_private(obj: object, ident: str) -> PrivateDraft | tuple[Fault, ...]:
    """Read one Feature, strictly."""
    properties = obj.get("properties") if isinstance(obj, dict) else None
    given: dict[str, Any] = properties if isinstance(properties, dict) else {}
    faults = [
        Fault(f"/properties/{token(name)}", "unknown", f"a private place has {', '.join(sorted(_PROPERTIES))} alone")
        for name in list(given)[:20]
        if name not in _PROPERTIES
    ]
    category: Any = given.get("category")
    if category not in get_args(Category):
        detail = f"{echo(category)} is no category; use one of {', '.join(get_args(Category))}"
        faults.append(Fault("/properties/category", "category", detail))
    known = {name: value for name, value in given.items() if name in _PROPERTIES - {"category"}}
    bare = obj | {"properties": known} if isinstance(obj, dict) and isinstance(properties, dict) else obj
    read = parse_feature(bare, external_id=ident, strict=True)
    if isinstance(read, tuple):
        return (*faults, *read)
    if enclosing(read.geometry).radius_m > MAX_AROUND_M:
        detail = f"a private place lies within {MAX_AROUND_M / 1000:.0f} km around its middle; make it smaller"
        faults.append(Fault("/geometry", "too_large", detail))
    if faults:
        return tuple(faults)
    kept = {"name": read.name, "category": category}
    if isinstance(read.geometry, Circle):
        kept["radius_m"] = read.geometry.radius_m
    feature = {"type": "Feature", "id": ident, "geometry": read.geojson_geometry, "properties": kept}
    return PrivateDraft(ident, category, read.geometry, msgspec.json.encode(feature))
