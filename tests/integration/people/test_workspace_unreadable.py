"""What is stored of a workspace and cannot be read any more: it closes, and takes nobody's visits along."""

import uuid

import pytest
from structlog.testing import capture_logs

from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def spoil(api, what, where, *values):
    """A hand's change, of which every process hears by the catalog's version."""
    await api.rows.execute(f"UPDATE {what} WHERE {where}", *values)
    await api.rows.execute("UPDATE workspace SET catalog_version = catalog_version + 1 WHERE id = $1", api.workspace)


def errors(told):
    return {(line["what"], line["of"]) for line in told if line["log_level"] == "error"}


async def reasons(api):
    return [item.get("reason") for item in (await api.good("GET", "/v1/decisions", "owner"))["items"]]


@pytest.mark.parametrize(
    "settings",
    [b"{", b'{"time_zone":"Mars/Olympus"}', b'{"quiet":[{"days":["monday"]}]}', b'{"quiet":[{"holidays":"XX"}]}'],
)
async def test_a_workspace_whose_rules_are_unreadable_is_paused_and_its_people_visit(api, settings):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, "workspace SET settings = $2", "id = $1", api.workspace, settings)
    with capture_logs() as told:
        answer = await phone.at(SHOP)
    assert (answer.status, answer.body["offers"]) == (200, [])
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]
    assert await reasons(api) == ["kill_switch"]
    assert {(line["what"], line["of"]) for line in told if line["log_level"] == "error"} == {
        ("settings", api.workspace)
    }


async def test_unreadable_rules_are_shown_as_the_strictest_and_mended_by_a_change(api):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, "workspace SET settings = '{'", "id = $1", api.workspace)
    shown = await api.good("GET", "/v1/workspace", "owner")
    assert (shown["paused"], shown["age"], shown["user_proof"]) == (True, "unknown", "required")
    refused = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "user": "ann"})
    assert (refused.status, refused.code) == (403, "user_proof")
    change = {"paused": False, "age": "vouched", "user_proof": "off", "place_gap_s": 0, "store_gap_s": 0, "holdout": 0}
    await api.good("PATCH", "/v1/workspace", "owner", change)
    assert len((await phone.at(SHOP)).body["offers"]) == 1


async def test_an_unreadable_campaign_is_left_out_and_the_others_speak(api):
    rotten, other = await api.shop(), await api.shop(priority=-5)
    phone = await api.buyer()
    await spoil(api, "campaign SET body = '{'", "id = $1", uuid.UUID(rotten))
    with capture_logs() as told:
        answer = await phone.at(SHOP)
    assert [offer["campaign"] for offer in answer.body["offers"]] == [other]
    assert errors(told) == {("campaign", uuid.UUID(rotten))}


@pytest.mark.parametrize("body", ['{"name":7}', '{"name":"There","time_zone":"Mars/Olympus"}'])
async def test_an_unreadable_store_is_left_out_and_its_fences_speak(api, body):
    await api.shop()
    await api.good("PUT", "/v1/stores/one", "owner", {"name": "One"})
    phone = await api.buyer()
    await spoil(api, "store SET body = $2", "workspace = $1", api.workspace, body.encode())
    assert len((await phone.at(SHOP)).body["offers"]) == 1
    assert (await phone.at(AWAY)).status == 200
