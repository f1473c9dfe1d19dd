"""GeoJSON (RFC 7946) to drafts of fences: one Feature, or a collection row by row.

The input is decoded JSON of any shape and is never trusted. Two manners: `strict` for our own PUT, where a member that
we do not know is a mistake of the caller; lenient for files of others, whose own properties are dropped and counted.
The members that mean something to us are checked in both.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from geo_offers.errors import Fault
from geo_offers.places.fences import Detect
from geo_offers.places.geometry import Geometry
from geo_offers.places.importing.detection import check_mode, detect_of, read_detect
from geo_offers.places.importing.findings import Findings, echo, token
from geo_offers.places.importing.texts import MAX_ID_CHARS, MAX_NAME_CHARS, read_tags, read_text
from geo_offers.places.importing.validity import check_geometry

__all__ = ["MAX_FEATURES", "Fault", "FenceDraft", "Parsed", "Row", "parse_collection", "parse_feature"]

MAX_FEATURES = 10_000
MAX_NUMBER_ID = 2**53
"""JSON numbers beyond are not the same to every reader."""

FEATURE_MEMBERS = frozenset({"type", "id", "geometry", "properties", "bbox"})
MEMBERS_OF_OTHERS = frozenset({"coordinates", "geometries", "features"})
COLLECTION_MEMBERS_OF_OTHERS = frozenset({"coordinates", "geometries", "geometry", "properties"})
PROPERTIES = frozenset({"name", "store", "radius_m", "tags", "active", "detect"})
WGS84_NAMES = ("CRS84", "EPSG::4326", "EPSG:4326")


class FenceDraft(msgspec.Struct, frozen=True):
    """A fence read and found good, not yet stored. Notes say what was mended or left out."""

    external_id: str
    name: str
    store: str | None
    geometry: Geometry
    geojson_geometry: dict[str, Any]
    tags: tuple[str, ...]
    active: bool
    detect_given: dict[str, Any]
    detect: Detect
    notes: tuple[Fault, ...]


class Row(msgspec.Struct, frozen=True):
    """One feature of a file, numbered from 0: a draft, or the faults that refuse it."""

    number: int
    draft: FenceDraft | None
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole file. `faults` are of the file itself; then there are no rows."""

    rows: tuple[Row, ...]
    faults: tuple[Fault, ...] = ()


def parse_feature(
    obj: object,
    *,
    external_id: str | None = None,
    id_property: str | None = None,
    name_property: str | None = None,
    radius_m: float | None = None,
    mode: str | None = None,
    strict: bool,
) -> FenceDraft | tuple[Fault, ...]:
    """Read one Feature.

    `external_id` wins over Feature.id, that over `id_property`, that over the name. `radius_m` and `mode` stand in
    where the feature's own properties say nothing. All faults of one stage are given, at most 20.
    """
    findings = Findings()
    check_mode(mode, "", findings)
    properties = _feature_properties(obj, strict=strict, findings=findings)
    if properties is None:
        return tuple(findings.faults)
    assert isinstance(obj, dict)
    _check_unknown(properties, {id_property, name_property}, strict=strict, findings=findings)
    name_key = name_property or "name"
    name = _read_optional(properties, name_key, MAX_NAME_CHARS, findings)
    store = _read_optional(properties, "store", MAX_ID_CHARS, findings)
    tags = read_tags(properties["tags"], "/properties/tags", findings) if properties.get("tags") is not None else ()
    active = _read_active(properties, findings)
    detect_given = read_detect(properties, mode, strict=strict, findings=findings)
    given_id = _given_id(obj, properties, id_property) if external_id is None else ("/id", external_id)
    identity = _read_id(given_id or (f"/properties/{token(name_key)}", name), findings)
    own_radius = properties.get("radius_m")
    of_geometry = Findings()
    checked = check_geometry(
        obj.get("geometry"),
        radius_m if own_radius is None else own_radius,
        "/properties/radius_m",
        strict=strict,
        findings=of_geometry,
    )
    findings.take(of_geometry)
    if strict and own_radius is not None and checked is not None and checked.geojson["type"] != "Point":
        findings.fault("/properties/radius_m", "unknown", "only a Point has a radius; remove radius_m")
    if findings.faults or checked is None or identity is None:
        return tuple(findings.faults)
    return FenceDraft(
        external_id=identity,
        name=name or identity,
        store=store,
        geometry=checked.geometry,
        geojson_geometry=checked.geojson,
        tags=tags,
        active=active,
        detect_given=detect_given,
        detect=detect_of(detect_given),
        notes=tuple(findings.notes),
    )


def parse_collection(
    obj: object,
    *,
    id_property: str | None = None,
    name_property: str | None = None,
    radius_m: float | None = None,
    mode: str | None = None,
    strict: bool = False,
    at: Callable[[int], None] = lambda _: None,
) -> Parsed:
    """Read a FeatureCollection, or a bare Feature as its only row. The options are those of `parse_feature`.

    at: told each row's number before it is read, so that somebody knows where work was broken off.
    """
    findings = Findings()
    check_mode(mode, "", findings)
    features = _features(obj, findings)
    if features is None or findings.faults:
        return Parsed((), tuple(findings.faults))
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, feature in enumerate(features):
        at(number)
        read = parse_feature(
            feature, id_property=id_property, name_property=name_property, radius_m=radius_m, mode=mode, strict=strict
        )
        if isinstance(read, tuple):
            rows.append(Row(number, None, read))
        elif read.external_id in seen:
            first = seen[read.external_id]
            detail = f"the id {echo(read.external_id)} is taken by row {first}; give each feature its own"
            rows.append(Row(number, None, (Fault("/id", "duplicate_id", detail),)))
        else:
            seen[read.external_id] = number
            rows.append(Row(number, read, ()))
    return Parsed(tuple(rows))


def _features(obj: object, findings: Findings) -> list[object] | None:
    kind = obj.get("type") if isinstance(obj, dict) else None
    if not isinstance(obj, dict) or kind not in ("FeatureCollection", "Feature"):
        given = echo(kind) if isinstance(obj, dict) else echo(obj)
        findings.fault("", "type", f"{given} is neither FeatureCollection nor Feature; wrap the geometries in Features")
        return None
    _check_crs(obj.get("crs"), findings)
    if kind == "Feature":
        return [obj]
    for name in COLLECTION_MEMBERS_OF_OTHERS & obj.keys():
        findings.fault(f"/{name}", "unknown", "a collection cannot have this member (RFC 7946, 7.1); remove it")
    features = obj.get("features")
    if not isinstance(features, list):
        findings.fault("/features", "type", "a FeatureCollection needs an array of features; add it")
        return None
    if len(features) > MAX_FEATURES:
        detail = f"the file has {len(features)} features; split it into files of {MAX_FEATURES} or fewer"
        findings.fault("/features", "too_many_features", detail)
        return None
    return features


def _check_crs(crs: object, findings: Findings) -> None:
    """RFC 7946 dropped the member; an old file in metres would land its fences in the Gulf of Guinea."""
    if crs is None:
        return
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not isinstance(name, str) or not name.endswith(WGS84_NAMES):
        findings.fault("/crs", "crs", f"{echo(name)} is not WGS 84; export the file in EPSG:4326 and without crs")


def _feature_properties(obj: object, *, strict: bool, findings: Findings) -> dict[str, Any] | None:
    """Check the Feature itself; its properties, or None when it cannot be read on."""
    if not isinstance(obj, dict):
        findings.fault("", "type", f"{echo(obj)} is not a Feature; write an object with type Feature")
        return None
    if obj.get("type") != "Feature":
        findings.fault("/type", "type", f"{echo(obj.get('type'))} is not a Feature; set type to Feature")
        return None
    for name in obj:
        if name in MEMBERS_OF_OTHERS:
            detail = "a Feature cannot have this member (RFC 7946, 7.1); remove it"
            findings.fault(f"/{token(name)}", "unknown", detail)
        elif strict and name not in FEATURE_MEMBERS:
            findings.fault(f"/{token(name)}", "unknown", "a Feature has no such member; remove it")
    properties = obj.get("properties")
    if properties is None:
        return {}
    if not isinstance(properties, dict):
        findings.fault("/properties", "type", f"{echo(properties)} is not an object; write properties as one")
        return None
    return properties


def _check_unknown(properties: dict[str, Any], used: Iterable[str | None], *, strict: bool, findings: Findings) -> None:
    unknown = [name for name in properties if name not in PROPERTIES and name not in used]
    if strict:
        for name in unknown:
            known = ", ".join(sorted(PROPERTIES))
            findings.fault(f"/properties/{token(name)}", "unknown", f"a fence has no such property; it has {known}")
    elif unknown:
        detail = f"{len(unknown)} properties mean nothing here and were dropped; nothing is left to do"
        findings.note("/properties", "dropped_properties", detail)


def _read_optional(properties: dict[str, Any], name: str, limit: int, findings: Findings) -> str | None:
    value = properties.get(name)
    return None if value is None else read_text(value, f"/properties/{token(name)}", limit, findings)


def _read_active(properties: dict[str, Any], findings: Findings) -> bool:
    value = properties.get("active")
    if value is None or isinstance(value, bool):
        return value is not False
    findings.fault("/properties/active", "type", f"{echo(value)} is neither true nor false; write one of them")
    return False


def _given_id(obj: dict[str, Any], properties: dict[str, Any], id_property: str | None) -> tuple[str, object] | None:
    """Find the feature's own id and where it stands."""
    if obj.get("id") is not None:
        return "/id", obj["id"]
    if id_property is not None and properties.get(id_property) is not None:
        return f"/properties/{token(id_property)}", properties[id_property]
    return None


def _read_id(found: tuple[str, object], findings: Findings) -> str | None:
    """Read an id; RFC 7946 allows numbers, which are taken as they are written."""
    pointer, value = found
    if value is None:
        if not any(fault.pointer == pointer for fault in findings.faults):
            detail = "the feature has neither id nor name; give it one, or name an id_property"
            findings.fault("/id", "missing", detail)
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if abs(value) >= MAX_NUMBER_ID:
            findings.fault(pointer, "too_long", f"{echo(value)} is too large for an id; write it as a string")
            return None
        return str(value)
    return read_text(value, pointer, MAX_ID_CHARS, findings)
