"""Words under any text, value, locale and channel: nothing is run, nothing escapes its place, nothing is too long."""

import unicodedata
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from geo_offers.offers.fitting import CHANNEL_BYTES, ENVELOPE_BYTES, MAX_BODY, MAX_TITLE, carry, cut, weight
from geo_offers.offers.links import link_fault
from geo_offers.offers.locales import near, normal, pick
from geo_offers.offers.rendering import FSI, PDI, Facts, Said, render
from geo_offers.offers.texts import Field, Text

LETTERS = st.sampled_from([*"ab {}%$\\<>\"'.0_", "{{", "}}", "{store}", "{x}", "א", "م", "👩\u200d👧", "🇩🇪", "é"])
WORDS = st.lists(LETTERS, max_size=60).map("".join)
# what a text may hold when it is written: nothing invisible but the joiners
SOUND = WORDS.filter(lambda words: all(unicodedata.category(sign) != "Cf" or sign in "\u200c\u200d" for sign in words))
LOCALES = st.sampled_from(["en", "de", "ar", "he", "pl", "zh-Hant", "pt-BR", "fa-IR", "ja", "en-GB", "sr-Latn", "xx"])
TAGS = LOCALES | st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}", fullmatch=True) | st.text(max_size=12)
ANY = st.text(max_size=40)


def facts(store: str, locale: str = "", **profile: str) -> Facts:
    return Facts(store, "fence", "workspace", ZoneInfo("UTC"), locale, profile=profile)


X = Field("x", "text", source="profile", attribute="x")


@given(SOUND, ANY, ANY, LOCALES)
def test_what_is_put_in_stays_in_its_place(words: str, store: str, value: str, locale: str) -> None:
    found = render({locale: Text(words, "b")}, (X,), facts(store, locale, x=value)).title
    depth = 0
    for sign in found:
        depth += (sign == FSI) - (sign == PDI)
        assert 0 <= depth <= 1
        assert unicodedata.category(sign) not in {"Cc", "Cs", "Zl", "Zp"} or sign in words
        assert unicodedata.category(sign) != "Cf" or sign in (FSI, PDI, "\u200c", "\u200d")
    assert depth == 0


@given(SOUND, LOCALES)
def test_a_text_without_fields_is_said_as_it_is_written(words: str, locale: str) -> None:
    plain = words.replace("{store}", "").replace("{x}", "")
    if "{store}" not in plain and "{x}" not in plain:
        said = render({locale: Text(plain, plain)}, (), facts("s"))
        assert (said.title, said.body) == (plain, plain)


@given(st.lists(st.text("abc 包.%", max_size=9) | st.sampled_from(["{store}", "{x}"]), max_size=12), WORDS, WORDS)
def test_each_field_is_replaced_by_its_value_and_nothing_else_is(parts: list[str], store: str, value: str) -> None:
    values = {"{store}": store, "{x}": value or "you"}
    name = Field("x", "text", source="profile", attribute="x", fallback=(("en", "you"),))
    said = render({"en": Text("".join(parts), "b")}, (name,), facts(store, x=value)).title
    assert said.replace(FSI, "").replace(PDI, "") == "".join(values.get(part, part) for part in parts)


@given(st.lists(LOCALES, min_size=1, max_size=6, unique=True), TAGS)
def test_somebody_is_always_spoken_to_and_in_their_own_locale_where_it_is_there(given_: list[str], wanted: str) -> None:
    spoken = pick(given_, wanted)
    assert spoken in given_
    if normal(wanted) in {normal(tag) for tag in given_}:
        assert normal(spoken) == normal(wanted)
    if near(tuple(given_), wanted) is None:
        assert spoken == given_[0]


@given(WORDS | ANY, st.integers(1, 50), st.none() | st.integers(3, 200))
def test_a_cut_is_a_beginning_and_keeps_to_its_bounds(words: str, most: int, most_bytes: int | None) -> None:
    kept = cut(words, most, most_bytes)
    if kept != words:
        assert kept.endswith("…")
        assert words.startswith(kept.removesuffix("…").rstrip(PDI))
        assert len(kept) <= max(most, 1)
        assert most_bytes is None or len(msgspec.json.encode(kept)) - 2 <= most_bytes
    else:
        assert len(words) <= most


@given(ANY, st.text(max_size=500), st.sampled_from(list(CHANNEL_BYTES)), st.text("x", max_size=1_500))
def test_no_channel_is_given_more_than_it_carries(title: str, body: str, channel: str, link: str) -> None:
    carried = carry(Said(title * 9, body, link, None, "en", "ltr"), {"k": "v"}, channel)
    assert len(carried.title) <= MAX_TITLE
    assert len(carried.body) <= MAX_BODY
    most = CHANNEL_BYTES[channel]
    assert most is None or weight(carried.title, carried.body, link, carried.data) <= most - ENVELOPE_BYTES + 16


@given(st.text(st.sampled_from("https://.@:[]%xn-1a0лe\\ \x00?#"), max_size=40) | ANY.map("https://".__add__))
def test_any_address_is_judged_and_none_raises(address: str) -> None:
    fault = link_fault(address)
    assert fault is None or fault.endswith(".")
