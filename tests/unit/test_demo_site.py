"""The demo's site: strict headers, loopback names only, nothing outside its folders."""

import asyncio
import json

import pytest
from aiohttp import ClientSession

from geo_offers.client import ConnectionFailed
from geo_offers.demo.feed import Feed
from geo_offers.demo.site import build, check, console
from geo_offers.demo.stage import Stage
from geo_offers.errors import Misconfigured
from tests.support.loopback import answering


@pytest.fixture
async def site(monkeypatch, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "static").mkdir()
    for file in (console() / "pages").iterdir():
        (tmp_path / "pages" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "package.json").write_text("{}")
    monkeypatch.setattr("geo_offers.demo.site.console", lambda: tmp_path)
    feed = Feed(most=1)
    stage = Stage(feed, "Pellhaven", (-30.5, 46.2, -30.48, 46.21))

    async def about(n):
        return {"n": n, "name": "Amber Heron"} if n == 7 else None

    def presence(n):
        return {None: {"n": 7}, 7: {"n": 7}}.get(n)

    async def outcomes():
        if feed.watched:
            raise ConnectionFailed("nobody listens")
        return [{"name": "Warm rolls", "offers": 1}]

    app = build(feed, stage, {"title": "Pellhaven"}, about=about, presence=presence, outcomes=outcomes)
    async with answering(app) as url, ClientSession(url) as session:
        yield session, feed, stage
        feed.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/pages/main.js",
        "/demo/town",
        "/demo/people/7",
        "/demo/presence",
        "/demo/presence/7",
        "/demo/campaigns",
    ],
)
async def test_everything_is_served_under_the_content_policy(site, path):
    async with site[0].get(path) as answer:
        assert answer.status == 200
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_has_no_script_of_its_own_inside(site):
    async with site[0].get("/") as answer:
        page = await answer.text()
    assert "<script>" not in page
    assert " onload=" not in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize("path", ["/package.json", "/pages/../package.json", "/pages/%2e%2e/package.json", "/pages/"])
async def test_files_outside_the_pages_are_not_served(site, path):
    async with site[0].get(path) as answer:
        assert answer.status in {403, 404}


async def test_a_foreign_name_for_the_loopback_address_is_refused(site):
    async with site[0].get("/", headers={"Host": "evil.example:80"}) as answer:
        assert answer.status == 421


async def test_a_person_who_has_left_is_not_found(site):
    async with site[0].get("/demo/people/8") as answer:
        assert answer.status == 404
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(("path", "told"), [("", {"n": 7}), ("/7", {"n": 7}), ("/8", None)])
async def test_the_last_minutes_of_a_phone_are_told_and_of_one_that_told_nothing_null(site, path, told):
    async with site[0].get(f"/demo/presence{path}") as answer:
        assert (answer.status, await answer.json()) == (200, told)


async def test_counts_that_the_service_does_not_give_just_now_are_to_be_asked_for_again(site):
    async with site[0].get("/demo/campaigns") as answer:
        assert await answer.json() == [{"name": "Warm rolls", "offers": 1}]
    with site[1].watch():
        async with site[0].get("/demo/campaigns") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


def test_a_page_without_its_libraries_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setattr("geo_offers.demo.site.console", lambda: tmp_path)
    with pytest.raises(Misconfigured, match="make setup"):
        check()


async def test_the_feed_starts_with_the_whole_state_and_goes_on_with_changes(site):
    session, feed, stage = site
    async with session.get("/demo/feed") as answer, asyncio.timeout(2):
        first = await answer.content.readuntil(b"\n\n")
        assert first == b"retry: 1000\n\n"
        hello = (await answer.content.readuntil(b"\n\n")).decode()
        assert hello.startswith("event: hello\n")
        assert json.loads(hello.split("data: ")[1])["title"] == "Pellhaven"
        stage.land(3, {"title": "Buns"})
        assert (await answer.content.readuntil(b"\n\n")) == b'event: landed\ndata: {"n":3,"title":"Buns"}\n\n'
        async with session.get("/demo/feed") as second:
            assert second.status == 503
            assert second.headers["Retry-After"] == "10"
    assert feed.full or not feed.watched
