"""The served OpenAPI document: valid, complete, and true of what is really answered."""

import re
from datetime import timedelta
from typing import Any

import jsonschema
import msgspec
import pytest
import pytest_asyncio
from openapi_spec_validator import validate
from openapi_spec_validator.versions import OPENAPIV31, get_spec_version

from geo_offers.web.application import CALLS
from tests.integration.people.conftest import AWAY, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

POINT = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [SHOP[1], SHOP[0]]},
    "properties": {"name": "Main Street", "radius_m": 100},
}
CAMPAIGN = {
    "name": "Rolls",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"set": "stores"}},
    "texts": {"en": {"title": "Warm rolls", "body": "Until noon", "link": "https://example.org/"}},
    "schedule": {"from": "2026-01-01T00:00:00Z", "until": "2096-01-01T00:00:00Z"},
    "caps": [{"limit": 3, "window": {"n": 1, "unit": "day"}}],
    "data": {"sku": "7"},
    "holdout": 0,
}


class Document:
    """The document, and the schema that it gives for each request and answer."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    def operation(self, method: str, path: str) -> dict[str, Any]:
        """What is said of the call that a concrete path means."""
        bare = path.partition("?")[0]
        for template, methods in self.document["paths"].items():
            pattern = re.sub(r"\{[^}]*\}", "[^/]+", template)
            if method.lower() in methods and re.fullmatch(pattern, bare):
                return methods[method.lower()]
        raise AssertionError(f"{method} {path} is not in the document")

    def check(self, value: Any, schema: dict[str, Any]) -> None:
        """Raises ValidationError where the value is not of the schema."""
        whole = {"components": self.document["components"], "allOf": [schema]}
        jsonschema.Draft202012Validator(whole, format_checker=jsonschema.FormatChecker()).validate(value)

    def check_answer(self, method: str, path: str, answer: Any) -> None:
        told = self.operation(method, path)["responses"]
        assert str(answer.status) in told, (method, path, answer.status)
        content = told[str(answer.status)].get("content")
        if content is None:
            assert answer.raw == b""
            return
        kind = answer.headers["Content-Type"].partition(";")[0]
        self.check(answer.body, content[kind]["schema"])

    def check_request(self, method: str, path: str, body: Any) -> None:
        self.check(body, self.operation(method, path)["requestBody"]["content"]["application/json"]["schema"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(shared, session):
    async with session.get(shared.service.url + "/v1/openapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        return Document(await response.json())


# ------------------------------------------------------------------------------------------------ the document itself
async def test_the_document_is_openapi_3_1(served):
    assert get_spec_version(served.document) == OPENAPIV31
    validate(served.document)


async def test_every_call_is_in_it_and_nothing_else_is(served):
    described = {(method.upper(), path) for path, methods in served.document["paths"].items() for method in methods}
    assert described == {(call.method, call.path) for call in CALLS}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
async def test_a_call_says_what_it_takes_gives_and_needs(served, call):
    told = served.document["paths"][call.path][call.method.lower()]
    assert told["security"] == ([{"bearer": []}] if call.who else [])
    assert ("requestBody" in told) == (call.body is not None)
    assert str(call.status) in told["responses"]
    assert ("401" in told["responses"]) == bool(call.who)
    assert ("content" in told["responses"][str(call.status)]) == (call.answer is not None)
    named = [(parameter["in"], parameter["name"]) for parameter in told["parameters"]]
    assert [name for where, name in named if where == "path"] == re.findall(r"\{([^}:]*)", call.path)
    fields = () if call.query is None else msgspec.structs.fields(call.query)
    assert [name for where, name in named if where == "query"] == [field.encode_name for field in fields]
    keyed = call.method != "GET" and bool(call.who) and not call.hot and call.changes
    assert (("header", "Idempotency-Key") in named) == keyed


async def test_operations_are_told_apart(served):
    names = [
        operation["operationId"] for methods in served.document["paths"].values() for operation in methods.values()
    ]
    assert len(names) == len(set(names)) == len(CALLS)


async def test_its_own_bodies_take_no_unknown_field(served):
    schemas = served.document["components"]["schemas"]
    for name in ("Enrolment", "ConsentChange", "Rhythm", "OfferEvent", "Pings", "Ping", "TokenRequest", "CampaignBody"):
        assert schemas[name]["additionalProperties"] is False


# ------------------------------------------------------------------------------------------------ and what happens
EVENTS = {
    "corporate": {"start": "2031-01-01T00:00:00Z", "end": "2031-01-02T00:00:00+01:00"},
    "recurring": {"start": "2026-01-05T09:00:00", "length_s": 3600, "rrule": "FREQ=WEEKLY;BYDAY=MO"},
    "local": {
        "start": "2031-01-01T00:00:00Z",
        "end": "2031-01-02T00:00:00Z",
        "area": {"type": "Point", "coordinates": [8, 53]},
        "radius_m": 500,
    },
    "predictive": {"above": 2},
    "interaction": {"type": "basket_left"},
    "news": {"end": (before() + timedelta(hours=2)).isoformat()},
}


@pytest.fixture
def spoken(api, served):
    """Make a call whose request and answer must be as the document says."""

    async def call(method, path, who, body=None):
        if body is not None:
            served.check_request(method, path, body)
        answer = await api.call(method, path, who, body)
        assert answer.status < 300, answer.body
        served.check_answer(method, path, answer)
        return answer.body

    return call


async def test_what_is_answered_of_profiles_segments_and_log_ins_is_as_the_document_says(api, spoken):
    attributes = {"shoe_size": {"type": "number"}, "member": {"type": "flag", "by": "server"}}
    await spoken("PATCH", "/v1/workspace", "owner", {"audience": {"attributes": attributes}})
    big = {"op": "attribute", "name": "shoe_size", "is": "ge", "value": 43}
    often = {"op": "visits", "counter": "count", "is": "ge", "value": 3, "at": "here"}
    rule = {"op": "all", "of": [big, {"op": "not", "of": {"op": "any", "of": [often, {"op": "locale", "in": ["de"]}]}}]}
    for _ in range(2):
        await spoken("PUT", "/v1/segments/big", "editor", {"name": "Big feet", "rule": rule})
    await spoken("GET", "/v1/segments/big", "viewer")
    await spoken("GET", "/v1/segments", "viewer")
    audience = {"segments": ["big"], "rule": {"op": "segment", "id": "big"}, "stages": ["lead"]}
    made = await spoken("POST", "/v1/campaigns", "owner", CAMPAIGN | {"audience": audience, "ask": "shoe_size"})
    await spoken("POST", f"/v1/campaigns/{made['id']}/end", "owner")
    await spoken("DELETE", "/v1/segments/big", "editor")
    consents = {"locate": "v1", "offers": "v1", "profile": "v1"}
    phone = api.as_phone(await spoken("POST", "/v1/devices", "app", {"platform": "ios", "consents": consents}))
    given = {"attributes": {"shoe_size": 42}, "refused": ["member"], "locale": "de", "time_zone": "Asia/Tokyo"}
    await spoken("PATCH", "/v1/me/profile", phone.token, given)
    await spoken("GET", "/v1/me/profile", phone.token)
    told = await spoken("POST", "/v1/me/user", phone.token, {"user": "ann"})
    await spoken("GET", "/v1/me/export", told["access_token"])
    await spoken("PATCH", "/v1/users/ann/profile", "server", {"attributes": {"member": True, "shoe_size": None}})


async def test_what_is_answered_on_the_way_from_a_key_to_an_offer_is_as_the_document_says(api, spoken):
    await spoken("PUT", "/v1/geofences/stores/main", "owner", POINT)
    await spoken("PUT", "/v1/geofences/stores/main", "owner", POINT)
    await spoken("GET", "/v1/geofences/stores/main", "viewer")
    await spoken("GET", "/v1/geofences?set=stores&bbox=8,53,9,54", "viewer")
    await spoken("PUT", "/v1/stores/s1", "owner", {"name": "Main Street", "time_zone": "Europe/Berlin"})
    await spoken("GET", "/v1/stores", "viewer")
    await spoken("PATCH", "/v1/workspace", "owner", {"place_gap_s": 0, "store_gap_s": 0, "holdout": 0})
    await spoken("GET", "/v1/workspace", "viewer")
    for name, event in EVENTS.items():
        await spoken("PUT", f"/v1/events/{name}", "owner", {"kind": name, "name": name} | event)
    await spoken("POST", "/v1/events/predictive/value", "server", {"value": 1.5, "at": now()})
    await spoken("POST", "/v1/events/news/approve", "approver")
    await spoken("GET", "/v1/events", "viewer")
    await spoken("DELETE", "/v1/events/local", "owner")
    made = await spoken("POST", "/v1/campaigns", "owner", CAMPAIGN | {"when": {"unless": ["corporate"]}})
    await spoken("POST", f"/v1/campaigns/{made['id']}/submit", "owner")
    await spoken("GET", f"/v1/campaigns/{made['id']}", "viewer")
    await spoken("GET", "/v1/campaigns", "viewer")
    collection = {"type": "FeatureCollection", "features": [POINT | {"id": "b"}, POINT | {"id": "c", "geometry": None}]}
    await spoken("POST", "/v1/imports?set=other", "owner", collection)

    enrolment = {"platform": "ios", "user": "ann", "locale": "de-AT", "consents": {"locate": "v1", "offers": "v1"}}
    phone = api.as_phone(await spoken("POST", "/v1/devices", "app", enrolment))
    await spoken("POST", "/v1/devices", "server", [enrolment | {"user": "eve"}, {"platform": "web"}])
    done = {"id": "basket-7", "user": "ann", "type": "basket_left", "at": now()}
    await spoken("POST", "/v1/interactions", "server", done)
    await spoken("POST", "/v1/devices/token", None, {"refresh_token": phone.refresh})
    await spoken("PUT", "/v1/me/consents/measure", phone.token, {"granted": True, "text_version": "v1"})
    await spoken("GET", "/v1/me/consents", phone.token)
    await spoken("GET", "/v1/me/rhythm", phone.token)
    await spoken("PUT", "/v1/me/rhythm", phone.token, {"max": 9, "per": {"hours": 5}, "min_gap_h": 0, "quiet": []})

    def pings(place, **more):
        return {"pings": [{"at": "2019-01-01T00:00:00Z", "lat": 99, "lon": 0}, {"at": now(), **position(place)} | more]}

    offers = (await spoken("POST", "/v1/pings", phone.token, pings(SHOP)))["offers"]
    await spoken("POST", "/v1/pings", phone.token, pings(AWAY, accuracy_m=5, speed_mps=1.5, mock=False))
    await spoken("POST", "/v1/pings", "server", pings(SHOP, device=phone.device))
    event = {"at": now(), "region": "stores/main", "event": "leave"}
    await spoken("POST", "/v1/pings", phone.token, {"pings": [event]})
    await spoken(
        "POST", f"/v1/me/offers/{offers[0]['id']}/events", phone.token, {"type": "dismissed", "reason": "not_now"}
    )
    await spoken("POST", f"/v1/me/offers/{offers[0]['id']}/events", phone.token, {"type": "muted"})
    await spoken("GET", "/v1/me/offers?limit=1", phone.token)
    found = (await spoken("GET", "/v1/decisions?limit=5", "viewer"))["items"]
    await spoken("GET", f"/v1/decisions/{found[0]['id']}", "owner")
    await spoken("GET", "/v1/me/export", phone.token)
    await spoken("DELETE", "/v1/me", phone.token)
    await spoken("DELETE", "/v1/geofences/stores/main", "owner")


def now():
    return before().isoformat()


def position(place):
    return {"lat": place[0], "lon": place[1]}


async def test_problems_are_as_the_document_says(api, served):
    phone = await api.phone(age="minor")
    for method, path, who, body, status in (
        ("GET", "/v1/me/rhythm", None, None, 401),
        ("POST", "/v1/pings", phone.token, {"pings": [{"at": now(), "lat": 1, "lon": 1}]}, 403),
        ("GET", "/v1/geofences/none/none", "viewer", None, 404),
        ("PUT", "/v1/me/rhythm", phone.token, b"{", 400),
        ("PUT", "/v1/me/rhythm", phone.token, {"max": -1, "unknown": 1}, 422),
        ("PUT", "/v1/me/rhythm", phone.token, b" " * 100_000, 413),
    ):
        answer = await api.call(method, path, who, body)
        assert answer.status == status
        served.check_answer(method, path, answer)
        assert answer.body["type"] == f"urn:geo-offers:problem:{answer.code}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/devices", {"platform": "toaster"}),
        ("POST", "/v1/devices", {"platform": "ios", "tenant_id": 1}),
        ("POST", "/v1/devices", {}),
        ("POST", "/v1/devices", []),
        ("PUT", "/v1/me/rhythm", {"max": -1}),
        ("PUT", "/v1/me/rhythm", {"per": {"hours": 0}}),
        ("PUT", "/v1/me/rhythm", {"quiet": [{"days": ["mon"], "start": "24:00", "end": "08:00"}]}),
        ("PUT", "/v1/me/consents/locate", {"granted": True}),
        ("POST", "/v1/me/offers/x/events", {"type": "seen"}),
        ("POST", "/v1/pings", {"pings": []}),
        ("POST", "/v1/pings", {"pings": [{"at": 5, "lat": 1, "lon": 1}]}),
        ("POST", "/v1/pings", {"pings": [{"lat": 1, "lon": 1}]}),
        ("POST", "/v1/devices/token", {"refresh_token": "x" * 257}),
        ("PATCH", "/v1/workspace", {"place_gap_s": -1}),
        ("PUT", "/v1/geofences/s/x", {"type": "Circle"}),
    ],
)
async def test_what_the_document_forbids_is_refused(api, served, method, path, body):
    with pytest.raises(jsonschema.ValidationError):
        served.check_request(method, path, body)
    phone = await api.phone()
    who = phone.token if "/me/" in path or "pings" in path else "app" if "devices" in path else "owner"
    assert (await api.call(method, path, who, body)).status in {400, 422}
