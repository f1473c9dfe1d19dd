"""A device without proof of a person who has others: it reads none of their places, and loosens nothing."""

import hmac
import json

import pytest

from geo_offers.web.preferences.words import LANGUAGES
from tests.integration.people.conftest import LOOSE
from tests.integration.people.test_people_login import log_in
from tests.integration.people.test_preference_page import fields, link, page, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOME = {"lat": 52.52, "lon": 13.405, "radius_m": 500.0}
WORK = {"lat": 53.55, "lon": 9.99, "radius_m": 300.0}


async def two(api, **rhythm):
    """Carl's own phone, and one of which only its word says that it is Carl's."""
    carl = await api.phone("server", user="carl")
    await carl.good("PUT", "/v1/me/rhythm", LOOSE | {"max": 1, "not_at": [HOME]} | rhythm)
    return carl, await api.phone(user="carl")


async def rhythm(phone):
    return await phone.good("GET", "/v1/me/rhythm")


async def test_the_places_of_a_person_come_out_to_no_phone_without_proof(api):
    carl, other = await two(api)
    assert "not_at" not in await rhythm(other)
    exported = await other.call("GET", "/v1/me/export")
    assert "not_at" not in exported.body["rhythm"]
    shown = await page(other, await link(other))
    taken_out = await api.call("GET", await link(other) + "/export")
    for said in (json.dumps(exported.body), shown, taken_out.raw.decode()):
        assert "52.52" not in said
        assert "13.405" not in said
    assert LANGUAGES["en"]["not_at_kept"] in shown
    assert (await rhythm(carl))["not_at"] == [HOME]
    assert "52.52" in await page(carl, await link(carl))


@pytest.mark.parametrize(
    ("change", "pointers"),
    [
        ({"max": 50}, ["/max"]),
        ({"min_gap_h": 2, "locate": "always"}, ["/min_gap_h", "/locate"]),
        ({"special": {"allow": True, "max": 2}}, ["/special/max", "/special/per"]),
        ({"mute": {"stores": []}, "quiet": []}, ["/quiet", "/mute/stores"]),
    ],
)
async def test_what_would_be_looser_is_refused_with_its_place_and_nothing_changes(api, change, pointers):
    strict = {
        "max": 1,
        "per": "day",
        "min_gap_h": 3,
        "quiet": [{"days": ["mon"], "start": "10:00", "end": "12:00"}],
        "special": {"allow": True, "max": 1, "per": "month"},
        "mute": {"stores": ["baker"]},
        "locate": "foreground",
    }
    change = {name: part | {"per": "day"} if name == "special" else part for name, part in change.items()}
    carl, other = await two(api, **strict)
    before = await rhythm(carl)
    answer = await other.call("PUT", "/v1/me/rhythm", strict | change)
    assert (answer.status, answer.code, answer.pointers) == (403, "user_proof", pointers)
    assert {fault["code"] for fault in answer.body["errors"]} == {"looser"}
    assert await rhythm(carl) == before


async def test_it_may_make_things_stricter_and_add_places_which_keeps_the_ones_there_are(api):
    carl, other = await two(api)
    held = await rhythm(other)
    told = await other.good("PUT", "/v1/me/rhythm", held | {"max": 0, "not_at": [WORK, HOME]})
    assert "not_at" not in told
    assert await rhythm(carl) == held | {"max": 0, "not_at": [HOME, WORK]}
    await other.good("PUT", "/v1/me/rhythm", held | {"max": 0})
    assert (await rhythm(carl))["not_at"] == [HOME, WORK]
    many = [WORK | {"radius_m": 1000.0 + number} for number in range(19)]
    assert (await other.call("PUT", "/v1/me/rhythm", held | {"max": 0, "not_at": many})).status == 409


async def test_the_page_of_such_a_phone_says_what_it_cannot_do_and_keeps_the_places(api):
    carl, other = await two(api)
    path, given = await link(other), await fields(other)
    status, _, text = await send(other, path, given | {"max": ["50"]})
    assert status == 403
    assert LANGUAGES["en"]["looser"] in text
    assert 'id="max-fault"' in text
    assert (await send(other, path, given | {"max": ["0"]}))[0] == 303
    assert (await send(other, path, {"do": ["mute"], "more-stores": ["baker"]}))[0] == 303
    now = await rhythm(carl)
    assert (now["max"], now["not_at"], now["mute"]["stores"]) == (0, [HOME], ["baker"])


async def test_a_persons_only_phone_speaks_for_them_named_or_not_until_another_is_theirs(api):
    for phone in (await api.phone(), await api.phone(user="dora")):
        for wanted in (LOOSE | {"max": 0, "not_at": [HOME]}, LOOSE):
            await phone.good("PUT", "/v1/me/rhythm", wanted)
            assert wanted.items() <= (await rhythm(phone)).items()
    await phone.good("PUT", "/v1/me/rhythm", {"not_at": [HOME]})
    assert (await phone.good("GET", "/v1/me/export"))["rhythm"]["not_at"] == [HOME]
    await api.phone(user="dora")
    assert "not_at" not in await rhythm(phone)


async def test_a_proof_gives_the_phone_all_of_its_persons_rhythm(api):
    carl, _ = await two(api)
    secret = await api.rows.fetchval("SELECT user_proof FROM workspace_secret WHERE workspace = $1", api.workspace)
    proof = hmac.new(secret, b"carl", "sha256").hexdigest()
    proven = await api.phone(user="carl", user_proof=proof)
    assert (await rhythm(proven))["not_at"] == [HOME]
    await proven.good("PUT", "/v1/me/rhythm", LOOSE)
    assert LOOSE.items() <= (await rhythm(carl)).items()


@pytest.mark.parametrize("set_before", [True, False])
async def test_a_log_in_without_proof_loosens_nothing_and_brings_its_places(api, set_before):
    carl = await api.phone("server", user="carl")
    if set_before:
        await carl.good("PUT", "/v1/me/rhythm", {"max": 1, "not_at": [HOME]})
    before = await rhythm(carl)
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", LOOSE | {"not_at": [WORK], "mute": {"stores": ["baker"]}})
    await log_in(phone, "carl")
    after = await rhythm(carl)
    assert after.pop("not_at") == ([HOME, WORK] if set_before else [WORK])
    assert after.pop("mute")["stores"] == ["baker"]
    assert after == {name: part for name, part in before.items() if name not in {"not_at", "mute"}}


async def test_a_log_in_without_proof_brings_what_is_stricter_than_the_default(api):
    carl = await api.phone("server", user="carl")
    phone = await api.phone()
    await phone.good("PUT", "/v1/me/rhythm", {"max": 1})
    await log_in(phone, "carl")
    assert (await rhythm(carl))["max"] == 1


@pytest.mark.parametrize("age", ["minor", "unknown"])
async def test_an_age_that_was_vouched_for_is_raised_by_proof_alone(api, age):
    carl = await api.phone("server", user="carl", age=age)
    other = await api.phone(user="carl", age="adult")
    refused = await other.call("POST", "/v1/me/nearby", {"lat": 53.0, "lon": 8.0})
    assert (refused.status, refused.code) == (403, "age")
    profiled = {"platform": "ios", "user": "carl", "age": "adult", "consents": {"profile": "v1"}}
    assert (await api.call("POST", "/v1/devices", "app", profiled)).code == "age"
    assert (await carl.good("GET", "/v1/me/export"))["age"] == age
    await api.phone("server", user="carl", age="adult")
    assert (await carl.good("GET", "/v1/me/export"))["age"] == "adult"
    await api.phone(user="carl", age=age)  # anybody may say that they are none
    assert (await carl.good("GET", "/v1/me/export"))["age"] == age
