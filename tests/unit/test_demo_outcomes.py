"""What the demo's page is told of the campaigns: the service's own counts, asked for no more often than they change."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from geo_offers import wire
from geo_offers.client import ConnectionFailed
from geo_offers.demo.outcomes import Outcomes

SINCE = datetime(2026, 7, 1, 9, tzinfo=UTC)
ROLLS, SOUP = UUID(int=2), UUID(int=1)


class Counting:
    """The manager's call that counts; each campaign has had as many offers as it was asked for."""

    def __init__(self):
        self.asked = []
        self.out = False

    async def outcomes(self, campaign, *, since):
        if self.out:
            raise ConnectionFailed("nobody listens")
        self.asked.append(campaign)
        offers = self.asked.count(campaign)
        return wire.Outcomes(
            campaign=campaign, since=since, until=since, decisions=offers + 2, offers=offers, silences={"cap": 2}
        )


@pytest.fixture
def service():
    return Counting()


@pytest.fixture
def outcomes(service):
    return Outcomes(service, {ROLLS: "Rolls", SOUP: "Soup"}, SINCE)


async def test_each_campaign_is_told_with_its_counts_in_the_given_order(outcomes):
    assert await outcomes.tell() == [
        {"id": ROLLS, "name": "Rolls", "decisions": 3, "offers": 1, "silences": {"cap": 2}},
        {"id": SOUP, "name": "Soup", "decisions": 3, "offers": 1, "silences": {"cap": 2}},
    ]


async def test_the_service_is_asked_again_once_something_was_decided_and_not_before(outcomes, service):
    await outcomes.tell()
    await outcomes.tell()
    assert sorted(service.asked) == sorted([ROLLS, SOUP])
    for _ in range(3):
        outcomes.decided()
    told = {one["name"]: one["offers"] for one in await outcomes.tell()}
    assert (told, len(service.asked)) == ({"Rolls": 2, "Soup": 2}, 4)


async def test_what_could_not_be_asked_for_is_asked_for_with_the_next_look(outcomes, service):
    await outcomes.tell()
    outcomes.decided()
    service.out = True
    with pytest.raises(ConnectionFailed):
        await outcomes.tell()
    service.out = False
    assert [one["offers"] for one in await outcomes.tell()] == [2, 2]
