"""The contract's types: a text that they take is one that the rest of the house can read."""

import re
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_offers import wire
from geo_offers.people.quiet import DAYS, parse_minute, quiet_rule

QUIET = msgspec.json.Decoder(wire.QuietHours)
HOURS = msgspec.json.Decoder(wire.OpeningHours)
MINUTES = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60)]
NO_TIMES = [
    "0\u0668:00",
    "08:0\u0660",
    "\u0660\u0668:\u0660\u0660",
    "1\uff10:00",
    "8:00",
    "08:60",
    "24:01",
    "25:00",
    "08:00\n",
    " 8:00",
    "0800",
    "",
]


def body(start, end):
    return msgspec.json.encode({"days": list(DAYS), "start": start, "end": end})


def patterns():
    """Every pattern that a type of the contract names."""
    kinds = [kind for kind in vars(wire).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    found = set()
    pending = [hint for kind in kinds for hint in typing.get_type_hints(kind, include_extras=True).values()]
    while pending:
        hint = pending.pop()
        found |= {meta.pattern for meta in getattr(hint, "__metadata__", ()) if getattr(meta, "pattern", None)}
        pending += typing.get_args(hint)
    return found


def test_every_pattern_is_said_in_words_and_no_words_are_left_over():
    assert patterns() == set(wire.FORMS)


@pytest.mark.parametrize("pattern", sorted(wire.FORMS))
def test_no_pattern_takes_the_digits_or_letters_of_every_script(pattern):
    assert not re.search(r"\\[dws]", pattern)


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("decoder", [QUIET, HOURS])
def test_what_is_no_time_of_day_is_refused(decoder, text):
    for start, end in ((text, "08:00"), ("08:00", text)):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(body(start, end))


@pytest.mark.parametrize("decoder", [QUIET, HOURS])
def test_an_interval_may_end_at_24_and_not_start_there(decoder):
    assert decoder.decode(body("00:00", "24:00")).end == "24:00"
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(body("24:00", "08:00"))


def test_every_minute_of_the_day_is_taken_and_read():
    for minute, text in enumerate(MINUTES):
        hours = QUIET.decode(body(text, text))
        assert quiet_rule(hours.days, hours.start, hours.end).start_minute == minute


@given(st.text(st.sampled_from("0123456789:\u0660٩\u0966\uff19 \n"), min_size=4, max_size=6), st.booleans())
def test_what_the_contract_takes_as_a_time_the_quiet_hours_can_read(text, as_end):
    try:
        hours = QUIET.decode(body("12:00", text) if as_end else body(text, "12:00"))
    except msgspec.ValidationError:
        return
    rule = quiet_rule(hours.days, hours.start, hours.end)
    assert parse_minute(text) == (rule.end_minute if as_end else rule.start_minute)


@pytest.mark.parametrize("locale", ["en\n", "e\u0668", "en-\u0661\u0662", "日本"])
def test_what_is_no_locale_is_refused(locale):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"platform": "ios", "locale": locale}, wire.Enrolment)


def test_the_names_of_events_end_with_no_line_break():
    assert msgspec.convert({"types": "decision,delivery"}, wire.LiveQuery).types == "decision,delivery"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"types": "decision\n"}, wire.LiveQuery)
