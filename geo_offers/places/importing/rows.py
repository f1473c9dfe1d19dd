"""A file of features, from its bytes to rows: what is stored of each, or why it is refused. No shape is left of them.

The same draft always makes the same bytes, so that bytes tell whether an import changes anything.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from geo_offers.documents import values
from geo_offers.errors import Fault, Invalid
from geo_offers.places.geometry import Circle
from geo_offers.places.importing.geojson import FenceDraft, Row, parse_collection, parse_feature

EASY_BODY: Final = 256 * 1024
"""A text of at most so many bytes is read within 0.1 s and 10 MB, whatever it holds; more may be made to cost much."""


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How features are read: see `geojson.parse_feature`. With an `external_id` the text is that one Feature."""

    external_id: str | None = None
    id_property: str | None = None
    name_property: str | None = None
    radius_m: float | None = None
    mode: str | None = None
    strict: bool = False


class ReadRow(msgspec.Struct, frozen=True):
    """A good row's id, its Feature as it is stored and what was noted; of a refused row the faults alone."""

    external_id: str | None
    feature: bytes | None
    faults: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def read_rows(data: bytes, manner: Manner, at: Callable[[int], None] = lambda _: None) -> tuple[ReadRow, ...]:
    """Read JSON text; `at` is told each row's number before its geometry is computed.

    Malformed where it is no JSON, Invalid where it is no file of features.
    """
    text = values(data)
    options = {name: getattr(manner, name) for name in ("id_property", "name_property", "radius_m", "mode", "strict")}
    if manner.external_id is not None:
        at(0)
        read = parse_feature(text, external_id=manner.external_id, **options)
        return (row_of(Row(0, None, read) if isinstance(read, tuple) else Row(0, read, ())),)
    parsed = parse_collection(text, at=at, **options)
    if parsed.faults:
        raise Invalid(parsed.faults[0].detail[:200], parsed.faults)
    return tuple(map(row_of, parsed.rows))


def row_of(row: Row) -> ReadRow:
    draft = row.draft
    return (
        ReadRow(None, None, row.faults, ())
        if draft is None
        else ReadRow(draft.external_id, feature_of(draft), (), draft.notes)
    )


def feature_of(draft: FenceDraft) -> bytes:
    """The Feature that stands for a draft. Of `detect` it holds what was given: the rest follows the defaults."""
    properties: dict[str, Any] = {"name": draft.name}
    if draft.store is not None:
        properties["store"] = draft.store
    if isinstance(draft.geometry, Circle):
        properties["radius_m"] = draft.geometry.radius_m
    if draft.tags:
        properties["tags"] = draft.tags
    properties["active"] = draft.active
    if draft.detect_given:
        properties["detect"] = dict(sorted(draft.detect_given.items()))
    return msgspec.json.encode(
        {"type": "Feature", "id": draft.external_id, "geometry": draft.geojson_geometry, "properties": properties}
    )
