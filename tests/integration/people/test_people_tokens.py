"""Access and refresh tokens as the service takes them."""

import asyncio
import uuid

import pytest

from geo_offers.clock import now_us
from geo_offers.pipeline.tokens import ACCESS_S, AccessTokens
from geo_offers.storage.keys import PostgresServiceKeys
from tests.integration.people.conftest import SHOP
from tests.support.running import SAFE

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def rotated(api, refresh):
    return await api.call("POST", "/v1/devices/token", None, {"refresh_token": refresh})


async def status_of(api, token):
    return (await api.call("GET", "/v1/me/consents", token)).status


# ------------------------------------------------------------------------------------------------ access tokens
async def test_an_access_token_is_good_for_a_quarter_of_an_hour(api):
    phone = await api.phone()
    tokens = AccessTokens(PostgresServiceKeys(api.pool, SAFE))
    ids = (api.workspace, uuid.UUID(phone.device), uuid.UUID(phone.user), 0)
    old = await tokens.issue(*ids, now_us() - ACCESS_S * 1_000_000)
    assert await status_of(api, old) == 401
    assert await status_of(api, await tokens.issue(*ids, now_us() - (ACCESS_S - 5) * 1_000_000)) == 200


async def test_a_token_that_was_changed_anywhere_is_refused(api):
    phone = await api.phone()
    prefix, workspace, sealed = phone.token.split("_")
    other = "B" if sealed[0] == "A" else "A"
    wrong = [
        f"{prefix}_{workspace}_{other}{sealed[1:]}",
        f"{prefix}_{workspace}_{sealed[:40]}{'A' * (len(sealed) - 40)}",
        f"{prefix}_{uuid.uuid4().hex}_{sealed}",
        f"{prefix}_{workspace}_{sealed[:-8]}",
        f"{prefix}_{workspace}_",
        f"{prefix}_{workspace}",
        f"{prefix}_{workspace}_{sealed}_{sealed}",
        "at_",
        "at_" + "A" * 6000,
        "at_\xff_\xff",
    ]
    for token in wrong:
        answer = await api.call("GET", "/v1/me/consents", token)
        assert (answer.status, answer.code, answer.headers["WWW-Authenticate"]) == (401, "unauthenticated", "Bearer")
    assert await status_of(api, phone.token) == 200


async def test_a_token_of_another_workspace_opens_nothing_here(api, shared, session, rows):
    phone = await api.phone()
    other = type(api)(shared.service, shared.pool, session, rows)
    theirs = await other.phone()
    prefix, _, sealed = theirs.token.split("_")
    assert await status_of(api, f"{prefix}_{api.workspace.hex}_{sealed}") == 401
    ping = {"at": "2026-01-01T00:00:00Z", "lat": 0, "lon": 0, "device": phone.device}
    answer = await other.good("POST", "/v1/pings", "server", {"pings": [ping]})
    assert answer["results"] == [{"status": "refused", "reason": "unknown_device"}]


async def test_a_phone_sends_the_pings_of_no_other_phone(api):
    one, other = await api.phone(), await api.phone()
    ping = {"at": "2026-01-01T00:00:00Z", "lat": 0, "lon": 0, "device": other.device}
    answer = await one.call("POST", "/v1/pings", {"pings": [ping]})
    assert (answer.status, answer.code) == (403, "other_device")


async def test_tokens_of_before_a_rotation_of_the_services_key_stay_good_and_new_ones_are_of_the_new_key(api):
    keys, phone = PostgresServiceKeys(api.pool, SAFE), await api.phone()
    await keys.rotate()
    tokens = AccessTokens(keys)
    fresh = await tokens.issue(api.workspace, uuid.UUID(phone.device), uuid.UUID(phone.user), 0, now_us())
    async with asyncio.timeout(3):  # a key that the service has not seen yet is asked for, once a second at most
        while await status_of(api, fresh) != 200:
            await asyncio.sleep(0.05)
    assert await status_of(api, phone.token) == 200
    answer = await rotated(api, phone.refresh)
    # With the old key gone from the database, only what the service issued under the new one is good.
    await api.rows.execute("DELETE FROM service_key WHERE retired_at IS NOT NULL")
    alone = AccessTokens(keys)
    assert (await alone.check(answer.body["access_token"], now_us())).device == uuid.UUID(phone.device)


# ------------------------------------------------------------------------------------------------ refresh tokens
async def test_a_rotation_gives_a_new_pair_for_the_same_device(api):
    phone = await api.phone()
    answer = await rotated(api, phone.refresh)
    assert (answer.status, answer.body["expires_in"]) == (200, ACCESS_S)
    assert answer.body["refresh_token"] != phone.refresh
    assert await status_of(api, answer.body["access_token"]) == 200
    assert await status_of(api, phone.token) == 200


async def test_a_refresh_token_stays_good_until_its_successor_is_first_used(api):
    phone = await api.phone()
    for _ in range(3):  # the answers are lost
        last = await rotated(api, phone.refresh)
        assert last.status == 200
    assert (await rotated(api, last.body["refresh_token"])).status == 200


async def test_reuse_after_the_successor_was_used_revokes_all_tokens_of_the_device_at_once(api):
    phone = await api.phone()
    assert (await phone.at(SHOP)).status == 200  # the service knows the device by heart
    second = (await rotated(api, phone.refresh)).body
    third = (await rotated(api, second["refresh_token"])).body
    reused = await rotated(api, phone.refresh)
    assert (reused.status, reused.code) == (401, "unauthenticated")
    for token in (phone.token, second["access_token"], third["access_token"]):
        assert await status_of(api, token) == 401
    for refresh in (third["refresh_token"], second["refresh_token"], phone.refresh):
        assert (await rotated(api, refresh)).status == 401


async def test_reuse_ends_the_tokens_of_that_device_only(api):
    one, other = await api.phone(user="ann"), await api.phone(user="ann")
    second = (await rotated(api, one.refresh)).body
    await rotated(api, second["refresh_token"])
    assert (await rotated(api, one.refresh)).status == 401
    assert await status_of(api, other.token) == 200
    assert (await rotated(api, other.refresh)).status == 200


async def test_two_holders_of_one_refresh_token_do_not_both_go_on(api):
    phone = await api.phone()
    theirs = (await rotated(api, phone.refresh)).body
    mine = (await rotated(api, phone.refresh)).body
    assert (await rotated(api, mine["refresh_token"])).status == 200
    assert (await rotated(api, theirs["refresh_token"])).status == 401
    assert await status_of(api, mine["access_token"]) == 401


async def test_rotations_at_once_are_all_answered_and_one_line_goes_on(api):
    phone = await api.phone()
    answers = await asyncio.gather(*(rotated(api, phone.refresh) for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert {await status_of(api, answer.body["access_token"]) for answer in answers} == {200}
    refresh = answers[3].body["refresh_token"]
    for _ in range(3):
        answer = await rotated(api, refresh)
        assert answer.status == 200
        refresh = answer.body["refresh_token"]


async def test_a_refresh_token_ends_after_its_time(api):
    phone = await api.phone()
    await api.rows.execute(
        "UPDATE refresh_token SET expires_at = clock_timestamp() - interval '1 s' WHERE device = $1",
        uuid.UUID(phone.device),
    )
    assert (await rotated(api, phone.refresh)).status == 401


async def test_what_is_no_refresh_token_of_this_device_is_refused(api):
    one, other = await api.phone(), await api.phone()
    prefix, workspace, device, secret = one.refresh.split("_")
    wrong = [
        f"{prefix}_{workspace}_{uuid.UUID(other.device).hex}_{secret}",
        f"{prefix}_{uuid.uuid4().hex}_{device}_{secret}",
        f"{prefix}_{workspace}_{device}_{'0' * 64}",
        f"pk_{workspace}_{device}_{secret}",
        one.token,
        await api.key("app"),
        "",
        "_" * 200,
        "rt_ö",
        f"{prefix}_{workspace}_{device}_ö\0",
    ]
    for token in wrong:
        assert (await rotated(api, token)).status == 401, token
    assert (await rotated(api, "x" * 257)).status == 422
    assert (await rotated(api, one.refresh)).status == 200
