"""What a phone or app sends that cannot be meant: a problem with code and place, nothing applied, never a 5xx."""

import asyncio
import gzip
import json
import uuid
from urllib.parse import urlsplit

import pytest

from tests.integration.people.conftest import AWAY, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = f"/v1/me/offers/{uuid.uuid4()}/events"
CALLS = [
    ("POST", "/v1/devices", "app"),
    ("POST", "/v1/devices/token", None),
    ("PUT", "/v1/me/consents/offers", "phone"),
    ("PUT", "/v1/me/rhythm", "phone"),
    ("POST", EVENTS, "phone"),
    ("POST", "/v1/pings", "phone"),
    ("PATCH", "/v1/workspace", "owner"),
]
every_call = pytest.mark.parametrize(("method", "path", "who"), CALLS, ids=[f"{m} {p[:24]}" for m, p, _ in CALLS])

NO_JSON = {
    "empty": b"",
    "blank": b" \n ",
    "no JSON": b"nope",
    "cut off": b"{",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "scalar": b"1",
    "text": b'"text"',
    "null": b"null",
}
NO_TEXT = {
    "no UTF-8": b'"\xff"',
    "half a pair": b'"\\ud800"',
    "unquoted": b"NaN",
    "without end": b'"x',
}
TEXTS = {  # a place in each body where a text may stand
    "/v1/devices": b'{"platform": %s}',
    "/v1/devices/token": b'{"refresh_token": %s}',
    "/v1/me/consents/offers": b'{"text_version": %s}',
    "/v1/me/rhythm": b'{"per": %s}',
    EVENTS: b'{"type": %s}',
    "/v1/pings": b'{"pings": [{"at": %s}]}',
    "/v1/workspace": b'{"time_zone": %s}',
}


def key_of(who, phone):
    return phone.token if who == "phone" else who


@every_call
async def test_what_is_no_json_is_refused_as_a_whole(api, method, path, who):
    phone = await api.phone()
    bodies = NO_JSON | {name: TEXTS[path] % text for name, text in NO_TEXT.items()}
    for name, body in bodies.items():
        answer = await api.call(method, path, key_of(who, phone), body)
        assert (answer.status, answer.code) == (400, "malformed"), (name, answer.body)
        assert len(answer.raw) < 1000


@every_call
async def test_endless_nesting_is_refused(api, method, path, who):
    phone = await api.phone()
    for body in (b"[" * 1000 + b"]" * 1000, b"[" * 30_000, TEXTS[path] % (b"[" * 1000 + b"]" * 1000)):
        answer = await api.call(method, path, key_of(who, phone), body)
        assert answer.status in {400, 422}
        assert answer.code in {"malformed", "invalid"}


async def test_a_number_beyond_all_numbers_is_no_json(api):
    phone = await api.phone()
    for value in (b"1e999", b"-1e999", b"9" * 5000):
        answer = await phone.call("PUT", "/v1/me/rhythm", b'{"min_gap_h": ' + value + b"}")
        assert (answer.status, answer.code) == (400, "malformed"), value[:10]
        ping = b'{"pings": [{"at": "2026-01-01T00:00:00Z", "lon": 1, "lat": ' + value + b"}]}"
        answer = await phone.call("POST", "/v1/pings", ping)
        assert (answer.status, answer.code) == (400, "malformed"), value[:10]


@every_call
async def test_a_key_that_stands_twice_is_refused(api, method, path, who):
    phone = await api.phone()
    bodies = {
        "/v1/devices": b'{"platform": "ios", "platform": "ios"}',
        "/v1/devices/token": b'{"refresh_token": "a", "refresh_token": "b"}',
        "/v1/me/consents/offers": b'{"granted": false, "text_version": "v1", "granted": true}',
        "/v1/me/rhythm": b'{"max": 1, "\\u006dax": 2}',
        EVENTS: b'{"type": "shown", "type": "muted"}',
        "/v1/pings": b'{"pings": [{"at": "2026-01-01T00:00:00Z", "lat": 1, "lon": 1, "lat": 2}]}',
        "/v1/workspace": b'{"quiet": [], "quiet": []}',
    }
    answer = await api.call(method, path, key_of(who, phone), bodies[path])
    assert (answer.status, answer.code) == (400, "malformed")
    assert await phone.consents() == {"locate": True, "offers": True}


@every_call
async def test_a_body_of_another_shape_is_refused_with_its_place(api, method, path, who):
    phone = await api.phone()
    answer = await api.call(method, path, key_of(who, phone), {"tenant_id": "x" * 5000})
    assert (answer.status, answer.code) == (422, "invalid")
    assert answer.body["errors"][0]["pointer"] in {"/tenant_id", ""}
    answer = await api.call(method, path, key_of(who, phone), {"x" * 5000: 1})
    assert answer.status == 422
    assert len(answer.body["detail"]) <= 200
    answer = await api.call(method, path, key_of(who, phone), [])
    assert answer.status == 422


@every_call
async def test_a_body_over_its_bound_is_refused_however_it_comes(api, method, path, who):
    phone = await api.phone()

    async def endless():
        for _ in range(100):
            yield b" " * 65_536

    headers = {"Authorization": f"Bearer {phone.token if who == 'phone' else await api.key(who or 'app')}"}
    url = api.service.url + path
    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) < 30_000
    sent = [
        {"data": endless()},
        {"data": bomb, "headers": headers | {"Content-Encoding": "gzip"}},
    ]
    for one in sent:
        async with api.session.request(method, url, **({"headers": headers} | one)) as response:
            assert response.status == 413
            assert (await response.json())["code"] == "too_large"


async def test_a_call_without_a_body_takes_none(api):
    phone = await api.phone()
    for method, path in (("DELETE", "/v1/me"), ("GET", "/v1/me/rhythm")):
        answer = await phone.call(method, path, b"{}")
        assert (answer.status, answer.code) == (400, "malformed")
    assert await phone.consents() == {"locate": True, "offers": True}


async def test_an_unknown_parameter_is_refused_and_one_that_stands_twice(api):
    phone = await api.phone()
    answer = await phone.call("GET", "/v1/me/consents?tenant_id=1")
    assert (answer.status, answer.pointers) == (422, ["/tenant_id"])
    answer = await phone.call("GET", "/v1/me/offers?limit=1&limit=1")
    assert (answer.status, answer.code) == (422, "invalid")


async def test_a_path_or_method_that_is_none_is_a_problem_too(api):
    answer = await api.call("GET", "/v1/nothing")
    assert (answer.status, answer.code, answer.body["instance"]) == (404, "not_found", "/v1/nothing")
    answer = await api.call("POST", "/v1/me/rhythm", "app", {})
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(",")) >= {"GET", "PUT"}


RAW = {
    "no UTF-8 in the path": (b"GET /v1/me/\xff HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404}),
    "half a pair in the path": (b"GET /v1/me/consents?\xed\xa0\x80 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401}),
    "no UTF-8 in a key": (
        b"GET /v1/workspace HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mk_" + b"0" * 32 + b"_a_\xff\r\n\r\n",
        {400, 401},
    ),
    "two lengths": (
        b"POST /v1/devices/token HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        {400},
    ),
    "length and chunks": (
        (
            b"POST /v1/devices/token HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\n{}\r\n0\r\n\r\n"
        ),
        {400},
    ),
    "a length that is none": (b"POST /v1/devices/token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
    "a header without end": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", {400}),
}


@pytest.mark.parametrize("name", RAW)
async def test_bytes_that_no_client_sends_are_refused(api, name):
    sent, statuses = RAW[name]
    where = urlsplit(api.service.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(sent)
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert int(line.split()[1]) in statuses, line


async def test_an_idempotency_key_in_the_way_of_bytes_is_refused(api):
    key = (await api.key("owner")).encode()
    where = urlsplit(api.service.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = b"PATCH /v1/workspace HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nAuthorization: Bearer " + key
    writer.write(head + b"\r\nIdempotency-Key: \xff\xfe\r\n\r\n{}")
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert line.split()[1] == b"400"


# ------------------------------------------------------------------------------------------------ pings
def ping(**change):
    return {"at": before().isoformat(), "lat": AWAY[0], "lon": AWAY[1]} | change


def ago(**age):
    return before(**age).isoformat()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lat": 90.0001}, "out_of_range"),
        ({"lat": -91}, "out_of_range"),
        ({"lon": 181}, "out_of_range"),
        ({"lon": -180.5}, "out_of_range"),
        ({"lat": 1e308}, "out_of_range"),
        ({"at": "yesterday"}, "bad_time"),
        ({"at": ""}, "bad_time"),
        ({"at": "2026-01-01T00:00:00"}, "bad_time"),
        ({"at": "9999-12-31T23:59:59Z"}, "bad_time"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "bad_time"),
        ({"at": ago(hours=-9)}, "future"),
        ({"at": ago(days=31)}, "too_old"),
        ({"lat": None, "lon": None, "region": "stores/none", "event": "enter"}, "unknown_region"),
        ({"lat": None, "lon": None, "region": "a\0b", "event": "leave"}, "unknown_region"),
    ],
)
async def test_a_point_that_cannot_be_is_refused_by_its_index_and_the_others_are_taken(api, change, reason):
    phone = await api.phone()
    answer = await phone.call("POST", "/v1/pings", {"pings": [ping(at=ago(seconds=9)), ping(**change), ping()]})
    assert answer.status == 200
    accepted = {"status": "accepted"}
    assert answer.body["results"] == [accepted, {"status": "refused", "reason": reason}, accepted]


@pytest.mark.parametrize(
    "change",
    [
        {"accuracy_m": None},
        {"accuracy_m": 0},
        {"accuracy_m": -1},
        {"accuracy_m": 1e9},
        {"speed_mps": -1},
        {"speed_mps": 1e300},
        {"mock": True},
        {"id": "x" * 128, "foreground": False, "course_deg": 1e9},
        {"at": ago(minutes=-4)},
    ],
)
async def test_a_readable_point_is_taken_whatever_it_says_of_itself(api, change):
    phone = await api.phone()
    answer = await phone.call("POST", "/v1/pings", {"pings": [ping(**change)]})
    assert (answer.status, answer.body["results"]) == (200, [{"status": "accepted"}])


@pytest.mark.parametrize(
    ("pings", "pointer"),
    [
        ([], "/pings"),
        ([ping(lat="53")], "/pings/0/lat"),
        ([ping(), ping(lon=[1, 2, 3])], "/pings/1/lon"),
        ([ping(at=1_700_000_000)], "/pings/0/at"),
        ([{"lat": 1, "lon": 1}], "/pings/0"),
        ([ping(lat=None)], "/pings/0"),
        ([ping(), ping(region="a/b")], "/pings/1"),
        ([ping(region="a/b", event="enter")], "/pings/0"),
        ([ping(event="inside", region="a/b")], "/pings/0/event"),
        ([ping(id="x" * 129)], "/pings/0/id"),
        ([ping(latitude=1)], "/pings/0/latitude"),
        ([ping(device="me")], "/pings/0/device"),
    ],
)
async def test_a_ping_of_another_shape_is_refused_with_its_place_and_nothing_is_applied(api, pings, pointer):
    await api.shop()
    phone = await api.buyer()
    inside = ping(lat=SHOP[0], lon=SHOP[1])
    answer = await phone.call("POST", "/v1/pings", {"pings": [inside, *pings] if pings else []})
    shifted = (
        pointer if not pings else pointer.replace("/1", "/2", 1) if "/1" in pointer else pointer.replace("/0", "/1", 1)
    )
    assert (answer.status, answer.pointers) == (422, [shifted])
    assert await api.rows.fetchval("SELECT count(*) FROM visit WHERE workspace = $1", api.workspace) == 0


async def test_a_batch_over_its_bound_is_too_large(api):
    phone = await api.phone()
    full = [ping(at=ago(seconds=2000 - n)) for n in range(1000)]
    answer = await phone.call("POST", "/v1/pings", {"pings": [*full, ping()]})
    assert (answer.status, answer.code) == (413, "too_large")
    answer = await phone.call("POST", "/v1/pings", {"pings": full})
    assert (answer.status, len(answer.body["results"])) == (200, 1000)


async def test_what_is_sent_again_or_out_of_order_is_told_from_what_is_new(api):
    phone = await api.phone()
    old, new = ping(at=ago(seconds=60)), ping(at=ago(seconds=30))
    for pings, told in (([new], ["accepted"]), ([old, new], ["late", "duplicate"]), ([new, new], ["duplicate"] * 2)):
        answer = await phone.good("POST", "/v1/pings", {"pings": pings})
        assert [result["status"] for result in answer["results"]] == told


async def test_a_server_key_is_told_of_unknown_devices_point_by_point(api):
    phone = await api.phone()
    silent = await api.phone(consents={})
    pings = [
        ping(device=phone.device),
        ping(device=str(uuid.uuid4())),
        ping(),
        ping(device=silent.device),
    ]
    answer = await api.good("POST", "/v1/pings", "server", {"pings": pings})
    assert answer["results"] == [
        {"status": "accepted"},
        {"status": "refused", "reason": "unknown_device"},
        {"status": "refused", "reason": "unknown_device"},
        {"status": "refused", "reason": "consent_required"},
    ]
    assert "next" not in answer


async def test_an_answer_never_gives_out_what_was_sent(api):
    phone = await api.phone()
    told = json.dumps((await phone.at((12.3456789, 98.7654321))).body)
    assert "12.34" not in told
    assert "98.76" not in told
