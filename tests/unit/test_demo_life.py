"""The crowd against a service that only plays its part: who comes, pings, shows an offer, leaves and is erased."""

import asyncio
import contextlib
from uuid import uuid4

import msgspec
import pytest
from aiohttp import WSMsgType, web

from geo_offers import instants, wire
from geo_offers.client import Client
from geo_offers.demo import crowd as crowd_module
from geo_offers.demo.crowd import Crowd, TokenFile
from geo_offers.demo.feed import Feed
from geo_offers.demo.private import read_private
from geo_offers.demo.stage import Stage
from geo_offers.demo.town import Archetype, Habits, Node, Streets
from geo_offers.demo.walking import StreetMap
from geo_offers.demo.witness import Witness
from geo_offers.presence.fixes import Fix
from tests.support.loopback import answering

STREETS = Streets([Node("a", 46.2, -30.5), Node("b", 46.2001, -30.5)], [("a", "b", "Short Street")])
AT_HOME = Habits(walks={"home": 1.0}, roam=0.0, likes=[], stay_s=(1, 1), legs=(0, 0))
IN_A_HURRY_MPS = (30.0, 30.0)


class PlayedService:
    """Remembers what phones did; each stream gets one offer with its first answer."""

    def __init__(self) -> None:
        self.enrolled: list[wire.Enrolment] = []
        self.rhythms: list[wire.Rhythm] = []
        self.pings: list[wire.Ping] = []
        self.shown: list[str] = []
        self.answers: list[tuple[str, str]] = []
        self.erased: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/devices", self.enrol)
        app.router.add_post("/v1/devices/token", self.renew)
        app.router.add_put("/v1/me/rhythm", self.rhythm)
        app.router.add_delete("/v1/me", self.erase)
        app.router.add_get("/v1/stream", self.stream)
        app.router.add_post("/v1/me/offers/{id}/events", self.event)
        return app

    async def enrol(self, request: web.Request) -> web.Response:
        people = msgspec.json.decode(await request.read(), type=list[wire.Enrolment])
        self.enrolled += people
        answer = [
            wire.Enrolled(
                device=uuid4(), user=uuid4(), access_token=f"access-{i}", expires_in=900, refresh_token=f"refresh-{i}"
            )
            for i, _ in enumerate(people, len(self.enrolled) - len(people))
        ]
        return _json(answer, status=201)

    async def renew(self, request: web.Request) -> web.Response:
        old = msgspec.json.decode(await request.read(), type=wire.TokenRequest).refresh_token
        return _json(wire.Tokens(access_token=f"access-of-{old}", expires_in=900, refresh_token=f"{old}-next"))

    async def rhythm(self, request: web.Request) -> web.Response:
        self.rhythms.append(msgspec.json.decode(await request.read(), type=wire.Rhythm))
        return _json(self.rhythms[-1])

    async def erase(self, request: web.Request) -> web.Response:
        self.erased.append(request.headers["Authorization"].removeprefix("Bearer "))
        return web.Response(status=204)

    async def event(self, request: web.Request) -> web.Response:
        told = msgspec.json.decode(await request.read(), type=wire.OfferEvent)
        self.answers.append((request.match_info["id"], told.type))
        return web.Response(status=204)

    async def stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        seq = 0
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            seq += 1
            said = msgspec.json.decode(message.data)
            if isinstance(said, dict) and said.get("type") == "shown":
                self.shown.append(said["offer"])
                continue
            self.pings += msgspec.convert(said if isinstance(said, list) else [said], list[wire.Ping])
            await socket.send_json({"results": [{"status": "accepted"}], "transitions": [], "offers": [], "seq": seq})
            if seq == 1:
                await socket.send_json(OFFER | {"id": str(uuid4())})
        return socket


OFFER = {
    "type": "offer",
    "campaign": str(uuid4()),
    "fence": "town/pier",
    "title": "Buns",
    "body": "Warm",
    "lane": "inapp",
    "alert": True,
    "created_at": "2026-11-21T10:00:00Z",
    "expires_at": "2036-11-21T10:00:00Z",
}


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", status=status)


def _kind(consents, rhythm=None) -> Archetype:
    return Archetype("kind", "Kind", 1.0, "en", consents, rhythm, IN_A_HURRY_MPS, AT_HOME)


class Shown(Stage):
    def __init__(self) -> None:
        super().__init__(Feed(), "Town", (-30.5, 46.2, -30.4, 46.3))
        self.landed: list[dict] = []

    def land(self, n, offer):
        self.landed.append({"n": n, **offer})


class Seen(Witness):
    def __init__(self) -> None:
        super().__init__([])
        self.fixes: list[Fix] = []
        self.forgotten: list[int] = []

    def saw(self, n, fix):
        super().saw(n, fix)
        self.fixes.append(fix)

    def forget(self, n):
        super().forget(n)
        self.forgotten.append(n)


@pytest.fixture(autouse=True)
def all_come_at_once(monkeypatch):
    monkeypatch.setattr(crowd_module, "_SPREAD_S", 0.0)


@pytest.fixture
async def service():
    played = PlayedService()
    async with answering(played.app()) as played.url:
        yield played


async def _until(true) -> None:
    async with asyncio.timeout(8):
        while not true():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _walking(service, kind, tokens, count=2, witness=None):
    async with Client(service.url, "sk_test") as client:
        stage = Shown()
        crowd = Crowd(
            client,
            StreetMap(STREETS, [], []),
            [kind],
            stage=stage,
            tokens=tokens,
            witness=witness or Witness([]),
            seed=1,
        )
        await crowd.gather(count)
        walking = asyncio.create_task(crowd.walk())
        try:
            yield stage
        finally:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)


async def test_somebody_comes_for_each_who_leaves_and_who_left_is_erased(service, tmp_path):
    kind = _kind(["locate", "offers"], wire.Rhythm(max=9, per="day", min_gap_h=0))
    async with _walking(service, kind, TokenFile(tmp_path / "crowd.json")) as stage:
        first_two = {"access-0", "access-1"}
        await _until(lambda: first_two <= set(service.erased) and len(service.enrolled) >= 4 and stage.landed)
    assert all(person.consents == {"locate": "demo-1", "offers": "demo-1"} for person in service.enrolled)
    assert service.rhythms[0].max == 9
    assert all(abs(ping.lat - 46.2) < 0.001 and abs(ping.lon + 30.5) < 0.001 for ping in service.pings)
    assert {offer["title"] for offer in stage.landed} == {"Buns"}
    assert {str(offer["offer"]) for offer in stage.landed} >= set(service.shown) != set()


async def test_people_open_an_offer_that_they_were_shown_or_wipe_it_away(service, tmp_path, monkeypatch):
    monkeypatch.setattr(crowd_module, "_ANSWERS", {"opened": 0.5, "dismissed": 0.5})
    monkeypatch.setattr(crowd_module, "_ANSWER_S", (0.0, 0.1))
    stays = msgspec.structs.replace(_kind(["locate", "offers"]), speed_mps=(0.001, 0.001))
    async with _walking(service, stays, TokenFile(tmp_path / "crowd.json"), count=8):
        await _until(lambda: {answer for _, answer in service.answers} == {"opened", "dismissed"})
    assert {offer for offer, _ in service.answers} <= set(service.shown)


async def test_an_offer_on_a_phone_in_a_pocket_is_neither_shown_nor_said_to_be(service, tmp_path, monkeypatch):
    monkeypatch.setattr(crowd_module, "_UNSEEN", 1.0)
    async with _walking(service, _kind(["locate", "offers"]), TokenFile(tmp_path / "crowd.json")) as stage:
        await _until(lambda: len(service.erased) >= 2)
    assert (stage.landed, service.shown, service.answers) == ([], [], [])


async def test_the_witness_sees_every_fix_that_is_sent_and_forgets_who_has_left(service, tmp_path):
    seen = Seen()
    async with _walking(service, _kind(["locate"]), TokenFile(tmp_path / "crowd.json"), witness=seen):
        await _until(lambda: {1, 2} <= set(seen.forgotten))
        sent = {(ping.at, ping.lat, ping.lon, ping.accuracy_m, ping.speed_mps) for ping in service.pings}
    fixes = [(instants.text(fix.at_us), fix.lat, fix.lon, fix.accuracy_m, fix.speed_mps) for fix in seen.fixes]
    assert fixes
    assert set(fixes) <= sent
    assert seen.tell(1) is None


async def test_a_phone_without_consent_to_be_located_sends_nothing(service, tmp_path):
    async with _walking(service, _kind(["offers"]), TokenFile(tmp_path / "crowd.json")):
        await _until(lambda: len(service.erased) >= 2)
    assert service.pings == []
    assert service.rhythms == []


async def test_the_crowd_of_the_run_before_is_erased_and_this_one_is_kept_for_the_next(service, tmp_path):
    file = tmp_path / "crowd.json"
    stays = msgspec.structs.replace(_kind(["offers"]), speed_mps=(0.001, 0.001))
    async with _walking(service, stays, TokenFile(file), count=3):
        await _until(lambda: len(read_private(file, dict[str, str]) or {}) == 3)
    assert service.erased == []
    async with _walking(service, stays, TokenFile(file), count=1):
        await _until(lambda: len(service.erased) == 3)
        await _until(lambda: len(read_private(file, dict[str, str]) or {}) == 1)
    assert sorted(service.erased) == [f"access-of-refresh-{i}" for i in range(3)]
