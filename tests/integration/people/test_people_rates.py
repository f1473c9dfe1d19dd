"""How often a device may change what its person said: the ledger stays bounded, and the person in control."""

import asyncio

import pytest

from geo_offers.pipeline.people import CHANGES_BURST
from geo_offers.pipeline.rates import CALLS_BURST
from tests.integration.people.conftest import AWAY

pytestmark = pytest.mark.asyncio(loop_scope="module")

BURST = round(CHANGES_BURST)


async def spend(phone):
    """Change the rhythm until that is refused; the answers."""
    answers = [await phone.call("PUT", "/v1/me/rhythm", {"max": number}) for number in range(2 * BURST)]
    assert {answer.status for answer in answers[:BURST]} == {200}
    assert answers[-1].status == 429
    return answers


async def test_consents_given_without_end_fill_no_ledger(api):
    phone = await api.phone(consents={})
    answers = [await phone.consent("measure", granted=True, version=f"v{number}") for number in range(3 * BURST)]
    taken = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    assert answers[:BURST] == taken[:BURST]
    assert {(answer.status, answer.code, answer.headers["Retry-After"]) for answer in refused} == {
        (429, "too_many_requests", "3")
    }
    assert await api.ledger() == len(taken) < 2 * BURST


async def test_a_withdrawal_is_taken_however_often_the_device_has_changed_its_mind(api):
    phone = await api.phone()
    await spend(phone)
    for purpose in ("locate", "offers", "profile"):
        before = await api.ledger()
        assert (await phone.consent(purpose, granted=False)).status == 200
        assert await api.ledger() == before + 1
    assert (await phone.at(AWAY)).status == 403
    assert await phone.consents() == {"locate": False, "offers": False, "profile": False}


async def test_a_withdrawal_of_what_is_withdrawn_is_no_way_around_the_rate(api):
    phone = await api.phone()
    await spend(phone)
    assert (await phone.consent("locate", granted=False)).status == 200
    before = await api.ledger()
    answers = [await phone.consent("locate", granted=False, version=f"v{number}") for number in range(BURST)]
    assert 429 in {answer.status for answer in answers}
    assert await api.ledger() - before == len([answer for answer in answers if answer.status == 200])
    answers = [await phone.consent("locate", granted=granted) for granted in (True, False) * BURST]
    assert 429 in {answer.status for answer in answers[::2]}


async def test_the_rate_is_the_devices_and_bounds_nothing_else(api):
    phone, other = await api.phone("server", user="ann"), await api.phone("server", user="ann")
    await spend(phone)
    assert (await phone.call("GET", "/v1/me/rhythm")).status == 200
    assert (await other.call("PUT", "/v1/me/rhythm", {"max": 1})).status == 200
    assert (await phone.at(AWAY)).status == 200
    assert (await phone.call("DELETE", "/v1/me")).status == 204


async def test_what_is_refused_for_the_rate_is_not_kept_under_its_idempotency_key(api):
    phone = await api.phone()
    await spend(phone)
    for _ in range(2):
        answer = await phone.call("PUT", "/v1/me/rhythm", {"max": 7}, key="k")
        assert "Idempotency-Replayed" not in answer.headers


READS = ("/v1/me/offers", "/v1/me/consents", "/v1/me/rhythm", "/v1/me/export")


async def flood(phone):
    """Ask for so much at once that a good part of it is refused; the answers."""
    count = round(4 * CALLS_BURST)
    return await asyncio.gather(*(phone.call("GET", READS[number % len(READS)]) for number in range(count)))


async def test_a_device_that_asks_without_end_is_told_to_wait_a_second(api):
    phone = await api.phone()
    answers = await flood(phone)
    taken = [answer for answer in answers if answer.status == 200]
    refused = {(answer.status, answer.headers.get("Retry-After")) for answer in answers if answer.status != 200}
    assert CALLS_BURST <= len(taken) < len(answers)
    assert refused == {(429, "1")}
    async with asyncio.timeout(5):
        while (await phone.call("GET", "/v1/me/offers")).status != 200:
            await asyncio.sleep(0.05)


async def test_a_device_over_the_rate_of_its_calls_is_located_withdraws_and_is_erased(api):
    phone, other = await api.phone(user="ann"), await api.phone(user="ann")
    for calling in (
        lambda: phone.at(AWAY),
        lambda: phone.consent("offers", granted=False),
        lambda: phone.call("DELETE", "/v1/me"),
    ):
        assert 429 in {answer.status for answer in await flood(phone)}
        assert (await calling()).status in {200, 204}
    assert (await other.call("GET", "/v1/me/consents")).status == 200
