"""Bytes to typed values: what is no JSON is malformed, what is of another shape is refused with its place."""

import json
import re

import msgspec
import pytest
from aiohttp import web
from aiohttp.http import HttpProcessingError
from multidict import CIMultiDict

from geo_offers import wire
from geo_offers.errors import Invalid, Malformed, TooLarge
from geo_offers.web import bodies

CAMPAIGN = msgspec.json.Decoder(wire.CampaignBody)
ANYTHING = msgspec.json.Decoder(msgspec.Raw)


class Request:
    """As much of a request as is read: chunks or what goes wrong instead, and headers that may lie."""

    def __init__(self, *chunks, length=None, **headers):
        self.content_length = length
        self.headers = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        self.content = self.protocol = self
        self.taken = 0
        self.ended = self.closed = False
        self._chunks = chunks

    async def iter_any(self):
        for chunk in self._chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.taken += 1
            yield chunk

    def feed_eof(self):
        self.ended = True

    def close(self):
        self.closed = True


def campaign(**changes):
    body = {
        "name": "Bread",
        "objective": "visit",
        "trigger": {"on": "enter", "fences": {"set": "town"}},
        "texts": {"en": {"title": "T", "body": "B"}},
    }
    return json.dumps(body | changes).encode()


def refused(body):
    with pytest.raises(Invalid) as caught:
        bodies.decode(CAMPAIGN, body)
    (fault,) = caught.value.faults
    return fault


# ------------------------------------------------------------------------------------------------ size
async def test_a_body_is_read_whole_up_to_its_bound():
    assert await bodies.read(Request(b"ab", b"cd"), 4) == b"abcd"
    assert await bodies.read(Request(), 4) == b""


async def test_a_body_over_its_bound_is_refused_by_what_arrives():
    request = Request(b"abc", b"def", b"never read")
    with pytest.raises(TooLarge):
        await bodies.read(request, 4)
    assert request.taken == 2


async def test_a_body_that_says_it_is_too_large_is_not_read_at_all():
    request = Request(b"abc", length=5)
    with pytest.raises(TooLarge):
        await bodies.read(request, 4)
    assert request.taken == 0


@pytest.mark.parametrize("fault", [web.RequestPayloadError("gzip"), HttpProcessingError(message="chunk")])
async def test_a_body_that_breaks_off_unreadable_is_malformed_and_ends_its_connection(fault):
    request = Request(b"abc", fault, content_encoding="gzip")
    with pytest.raises(Malformed, match="gzip"):
        await bodies.read(request, 100)
    assert (request.ended, request.closed) == (True, True)


async def test_a_packing_that_is_not_taken_is_refused_unread():
    request = Request(b"abc", content_encoding="br")
    with pytest.raises(web.HTTPUnsupportedMediaType):
        await bodies.read(request, 100)
    assert request.taken == 0


# ------------------------------------------------------------------------------------------------ JSON or not
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"nope",
        b"{",
        b'{"name": "a",}',
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": NaN}',
        b'{"name": Infinity}',
    ],
)
def test_what_is_no_json_is_malformed(body):
    with pytest.raises(Malformed):
        bodies.decode(CAMPAIGN, body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_endless_nesting_is_malformed(opening):
    closing = b"]" if opening == b"[" else b"}"
    with pytest.raises(Malformed, match="nests deeper"):
        bodies.decode(ANYTHING, opening * 5000 + b"0" + closing * 5000)


def test_what_is_wide_and_not_deep_is_taken():
    rows = b"[" + b",".join([b'{"a":[[[1,2],[3,4]]]}'] * 2000) + b"]"
    assert bytes(bodies.decode(ANYTHING, rows)) == rows


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1, "a": 2}', b'{"b": [{"a": 1, "a": 1}]}', b'{"a": {"\\u0061": 1, "a": 2}}'],
)
def test_a_key_that_stands_twice_is_malformed(body):
    with pytest.raises(Malformed, match="'a' stands twice"):
        bodies.refuse_duplicates(body)


def test_a_key_may_stand_in_two_objects():
    bodies.refuse_duplicates(b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}')


def test_a_doubled_key_is_echoed_shortened_and_harmless():
    body = json.dumps({"x\n" * 1000: 1})[:-1] + "," + json.dumps({"x\n" * 1000: 1})[1:]
    with pytest.raises(Malformed) as caught:
        bodies.refuse_duplicates(body.encode())
    assert len(caught.value.detail) < 200
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_looking_for_doubled_keys_survives_hostile_json(body):
    with pytest.raises(Malformed):
        bodies.refuse_duplicates(body)


# ------------------------------------------------------------------------------------------------ shape
def test_a_good_body_is_its_type():
    assert bodies.decode(CAMPAIGN, campaign()).trigger.fences.set == "town"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"name": 1}, "/name", "invalid"),
        ({"name": ""}, "/name", "invalid"),
        ({"owner": "me"}, "/owner", "unknown_field"),
        ({"a/b~c": 1}, "/a~1b~0c", "unknown_field"),
        ({"trigger": {"on": "enter"}}, "/trigger", "missing"),
        ({"trigger": {"on": "enter", "fences": {"ids": ["town/a", 3]}}}, "/trigger/fences/ids/1", "invalid"),
        ({"trigger": {"on": "enter", "fences": {"all": True}}}, "/trigger/fences/all", "unknown_field"),
        ({"schedule": {"from": "soon"}}, "/schedule/from", "invalid"),
        ({"caps": [{"limit": 1, "window": {"n": 0, "unit": "day"}}]}, "/caps/0/window/n", "invalid"),
    ],
)
def test_a_fault_has_its_place(change, pointer, code):
    fault = refused(campaign(**change))
    assert (fault.pointer, fault.code) == (pointer, code)
    assert fault.detail


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"texts": {"en": {"title": "T", "body": "B"}, "de": {"title": "T", "body": 7}}}, "/texts/de/body"),
        ({"texts": {"en": {"title": "T", "body": "B"}, "de": {"title": "T"}}}, "/texts/de"),
        ({"texts": {"en": {"title": "T", "body": "B"}, "de": {"title": "T", "body": "B", "x/y": 1}}}, "/texts/de/x~1y"),
        (
            {"texts": {"en": {"title": "T", "body": "B"}, "not a locale": {"title": "T", "body": "B"}}},
            "/texts/not a locale",
        ),
        ({"data": {"a": "1", "b": 2}}, "/data/b"),
        ({"data": {str(n): "1" for n in range(15)} | {"z": 2}}, "/data/z"),
    ],
)
def test_a_fault_within_free_names_has_its_name(change, pointer):
    assert refused(campaign(**change)).pointer == pointer


def test_in_a_large_body_it_is_not_looked_for_whose_fault_it_is():
    body = campaign(data={"a": "1", "b": 2})
    assert refused(body).pointer == "/data/b"
    assert refused(body + b" " * 1_000_000).pointer == "/data/..."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "this is a whole number; give a text"),
        ({"name": ""}, "this text is empty; write something"),
        ({"name": "x" * 201}, "this text is too long; give at most 200 characters"),
        ({"owner": "me"}, "there is no field 'owner' here; leave it out"),
        ({"trigger": {"on": "enter"}}, "the field 'fences' is missing; add it"),
        ({"trigger": {"on": "arrive", "fences": {}}}, "'arrive' is not known here; use dwell, enter or exit"),
        ({"objective": "fun"}, "'fun' is not known here; use first_purchase, lead, redemption, return or visit"),
        ({"texts": {}}, "this is empty; give at least one entry"),
        ({"texts": {"e n": {"title": "T", "body": "B"}}}, "give a locale, such as en or pt-BR"),
        ({"texts": {"en": {"title": "T", "body": "B", "link": "http:"}}}, "give an address that begins with https://"),
        ({"schedule": {"from": "soon"}}, "this is no instant; write it as 2026-05-01T09:30:00Z"),
        ({"priority": 1.5}, "this is a number; give a whole number"),
        ({"priority": 1_001}, "give a whole number of at most 1,000"),
        ({"holdout": -0.5}, "give a number of at least 0"),
        ({"schedule": {"from": 5}}, "this is a whole number; give an instant or null"),
        (
            {"caps": [{"limit": 1, "window": {"n": 1, "unit": "day"}}] * 11},
            "these are too many; give at most 10 entries",
        ),
    ],
)
def test_a_fault_is_told_in_a_sentence_that_says_what_to_do(change, said):
    assert refused(campaign(**change)).detail == said


def test_the_whole_of_a_fault_names_its_place():
    with pytest.raises(Invalid) as caught:
        bodies.decode(CAMPAIGN, campaign(priority="high"))
    assert caught.value.detail == "/priority: this is a text; give a whole number"


def test_values_that_are_known_are_told_wherever_they_stand():
    for kind, given, said in (
        (wire.Rhythm, {"per": "year"}, "'year' is not known here; use day, month or week"),
        (wire.Rhythm, {"quiet": [{"days": ["m"]}]}, "'m' is not known here; use fri, mon, sat, sun, thu, tue or wed"),
        (wire.Enrolment, {"consents": {"x": "1"}}, "'x' is not known here; use locate, measure, offers or profile"),
        (list[wire.Enrolment], [{"platform": "x"}], "'x' is not known here; use android, ios, other or web"),
        (wire.StreamShown | wire.StreamAuth, {"type": "x"}, "'x' is not known here; use shown or auth"),
    ):
        with pytest.raises(Invalid) as caught:
            bodies.decode(msgspec.json.Decoder(kind), json.dumps(given).encode())
        assert caught.value.faults[0].detail == said


def test_no_bound_or_kind_of_the_contract_is_told_in_the_words_of_the_reader():
    """Every field of every body of ours, given what it is not, answers with a sentence."""
    wrong = [None, True, -1, 10**9, 1.5, "", "x" * 5_000, "x", [], [1] * 51, {}, {"x": 1}]
    kinds = [kind for kind in vars(wire).values() if isinstance(kind, type) and issubclass(kind, wire.Request)]
    for kind in kinds:
        decoder = msgspec.json.Decoder(kind)
        for name in (field.encode_name for field in msgspec.structs.fields(kind)):
            for value in wrong:
                try:
                    bodies.decode(decoder, json.dumps({name: value}).encode())
                except (Invalid, TooLarge) as error:
                    (fault,) = error.faults
                    assert not re.search("Expected|`|Object|regex|Invalid|[\\^$]", fault.detail), (kind, name, value)


def test_a_body_of_another_kind_is_refused_as_a_whole():
    assert refused(b"[]").pointer == ""


def test_what_is_echoed_of_an_input_is_short():
    fault = refused(campaign(**{"x" * 10_000: 1}))
    assert len(fault.pointer) <= 65
    assert len(fault.detail) <= 200


# ------------------------------------------------------------------------------------------------ queries
def test_a_query_is_text_that_reads_as_its_types():
    query = bodies.convert({"set": "town", "dry_run": "false", "radius_m": "150.5"}, wire.ImportQuery)
    assert (query.set, query.dry_run, query.radius_m, query.format) == ("town", False, 150.5, "geojson")


@pytest.mark.parametrize(
    ("given", "pointer", "code"),
    [
        ({"limit": "ten"}, "/limit", "invalid"),
        ({"limit": "0"}, "/limit", "invalid"),
        ({"page": "2"}, "/page", "unknown_field"),
        ({"cursor": "x" * 5000}, "/cursor", "invalid"),
    ],
)
def test_a_fault_of_a_query_has_its_place(given, pointer, code):
    with pytest.raises(Invalid) as caught:
        bodies.convert(given, wire.ListQuery)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(pointer, code)]
