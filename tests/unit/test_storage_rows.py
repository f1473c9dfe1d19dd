"""Columns to values: what cannot be read is read as the strictest there is, told without what it holds."""

import uuid
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from structlog.testing import capture_logs

from geo_offers import wire
from geo_offers.instants import to_us
from geo_offers.people.consent import NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.people.quiet import quiet_until
from geo_offers.people.rhythm import Rhythm, Rolling
from geo_offers.presence.states import NOWHERE, PresenceState
from geo_offers.storage import rows

PERSON = uuid.UUID(int=7)
LOOSE = b'{"max":9,"per":{"hours":5},"min_gap_h":0,"quiet":[]}'
NO_ZONES = ["Mars/Olympus", "Europe", "UTC/none", "../etc/passwd", "", "\0"]  # Europe is a folder, UTC a file
NO_RHYTHMS = [
    b"",
    b"{",
    b"[]",
    b'{"max":-1}',
    b'{"per":"year"}',
    '{"quiet":[{"days":["mon"],"start":"0٨:00","end":"09:00"}]}'.encode(),
    b'{"quiet":[{"days":["mon"],"start":"24:00","end":"09:00"}]}',
    b'{"max":1,"of_a_later_release":true}',
    b"\xff\xfe",
]


def instants():
    return [to_us(datetime(2026, 6, day, hour, 30, tzinfo=UTC)) for day in range(1, 8) for hour in range(24)]


def always_quiet(rhythm):
    return all(quiet_until(rhythm.quiet, now_us, ZoneInfo("Europe/Berlin")) is not None for now_us in instants())


@pytest.fixture
def told():
    with capture_logs() as lines:
        yield lines


# ------------------------------------------------------------------------------------------------ the person's rhythm
def test_a_rhythm_is_what_was_set_and_the_default_where_none_was(told):
    assert rows.rhythm(LOOSE, PERSON) == Rhythm(max=9, per=Rolling(5), min_gap_h=0, quiet=())
    assert rows.rhythm(None, PERSON) == Rhythm()
    assert rows.rhythm(msgspec.json.encode(wire.Rhythm()), PERSON) == Rhythm()
    assert told == []


@pytest.mark.parametrize("column", NO_RHYTHMS)
def test_a_rhythm_that_cannot_be_read_allows_no_offer_at_any_time(column, told):
    assert rows.rhythm(column, PERSON).max == 0
    assert always_quiet(rows.rhythm(column, PERSON))
    assert rows.wire_rhythm(column, PERSON).max == 0
    assert not rows.rhythm(column, PERSON).special.allow
    assert {line["what"] for line in told} == {"rhythm"}


def test_the_log_names_the_row_and_not_what_it_holds(told):
    rows.rhythm(b'{"per":"a secret wish"}', PERSON)
    (line,) = told
    assert line == {
        "event": "a stored value cannot be read",
        "log_level": "error",
        "what": "rhythm",
        "of": PERSON,
        "error": "ValidationError",
    }


def test_a_rhythm_that_no_offer_keeps_to_can_be_shown_and_put_back():
    shown = msgspec.json.encode(rows.wire_rhythm(b"{", PERSON))
    assert rows.rhythm(shown, PERSON) == rows.rhythm(b"{", PERSON)


# ------------------------------------------------------------------------------------------------ zones
def test_a_rhythm_is_kept_in_the_persons_zone_else_in_the_workspaces(told):
    rhythm = rows.rhythm(LOOSE)
    assert rows.rhythm_in_zone(LOOSE, "Europe/Berlin", PERSON) == (rhythm, ZoneInfo("Europe/Berlin"))
    assert rows.rhythm_in_zone(LOOSE, None, PERSON) == (rhythm, None)
    assert told == []


@pytest.mark.parametrize("zone", NO_ZONES)
def test_a_person_whose_zone_is_gone_gets_no_offer(zone, told):
    rhythm, found = rows.rhythm_in_zone(LOOSE, zone, PERSON)
    assert (rhythm.max, found) == (0, None)
    assert always_quiet(rhythm)
    assert [(line["what"], line["of"]) for line in told] == [("time_zone", PERSON)]


def test_a_zone_that_cannot_be_opened_just_now_is_not_taken_for_gone(monkeypatch):
    def full(_name):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(rows, "ZoneInfo", full)
    with pytest.raises(OSError, match="too many"):
        rows.rhythm_in_zone(LOOSE, "Europe/Berlin", PERSON)


# ------------------------------------------------------------------------------------------------ consents, presence
def test_consents_are_what_was_said(told):
    said = Consents({Purpose.LOCATE: Consent(True, "v1", 5, 12), Purpose.OFFERS: Consent(False, "v2", 6)})
    assert rows.consents(rows.consents_column(said), PERSON) == said
    assert told == []


NO_OFFSET = b'{"locate":{"purpose":"locate","granted":true,"text_version":"1","at":"2026-01-01T00:00:00"}}'


@pytest.mark.parametrize("column", [b"", b"{", b"[]", b'{"locate":true}', b'{"locate":{}}', b"\xff", NO_OFFSET])
def test_consents_that_cannot_be_read_are_none(column, told):
    assert rows.consents(column, PERSON) == NONE_GIVEN
    assert [(line["what"], line["of"]) for line in told] == [("consents", PERSON)]


def test_a_purpose_that_there_is_not_any_more_takes_the_others_along():
    known = msgspec.json.decode(rows.consents_column(Consents({Purpose.LOCATE: Consent(True, "v1", 5)})))
    column = msgspec.json.encode(known | {"sell": known["locate"]})
    assert rows.consents(column, PERSON) == NONE_GIVEN


def test_a_device_is_where_it_was_kept_and_nowhere_where_that_cannot_be_read(told):
    kept = PresenceState(newest_us=5)
    assert rows.presence(kept.kept(), PERSON) == kept
    assert rows.presence(None, PERSON) == NOWHERE
    assert told == []
    assert rows.presence(b'{"inside":7}', PERSON) == NOWHERE
    assert [line["what"] for line in told] == ["presence"]


# ------------------------------------------------------------------------------------------------ workspaces
def test_a_workspaces_rules_are_what_was_set(told):
    column = msgspec.json.encode(wire.Workspace(time_zone="Asia/Tokyo", place_gap_s=5, user_proof="required"))
    assert rows.settings(column, PERSON).user_proof == "required"
    policy = rows.policy("w", column, PERSON)
    assert (policy.name, policy.zone.key, policy.place_gap_s, policy.killed) == ("w", "Asia/Tokyo", 5, False)
    assert told == []


@pytest.mark.parametrize("column", [b"", b"[]", b'{"place_gap_s":"long"}', b'{"of_a_later_release":1}'])
def test_rules_that_cannot_be_read_pause_the_workspace_and_vouch_for_nobody(column, told):
    rules = rows.settings(column, PERSON)
    assert (rules.paused, rules.age, rules.user_proof) == (True, "unknown", "required")
    assert rows.policy("w", column, PERSON).killed
    assert [(line["what"], line["of"]) for line in told] == [("settings", PERSON)] * 2


@pytest.mark.parametrize("zone", NO_ZONES[:4])
def test_a_workspace_whose_zone_is_gone_is_paused(zone):
    assert rows.policy("w", msgspec.json.encode({"time_zone": zone}), PERSON).killed


def test_a_row_of_a_list_that_cannot_be_read_is_left_out_and_the_others_stay(told):
    found = [{"id": 1, "zone": "UTC"}, {"id": 2, "zone": "Mars/Olympus"}, {"id": 3, "zone": "Europe/Berlin"}]
    read = rows.each_readable("campaign", found, lambda row: ZoneInfo(row["zone"]).key)
    assert read == ["UTC", "Europe/Berlin"]
    assert [(line["what"], line["of"]) for line in told] == [("campaign", 2)]
