"""A manager's calls, and the live feed, against a server of the test's own."""

from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from aiohttp import web

from geo_offers import wire
from geo_offers.client import ApiError, Client, LiveEvent, Manager, Patience, UnreadableAnswer
from geo_offers.client.live import MAX_EVENT_CHARS, EventParser
from tests.support.loopback import answering

QUICK = Patience(attempts=4, first_s=0.01, longest_s=0.02, total_s=5.0)
NOW = datetime(2026, 5, 1, tzinfo=UTC)


class FakeServer:
    """Answers each call with what stands under its method and path; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.pages: dict[str, dict[str, object]] = {}  # by cursor
        self.asked: list[tuple[str, dict[str, str], dict[str, str], bytes]] = []
        self.feeds: list[list[bytes] | int] = []
        self.last_ids: list[str | None] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v1/live":
            return await self._live(request)
        call = f"{request.method} {request.raw_path.partition('?')[0]}"
        self.asked.append((call, dict(request.query), dict(request.headers), await request.read()))
        if call in self.pages:
            value: object = self.pages[call][request.query.get("cursor", "")]
        elif call in self.answers:
            value = self.answers[call]
        else:
            return web.Response(status=404)
        return web.Response(body=msgspec.json.encode(value), content_type="application/json")

    async def _live(self, request: web.Request) -> web.StreamResponse:
        self.last_ids.append(request.headers.get("Last-Event-ID"))
        feed = self.feeds.pop(0) if self.feeds else 403
        if isinstance(feed, int):
            return web.Response(status=feed)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in feed:
            await response.write(chunk)
        return response


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def manager(server: FakeServer) -> AsyncIterator[Manager]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    async with answering(app) as url, Client(f"{url}/", "mk_key", patience=QUICK) as client:
        yield client.manager


def fence(name: str) -> dict[str, Any]:
    feature: dict[str, Any] = {"type": "Feature", "id": name, "geometry": None, "properties": {}}
    return {"fence": f"town/{name}", "version": 1, "updated_at": "2026-05-01T00:00:00Z", "feature": feature}


@pytest.mark.parametrize(
    ("external_id", "encoded"), [("a/b c", "a%2Fb%20c"), ("Käse", "K%C3%A4se"), ("..", "%2E%2E"), ("x%2Fy", "x%252Fy")]
)
async def test_a_fences_id_is_one_segment_of_the_path_whatever_it_holds(
    server: FakeServer, manager: Manager, external_id: str, encoded: str
) -> None:
    server.answers[f"PUT /v1/geofences/town/{encoded}"] = fence("x")
    state = await manager.put_geofence("town", external_id, {"type": "Feature"})
    assert state.fence == "town/x"
    assert msgspec.json.decode(state.feature)["id"] == "x"
    assert server.asked[0][3] == b'{"type":"Feature"}'
    assert server.asked[0][2]["Authorization"] == "Bearer mk_key"


async def test_lists_are_read_page_by_page(server: FakeServer, manager: Manager) -> None:
    server.pages["GET /v1/geofences"] = {
        "": {"items": [fence("1"), fence("2")], "next": "more/2"},
        "more/2": {"items": [fence("3")], "next": None},
    }
    found = [state.fence async for state in manager.geofences(set_id="town", bbox=(8.0, 53.0, 8.5, 53.5))]
    assert found == ["town/1", "town/2", "town/3"]
    first, second = (query for _, query, _, _ in server.asked)
    assert first == {"set": "town", "bbox": "8.0,53.0,8.5,53.5", "limit": "1000"}
    assert second == first | {"cursor": "more/2"}


async def test_a_patch_names_only_what_changes(server: FakeServer, manager: Manager) -> None:
    server.answers["PATCH /v1/workspace"] = wire.WorkspaceState(id=uuid4(), name="w", place_gap_s=60)
    assert (await manager.patch_workspace(wire.WorkspacePatch(place_gap_s=60))).place_gap_s == 60
    assert server.asked[0][3] == b'{"place_gap_s":60}'


async def test_an_import_carries_its_options_and_a_key(server: FakeServer, manager: Manager) -> None:
    made = wire.Import(
        id=uuid4(), set="town", state="previewed", rows=[],
        counts=wire.ImportCounts(new=0, changed=0, unchanged=0, refused=0),
    )  # fmt: skip
    server.answers["POST /v1/imports"] = made
    server.answers[f"POST /v1/imports/{made.id}/apply"] = made
    server.answers[f"POST /v1/imports/{made.id}/undo"] = made
    await manager.create_import(b"{}", set_id="town", radius_m=100.0, mode="raw", name_property="label")
    await manager.apply_import(made.id)
    await manager.undo_import(made.id)
    _, query, headers, body = server.asked[0]
    assert query == {
        "format": "geojson", "set": "town", "radius_m": "100.0", "mode": "raw", "name_property": "label",
        "dry_run": "true",
    }  # fmt: skip
    assert headers["Content-Type"] == "application/geo+json"
    assert body == b"{}"
    assert len({headers["Idempotency-Key"] for _, _, headers, _ in server.asked}) == 3


async def test_a_campaigns_life_goes_by_its_calls(server: FakeServer, manager: Manager) -> None:
    body = wire.CampaignBody(
        name="Tea",
        objective="visit",
        trigger=wire.Trigger(on="enter", fences=wire.FenceSelector(set="town")),
        texts={"en": wire.Text(title="Tea", body="for two")},
        schedule=wire.Schedule(from_=NOW),
    )
    campaign_id = uuid4()
    campaign = msgspec.to_builtins(body) | {"id": campaign_id, "state": "approved", "running": True, "version": 1}
    for call in (
        "POST /v1/campaigns",
        *(f"POST /v1/campaigns/{campaign_id}/{step}" for step in ("approve", "pause", "resume", "end")),
    ):
        server.answers[call] = campaign
    server.answers[f"PUT /v1/campaigns/{campaign_id}"] = campaign
    server.answers[f"POST /v1/campaigns/{campaign_id}/submit"] = wire.Submitted(
        state="approved", risk=0, reasons=[], approvers=0
    )
    assert (await manager.create_campaign(body)).id == campaign_id
    assert (await manager.submit(campaign_id)).risk == 0
    assert (await manager.approve(campaign_id, 1)).version == 1
    assert server.asked[-1][1] == {"version": "1"}
    assert (await manager.pause(campaign_id)).running
    assert (await manager.resume(campaign_id)).schedule.from_ == NOW
    assert (await manager.replace_campaign(campaign_id, body)).name == "Tea"
    assert (await manager.end(campaign_id)).id == campaign_id
    assert msgspec.json.decode(server.asked[0][3], type=wire.CampaignBody) == body


# ---------------------------------------------------------------------------------------------- live feed
def test_events_are_read_across_any_cut_of_the_bytes() -> None:
    text = ': hello\n\nid: 7\nevent: decision\ndata: {"a":\ndata:  "ä"}\n\nid: 8\ndata: {}\r\n\r\nevent: x\n\n'.encode()
    whole = EventParser().feed(text)
    assert whole == [("7", "decision", '{"a":\n "ä"}'), ("8", "message", "{}")]
    for step in (1, 2, 3, 5, 11):
        parser = EventParser()
        found = [event for start in range(0, len(text), step) for event in parser.feed(text[start : start + step])]
        assert found == whole
        assert parser.last_id == "8"


def test_an_event_without_end_is_refused() -> None:
    parser = EventParser()
    line = b"data: " + b"x" * 1000 + b"\n"
    with pytest.raises(UnreadableAnswer):
        deque((parser.feed(line) for _ in range(MAX_EVENT_CHARS // 1000 + 2)), maxlen=0)


async def test_the_live_feed_goes_on_after_the_last_event_over_lost_connections(
    server: FakeServer, manager: Manager
) -> None:
    server.feeds = [
        [b'id: 1\nevent: transition\ndata: {"n": 1}\n\n', b"id: 2\ndata: {"],
        503,
        [b": nothing new\n\n"],
        [b'id: 2\nevent: decision\ndata: {"n": 2}\n\n'],
    ]
    feed = manager.live(last_event_id="0", patience=QUICK)
    assert await anext(feed) == LiveEvent("1", "transition", {"n": 1})
    assert await anext(feed) == LiveEvent("2", "decision", {"n": 2})
    with pytest.raises(ApiError) as caught:
        await anext(feed)
    assert caught.value.status == 403
    assert server.last_ids == ["0", "1", "1", "1", "2"]


async def test_decisions_are_asked_by_campaign_and_reason(server: FakeServer, manager: Manager) -> None:
    campaign, decision = uuid4(), uuid4()
    made = wire.Decision(
        id=decision, user="u", at=NOW, outcome="suppressed", reason="quiet_hours", transitions=[], gates=[],
        versions={}, ms={},
    )  # fmt: skip
    server.pages["GET /v1/decisions"] = {"": {"items": [msgspec.to_builtins(made)], "next": None}}
    server.answers[f"GET /v1/decisions/{decision}"] = made
    found: list[UUID] = [one.id async for one in manager.decisions(campaign=campaign, reason="quiet_hours")]
    assert found == [decision]
    assert (await manager.decision(decision)).reason == "quiet_hours"
    assert server.asked[0][1] == {"campaign": str(campaign), "reason": "quiet_hours", "limit": "1000"}


async def test_outcomes_are_asked_for_a_campaign_and_a_time(server: FakeServer, manager: Manager) -> None:
    campaign = uuid4()
    counted = wire.Outcomes(campaign=campaign, since=NOW, until=NOW, decisions=3, offers=1, silences={"cap": 2})
    server.answers[f"GET /v1/campaigns/{campaign}/outcomes"] = counted
    assert await manager.outcomes(campaign, since=NOW) == counted
    assert server.asked[0][1] == {"since": NOW.isoformat()}


async def test_private_places_are_put_listed_and_deleted_and_geofences_over_them_approved(server, manager):
    place = wire.PrivatePlaceState(
        id="a b", category="health", version=1, updated_at=NOW, feature=msgspec.Raw(b"{}"), waiting=["town/x"]
    )
    approval = wire.FenceApproval(state="pending", places=["a b"], approvals=1)
    server.answers["PUT /v1/private-places/a%20b"] = server.answers["GET /v1/private-places/a%20b"] = place
    server.answers["DELETE /v1/private-places/a%20b"] = None
    server.answers["POST /v1/geofences/town/x/approve"] = fence("x") | {"approval": approval}
    server.pages["GET /v1/private-places"] = {"": wire.PrivatePlacePage(items=[place])}
    assert (await manager.put_private_place("a b", {"type": "Feature"})).waiting == ["town/x"]
    assert (await manager.private_place("a b")).category == "health"
    assert [one.id async for one in manager.private_places()] == ["a b"]
    assert (await manager.approve_geofence("town", "x", 3)).approval == approval
    assert server.asked[-1][1] == {"version": "3"}
    await manager.delete_private_place("a b")
