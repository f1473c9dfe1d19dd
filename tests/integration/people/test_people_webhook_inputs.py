"""What a manager gets wrong about webhooks is told with its place, and changes nothing."""

import uuid

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOOK = {"url": "https://hooks.example/geo", "types": ["offer.sent"]}
NOBODY = f"/v1/webhooks/{uuid.UUID(int=0)}"


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"url": None}, "/url", "invalid"),
        ({"url": 7}, "/url", "invalid"),
        ({"url": ""}, "/url", "invalid"),
        ({"url": "https://"}, "/url", "link"),
        ({"url": "https://hooks.example:99999/"}, "/url", "link"),
        ({"url": "https://hooks.example:0/"}, "/url", "link"),
        ({"url": "https://hooks.example/" + "a" * 2000}, "/url", "invalid"),
        ({"url": "https://hooks.example/\u0000"}, "/url", "link"),
        ({"url": "https://b\u00fccher.example/"}, "/url", "link"),
        ({"types": None}, "/types", "invalid"),
        ({"types": []}, "/types", "invalid"),
        ({"types": ["offer.sent"] * 21}, "/types", "invalid"),
        ({"types": ["offer.sent", "offer.*"]}, "/types/1", "invalid"),
        ({"types": ["webhook.test"]}, "/types/0", "invalid"),
        ({"coordinates": "yes"}, "/coordinates", "invalid"),
        ({"coordinates": None}, "/coordinates", "invalid"),
        ({"secret": "whsec_AAAA"}, "/secret", "unknown_field"),
    ],
)
async def test_a_fault_has_its_place(api, change, pointer, code):
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    for method, path, body in (
        ("POST", "/v1/webhooks", HOOK | change),
        ("PATCH", f"/v1/webhooks/{made['id']}", change),
    ):
        refused = await api.call(method, path, "editor", body)
        assert refused.status == 422, (method, refused.body)
        assert refused.code == "invalid"
        assert [(fault["pointer"], fault["code"]) for fault in refused.body["errors"]] == [(pointer, code)]
    (held,) = (await api.good("GET", "/v1/webhooks", "viewer"))["items"]
    assert held == {name: value for name, value in made.items() if name != "secret"}


@pytest.mark.parametrize("missing", ["url", "types"])
async def test_what_is_missing_is_named(api, missing):
    refused = await api.call("POST", "/v1/webhooks", "editor", {k: v for k, v in HOOK.items() if k != missing})
    assert (refused.status, refused.body["errors"][0]["code"]) == (422, "missing")
    assert missing in refused.body["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "pointers"),
    [
        ("GET", "?limit=0", 422, ["/limit"]),
        ("GET", "?limit=many", 422, ["/limit"]),
        ("GET", "?cursor=nonsense", 400, None),
        ("GET", "?of=me", 422, ["/of"]),
        ("GET", "/{id}/deliveries?limit=-1", 422, ["/limit"]),
        ("GET", "/{id}/deliveries?cursor=WyIwMDAxLTAxLTAxIl0", 400, None),
        ("POST", "/{id}/replay", 422, [""]),
        ("POST", "/{id}/replay?since=yesterday", 422, ["/since"]),
        ("POST", "/{id}/replay?since=2026-01-01T00:00:00", 422, ["/since"]),
        ("POST", "/{id}/replay?since=0001-01-01T00:00:00%2B14:00", 422, ["/since"]),
        ("POST", "/{id}/replay?since=9999-12-31T23:59:59-14:00", 422, ["/since"]),
        ("POST", "/{id}/deliveries/none/replay", 404, None),
        ("POST", "/{id}/deliveries/" + str(uuid.UUID(int=0)) + "/replay", 404, None),
        ("GET", "/none", 404, None),
        ("DELETE", "/none", 404, None),
        ("PATCH", "/none", 404, None),
    ],
)
async def test_a_wrong_path_or_query_is_a_problem(api, method, path, status, pointers):
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    body = {} if method == "PATCH" else None
    refused = await api.call(method, "/v1/webhooks" + path.format(id=made["id"]), "editor", body)
    assert refused.status == status, refused.body
    assert refused.code
    assert pointers is None or refused.pointers == pointers


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"coordinates": True}),
        ("DELETE", "", None),
        ("POST", "/secret", None),
        ("GET", "/deliveries", None),
        ("POST", f"/deliveries/{uuid.UUID(int=0)}/replay", None),
        ("POST", "/replay?since=2026-01-01T00:00:00Z", None),
        ("POST", "/test", None),
    ],
)
async def test_anothers_webhook_is_nobodys(api, method, path, body):
    other = type(api)(api.service, api.pool, api.session, api.rows)
    made = await other.good("POST", "/v1/webhooks", "editor", HOOK)
    for ident in (made["id"], str(uuid.UUID(int=0))):
        refused = await api.call(method, f"/v1/webhooks/{ident}{path}", "owner", body)
        assert (refused.status, refused.code) == (404, "not_found")
    assert (await other.good("GET", f"/v1/webhooks/{made['id']}", "viewer"))["coordinates"] is False


async def test_no_more_than_twenty_a_workspace(api):
    for _ in range(20):
        await api.good("POST", "/v1/webhooks", "editor", HOOK)
    refused = await api.call("POST", "/v1/webhooks", "editor", HOOK)
    assert (refused.status, refused.code) == (409, "conflict")


@pytest.mark.parametrize("path", ["/test", "/replay?since=2026-01-01T00:00:00Z", "/deliveries/{event}/replay"])
async def test_nothing_is_queued_for_one_that_is_disabled(api, path):
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    tested = await api.good("POST", f"/v1/webhooks/{made['id']}/test", "editor")
    await api.good("PATCH", f"/v1/webhooks/{made['id']}", "editor", {"disabled": True})
    refused = await api.call("POST", f"/v1/webhooks/{made['id']}{path.format(**tested)}", "editor")
    assert (refused.status, refused.code) == (409, "conflict")
    assert "disabled" in refused.body["detail"]


async def test_a_webhook_is_not_sent_what_it_did_not_ask_for_by_a_replay(api):
    first, other = [await api.good("POST", "/v1/webhooks", "editor", HOOK) for _ in range(2)]
    tested = await api.good("POST", f"/v1/webhooks/{first['id']}/test", "editor")
    refused = await api.call("POST", f"/v1/webhooks/{other['id']}/deliveries/{tested['event']}/replay", "editor")
    assert refused.status == 404
    assert (await api.good("GET", f"/v1/webhooks/{other['id']}/deliveries", "viewer"))["items"] == []


async def test_a_test_whose_answer_was_lost_is_asked_for_again(api):
    made = await api.good("POST", "/v1/webhooks", "editor", HOOK)
    first = await api.call("POST", f"/v1/webhooks/{made['id']}/test", "editor", key="once")
    await api.rows.execute("DELETE FROM idempotency WHERE workspace = $1", api.workspace)  # as after a lost answer
    second = await api.call("POST", f"/v1/webhooks/{made['id']}/test", "editor", key="once")
    assert (first.status, second.status) == (200, 200)
    assert first.body == second.body


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_a_receipt_of_no_possible_instant_is_refused_with_its_place(api, at):
    told = [{"offer": str(uuid.uuid4()), "type": kind, "at": at} for kind in ("shown", "delivered")]
    refused = await api.call("POST", "/v1/receipts", "server", {"receipts": told})
    assert (refused.status, refused.pointers[0]) == (422, "/receipts/0/at")


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "2100-01-01T00:00:00Z"])
async def test_an_interaction_of_a_day_that_never_comes_is_refused_with_its_place(api, at):
    phone = await api.phone()
    told = {"id": "1", "user": phone.user, "type": "purchase", "at": at}
    refused = await api.call("POST", "/v1/interactions", "server", told)
    assert (refused.status, refused.pointers) == (422, ["/at"])
