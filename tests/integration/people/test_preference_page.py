"""The hosted preference page over HTTP: what a person sees and changes there is what the calls say and do."""

import asyncio
import json
import re
from types import MappingProxyType
from urllib.parse import urlencode

import msgspec
import pytest

from geo_offers import wire
from geo_offers.web.preferences import form as forms
from geo_offers.web.preferences.words import LANGUAGES
from tests.integration.people.conftest import AWAY, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def link(phone):
    made = await phone.good("POST", "/v1/me/link")
    assert made["expires_in"] == 3600
    return made["url"]


async def page(phone, path, status=200, **query):
    answer = await phone.api.call("GET", path + ("?" + urlencode(query) if query else ""))
    assert answer.status == status, answer.raw
    return answer.raw.decode()


async def send(phone, path, fields, headers=MappingProxyType({})):
    data = urlencode([(name, value) for name, values in fields.items() for value in values]).encode()
    url = phone.api.service.url + path
    async with phone.api.session.post(url, data=data, headers=FORM | headers, allow_redirects=False) as response:
        return response.status, response.headers, (await response.read()).decode()


async def fields(phone):
    """The form as the rhythm in force fills it, ready to be sent back."""
    rhythm = msgspec.convert(await phone.good("GET", "/v1/me/rhythm"), wire.Rhythm)
    return dict(forms.filled(rhythm).fields) | {"do": ["rhythm"]}


async def test_the_page_shows_what_is_in_force_and_keeps_its_address_to_itself(api):
    phone = await api.phone(locale="de-AT", time_zone="Europe/Vienna")
    path = await link(phone)
    answer = await api.call("GET", path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "script" not in answer.headers["Content-Security-Policy"]
    text = answer.raw.decode()
    assert "<script" not in text
    assert 'lang="de-AT"' in text
    assert "Europe/Vienna" in text
    assert api.name in text
    assert re.search(r'name="consent" value="locate" checked', text)
    assert not re.search(r'name="consent" value="profile" checked', text)
    assert re.search(r'name="quiet-0-start" type="time" value="21:00"', text)


async def test_what_is_saved_is_the_rhythm_in_force(api):
    phone = await api.phone()
    path = await link(phone)
    asked = await fields(phone) | {
        "max": ["5"],
        "per": ["hours"],
        "per-hours": ["36"],
        "min_gap_h": ["1.5"],
        "special-allow": [],
        "channels": ["inapp"],
        "quiet-0-days": [],
        "quiet-3-days": ["sat", "sun"],
        "quiet-3-start": ["22:30"],
        "quiet-3-end": ["00:00"],
        "mute-stores": ["s-1"],
    }
    status, headers, _ = await send(phone, path, asked)
    assert (status, headers["Location"]) == (303, f"{path}?saved#saved")
    rhythm = await phone.good("GET", "/v1/me/rhythm")
    assert (rhythm["max"], rhythm["per"], rhythm["min_gap_h"]) == (5, {"hours": 36}, 1.5)
    assert (rhythm["special"]["allow"], rhythm["channels"], rhythm["mute"]["stores"]) == (False, ["inapp"], ["s-1"])
    assert rhythm["quiet"] == [{"days": ["sat", "sun"], "start": "22:30", "end": "24:00"}]
    assert LANGUAGES["en"]["saved"] in await page(phone, path, saved="")


@pytest.mark.parametrize(
    ("change", "marked"),
    [
        ({"max": ["many"]}, "max"),
        ({"max": ["-1"]}, "max"),
        ({"per": ["hours"], "per-hours": ["0"]}, "per-hours"),
        ({"special-max": [""]}, "special-max"),
        ({"quiet-4-days": ["mon"], "quiet-4-start": ["25:00"], "quiet-4-end": ["08:00"]}, "quiet-4-start"),
        ({"channels": ["pigeon"]}, "channels"),
    ],
)
async def test_a_wrong_field_is_marked_and_nothing_is_saved(api, change, marked):
    phone = await api.phone()
    path, held = await link(phone), await phone.good("GET", "/v1/me/rhythm")
    status, _, text = await send(phone, path, await fields(phone) | {"min_gap_h": ["7"]} | change)
    assert status == 422
    assert LANGUAGES["en"]["wrong"] in text
    assert f'id="{marked}-fault"' in text
    assert re.search(r'name="min_gap_h"[^>]* value="7"', text)  # what was typed is still there
    assert await phone.good("GET", "/v1/me/rhythm") == held


async def test_consents_are_given_and_taken_back_by_their_ticks(api):
    phone = await api.phone()
    path = await link(phone)
    status, _, _ = await send(phone, path, {"do": ["consents"], "consent": ["locate", "measure"]})
    assert status == 303
    assert await phone.consents() == {"locate": True, "offers": False, "measure": True}
    rows = await api.ledger()
    await send(phone, path, {"do": ["consents"], "consent": ["locate", "measure"]})
    assert await api.ledger() == rows


async def test_a_tick_names_the_newest_text_of_the_workspace_and_the_ledger_says_that_it_was_the_page(api):
    phone = await api.phone("server", user="ann")
    texts = {"profile": ["p-1", "p-2"], "offers": ["o-9"]}
    await api.good("PATCH", "/v1/workspace", "owner", {"consent_texts": texts})
    path = await link(phone)
    status, _, _ = await send(phone, path, {"do": ["consents"], "consent": ["locate", "profile", "measure"]})
    assert status == 303
    said = (await phone.good("GET", "/v1/me/export"))["ledger"]
    assert [(word["purpose"], word["granted"], word["text_version"], word["surface"]) for word in said[2:]] == [
        ("offers", False, "o-9", "page"),
        ("profile", True, "p-2", "page"),
        ("measure", True, "preference page 1", "page"),
    ]


@pytest.mark.parametrize(("locale", "language"), [("en", "en"), ("de-AT", "de")])
async def test_a_browser_that_refuses_by_signal_is_told_why_in_plain_words_and_may_take_back_what_it_likes(
    api, locale, language
):
    phone = await api.phone(locale=locale)
    path = await link(phone)
    asked = {"do": ["consents"], "consent": ["locate", "profile"]}
    status, _, text = await send(phone, path, asked, {"Sec-GPC": "1"})
    assert status == 403
    assert LANGUAGES[language]["gpc"] in text
    assert await phone.consents() == {"locate": True, "offers": False, "profile": False, "measure": False}
    assert not re.search(r'name="consent" value="offers" checked', text)  # the page shows what holds now
    assert (await send(phone, path, asked, {"Sec-GPC": "0"}))[0] == 303
    assert await phone.consents() == {"locate": True, "offers": False, "profile": True, "measure": False}


async def test_a_signal_with_a_mere_look_is_on_record_once_and_said_beside_what_it_refuses(api):
    phone = await api.phone(consents={"locate": "v1", "offers": "v1", "measure": "v1"})
    path = await link(phone)
    assert 'id="gpc"' not in await page(phone, path)
    for _ in range(2):
        text = (await api.call("GET", path, headers={"Sec-GPC": "1"})).raw.decode()
    assert f'id="gpc">{LANGUAGES["en"]["gpc"]}<' in text
    for purpose in ("profile", "measure"):
        assert f'value="{purpose}" disabled aria-describedby="gpc"' in text
    said = (await phone.good("GET", "/v1/me/export"))["ledger"]
    assert [(word["purpose"], word["granted"], word["surface"]) for word in said[3:]] == [
        ("profile", False, "gpc"),
        ("measure", False, "gpc"),
    ]


async def test_what_was_agreed_to_after_the_signal_is_shown_as_agreed_and_may_be_taken_back_under_it(api):
    phone, signal = await api.phone(), {"Sec-GPC": "1"}
    path = await link(phone)
    await api.call("GET", path, headers=signal)
    await phone.consent("profile", granted=True)
    text = (await api.call("GET", path, headers=signal)).raw.decode()
    assert re.search(r'value="profile" checked>', text)
    asked = {"do": ["consents"], "consent": ["locate", "offers"]}
    assert (await send(phone, path, asked, signal))[0] == 303
    assert (await phone.consents())["profile"] is False


async def test_every_category_of_the_workspace_can_be_muted_and_heard_of_again(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"categories": ["food", "toys & games"]})
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", {"mute": {"categories": ["given up"]}})
    path = await link(phone)
    boxes = re.compile(r'name="mute-categories" value="([^"]*)"( checked)?')
    shown = boxes.findall(await page(phone, path))
    assert shown == [("given up", " checked"), ("food", ""), ("toys &amp; games", "")]
    for ticked in (["food", "toys & games"], ["food"], []):
        assert (await send(phone, path, await fields(phone) | {"mute-categories": ticked}))[0] == 303
        assert (await phone.good("GET", "/v1/me/rhythm"))["mute"]["categories"] == ticked
        checked = [name for name, mark in boxes.findall(await page(phone, path)) if mark]
        assert checked == [name.replace("&", "&amp;") for name in ticked]
    status, _, text = await send(phone, path, await fields(phone) | {"mute-categories": ["food"], "max": ["x"]})
    assert status == 422
    assert boxes.findall(text) == [("food", " checked"), ("toys &amp; games", "")]  # what was ticked is still there


async def test_a_decision_is_told_in_plain_words_and_its_store_is_muted_from_there(api):
    campaign = await api.shop()
    phone = await api.buyer()
    await phone.at(SHOP, at=before(seconds=60))
    await phone.at(AWAY, at=before(seconds=40))
    await phone.good("PUT", "/v1/me/rhythm", {"max": 0, "quiet": []})
    await phone.at(SHOP, at=before(seconds=20))
    path = await link(phone)
    text = await page(phone, path)
    told = [text.index(LANGUAGES["en"][said]) for said in ("rhythm_max", "offered")]
    assert told == sorted(told)  # newest first
    assert "Main Street" in text
    await send(phone, path, {"do": ["mute"], "more-campaigns": [campaign]})
    muted = (await phone.good("GET", "/v1/me/rhythm"))["mute"]
    assert muted["campaigns"] == [campaign]
    assert f'value="{campaign}" checked' in await page(phone, path)
    await send(phone, path, await fields(phone) | {"mute-campaigns": []})
    assert (await phone.good("GET", "/v1/me/rhythm"))["mute"]["campaigns"] == []


async def test_what_is_held_is_taken_out_as_a_file(api):
    phone = await api.phone()
    answer = await api.call("GET", await link(phone) + "/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="geo-offers.json"'
    held = await phone.good("GET", "/v1/me/export")
    assert json.loads(answer.raw)["user"] == held["user"] == phone.user


async def test_erasing_is_asked_once_more_and_ends_the_link(api):
    phone = await api.phone()
    path = await link(phone)
    assert LANGUAGES["en"]["erase_sure"] in await page(phone, f"{path}/erase")
    assert (await phone.call("GET", "/v1/me/rhythm")).status == 200
    status, _, text = await send(phone, f"{path}/erase", {})
    assert (status, LANGUAGES["en"]["erased"] in text) == (200, True)
    assert (await phone.call("GET", "/v1/me/rhythm")).status == 401
    assert LANGUAGES["en"]["gone"] in await page(phone, path, 401)


async def test_neither_a_forged_link_nor_an_access_token_opens_the_page_and_a_link_is_no_token(api):
    phone = await api.phone()
    path = await link(phone)
    changed = path[:-6] + ("A" if path[-6] != "A" else "B") + path[-5:]
    as_link = "/me/" + phone.token.replace("at_", "pl_", 1)
    for bad in (changed, f"/me/{phone.token}", as_link, "/me/none"):
        assert LANGUAGES["en"]["gone"] in await page(phone, bad, 401)
    token = path.removeprefix("/me/")
    for good_for_nothing in (token, token.replace("pl_", "at_", 1)):
        assert (await api.call("GET", "/v1/me/rhythm", good_for_nothing)).status == 401


async def test_markup_in_names_is_shown_as_text(api):
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", {"mute": {"stores": ["<b>bold</b>"]}})
    text = await page(phone, await link(phone))
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text


async def test_a_body_of_many_fields_or_much_text_is_refused_and_changes_nothing(api):
    phone = await api.phone()
    path = await link(phone)
    status, _, _ = await send(phone, path, {"max": ["1"] * 3_000})
    assert status == 400
    status, _, _ = await send(phone, path, {"max": ["1" * 100_000]})
    assert status == 413


async def test_two_who_save_at_once_both_get_an_answer(api):
    phone = await api.phone()
    path, asked = await link(phone), await fields(phone)
    answers = await asyncio.gather(*(send(phone, path, asked | {"max": [str(n)]}) for n in range(1, 6)))
    assert {status for status, _, _ in answers} == {303}
