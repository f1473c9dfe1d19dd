"""What is refused of texts and fields when a campaign is written, and where."""

from typing import Any

import pytest

from geo_offers.offers.proofreading import faults
from geo_offers.offers.texts import Field, Form, Plural, Text

COUNT = Field("count", "number", 3)
PLAIN = Text("t", "b")


def found(
    text: Text = PLAIN, *fields: Field, locale: str = "en", ends: bool = False, **data: str
) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.code) for fault in faults({locale: text}, fields, data, ends=ends)]


SOUND = [
    Field("x", "text", "words"),
    Field("x", "number", -3),
    Field("x", "percent", 12.5),
    Field("x", "money", 4.9, currency="JPY"),
    Field("x", "distance", 0),
    Field("x", "date", "2026-12-24T18:00:00+01:00", style="full"),
    Field("x", "text", source="store"),
    Field("x", "datetime", source="offer_end"),
    Field("x", "time", source="campaign_end"),
    Field("x", "distance", source="distance", fallback=(("en", "near"),)),
    Field("x", "money", source="profile", attribute="spent", currency="EUR"),
]


@pytest.mark.parametrize("field", SOUND, ids=str)
def test_a_sound_field_is_taken(field: Field) -> None:
    assert found(Text("{x}", "b"), field, ends=True) == []


FIELD_FAULTS: list[tuple[Field, str, str]] = [
    (Field("store", "text", "x"), "/fields/store", "reserved"),
    (Field("x", "text"), "/fields/x", "missing"),
    (Field("x", "text", "a", source="store"), "/fields/x/from", "both"),
    (Field("x", "text", 7), "/fields/x/value", "value"),
    (Field("x", "number", "7"), "/fields/x/value", "value"),
    (Field("x", "number", float("inf")), "/fields/x/value", "value"),
    (Field("x", "number", float("nan")), "/fields/x/value", "value"),
    (Field("x", "distance", -1), "/fields/x/value", "value"),
    (Field("x", "date", "2026-12-24"), "/fields/x/value", "value"),
    (Field("x", "date", "2026-12-24T18:00:00"), "/fields/x/value", "value"),
    (Field("x", "date", 17), "/fields/x/value", "value"),
    (Field("x", "number", source="store"), "/fields/x/from", "source"),
    (Field("x", "text", source="offer_end"), "/fields/x/from", "source"),
    (Field("x", "date", source="campaign_end"), "/fields/x/from", "campaign_end"),
    (Field("x", "text", source="profile"), "/fields/x/attribute", "attribute"),
    (Field("x", "text", "a", attribute="n"), "/fields/x/attribute", "attribute"),
    (Field("x", "money", 3), "/fields/x/currency", "currency"),
    (Field("x", "money", 3, currency="EURO"), "/fields/x/currency", "currency"),
    (Field("x", "number", 3, currency="EUR"), "/fields/x/currency", "currency"),
    (Field("x", "text", "a", fallback=(("en", "b"),)), "/fields/x/fallback", "fallback"),
    (Field("x", "text", source="profile", attribute="n", fallback=(("fr", "b"),)), "/fields/x/fallback", "missing"),
    (
        Field("x", "text", source="profile", attribute="n", fallback=(("en", "{store}"),)),
        "/fields/x/fallback/en",
        "unknown_field",
    ),
]


@pytest.mark.parametrize(("field", "pointer", "code"), FIELD_FAULTS, ids=lambda value: str(value)[:60])
def test_each_fault_of_a_field_is_told_at_its_place(field: Field, pointer: str, code: str) -> None:
    assert found(Text("{x}" if field.name == "x" else "t", "b"), field) == [(pointer, code)]


def forms(*categories: Any) -> Text:
    return Text("t", "b", plural=Plural("count", tuple(Form(category) for category in categories)))


@pytest.mark.parametrize(
    ("locale", "text", "expected"),
    [
        ("en", forms("one"), []),
        ("pl", forms("one", "few", "many"), []),
        ("fr", forms("one"), []),  # its form for millions may be told and need not
        ("fr", forms("one", "many"), []),
        ("pl", forms("one", "few"), [("/texts/pl/plural/forms/many", "missing")]),
        ("en", forms("one", "few"), [("/texts/en/plural/forms/few", "plural")]),
        ("ja", forms("one"), [("/texts/ja/plural/forms/one", "plural")]),
        ("tlh", forms("one"), [("/texts/tlh", "locale")]),
        ("tlh", Text("{count}", "b"), [("/texts/tlh", "locale")]),
        ("en", Text("t", "b", plural=Plural("store", (Form("one"),))), [("/texts/en/plural/by", "plural")]),
        ("en", Text("t", "b", plural=Plural("x", (Form("one"),))), [("/texts/en/plural/by", "plural")]),
        (
            "en",
            Text("t", "b", plural=Plural("count", (Form("one", body="{y}"),))),
            [("/texts/en/plural/forms/one/body", "unknown_field")],
        ),
    ],
)
def test_a_text_has_the_forms_of_its_language(locale: str, text: Text, expected: list[tuple[str, str]]) -> None:
    assert found(text, COUNT, locale=locale) == expected


def test_what_a_push_message_cannot_carry_is_refused() -> None:
    long = "https://a.example/" + "x" * 1_900
    assert found(Text("t", "b", long)) == []
    assert found(Text("t", "b", long, long)) == [("/texts/en", "too_long")]
    assert found(Text("t", "b"), **{str(number): "x" * 500 for number in range(5)}) == [("/texts/en", "too_long")]
    assert found(Text("🥖" * 100, "🥖" * 400)) == []
    assert found(Text("🥖" * 100, "🥖" * 400, long)) == [("/texts/en", "too_long")]


def test_an_image_goes_by_its_name_in_the_data_which_then_is_taken() -> None:
    assert found(Text("t", "b", image="https://a.example/i.png"), image="mine") == [("/data/image", "image")]
    assert found(Text("t", "b"), image="mine") == []


# ------------------------------------------------------------------------------------------------ links
@pytest.mark.parametrize("part", ["link", "image"])
@pytest.mark.parametrize(
    "address",
    [
        "https://shop.example/offer?id=1#top",
        "https://shop.example.:8443/",
        "https://xn--bcher-kva.example",  # bücher
        "https://xn--d1acpjx3f.example",  # яндекс
        "https://xn--4dkp5a8a.example",  # ラーメン
        "https://xn--abc-s08fl0dtz6h.example",  # 日本語abc
        "https://xn--p1b6ci4b4b3a.example",  # उदाहरण
    ],
)
def test_an_https_address_of_a_public_host_is_taken(part: str, address: str) -> None:
    assert found(Text("t", "b", **{part: address})) == []


@pytest.mark.parametrize("part", ["link", "image"])
@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://shop.example",
        "https://",
        "https:///path",
        "https://user@shop.example",
        "https://user:secret@shop.example",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://shop.0x1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::1/",
        "https://localhost/",
        "https://localhost./",
        "https://intranet",
        "https://printer.local/",
        "https://db.internal/",
        "https://nas.home.arpa/",
        "https://shop.example:99999/",
        "https://shop.example\\@evil.example/",
        "https://shop%2eexample.org/",
        "https://shop..example/",
        "https://-shop.example/",
        "https://shop_1.example/",
        "https://b\u00fccher.example",
        "https://xn--80ak6aa92e.example",  # reads apple, and every letter is Cyrillic
        "https://xn--pple-43d.example",  # reads apple, and the first letter is Cyrillic
        "https://xn--ggle-55da.example",
        "https://xn--iny-zx5a.example",  # a heart
        "https://xn--a.example",
        "https://xn--.example",
        "https://xn--aaa-.example",
        "https://shop.example/\r\nX: y",
        "https://shop.example/a b",
        "https://shop.example/" + "a" * 2000,
    ],
)
def test_a_link_that_leads_astray_is_refused(part: str, address: str) -> None:
    assert (f"/texts/en/{part}", part) in found(Text("t", "b", **{part: address}))
