"""A cap holds however a person's thousand arrivals come in: one wave after the other, or all at once."""

import asyncio

from tests.faults.world import CAP_A_DAY, administrator, assert_each_once, world

FENCES = 1_000
PHONES = 125
ANSWER_S = 120  # of requests that come all at once, on a slow machine


async def _crowd(made, phones):
    await made.no_gaps()
    await made.fences(FENCES)
    await made.campaign(caps=[CAP_A_DAY])
    return await made.phones(["one"] * phones)


async def test_a_thousand_entries_in_eight_concurrent_waves_against_a_cap_of_three_give_three_offers(service):
    async with (
        world(service.database, lambda: service.url, answer_s=ANSWER_S) as made,
        administrator(service.database) as rows,
    ):
        phones = await _crowd(made, PHONES)
        assert len({phone.user for phone in phones}) == 1
        offers = []
        for wave in range(FENCES // PHONES):
            answers = await asyncio.gather(
                *(
                    made.pings("server", [phone.ping(wave * PHONES + number, named=True)])
                    for number, phone in enumerate(phones)
                )
            )
            assert {str(answer.body)[:300] for answer in answers if answer.status != 200} == set()
            assert {result["status"] for answer in answers for result in answer.body["results"]} == {"accepted"}
            offers += [offer for answer in answers for offer in answer.body["offers"]]
        assert len(offers) == 3
        assert await rows.fetchval("SELECT count(*) FROM offer") == 3
        assert await rows.fetchval("SELECT count(*) FROM visit") == FENCES
        assert await rows.fetchval("SELECT count(*) FROM visit WHERE enter_decision IS NOT NULL") == FENCES
        capped = await rows.fetchval("SELECT count(*) FROM decision WHERE outcome = 'suppressed' AND reason = 'cap'")
        assert capped == FENCES - 3
        await assert_each_once(rows)


async def test_a_thousand_entries_sent_all_at_once_never_pass_the_cap(service):
    async with (
        world(service.database, lambda: service.url, answer_s=ANSWER_S) as made,
        administrator(service.database) as rows,
    ):
        phones = await _crowd(made, FENCES)
        requests = [
            [phone.ping(number, named=True) for number, phone in enumerate(phones) if number % 100 == request]
            for request in range(100)
        ]
        answers = await asyncio.gather(*(made.pings("server", pings) for pings in requests))
        assert {str(answer.body)[:300] for answer in answers if answer.status != 200} == set()
        offers = sum(len(answer.body["offers"]) for answer in answers)
        assert 1 <= offers <= 3
        assert await rows.fetchval("SELECT count(*) FROM offer") == offers
        assert await rows.fetchval("SELECT count(*) FROM visit") == FENCES
        await assert_each_once(rows)
