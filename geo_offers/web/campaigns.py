"""Campaigns: written as drafts, submitted, approved by somebody else where need be, paused, resumed, ended."""

import asyncio
from typing import Final, Literal
from uuid import UUID, uuid4  # noqa: TID251 - an edge makes ids

from geo_offers import clock, wire
from geo_offers.errors import Fault, Invalid
from geo_offers.offers import campaigns as rules
from geo_offers.pipeline import wording
from geo_offers.pipeline.management import Move, campaign_of
from geo_offers.pipeline.services import Services
from geo_offers.web.calls import Call, Given, Reply
from geo_offers.web.checks import (
    JOINERS,
    check_zone,
    invalid,
    known_events,
    page_limit,
    path_id,
    refuse_unsafe,
    set_name,
)


async def create_campaign(services: Services, given: Given) -> Reply:
    await asyncio.to_thread(_check, given.body)  # what CLDR says of a language may have to be read from a file
    await known_events(services, given, given.body.when, "/when")
    await services.segments.check(given.caller.workspace, given.body)
    return Reply(await services.campaigns.create(given.caller, given.key_id or uuid4(), given.body), 201)


async def replace_campaign(services: Services, given: Given) -> Reply:
    """A new version: whoever approved the last one has not approved this one."""
    ident = path_id(given, "campaign")
    await asyncio.to_thread(_check, given.body)
    await known_events(services, given, given.body.when, "/when")
    await services.segments.check(given.caller.workspace, given.body)
    return Reply(await services.campaigns.replace(given.caller, ident, given.body))


def _check(body: wire.CampaignBody) -> None:
    """Invalid, with the place of each fault, where the types alone do not see what is wrong."""
    refuse_unsafe(body, JOINERS)
    found: list[Fault] = []
    for name, instant in (("from", body.schedule.from_), ("until", body.schedule.until)):
        if instant is not None and instant.tzinfo is None:
            found.append(Fault(f"/schedule/{name}", "time_zone", "an instant names its offset; add one, or Z for UTC"))
    if not found:
        selector = body.trigger.fences
        if selector.set is not None:
            set_name(selector.set)
        for number, fence in enumerate(selector.ids or ()):
            set_id, slash, external_id = fence.partition("/")
            if not (set_id and slash and external_id and len(fence) <= 257):
                found.append(Fault(f"/trigger/fences/ids/{number}", "fence", "a geofence is named set/id"))
        found += rules.faults(campaign_of(UUID(int=0), 1, "draft", body))
    if found:
        raise Invalid(found[0].detail, tuple(found[:20]))


async def get_campaign(services: Services, given: Given) -> Reply:
    return Reply(await services.campaigns.get(given.caller.workspace, path_id(given, "campaign")))


async def list_campaigns(services: Services, given: Given) -> Reply:
    return Reply(await services.campaigns.page(given.caller.workspace, given.query.cursor, page_limit(given)))


async def preview_texts(services: Services, given: Given) -> Reply:
    """What samples of people would read; changes nothing."""
    asked: wire.TextsAsked = given.body
    refuse_unsafe(asked, JOINERS)
    for number, sample in enumerate(asked.samples):
        if sample.time_zone is not None:
            check_zone(sample.time_zone, f"/samples/{number}/time_zone")
        if sample.at is not None and sample.at.tzinfo is None:
            raise invalid(f"/samples/{number}/at", "time_zone", "an instant names its offset; add one, or Z for UTC")
    campaign = await services.campaigns.get(given.caller.workspace, path_id(given, "campaign"))
    workspace = await services.workspaces.read(given.caller.workspace)
    return Reply(await asyncio.to_thread(wording.preview, campaign, workspace, asked, clock.now_us()))


async def preview_campaign(services: Services, given: Given) -> Reply:
    """What it would have done of late; nothing is written and nobody is told."""
    asked: wire.PreviewAsked = given.body
    workspace = given.caller.workspace
    campaign = await services.campaigns.get(workspace, path_id(given, "campaign"))
    return Reply(await services.rehearsals.preview(workspace, campaign, asked.days, clock.now_us()))


async def submit_campaign(services: Services, given: Given) -> Reply:
    """200 where that approved it, 202 with the reasons where somebody else has to."""
    campaign = await _move(services, given, "submit")
    found = campaign.assessment
    assert found is not None  # it was handed in
    state: Literal["submitted", "approved"] = "submitted" if campaign.state == "submitted" else "approved"
    answer = wire.Submitted(state=state, risk=found.risk, reasons=found.reasons, approvers=found.approvers)
    return Reply(answer, 202 if state == "submitted" else 200)


async def approve_campaign(services: Services, given: Given) -> Reply:
    """It stays submitted until as many have agreed as its risk asks for."""
    ident, seen = path_id(given, "campaign"), given.query.version
    return Reply(await services.campaigns.move(given.caller, ident, "approve", seen))


async def pause_campaign(services: Services, given: Given) -> Reply:
    """Nothing more is decided for it, and what is queued is not sent."""
    return Reply(await _silence(services, given, "pause"))


async def resume_campaign(services: Services, given: Given) -> Reply:
    return Reply(await _move(services, given, "resume"))


async def end_campaign(services: Services, given: Given) -> Reply:
    """For good; it stays readable."""
    return Reply(await _silence(services, given, "end"))


async def _move(services: Services, given: Given, move: Move) -> wire.Campaign:
    return await services.campaigns.move(given.caller, path_id(given, "campaign"), move)


async def _silence(services: Services, given: Given, move: Move) -> wire.Campaign:
    campaign = await _move(services, given, move)
    await services.dispatcher.recall(given.caller.workspace, campaign=campaign.id)
    return campaign


_ALL: Final = "/v1/campaigns"
_ONE: Final = "/v1/campaigns/{id}"
_WHO: Final = ("manager",)

CALLS: Final[tuple[Call, ...]] = (
    Call(
        "POST",
        _ALL,
        "Write a campaign, as a draft",
        create_campaign,
        _WHO,
        wire.Campaign,
        status=201,
        body=wire.CampaignBody,
        role="editor",
        max_body=256 * 1024,
        tag="campaigns",
    ),
    Call(
        "GET",
        _ALL,
        "Campaigns, oldest first",
        list_campaigns,
        _WHO,
        wire.CampaignPage,
        query=wire.ListQuery,
        tag="campaigns",
    ),
    Call("GET", _ONE, "One campaign", get_campaign, _WHO, wire.Campaign, tag="campaigns"),
    Call(
        "PUT",
        _ONE,
        "Replace a campaign; it is a draft again",
        replace_campaign,
        _WHO,
        wire.Campaign,
        body=wire.CampaignBody,
        role="editor",
        max_body=256 * 1024,
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/texts/preview",
        "What samples of people would read",
        preview_texts,
        _WHO,
        wire.TextsPreview,
        body=wire.TextsAsked,
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/preview",
        "What a campaign would have done of late",
        preview_campaign,
        _WHO,
        wire.CampaignPreview,
        body=wire.PreviewAsked,
        role="editor",
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/submit",
        "Hand a campaign in",
        submit_campaign,
        _WHO,
        wire.Submitted,
        other_statuses=(202,),
        role="editor",
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/approve",
        "Approve a submitted campaign",
        approve_campaign,
        _WHO,
        wire.Campaign,
        query=wire.SeenQuery,
        role="approver",
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/pause",
        "Pause an approved campaign",
        pause_campaign,
        _WHO,
        wire.Campaign,
        role="editor",
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/resume",
        "Resume a paused campaign",
        resume_campaign,
        _WHO,
        wire.Campaign,
        role="editor",
        tag="campaigns",
    ),
    Call(
        "POST",
        f"{_ONE}/end",
        "End a campaign for good",
        end_campaign,
        _WHO,
        wire.Campaign,
        role="editor",
        tag="campaigns",
    ),
)
