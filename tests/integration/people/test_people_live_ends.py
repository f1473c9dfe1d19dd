"""What a person's own word ends is told by the live feed, with its reason, as any other end is."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from tests.integration.people.conftest import SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def feed(api):
    """The workspace's feed, as a function that waits for an offer's end."""
    headers = {"Authorization": f"Bearer {await api.key('owner')}"}
    async with api.session.get(f"{api.service.url}/v1/live?types=delivery", headers=headers) as response:
        assert response.status == 200

        async def end(offer):
            async with asyncio.timeout(10):
                async for line in response.content:
                    if line.startswith(b"data: "):
                        told = json.loads(line[6:])
                        if told["offer"] == offer and told["outcome"] in {"cancelled", "ambiguous"}:
                            return told["outcome"], told["detail"], told["lane"]
            return None

        yield end


async def offered(api, **person):
    """A phone and the offer that waits for it."""
    await api.shop()
    phone = await api.buyer(**person)
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    return phone, offer["id"]


@pytest.mark.parametrize("purpose", ["offers", "locate"])
async def test_a_withdrawal_is_told(api, purpose):
    async with feed(api) as end:
        phone, offer = await offered(api)
        await phone.consent(purpose, granted=False)
        assert await end(offer) == ("cancelled", f"consent for {purpose} withdrawn", "inapp")
    (decision,) = (await api.good("GET", "/v1/decisions?limit=1", "owner"))["items"]
    life = (await api.good("GET", f"/v1/decisions/{decision['id']}", "owner"))["delivery"]
    assert (life["state"], life["detail"]) == ("cancelled", f"consent for {purpose} withdrawn")


async def test_an_erasure_is_told_though_nothing_is_left_of_the_offer(api):
    async with feed(api) as end:
        phone, offer = await offered(api)
        await phone.call("DELETE", "/v1/me")
        assert await end(offer) == ("cancelled", "erased", "inapp")


async def test_a_log_in_of_somebody_who_agreed_to_less_is_told(api):
    async with feed(api) as end:
        phone, offer = await offered(api)
        other = await api.phone("server", user="ada", consents={"locate": "v1"})
        await other.consent("offers", granted=False)
        said = await phone.call("POST", "/v1/me/user", {"user": "ada"})
        assert said.status == 200, said.body
        assert await end(offer) == ("cancelled", "no consent at the log-in", "inapp")


async def test_what_was_under_way_when_it_was_withdrawn_is_told_as_unanswered(api):
    async with feed(api) as end:
        phone, offer = await offered(api)
        await api.rows.execute(
            "UPDATE outbox SET state = 'sending', lease_until = now() + interval '1 h' WHERE offer = $1::text::uuid",
            offer,
        )
        await phone.consent("offers", granted=False)  # waits five seconds for it
        assert await end(offer) == ("ambiguous", "withdrawn while under way", "inapp")
