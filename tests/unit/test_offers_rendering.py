"""What a text says to one person: fields, fallbacks, plurals, directions, locales."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from geo_offers.instants import to_us
from geo_offers.offers.locales import direction
from geo_offers.offers.proofreading import faults
from geo_offers.offers.rendering import Facts, Said, lacking, pick, render
from geo_offers.offers.texts import Field, Form, Plural, Text

BERLIN = ZoneInfo("Europe/Berlin")
FACTS = Facts("Bakery {fence}", "North door", "Seaview", BERLIN)


def said(words: str, fields: tuple[Field, ...] = (), locale: str = "en", **facts: Any) -> str:
    found = render({locale: Text(words, words)}, fields, changed(**facts))
    assert found.title == found.body
    return found.title


def changed(**facts: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **facts)


def of(text: Text, locale: str = "en", *fields: Field) -> tuple[tuple[str, str], ...]:
    return tuple((fault.pointer, fault.code) for fault in faults({locale: text}, fields, {}, ends=False))


def test_the_three_fields_are_put_in_wherever_they_stand() -> None:
    assert said("{workspace}: come in by {fence}, {fence}!") == "Seaview: come in by North door, North door!"


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert said("{store}") == "Bakery {fence}"


@pytest.mark.parametrize(
    "words",
    [
        "{{7*7}}",
        "{{store}}",
        "%s",
        "<b>",
        "<script>alert(1)</script>",
    ],
)
def test_everything_else_is_literal(words: str) -> None:
    assert said(words) == words
    assert of(Text(words, words)) == ()


@pytest.mark.parametrize(
    "words",
    [
        "{{store}",
        "{store}}",
        "{{{store}}}",
        "{0.__class__}",
        "{store.__class__}",
        "{store!r}",
        "{ store }",
        "{}",
        "{store",
        "store}",
    ],
)
def test_a_single_brace_around_anything_but_a_field_is_a_fault_and_never_read(words: str) -> None:
    assert of(Text("t", words)) == (("/texts/en/body", "unknown_field"),)
    assert said(words) == words


def test_a_field_without_a_value_stays_as_it_is_written() -> None:
    assert said("{store} {price}") == "Bakery {fence} {price}"


def test_the_link_is_never_rendered() -> None:
    assert render({"en": Text("t", "b", "https://a.example/{store}")}, (), FACTS).link == "https://a.example/{store}"


def test_an_unknown_field_is_a_fault_at_its_place() -> None:
    found = faults({"de": Text("{store}", "{price} {fence} {Store}")}, (), {}, ends=False)
    assert [(fault.pointer, fault.code) for fault in found] == [("/texts/de/body", "unknown_field")] * 2
    assert "{price}" in found[0].detail
    assert "{store}, {fence}, {workspace}" in found[0].detail


def test_a_long_unknown_field_is_echoed_in_part() -> None:
    (found,) = faults({"en": Text("{" + "a" * 1000 + "}", "b")}, (), {}, ends=False)
    assert len(found.detail) < 160


# ------------------------------------------------------------------------------------------------ declared fields
ENDS_US = to_us(datetime(2026, 12, 24, 18, 30, 59, tzinfo=BERLIN))
FIELDS = (
    Field("count", "number", 1234.5),
    Field("off", "percent", 12.5),
    Field("price", "money", 4.9, currency="EUR"),
    Field("far", "distance", source="distance"),
    Field("day", "date", source="offer_end"),
    Field("hour", "time", source="offer_end"),
    Field("ends", "datetime", source="offer_end"),
    Field("name", "text", source="profile", attribute="first_name"),
)


@pytest.mark.parametrize(
    ("locale", "words", "expected"),
    [
        ("en", "{count}", "1,234.5"),
        ("de", "{count}", "1.234,5"),
        ("en", "{off}", "12.5%"),
        ("de", "{off}", "12,5\u00a0%"),
        ("en", "{price}", "€4.90"),
        ("de", "{price}", "4,90\u00a0€"),
        ("ja", "{price}", "€4.90"),
        ("de", "{day}", "24.12.2026"),
        ("en-GB", "{day}", "24 Dec 2026"),
        ("de", "{hour}", "18:30"),
        ("en", "{hour}", "6:30\u202fPM"),
        ("de", "{ends}", "24.12.2026, 18:30"),
        ("tlh-XX", "{store}", "Bakery {fence}"),
        ("tlh-XX", "{count}", "1,234.5"),
    ],
)
def test_a_value_is_written_as_the_texts_locale_writes_it(locale: str, words: str, expected: str) -> None:
    assert said(words, FIELDS, locale, offer_end_us=ENDS_US) == expected


def test_an_instant_is_told_by_the_clock_of_the_fence() -> None:
    assert said("{hour}", FIELDS, "de", offer_end_us=ENDS_US, zone=ZoneInfo("Asia/Tokyo")) == "02:30"


@pytest.mark.parametrize(
    ("person", "metres", "expected"),
    [
        ("de-DE", 0.0, "0 m"),
        ("de-DE", 347.0, "350 m"),
        ("de-DE", 83.0, "80 m"),
        ("en", 1250.0, "1.2 km"),
        ("en-US", 90.0, "300 ft"),
        ("en-US", 1250.0, "0.8 mi"),
        ("en-GB", 400.0, "450 yd"),
        ("en-GB", 3218.7, "2 mi"),
        ("es-MX", 900.0, "0.9 km"),
    ],
)
def test_a_distance_is_in_miles_for_those_whose_country_has_miles(person: str, metres: float, expected: str) -> None:
    found = render({"en": Text("{far}", "b")}, FIELDS, changed(distance_m=metres, locale=person))
    assert found.title.replace("\u00a0", " ") == expected


def test_a_person_without_a_value_is_lacking_it_and_others_are_not() -> None:
    texts = {"en": Text("Hello {name}", "b"), "de": Text("Hallo", "b")}
    assert lacking(texts, FIELDS, FACTS) == ["name"]
    assert not lacking(texts, FIELDS, changed(locale="de"))
    named = changed(profile={"first_name": "Ada"})
    assert not lacking(texts, FIELDS, named)
    assert render(texts, FIELDS, named).title == "Hello Ada"


def test_a_value_of_another_type_is_none() -> None:
    assert lacking({"en": Text("{name}", "b")}, FIELDS, changed(profile={"first_name": 7})) == ["name"]


def test_a_fallback_says_in_the_texts_language_what_stands_for_a_missing_value() -> None:
    name = Field("name", "text", source="profile", attribute="n", fallback=(("en", "friend"), ("de", "du")))
    texts = {"en-GB": Text("Hello {name}", "b"), "de": Text("Hallo {name}", "b")}
    assert not lacking(texts, (name,), FACTS)
    assert render(texts, (name,), FACTS).title == "Hello friend"
    assert render(texts, (name,), changed(locale="de-AT")).title == "Hallo du"
    assert render(texts, (name,), changed(profile={"n": "Ada"})).title == "Hello Ada"


POLISH = Text(
    "{count} bułek",
    "Dla ciebie",
    plural=Plural("count", (Form("one", "{count} bułka"), Form("few", "{count} bułki"), Form("many"))),
)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "1 bułka"), (3, "3 bułki"), (5, "5 bułek"), (22, "22 bułki"), (1.5, "1,5 bułek")]
)
def test_a_text_changes_by_a_number_as_its_language_does(count: float, expected: str) -> None:
    found = render({"pl": POLISH}, (Field("count", "number", count),), FACTS)
    assert (found.title, found.body) == (expected, "Dla ciebie")


def test_a_number_that_nobody_knows_speaks_the_form_for_others() -> None:
    count = Field("count", "number", source="profile", attribute="rolls", fallback=(("pl", "kilka"),))
    assert render({"pl": POLISH}, (count,), FACTS).title == "kilka bułek"
    assert render({"pl": POLISH}, (count,), changed(profile={"rolls": 2})).title == "2 bułki"


# ------------------------------------------------------------------------------------------------ direction
def isolated(words: str) -> str:
    return f"\u2068{words}\u2069"


@pytest.mark.parametrize(
    ("locale", "store", "expected"),
    [
        ("en", "Café", "Café"),
        ("en", "מאפייה", isolated("מאפייה")),
        ("ar", "Bakery", isolated("Bakery")),
        ("ar", "7", isolated("7")),
        ("ar", "مخبز", "مخبز"),
        ("he", "C3 מאפייה", isolated("C3 מאפייה")),
    ],
)
def test_what_is_written_the_other_way_is_set_apart(locale: str, store: str, expected: str) -> None:
    assert said("{store}", (), locale, store=store) == expected


@pytest.mark.parametrize("store", ["a\u202eb", "a\u2069b", "a\u0000b", "a\nb", "a\u200fb"])
def test_what_is_put_in_cannot_turn_the_words_around_it(store: str) -> None:
    assert said("{store}", store=store) == "ab"


def test_a_joined_emoji_stays_whole() -> None:
    assert said("{store}", store="👨\u200d👩\u200d👧") == "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("locale", "way"),
    [
        *((tag, "rtl") for tag in ("ar", "he-IL", "iw", "fa", "pa-PK", "az-Arab")),
        *((tag, "ltr") for tag in ("en", "pa", "az", "ar-Latn", "")),
    ],
)
def test_a_locale_is_written_the_way_of_its_script(locale: str, way: str) -> None:
    assert direction(locale) == way


def test_image_and_direction_go_along_in_the_data() -> None:
    plain = Said("t", "b", None, None, "en", "ltr")
    assert plain.data({"sku": "7"}) == {"sku": "7"}
    arabic = Said("t", "b", None, "https://a.example/i.png", "ar", "rtl")
    assert arabic.data({"sku": "7"}) == {"sku": "7", "dir": "rtl", "image": "https://a.example/i.png"}


# ------------------------------------------------------------------------------------------------ locales
TEXTS = {name: Text(name, name) for name in ("en-GB", "de", "en", "pt_BR")}


@pytest.mark.parametrize(
    ("wanted", "spoken"),
    [
        ("de", "de"),
        ("de-AT", "de"),
        ("de_AT", "de"),
        ("en", "en"),
        ("en-us", "en"),
        ("EN-gb", "en-GB"),
        ("en-AU", "en"),
        ("pt-BR", "pt_BR"),
        ("pt", "pt_BR"),  # most who speak it do so in Brazil, and none of the others reads it
        ("pt-AO", "pt_BR"),
        ("de-Latn-CH", "de"),
        ("fr", "en-GB"),
        ("", "en-GB"),
    ],
)
def test_the_person_is_spoken_to_in_their_locale_else_language_else_the_campaigns_first(
    wanted: str, spoken: str
) -> None:
    assert pick(TEXTS, wanted) == spoken


@pytest.mark.parametrize(
    ("given", "wanted", "spoken"),
    [
        (["en", "zh", "zh-Hant"], "zh-TW", "zh-Hant"),
        (["en", "zh", "zh-Hant"], "zh-CN", "zh"),
        (["en", "zh", "zh-HK"], "zh-MO", "zh-HK"),
        (["en", "zh"], "zh-TW", "zh"),
        (["en", "es", "es-419"], "es-AR", "es-419"),
        (["en", "es", "es-419"], "es-ES", "es"),
        (["en", "pt", "pt-PT"], "pt-AO", "pt-PT"),
        (["de", "en-001", "en"], "en-NZ", "en-001"),
        (["en", "sr-Latn", "sr"], "sr-RS", "sr"),
        (["en", "he"], "iw-IL", "he"),
        (["en", "no"], "nb-NO", "no"),
        (["de-CH"], "fr", "de-CH"),
    ],
)
def test_the_way_up_is_that_of_cldr(given: list[str], wanted: str, spoken: str) -> None:
    assert pick(given, wanted) == spoken
