"""What a manager's key may do: places, campaigns, the workspace's rules, and what was decided."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import UUID

import msgspec

from geo_offers import wire
from geo_offers.client.http import Bearer, Call, Caller, path
from geo_offers.client.live import LIVE_PATIENCE, LiveEvent, follow
from geo_offers.client.retry import Patience

T = TypeVar("T")
P = TypeVar("P", bound=wire.Page)
IMPORT_TIMEOUT_S = 300.0  # ten thousand fences are checked within one request
PREVIEW_TIMEOUT_S = 300.0


class Manager:
    """Made by `Client.manager`. Calls raise ApiError, ConnectionFailed; lists are fetched page by page."""

    def __init__(self, caller: Caller, bearer: Bearer) -> None:
        self._caller = caller
        self._bearer = bearer

    # ------------------------------------------------------------------------------------------ workspace, stores
    async def workspace(self) -> wire.WorkspaceState:
        return await self._ask("GET", path("workspace"), wire.WorkspaceState)

    async def patch_workspace(self, patch: wire.WorkspacePatch) -> wire.WorkspaceState:
        return await self._ask("PATCH", path("workspace"), wire.WorkspaceState, patch)

    async def put_store(self, store: str, body: wire.StoreBody) -> wire.Store:
        return await self._ask("PUT", path("stores", store), wire.Store, body)

    async def store(self, store: str) -> wire.Store:
        return await self._ask("GET", path("stores", store), wire.Store)

    async def pause_store(self, store: str) -> wire.Store:
        """Offer nothing there until `resume_store`; what is queued is not sent."""
        return await self._ask("POST", path("stores", store, "pause"), wire.Store)

    async def resume_store(self, store: str) -> wire.Store:
        return await self._ask("POST", path("stores", store, "resume"), wire.Store)

    async def delete_store(self, store: str) -> None:
        await self._delete(path("stores", store))

    async def stores(self) -> AsyncIterator[wire.Store]:
        async for page in self._pages(path("stores"), {}, wire.StorePage):
            for store in page.items:
                yield store

    # ------------------------------------------------------------------------------------------ geofences
    async def put_geofence(self, set_id: str, external_id: str, feature: Mapping[str, Any]) -> wire.GeofenceState:
        """Put a GeoJSON Feature (coordinates lon, lat); it replaces what was there."""
        return await self._ask("PUT", path("geofences", set_id, external_id), wire.GeofenceState, feature)

    async def geofence(self, set_id: str, external_id: str) -> wire.GeofenceState:
        return await self._ask("GET", path("geofences", set_id, external_id), wire.GeofenceState)

    async def delete_geofence(self, set_id: str, external_id: str) -> None:
        await self._delete(path("geofences", set_id, external_id))

    async def geofences(
        self, *, set_id: str | None = None, bbox: tuple[float, float, float, float] | None = None
    ) -> AsyncIterator[wire.GeofenceState]:
        """Geofences of a set, or that touch a box (min lon, min lat, max lon, max lat, as GeoJSON has it), or all."""
        box = None if bbox is None else ",".join(map(repr, bbox))
        async for page in self._pages(path("geofences"), {"set": set_id, "bbox": box}, wire.GeofencePage):
            for fence in page.items:
                yield fence

    async def approve_geofence(self, set_id: str, external_id: str, version: int) -> wire.GeofenceState:
        """Let a geofence be that lies over a private place; two may, and not whoever wrote it last.

        version: the one that was looked at; ApiError 409 where there is a newer one.
        """
        where = path("geofences", set_id, external_id, "approve")
        return await self._approve(where, wire.GeofenceState, version)

    # ------------------------------------------------------------------------------------------ private places
    async def put_private_place(self, place: str, feature: Mapping[str, Any]) -> wire.PrivatePlaceState:
        """Put a GeoJSON Feature with a category; `waiting` names the geofences over it that are off now."""
        return await self._ask("PUT", path("private-places", place), wire.PrivatePlaceState, feature)

    async def private_place(self, place: str) -> wire.PrivatePlaceState:
        return await self._ask("GET", path("private-places", place), wire.PrivatePlaceState)

    async def delete_private_place(self, place: str) -> None:
        await self._delete(path("private-places", place))

    async def private_places(self) -> AsyncIterator[wire.PrivatePlaceState]:
        async for page in self._pages(path("private-places"), {}, wire.PrivatePlacePage):
            for place in page.items:
                yield place

    # ------------------------------------------------------------------------------------------ many geofences
    async def create_import(
        self,
        geojson: bytes,
        *,
        set_id: str,
        id_property: str | None = None,
        name_property: str | None = None,
        radius_m: float | None = None,
        mode: Literal["raw", "calibrated"] | None = None,
        dry_run: bool = True,
    ) -> wire.Import:
        """Have GeoJSON (≤ 10,000 features) checked against the set; without `dry_run` it is applied as well."""
        query = {
            "format": "geojson",
            "set": set_id,
            "id_property": id_property,
            "name_property": name_property,
            "radius_m": None if radius_m is None else repr(radius_m),
            "mode": mode,
            "dry_run": "true" if dry_run else "false",
        }
        call = Call(
            "POST",
            path("imports"),
            geojson,
            _given(query),
            content_type="application/geo+json",
            idempotency_key=_key(),
            timeout_s=IMPORT_TIMEOUT_S,
        )
        return await self._caller.ask(call, self._bearer, wire.Import)

    async def apply_import(self, import_id: UUID) -> wire.Import:
        return await self._import_step(import_id, "apply")

    async def undo_import(self, import_id: UUID) -> wire.Import:
        return await self._import_step(import_id, "undo")

    async def _import_step(self, import_id: UUID, step: str) -> wire.Import:
        where = path("imports", import_id, step)
        call = Call("POST", where, idempotency_key=_key(), timeout_s=IMPORT_TIMEOUT_S)
        return await self._caller.ask(call, self._bearer, wire.Import)

    # ------------------------------------------------------------------------------------------ campaigns
    async def create_campaign(self, body: wire.CampaignBody) -> wire.Campaign:
        return await self._ask("POST", path("campaigns"), wire.Campaign, body)

    async def campaign(self, campaign: UUID) -> wire.Campaign:
        return await self._ask("GET", path("campaigns", campaign), wire.Campaign)

    async def replace_campaign(self, campaign: UUID, body: wire.CampaignBody) -> wire.Campaign:
        """Replace a campaign; it is a draft again."""
        return await self._ask("PUT", path("campaigns", campaign), wire.Campaign, body)

    async def campaigns(self) -> AsyncIterator[wire.Campaign]:
        async for page in self._pages(path("campaigns"), {}, wire.CampaignPage):
            for campaign in page.items:
                yield campaign

    async def preview(self, campaign: UUID, *, days: int = 28) -> wire.CampaignPreview:
        """What it would have done in the last days, with no effect; a long history takes a minute."""
        where, body = path("campaigns", campaign, "preview"), msgspec.json.encode(wire.PreviewAsked(days=days))
        call = Call("POST", where, body, idempotency_key=_key(), timeout_s=PREVIEW_TIMEOUT_S)
        return await self._caller.ask(call, self._bearer, wire.CampaignPreview)

    async def submit(self, campaign: UUID) -> wire.Submitted:
        """Hand a campaign in; one of text alone by an owner is approved at once, else the reasons are named."""
        return await self._ask("POST", path("campaigns", campaign, "submit"), wire.Submitted)

    async def approve(self, campaign: UUID, version: int) -> wire.Campaign:
        """Agree to a version that was looked at; ApiError 409 where there is a newer one."""
        return await self._approve(path("campaigns", campaign, "approve"), wire.Campaign, version)

    async def pause(self, campaign: UUID) -> wire.Campaign:
        return await self._ask("POST", path("campaigns", campaign, "pause"), wire.Campaign)

    async def resume(self, campaign: UUID) -> wire.Campaign:
        return await self._ask("POST", path("campaigns", campaign, "resume"), wire.Campaign)

    async def end(self, campaign: UUID) -> wire.Campaign:
        """End a campaign for good; it stays readable."""
        return await self._ask("POST", path("campaigns", campaign, "end"), wire.Campaign)

    # ------------------------------------------------------------------------------------------ what was decided
    async def decisions(
        self,
        *,
        campaign: UUID | None = None,
        reason: str | None = None,
        user: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[wire.Decision]:
        """Decisions, newest first. A search by `user` needs a server key or an owner's, and is audited."""
        query = {
            "campaign": None if campaign is None else str(campaign),
            "reason": reason,
            "user": user,
            **_time(since, until),
        }
        async for page in self._pages(path("decisions"), query, wire.DecisionPage):
            for decision in page.items:
                yield decision

    async def decision(self, decision: UUID) -> wire.Decision:
        return await self._ask("GET", path("decisions", decision), wire.Decision)

    async def replay(self, decision: UUID) -> wire.Replayed:
        """Have a decision made again, of what it was made of then; ApiError 410 where that is not kept any more."""
        return await self._ask("GET", path("decisions", decision, "replay"), wire.Replayed)

    async def outcomes(
        self, campaign: UUID, *, since: datetime | None = None, until: datetime | None = None
    ) -> wire.Outcomes:
        """How many of a campaign's arrivals came to an offer, and how many to which silence; of the last 30 days."""
        asked = Call("GET", path("campaigns", campaign, "outcomes"), query=_given(_time(since, until)))
        return await self._caller.ask(asked, self._bearer, wire.Outcomes)

    # ------------------------------------------------------------------------------------------ what was sent
    async def outbox(
        self, *, state: Literal["queued", "failed", "ambiguous"] = "failed", lane: str | None = None
    ) -> AsyncIterator[wire.Letter]:
        """Offers that wait to be sent, or did not arrive, newest first."""
        async for page in self._pages(path("outbox"), {"state": state, "lane": lane}, wire.LetterPage):
            for letter in page.items:
                yield letter

    async def outbox_summary(self) -> wire.OutboxSummary:
        return await self._ask("GET", path("outbox", "summary"), wire.OutboxSummary)

    async def send_again(self, offer: UUID) -> None:
        """Make a failed offer due again; ApiError 409 where it may have been shown, or would break a cap."""
        where = path("outbox", offer, "replay")
        await self._caller.send(Call("POST", where, idempotency_key=_key()), self._bearer)

    def live(
        self, types: Sequence[str] = (), *, last_event_id: str = "", patience: Patience = LIVE_PATIENCE
    ) -> AsyncIterator[LiveEvent]:
        """Follow the live feed, without end and over lost connections; `last_event_id` goes on after that event.

        types: kinds of events to get; empty for all.
        """
        return follow(self._caller, self._bearer, types, last_event_id, patience)

    # ------------------------------------------------------------------------------------------
    async def _ask(self, method: str, where: str, kind: type[T], body: object = None) -> T:
        given = None if body is None else msgspec.json.encode(body)
        key = _key() if method == "POST" else None
        return await self._caller.ask(Call(method, where, given, idempotency_key=key), self._bearer, kind)

    async def _approve(self, where: str, kind: type[T], version: int) -> T:
        call = Call("POST", where, query={"version": str(version)}, idempotency_key=_key())
        return await self._caller.ask(call, self._bearer, kind)

    async def _delete(self, where: str) -> None:
        await self._caller.send(Call("DELETE", where, idempotency_key=_key()), self._bearer)

    async def _pages(self, where: str, query: Mapping[str, str | None], kind: type[P]) -> AsyncIterator[P]:
        asked = _given(query) | {"limit": "1000"}
        while True:
            page = await self._caller.ask(Call("GET", where, query=asked), self._bearer, kind)
            yield page
            if page.next is None:
                return
            asked["cursor"] = page.next


def _given(query: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value is not None}


def _time(since: datetime | None, until: datetime | None) -> dict[str, str | None]:
    return {
        "since": None if since is None else since.isoformat(),
        "until": None if until is None else until.isoformat(),
    }


def _key() -> str:
    return str(uuid.uuid4())  # noqa: TID251 - an edge makes the id
