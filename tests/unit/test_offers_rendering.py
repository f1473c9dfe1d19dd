import pytest

from geo_offers.offers.rendering import Text, faults, pick, render

VALUES = {"store": "Bakery {fence}", "fence": "North door", "workspace": "Seaview"}


def rendered(words: str) -> str:
    said = render(Text(words, words), VALUES)
    assert said.title == said.body
    return said.title


def test_the_three_fields_are_put_in_wherever_they_stand() -> None:
    assert rendered("{workspace}: come in by {fence}, {fence}!") == "Seaview: come in by North door, North door!"


def test_what_is_put_in_is_not_looked_at_again() -> None:
    assert rendered("{store}") == "Bakery {fence}"


@pytest.mark.parametrize(
    "words",
    [
        "{{7*7}}",
        "{{store}}",
        "{{store}",
        "{store}}",
        "{{{store}}}",
        "{0.__class__}",
        "{store.__class__}",
        "{store!r}",
        "{ store }",
        "{}",
        "%s",
        "<b>",
    ],
)
def test_everything_else_is_literal(words: str) -> None:
    assert rendered(words) == words
    assert faults(Text(words, words), "/texts/en") == ()


def test_a_field_without_a_value_stays_as_it_is_written() -> None:
    assert render(Text("{store} {fence}", "b"), {"fence": "door"}).title == "{store} door"


def test_the_link_is_never_rendered() -> None:
    assert render(Text("t", "b", "https://a.example/{store}"), VALUES).link == "https://a.example/{store}"


def test_an_unknown_field_is_a_fault_at_its_place() -> None:
    found = faults(Text("{store}", "{price} {fence} {Store}"), "/texts/de")
    assert [(fault.pointer, fault.code) for fault in found] == [("/texts/de/body", "unknown_field")] * 2
    assert "{price}" in found[0].detail
    assert "{store}, {fence}, {workspace}" in found[0].detail


def test_a_long_unknown_field_is_echoed_in_part() -> None:
    (found,) = faults(Text("{" + "a" * 1000 + "}", "b"), "")
    assert len(found.detail) < 160


@pytest.mark.parametrize(
    "link", ["https://shop.example/offer?id=1#top", "https://xn--bcher-kva.example", "https://shop.example:8443/"]
)
def test_an_https_address_is_a_link(link: str) -> None:
    assert faults(Text("t", "b", link), "") == ()


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "http://shop.example",
        "https://",
        "https:///path",
        "https://user@shop.example",
        "https://user:secret@shop.example",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f000001/",
        "https://[::1]/",
        "https://[::1/",
        "https://localhost/",
        "https://intranet",
        "https://shop.example:99999/",
        "https://shop.example\\@evil.example/",
        "https://b\u00fccher.example",
        "https://shop.example/\r\nX: y",
        "https://shop.example/a b",
        "https://shop.example/" + "a" * 2000,
    ],
)
def test_a_link_that_leads_astray_is_refused(link: str) -> None:
    (found,) = faults(Text("t", "b", link), "/texts/en")
    assert (found.pointer, found.code) == ("/texts/en/link", "link")


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
        ("pt-BR", "pt_BR"),
        ("pt", "en-GB"),
        ("de-Latn-CH", "de"),
        ("fr", "en-GB"),
        ("", "en-GB"),
    ],
)
def test_the_person_is_spoken_to_in_their_locale_else_language_else_the_campaigns_first(
    wanted: str, spoken: str
) -> None:
    assert pick(TEXTS, wanted) == spoken
