"""What is stored of one person and cannot be read any more: it is that person's alone, and it closes, never opens."""

import uuid

import pytest
from structlog.testing import capture_logs

from tests.integration.people.conftest import AWAY, LOOSE, SHOP, before

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROTTEN = '{"quiet":[{"days":["mon"],"start":"0٨:00","end":"09:00"}]}'.encode()


async def spoil(api, phone, column, value):
    await api.rows.execute(f"UPDATE app_user SET {column} = $2 WHERE id = $1", uuid.UUID(phone.user), value)


async def visits(api, phone):
    return await api.rows.fetchval("SELECT count(*) FROM visit WHERE user_id = $1", uuid.UUID(phone.user))


async def reasons(api):
    return [item.get("reason") for item in (await api.good("GET", "/v1/decisions", "owner"))["items"]]


@pytest.mark.parametrize(("column", "value"), [("rhythm", ROTTEN), ("time_zone", "Mars/Olympus")])
async def test_a_person_with_an_unreadable_rhythm_or_zone_visits_and_gets_no_offer(api, column, value):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, phone, column, value)
    with capture_logs() as told:
        answer = await phone.at(SHOP)
    assert answer.status == 200
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]
    assert answer.body["offers"] == []
    assert await visits(api, phone) == 1
    assert await reasons(api) == ["quiet_hours"]
    (line,) = [line for line in told if line["log_level"] == "error"]
    assert (line["what"], line["of"]) == (column, uuid.UUID(phone.user))
    assert str(value) not in str(line)


async def test_of_whom_it_cannot_be_read_where_they_may_be_located_is_located_nowhere(api):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, phone, "rhythm", b"{")
    with capture_logs() as told:
        answer = await phone.at(SHOP)
    assert (answer.body["results"], answer.body["transitions"]) == ([{"status": "accepted"}], [])
    assert await visits(api, phone) == 0
    (line,) = [line for line in told if line["log_level"] == "error"]
    assert (line["what"], line["of"]) == ("rhythm", uuid.UUID(phone.user))


async def test_a_rhythm_that_is_put_anew_is_in_force_again(api):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, phone, "rhythm", ROTTEN)
    assert (await phone.good("GET", "/v1/me/rhythm"))["max"] == 0
    assert (await phone.good("GET", "/v1/me/export"))["rhythm"]["max"] == 0
    await phone.good("PUT", "/v1/me/rhythm", LOOSE)
    assert len((await phone.at(SHOP)).body["offers"]) == 1


async def test_unreadable_consents_are_none_until_they_are_given_again(api):
    await api.shop()
    phone = await api.buyer()
    await spoil(api, phone, "consents", b'{"locate":')
    answer = await phone.at(SHOP)
    assert (answer.status, answer.code) == (403, "consent_required")
    assert await visits(api, phone) == 0
    assert await phone.consents() == {}
    for purpose in ("locate", "offers"):
        assert (await phone.consent(purpose, granted=True)).status == 200
    assert len((await phone.at(SHOP)).body["offers"]) == 1


async def test_a_person_whose_consents_are_unreadable_can_be_erased(api):
    phone = await api.phone()
    await spoil(api, phone, "consents", b"{")
    assert (await phone.call("DELETE", "/v1/me")).status == 204


async def test_consents_that_rot_between_two_pings_stop_the_next_visit(api):
    await api.shop()
    phone = await api.buyer()
    await phone.at(AWAY)  # the owner of the partition knows the phone now, as one that may be located
    await spoil(api, phone, "consents", b"{")
    answer = await phone.at(SHOP)
    assert [result["reason"] for result in answer.body["results"]] == ["consent_required"]
    assert await visits(api, phone) == 0


async def test_a_device_whose_presence_is_unreadable_begins_outside(api):
    await api.shop()
    phone = await api.buyer()
    await api.rows.execute("UPDATE device SET presence = '{' WHERE id = $1", uuid.UUID(phone.device))
    answer = await phone.at(SHOP)
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]


async def test_one_unreadable_person_does_not_take_a_turn_of_many_apart(api):
    await api.shop()
    phones = [await api.buyer("server") for _ in range(5)]
    await spoil(api, phones[0], "rhythm", ROTTEN)
    await spoil(api, phones[1], "time_zone", "Mars/Olympus")
    await spoil(api, phones[2], "consents", b"{")
    instant = before(seconds=5).isoformat()
    pings = [{"at": instant, "lat": SHOP[0], "lon": SHOP[1], "accuracy_m": 5, "device": p.device} for p in phones]
    with capture_logs() as told:
        answer = await api.call("POST", "/v1/pings", "server", {"pings": pings})
    assert answer.status == 200
    assert [result.get("reason") for result in answer.body["results"]] == [None, None, "consent_required", None, None]
    assert len(answer.body["offers"]) == 2
    assert [await visits(api, phone) for phone in phones] == [1, 1, 0, 1, 1]
    assert {line["event"] for line in told} == {"a stored value cannot be read"}
