"""Where words are cut that are too many."""

import pytest

from geo_offers.offers.fitting import NARROWEST, carry, cut
from geo_offers.offers.rendering import Said


@pytest.mark.parametrize(
    ("words", "most", "expected"),
    [
        ("short", 5, "short"),
        ("Warm rolls until noon", 15, "Warm rolls…"),
        ("Warm rolls until noon", 11, "Warm rolls…"),
        ("Donaudampfschifffahrt", 10, "Donaudamp…"),
        ("包包包包包", 4, "包包包…"),
        ("ab👨\u200d👩\u200d👧cd", 5, "ab…"),
        ("ab👋🏽cd", 4, "ab…"),
        ("abe\u0301cd", 4, "ab…"),
        ("a🇩🇪🇫🇷b", 5, "a🇩🇪…"),
        ("a🇩🇪🇫🇷", 4, "a🇩🇪…"),
        ("aक्षb", 4, "a…"),
        ("\u2068Bakery in the lane\u2069 is open", 12, "\u2068Bakery in\u2069…"),
        ("Go to \u2068Bakery\u2069", 9, "Go to…"),
        ("\u0301" * 9, 5, "…"),
        ("abcdef", 1, "…"),
    ],
)
def test_a_cut_falls_between_words_or_else_between_characters_as_people_count_them(
    words: str, most: int, expected: str
) -> None:
    assert cut(words, most) == expected
    assert len(cut(words, most)) <= max(most, 1)


@pytest.mark.parametrize("words", ["x" * 400, "包" * 400, '"\\' * 200, "👨\u200d👩\u200d👧" * 80, "{ }" * 100])
@pytest.mark.parametrize("channel", ["webhook", "fcm", "apns", "webpush", "a lane of tomorrow"])
def test_a_push_channel_carries_no_more_than_it_can(words: str, channel: str) -> None:
    said = Said("Title", words, "https://a.example/" + "x" * 1_900, None, "en", "ltr")
    carried = carry(said, {"sku": "y" * 500}, channel)
    size = len(carried.title.encode()) + len(carried.body.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"'))
    assert size + 1_918 + 500 + 500 < NARROWEST + 103
    assert carried.body.endswith("…") or carried.body == words
    assert carried.cut == (() if carried.body == words else ("body",))


def test_the_app_has_no_bound_but_the_words_own() -> None:
    said = Said("包" * 101, "包" * 400, "https://a.example/" + "x" * 1_900, None, "en", "ltr")
    carried = carry(said, {"sku": "y" * 500}, "inapp")
    assert (carried.title, carried.body, carried.cut) == ("包" * 99 + "…", "包" * 400, ("title",))
