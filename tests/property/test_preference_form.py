"""The preference form says what the rhythm says, whatever the rhythm."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo_offers import wire
from geo_offers.errors import Invalid
from geo_offers.offers.decisions import Reason
from geo_offers.web.preferences.form import Form, filled, rhythm_of
from geo_offers.web.preferences.words import LANGUAGES, sentence

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
counts = st.integers(0, 1000)
windows = st.sampled_from(["day", "week", "month"]) | st.builds(wire.RollingHours, hours=st.integers(1, 744))
minutes = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
quiet = st.builds(
    wire.QuietHours,
    days=st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True),
    start=minutes,
    end=minutes.filter(lambda shown: shown != "00:00") | st.just("24:00"),  # a browser has one name for midnight
)
names = st.text(string.ascii_letters + "/-", min_size=1, max_size=20)
rhythms = st.builds(
    wire.Rhythm,
    max=counts,
    per=windows,
    min_gap_h=st.floats(0, 744).map(lambda hours: round(hours, 2)),
    quiet=st.lists(quiet, max_size=5),
    special=st.builds(wire.SpecialBudget, allow=st.booleans(), max=counts, per=windows),
    channels=st.sampled_from([["push", "inapp"], ["inapp", "push"], ["push"], ["inapp"], []]),
    mute=st.builds(
        wire.Mutes,
        stores=st.lists(names, max_size=3),
        categories=st.lists(names, max_size=3),
        campaigns=st.lists(st.uuids(), max_size=3),
    ),
    locate=st.sampled_from(["off", "foreground", "always", "coarse"]),
    not_at=st.lists(
        st.builds(
            wire.NotAt,
            lat=st.floats(-90, 90).map(lambda degrees: round(degrees, 7)),
            lon=st.floats(-180, 180).map(lambda degrees: round(degrees, 7)),
            radius_m=st.floats(50, 50_000).map(lambda metres: round(metres, 1)),
        ),
        max_size=3,
    ),
)


@given(rhythms)
def test_a_form_sent_back_as_it_was_filled_changes_nothing(rhythm):
    sent = [(name, value) for name, values in filled(rhythm).fields.items() for value in values]
    assert rhythm_of(Form.of(sent)) == rhythm


@given(st.lists(st.tuples(st.sampled_from(["max", "per", "quiet-0-days", "not_at-1-lat", "x"]) | names, st.text())))
def test_any_form_is_a_rhythm_or_is_refused_with_the_place(fields):
    try:
        rhythm_of(Form.of(fields))
    except Invalid as error:
        (fault,) = error.faults
        assert fault.pointer


def test_a_line_keeps_its_number_when_a_line_before_it_is_taken_out():
    fields = {**filled(wire.Rhythm()).fields, "quiet-0-days": []}
    fields |= {"quiet-2-days": ["mon"], "quiet-2-start": ["late"], "quiet-2-end": ["08:00"]}
    with pytest.raises(Invalid) as caught:
        rhythm_of(Form(fields))
    assert caught.value.faults[0].pointer == "quiet-2-start"


def test_every_language_has_every_word_and_every_silence_its_sentence():
    for words in LANGUAGES.values():
        assert set(words) == set(LANGUAGES["en"])
        assert {reason.value for reason in Reason} <= set(words)
        assert sentence(words, "cap") == words["cap"]
        assert sentence(words, None) == words["offered"]
        assert sentence(words, "reason of tomorrow") == "reason of tomorrow"
