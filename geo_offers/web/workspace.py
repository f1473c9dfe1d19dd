"""The workspace's own rules."""

from collections.abc import Sequence
from typing import Final

from msgspec import UNSET, UnsetType

from geo_offers import wire
from geo_offers.people.public_days import is_region
from geo_offers.pipeline.choice import cap_faults
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import check_zone, invalid, known_events, page_limit, refuse, refuse_unsafe


async def get_workspace(services: Services, given: Given) -> Reply:
    return Reply(await services.workspaces.read(given.caller.workspace))


async def patch_workspace(services: Services, given: Given) -> Reply:
    """Changes what is named and leaves the rest; the next decision follows it."""
    patch: wire.WorkspacePatch = given.body
    refuse_unsafe(patch)
    if isinstance(patch.time_zone, str):
        check_zone(patch.time_zone, "/time_zone")
    if patch.quiet is not UNSET:
        _check_quiet(patch.quiet)
    if not isinstance(patch.caps, UnsetType):
        refuse(cap_faults(patch.caps))
    if isinstance(patch.embargo, wire.Embargo):
        await known_events(services, given, patch.embargo, "/embargo")
    if isinstance(patch.audience, wire.AudienceSettings):
        refuse_unsafe(patch.audience)
    state = await services.workspaces.change(given.caller, patch)
    if patch.paused is True:
        await services.dispatcher.recall(given.caller.workspace)
    return Reply(state)


async def list_deeds(services: Services, given: Given) -> Reply:
    return Reply(await services.workspaces.audit(given.caller.workspace, given.query.cursor, page_limit(given)))


def _check_quiet(quiet: Sequence[wire.LegalQuiet]) -> None:
    """Invalid, with its place, where a rule names no day or a region that is none."""
    for number, rule in enumerate(quiet):
        if rule.days is UNSET and rule.holidays is UNSET:
            raise invalid(f"/quiet/{number}", "missing", "name days of the week, or a region whose holidays are meant")
        if rule.holidays is not UNSET and not is_region(rule.holidays):
            detail = "holidays of no such region are known; name a country as FR, or a part of one as DE-BY"
            raise invalid(f"/quiet/{number}/holidays", "region", detail)


CALLS: Final[tuple[Call, ...]] = (
    Call(
        "GET",
        "/v1/workspace",
        "The workspace's rules",
        get_workspace,
        ("manager",),
        wire.WorkspaceState,
        tag="workspace",
    ),
    Call(
        "PATCH",
        "/v1/workspace",
        "Change the workspace's rules",
        patch_workspace,
        ("manager",),
        wire.WorkspaceState,
        body=wire.WorkspacePatch,
        role="owner",
        tag="workspace",
    ),
    Call(
        "GET",
        "/v1/audit",
        "Who did what, newest first",
        list_deeds,
        ("manager",),
        wire.DeedPage,
        query=wire.ListQuery,
        role="owner",
        tag="workspace",
    ),
)
