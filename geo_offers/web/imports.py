"""Many geofences at once: shown first, applied in one transaction, undone while nobody has changed them since."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final
from uuid import UUID, uuid4  # noqa: TID251 - an edge makes ids

from geo_offers import wire
from geo_offers.pipeline.management import Admit, ImportReport, SetChange
from geo_offers.pipeline.services import Services
from geo_offers.places.importing.rows import Manner
from geo_offers.web.calls import IMPORT_BODY, Call, Given, Reply
from geo_offers.web.checks import invalid, path_id, refuse_unsafe, set_name

FORMATS: Final = frozenset({"geojson"})

Step = Callable[[UUID, UUID, str, Admit], Awaitable[SetChange[ImportReport]]]


async def create_import(services: Services, given: Given) -> Reply:
    """Reads the file and tells row by row what it would change; changes it at once where `dry_run` is false."""
    query: wire.ImportQuery = given.query
    if query.format not in FORMATS:
        raise invalid("/format", "unsupported_format", "this format is not read here; send GeoJSON")
    refuse_unsafe(query)
    set_id = set_name(query.set)
    manner = Manner(
        id_property=query.id_property, name_property=query.name_property, radius_m=query.radius_m, mode=query.mode
    )
    rows = await services.reader.read(given.raw, manner)
    workspace, ident = given.caller.workspace, given.key_id or uuid4()
    set_id = await services.imports.create(workspace, ident, set_id, rows)
    if query.dry_run:
        report = await services.imports.get(workspace, ident)
    else:
        report = await _changed(services, given, ident, set_id, services.imports.apply)
    return Reply(report.body, 201)


async def get_import(services: Services, given: Given) -> Reply:
    report = await services.imports.get(given.caller.workspace, path_id(given, "import"))
    return Reply(report.body)


async def apply_import(services: Services, given: Given) -> Reply:
    """Once; a repeat answers the same."""
    return await _step(services, given, services.imports.apply)


async def undo_import(services: Services, given: Given) -> Reply:
    """Puts back what was there before; what was changed since stays, and its row says so. A repeat answers the same."""
    return await _step(services, given, services.imports.undo)


async def _step(services: Services, given: Given, step: Step) -> Reply:
    ident = path_id(given, "import")
    set_id = await services.imports.set_of(given.caller.workspace, ident)
    return Reply((await _changed(services, given, ident, set_id, step)).body)


async def _changed(services: Services, given: Given, ident: UUID, set_id: str, step: Step) -> ImportReport:
    workspace, author = given.caller.workspace, given.caller.id
    return await services.fence_memory.change(workspace, set_id, partial(step, workspace, ident, author))


_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        "/v1/imports",
        "Check a file of geofences against a set, row by row",
        create_import,
        _WHO,
        wire.Import,
        status=201,
        body=wire.FeaturesBody,
        query=wire.ImportQuery,
        role="editor",
        max_body=IMPORT_BODY,
        elsewhere=True,
        tag="imports",
    ),
    Call("GET", "/v1/imports/{id}", "One import", get_import, _WHO, wire.Import, tag="imports"),
    Call(
        "POST",
        "/v1/imports/{id}/apply",
        "Write an import's geofences",
        apply_import,
        _WHO,
        wire.Import,
        role="editor",
        tag="imports",
    ),
    Call(
        "POST",
        "/v1/imports/{id}/undo",
        "Put back what an import replaced",
        undo_import,
        _WHO,
        wire.Import,
        role="editor",
        tag="imports",
    ),
)
