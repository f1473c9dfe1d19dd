"""Two turns that read a workspace's policies at once: each decides by what its own transaction has seen, or newer."""

import asyncio
import uuid
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import pytest

from geo_offers.offers.campaigns import Campaign, CampaignState, FenceSelector
from geo_offers.offers.rendering import Text
from geo_offers.offers.snapshot import WorkspacePolicy
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.rhythm import Rhythm
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership
from geo_offers.pipeline.ports import DeviceRow, LockedUser, Read
from geo_offers.pipeline.requests import Arrival, Part, Request
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence.states import Transition, TransitionType
from tests.support.replacing import replace

WORKSPACE = uuid.UUID(int=1)
NOW_US = 1_800_000_000_000_000
FENCE = Geofence(FenceId("town/a"), 1, "A", Circle(1.0, 1.0, 100.0), None, (), True, Detect("raw"))
ROLLS = Campaign(
    id=uuid.UUID(int=2),
    name="Rolls",
    version=1,
    state=CampaignState.APPROVED,
    trigger_on=TransitionType.ENTER,
    fences=FenceSelector(set="town"),
    texts={"en": Text("Warm rolls", "Until noon", None)},
)
AGREED = Consents({purpose: Consent(granted=True, text_version="1", at_us=NOW_US) for purpose in Purpose})


def policies(version, state):
    campaign = replace(ROLLS, state=state)
    return Policies(version, WorkspacePolicy("w", ZoneInfo("UTC"), place_gap_s=0, store_gap_s=0), [campaign])


class Database:
    """The turn's store; `now` is what is committed, and what a turn has read of it may be held back."""

    def __init__(self):
        self.now = policies(5, CampaignState.APPROVED)
        self.slow = None
        self.withdrawn = set()
        self.reasons = []
        self.visits = []
        self.epochs = []

    @asynccontextmanager
    async def open(self, _workspaces, _owner, epochs):
        self.epochs.append(epochs)
        yield self

    async def lock(self, users):
        return {user: user not in self.withdrawn for user in users}

    def people(self, users):
        rhythm = Rhythm(quiet=())
        return {
            user: LockedUser(
                user,
                WORKSPACE,
                Consents() if user in self.withdrawn else AGREED,
                rhythm,
                "en",
                None,
                NOW_US,
            )
            for user in users
        }

    async def policies(self, _workspace):
        found, slow, self.slow = self.now, self.slow, None
        if slow is not None:
            await slow.wait()
        return found

    async def read(self, workspaces, _since_us, devices, _visits):
        catalogs = dict.fromkeys(workspaces, self.now.version)
        for _ in range(20):
            await asyncio.sleep(0)
        return Read(catalogs, devices={device: DeviceRow(device, replay=False, push_lane=None) for device in devices})

    async def write(self, writes, *, looked):
        self.reasons += [decision.reason for decision in writes.decisions]
        self.visits += writes.visits


def arriving():
    user, device, visit = (uuid.uuid4() for _ in range(3))
    edge = Transition(TransitionType.ENTER, FENCE.id, 1, NOW_US, visit, NOW_US, 5.0, distance_m=-10.0)
    request = Request(WORKSPACE, NOW_US, [], bytearray())
    return Part(request, user, device, 0, [], arrivals=[Arrival(device, edge, FENCE)])


def a_turn(database):
    return DecisionTurn(
        store=database,
        catalog=Catalog(),
        ownership=Ownership(None, "me"),
        figures=Figures(),
        live=LiveFeed(),
        wake=lambda: None,
        lanes=frozenset(),
        tz_version="1",
    )


async def test_a_turn_that_has_seen_the_pause_decides_by_it_whatever_a_slower_turn_has_read():
    database = Database()
    turn = a_turn(database)
    database.slow = asyncio.Event()
    gate = database.slow
    slower = asyncio.create_task(turn([arriving()]))
    await asyncio.sleep(0.01)  # it has read version 5, and the answer is on its way
    database.now = policies(6, CampaignState.PAUSED)
    later = asyncio.create_task(turn([arriving()]))
    for _ in range(5):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(slower, later)
    assert database.reasons == ["not_live", "not_live"]
    assert turn.catalog.policies[WORKSPACE].version == 6


@pytest.mark.parametrize(
    ("lane", "served", "credentials", "replay", "able"),
    [
        ("webhook", {"webhook"}, set(), False, ("webhook", "inapp")),
        ("webhook", {"log"}, {"webhook"}, False, ("inapp",)),
        ("fcm", {"fcm"}, set(), False, ("inapp",)),
        ("fcm", {"fcm"}, {"apns"}, False, ("inapp",)),
        ("fcm", {"fcm"}, {"fcm"}, False, ("fcm", "inapp")),
        ("fcm", {"webhook"}, {"fcm"}, False, ("inapp",)),
        ("fcm", {"fcm"}, {"fcm"}, True, ("inapp",)),
        ("log", {"log"}, set(), True, ("log", "inapp")),
        (None, {"fcm"}, {"fcm"}, False, ("inapp",)),
    ],
)
def test_push_counts_where_the_lane_is_served_and_signed_in_to(lane, served, credentials, replay, able):
    turn = a_turn(Database())
    turn.lanes = frozenset(served)
    device = DeviceRow(uuid.uuid4(), replay=replay, push_lane=lane)
    held = replace(policies(5, CampaignState.APPROVED), push_lanes=frozenset(credentials))
    assert turn._able(device, ("push", "inapp"), held) == able


async def test_nothing_is_written_of_a_person_whose_locked_row_says_that_they_may_not_be_located():
    database = Database()
    turn = a_turn(database)
    withdrawn, agreed = arriving(), arriving()
    database.withdrawn = {withdrawn.user}
    assert await turn([withdrawn, agreed]) == {withdrawn.user: "consent_required"}
    assert database.reasons == [None]
    assert len(database.visits) == 1


async def test_a_commit_is_made_under_the_ownership_that_its_states_are_from_the_oldest_where_they_differ():
    database = Database()
    first, second, other = arriving(), arriving(), arriving()
    first.epoch, second.epoch, other.epoch, other.partition = 3, 4, 7, 9
    await a_turn(database)([first, second, other])
    assert database.epochs == [{0: 3, 9: 7}]


async def test_a_turn_that_finds_its_policies_older_than_its_transaction_renews_them_and_decides_by_the_new_ones():
    database = Database()
    turn = a_turn(database)
    await turn([arriving()])
    database.now = policies(6, CampaignState.PAUSED)
    await turn([arriving()])
    assert database.reasons == [None, "not_live"]
    assert turn.catalog.policies[WORKSPACE].version == 6


async def test_whom_a_turn_asks_follows_from_the_policies_that_it_renewed():
    database = Database()
    turn = a_turn(database)
    silent = replace(database.now, campaigns=[])
    database.now = silent
    await turn([arriving()])
    assert database.reasons == []
    turn.catalog.policies[WORKSPACE] = replace(silent, campaigns=[replace(ROLLS, trigger_on=TransitionType.EXIT)])
    database.now = policies(6, CampaignState.APPROVED)
    await turn([arriving()])
    assert database.reasons == [None]
