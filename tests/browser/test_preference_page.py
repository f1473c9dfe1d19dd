"""The preference page in a browser without scripts, as wide as a phone.

With GEO_OFFERS_PICTURE the page is kept there as a picture.
"""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from geo_offers.storage.embedded import EmbeddedServer
from tests.support.databases import fresh_database
from tests.support.running import running

pytestmark = pytest.mark.asyncio(loop_scope="module")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--disable-quic", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
UNNAMED = """() => [...document.querySelectorAll("input:not([type=hidden]), select, button")]
    .filter(field => !field.labels?.length && !field.textContent.trim()).map(field => field.name)"""
SMALL = """() => [...document.querySelectorAll("button, select, input[type=number], input[type=time], .tick label")]
    .filter(field => field.getBoundingClientRect().height > 0 && field.getBoundingClientRect().height < 40)
    .map(field => field.outerHTML)"""
FAINT = """() => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = text => rgb(text).slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = node => {
        const colour = getComputedStyle(node).backgroundColor;
        return rgb(colour)[3] !== 0 ? colour : ground(node.parentElement);
    };
    return [...document.querySelectorAll("body *")]
        .filter(node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()))
        .map(node => [light(getComputedStyle(node).color), light(ground(node)), node.outerHTML])
        .filter(([ink, paper]) => (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05) < 4.5);
}"""  # WCAG 2.2, 1.4.3: text against what is behind it

if CHROMIUM is None and os.environ.get("GEO_OFFERS_REQUIRE_ALL") != "1":
    pytest.skip("needs Debian's chromium: apt install chromium", allow_module_level=True)


class Visitor:
    """A person with the page open, and the calls that their app could make."""

    def __init__(self, page: Page, session: aiohttp.ClientSession, token: str, url: str) -> None:
        self.page = page
        self.session = session
        self.headers = {"Authorization": f"Bearer {token}"}
        self.url = url

    async def call(self, method: str, path: str) -> dict:
        async with self.session.request(method, self.url + path, headers=self.headers) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def visitor(postgres_server: EmbeddedServer) -> AsyncIterator[Visitor]:
    async with (
        fresh_database(postgres_server) as database,
        running(database) as service,
        aiohttp.ClientSession() as session,
        async_playwright() as playwright,
    ):
        key = await service.make_key("app", workspace="Harbour Mall")
        body = {"platform": "ios", "consents": {"locate": "v1", "offers": "v1"}, "time_zone": "Europe/Berlin"}
        headers = {"Authorization": f"Bearer {key}"}
        async with session.post(f"{service.url}/v1/devices", json=body, headers=headers) as answer:
            token = (await answer.json())["access_token"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
        made = Visitor(await context.new_page(), session, token, service.url)
        link = (await made.call("POST", "/v1/me/link"))["url"]
        await made.page.goto(service.url + link)
        yield made
        await browser.close()


async def test_a_person_changes_their_rhythm_without_scripts(visitor: Visitor) -> None:
    page = visitor.page
    assert await page.title() == "Your offers"
    await page.get_by_label("Offers at most", exact=True).fill("3")
    await page.get_by_label("within", exact=True).first.select_option("month")
    await page.get_by_label("In the app only").check()
    second = page.get_by_role("group", name="Quiet hours 2")
    await second.get_by_label("Sun").check()
    await second.get_by_label("from").fill("12:00")
    await second.get_by_label("until").fill("15:00")
    await page.locator("form[aria-labelledby=rhythm] > button").click()
    assert await page.get_by_role("status").inner_text() == "Saved. It holds from now on."
    rhythm = await visitor.call("GET", "/v1/me/rhythm")
    assert (rhythm["max"], rhythm["per"], rhythm["channels"]) == (3, "month", ["inapp"])
    assert rhythm["quiet"][1] == {"days": ["sun"], "start": "12:00", "end": "15:00"}


async def test_every_field_has_a_name_and_a_finger_s_size_and_nothing_is_wider_than_the_phone(
    visitor: Visitor,
) -> None:
    html = await visitor.page.content()
    browser = visitor.page.context.browser
    assert browser is not None
    looking = await browser.new_page(viewport={"width": 390, "height": 844})  # with scripts, to look at it
    await looking.goto(visitor.page.url)
    assert "<script" not in html
    assert await looking.evaluate(UNNAMED) == []
    assert await looking.evaluate(SMALL) == []
    assert await looking.evaluate("() => document.documentElement.scrollWidth") == 390
    if picture := os.environ.get("GEO_OFFERS_PICTURE"):
        await looking.screenshot(path=Path(picture).with_stem(Path(picture).stem + "-preferences"), full_page=True)
    await looking.close()


async def test_the_number_of_hours_is_asked_for_where_hours_are_chosen(visitor: Visitor) -> None:
    hours = visitor.page.get_by_label("How many hours").first
    window = visitor.page.get_by_label("within", exact=True).first
    await expect(hours).to_be_hidden()
    await window.select_option("hours")
    await expect(hours).to_be_visible()
    await window.select_option("month")
    await expect(hours).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_words_stand_out_from_what_is_behind_them_by_day_and_by_night(
    visitor: Visitor, scheme: Literal["light", "dark"]
) -> None:
    browser = visitor.page.context.browser
    assert browser is not None
    looking = await browser.new_page(
        color_scheme=scheme, viewport={"width": 390, "height": 844}, extra_http_headers={"Sec-GPC": "1"}
    )
    for path in ("", "?saved", "/erase"):
        await looking.goto(visitor.page.url.partition("?")[0] + path)
        assert await looking.evaluate(FAINT) == []
    night = await looking.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 24, 30)"
    assert night is (scheme == "dark")
    await looking.close()


async def test_withdrawing_is_one_tick_and_erasing_asks_first(visitor: Visitor) -> None:
    page = visitor.page
    await page.get_by_label("Send me offers").uncheck()
    await page.locator("form[aria-labelledby=consents] > button").click()
    states = {item["purpose"]: item["granted"] for item in (await visitor.call("GET", "/v1/me/consents"))["items"]}
    assert states["offers"] is False
    await page.get_by_role("link", name="Erase everything").click()
    await page.get_by_role("link", name="Back").click()
    assert await page.title() == "Your offers"
    await page.get_by_role("link", name="Erase everything").click()
    await page.get_by_role("button", name="Erase everything now").click()
    assert await page.get_by_role("heading").inner_text() == "Everything about you is erased."
