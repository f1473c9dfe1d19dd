"""The workspace's own rules."""

from typing import Final

from geo_offers import wire
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import check_zone, refuse_unsafe


async def get_workspace(services: Services, given: Given) -> Reply:
    return Reply(await services.workspaces.read(given.caller.workspace))


async def patch_workspace(services: Services, given: Given) -> Reply:
    """Changes what is named and leaves the rest; the next decision follows it."""
    patch: wire.WorkspacePatch = given.body
    if isinstance(patch.time_zone, str):
        check_zone(patch.time_zone, "/time_zone")
    if isinstance(patch.audience, wire.AudienceSettings):
        refuse_unsafe(patch.audience)
    return Reply(await services.workspaces.change(given.caller.workspace, patch))


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
)
