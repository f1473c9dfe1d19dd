"""The turn's transaction in PostgreSQL: what concerns no campaign is written by a shorter way, to the same rows."""

import asyncio
import itertools
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from geo_offers.clock import now_us
from geo_offers.errors import Unavailable
from geo_offers.instants import from_us
from geo_offers.pipeline.catalog import Catalog, Policies
from geo_offers.pipeline.figures import Figures
from geo_offers.pipeline.live import LiveFeed
from geo_offers.pipeline.partitions import Ownership, partition_of
from geo_offers.pipeline.requests import Arrival, Part, Request
from geo_offers.pipeline.tokens import workspace_id
from geo_offers.pipeline.turn import DecisionTurn
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.presence import machine, states
from geo_offers.presence.fixes import Fix
from geo_offers.storage.keys import create_key
from geo_offers.storage.pool import open_pool, transaction
from geo_offers.storage.turns import PostgresPartitions, PostgresTurn, PostgresTurns

OWNER = workspace_id("w")
SHOP = Geofence(
    FenceId('town/"a, b\\c"'), 7, "A", Circle(1.0, 1.0, 100.0), None, ("hot",), True, Detect("raw", dwell_s=60)
)
CONSENTS = b'{"locate":{"purpose":"locate","granted":true,"text_version":"v1","at":"2026-01-01T00:00:00Z"}}'
CAMPAIGN = (
    b'{"name":"c","objective":"visit","trigger":{"on":"%s","fences":{"tags":["%s"]}},'
    b'"texts":{"en":{"title":"t","body":"b"}}}'
)


class Always:
    """Takes every transition for one that a campaign may be about: the long way."""

    def any(self, _transition, _fence):
        return True


@dataclass
class Phone:
    """A phone that is stepped as the engine steps it."""

    user: UUID
    device: UUID
    epochs: dict[int, int]
    state: states.PresenceState = states.NOWHERE

    def moves(self, at_us, *inside):
        """One part of a turn: a fix an entry, inside the shop or not, ten minutes apart; not installed yet."""
        request = Request(OWNER, at_us, [], bytearray())
        part = Part(request, self.user, self.device, partition_of(self.user), [], state=self.state)
        part.epoch = self.epochs[part.partition]
        for number, within in enumerate(inside):
            fix = Fix(at_us + number * 600_000_000, 1.0, 1.0, 5.0, None)
            found = [SHOP] if within else []
            part.state, edges = machine.step(part.state, fix, found, [], workspace=OWNER, device=self.device)
            part.arrivals += [Arrival(self.device, edge, SHOP) for edge in edges]
        return part


class Town:
    """People with a phone each, and the turn that commits for them."""

    def __init__(self, pool, ownership, rows):
        self.pool, self.ownership, self.rows = pool, ownership, rows
        self.store = PostgresTurns(pool)
        self.turn = DecisionTurn(
            store=self.store,
            catalog=Catalog(),
            ownership=ownership,
            figures=Figures(),
            live=LiveFeed(),
            wake=lambda: None,
            lanes=frozenset(),
            tz_version="1",
        )

    async def read_catalog(self):
        async with self.store.open([OWNER], "me", {}) as turn:
            self.turn.catalog.renew(OWNER, await turn.policies(OWNER))

    async def stuck(self):
        """Until a turn waits for a lock."""
        found = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(10):
            while not await self.rows.fetchval(found):
                await asyncio.sleep(0.01)
                await self.rows.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction sees what it saw first

    async def phones(self, count, consents=CONSENTS):
        made = [Phone(uuid4(), uuid4(), dict(self.ownership.epochs)) for _ in range(count)]
        for phone in made:
            await self.rows.execute(
                "INSERT INTO app_user (id, workspace, partition, consents) VALUES ($1, $2, $3, $4)",
                phone.user,
                OWNER,
                partition_of(phone.user),
                consents,
            )
            await self.another(phone, phone.device)
        return made

    async def another(self, phone, device):
        await self.rows.execute(
            "INSERT INTO device (id, workspace, user_id, platform) VALUES ($1, $2, $3, 'ios')",
            device,
            OWNER,
            phone.user,
        )

    async def campaign(self, event, tag="hot"):
        body = CAMPAIGN % (event.encode(), tag.encode())
        await self.rows.execute(
            "INSERT INTO campaign (id, workspace, body, state, author) VALUES ($1, $2, $3, 'approved', 'a')",
            uuid4(),
            OWNER,
            body,
        )
        await self.rows.execute("UPDATE workspace SET catalog_version = catalog_version + 1")

    async def written(self, phone):
        """The visits and the device of a phone, without ids and instants of the row's own making."""
        visits = await self.rows.fetch(
            "SELECT fence, fence_version, entered_at, dwelt_at, left_at, closed_by, enter_decision IS NULL AS unasked"
            " FROM visit WHERE device = $1 AND user_id = $2 AND workspace = $3 ORDER BY entered_at",
            phone.device,
            phone.user,
            OWNER,
        )
        device = await self.rows.fetchrow(
            "SELECT newest_at, presence, received_at FROM device WHERE id = $1", phone.device
        )
        state = states.load(device["presence"]) if device["presence"] else None
        stays = [(stay.entered_us, stay.dwelt) for stay in state.inside.values()] if state else None
        return [tuple(visit) for visit in visits], device["newest_at"], device["received_at"], stays


@pytest.fixture(params=["in steps", "alone"])
async def town(request, database):
    """Where the catalog is known and has no campaign a turn is one statement alone, unless that finds it otherwise."""
    async with open_pool(database.app_dsn, size=4) as pool:
        await create_key(pool, "w", "server", None, replay=False)
        ownership = Ownership(PostgresPartitions(pool), "me")
        await ownership.take_all()
        rows = await asyncpg.connect(database.superuser_dsn)
        town = Town(pool, ownership, rows)
        if request.param == "alone":
            await town.read_catalog()
        yield town
        await rows.close()


WALKS = [walk for length in (1, 2, 3, 4) for walk in itertools.product((True, False), repeat=length) if walk[0]]


async def walked(town, at_us, cut):
    """Phones that walked so, each walk in two parts of two turns, the second after `cut` fixes."""
    phones = await town.phones(len(WALKS))
    pairs = list(zip(phones, WALKS, strict=True))
    for part_of, start_us in ((slice(cut), at_us), (slice(cut, None), at_us + cut * 600_000_000)):
        parts = [phone.moves(start_us, *walk[part_of]) for phone, walk in pairs]
        for phone, part in zip(phones, parts, strict=True):
            phone.state = part.state
        assert await town.turn([part for part in parts if part.arrivals]) == {}
    return phones


@pytest.mark.parametrize("cut", [1, 2, 4])
async def test_the_short_way_leaves_the_rows_that_the_long_way_leaves(town, monkeypatch, cut):
    at_us, reads, read = now_us() - 7_200_000_000, [], PostgresTurn.read

    def counted(turn, workspaces, *asked):
        reads.extend(one for one in asked if one)  # the catalogs' versions alone are always asked for
        return read(turn, workspaces, *asked)

    monkeypatch.setattr(PostgresTurn, "read", counted)
    await town.campaign("enter", "another")
    await town.read_catalog()
    short = await walked(town, at_us, cut)
    assert reads == []
    monkeypatch.setattr(Policies, "concerned", Always())
    long = await walked(town, at_us, cut)
    assert reads
    for one, other, walk in zip(short, long, WALKS, strict=True):
        assert await town.written(one) == await town.written(other), walk
    assert await town.rows.fetchval("SELECT count(*) FROM visit WHERE left_at IS NOT NULL AND dwelt_at IS NOT NULL") > 0
    assert await town.rows.fetchval("SELECT count(*) FROM decision") == 0


@pytest.mark.parametrize("cut", [1, 2, 3])
async def test_one_statement_alone_leaves_the_rows_that_a_transaction_leaves(town, monkeypatch, cut):
    at_us, opened, open_ = now_us() - 7_200_000_000, [], PostgresTurns.open

    def counted(*given):
        opened.append(given)
        return open_(*given)

    await town.read_catalog()
    monkeypatch.setattr(PostgresTurns, "open", counted)
    alone = await walked(town, at_us, cut)
    assert opened == []
    assert await town.pool.fetchval("SELECT current_setting('app.workspaces', true)") == ""
    await town.campaign("enter", "another")
    in_steps = await walked(town, at_us, cut)
    assert opened
    for one, other, walk in zip(alone, in_steps, WALKS, strict=True):
        assert await town.written(one) == await town.written(other), walk


async def test_a_transition_that_is_known_is_told_to_nobody_again_and_its_turn_goes_through(town):
    at_us = now_us() - 3_600_000_000
    known, fresh = await town.phones(2)
    await town.turn([known.moves(at_us, True)])
    before = await town.written(known)
    again, other = known.moves(at_us, True, True), fresh.moves(at_us, True)
    assert await town.turn([again, other]) == {}
    assert [arrival.transition.type for arrival in again.arrivals] == ["dwell"]
    assert [arrival.transition.type for arrival in other.arrivals] == ["enter"]
    assert len(await town.rows.fetch("SELECT FROM visit")) == 2
    assert (await town.written(known))[0] != before[0]


@pytest.mark.parametrize("by", ["exit", "silence", "withdrawal"])
async def test_a_visit_that_is_closed_stays_as_it_was_closed(town, by):
    at_us = now_us() - 3_600_000_000
    (phone,) = await town.phones(1)
    first = phone.moves(at_us, True)
    phone.state = first.state
    await town.turn([first])
    left = from_us(at_us + 60_000_000)
    await town.rows.execute("UPDATE visit SET left_at = $1, closed_by = $2", left, by)
    part = phone.moves(at_us + 600_000_000, True, False)  # a dwell, then an exit
    assert await town.turn([part]) == {}
    assert part.arrivals == []
    ((*_, dwelt_at, left_at, closed_by, _),) = (await town.written(phone))[0]
    assert (dwelt_at, left_at, closed_by) == (None, left, by)


async def test_an_exit_whose_visit_is_gone_is_told_and_leaves_the_phone_outside(town):
    at_us = now_us() - 3_600_000_000
    (phone,) = await town.phones(1)
    first = phone.moves(at_us, True)
    phone.state = first.state
    await town.turn([first])
    await town.rows.execute("DELETE FROM visit")
    part = phone.moves(at_us + 600_000_000, False)
    assert await town.turn([part]) == {}
    assert [arrival.transition.type for arrival in part.arrivals] == ["exit"]
    assert (await town.written(phone))[3] == []


async def test_who_posts_events_is_woken_by_the_commit_that_tells_of_some(town):
    woken = []
    town.turn.notify = lambda: woken.append(True)
    (phone,) = await town.phones(1)
    assert await town.turn([phone.moves(now_us() - 3_600_000_000, True)]) == {}
    assert woken == []
    await town.rows.execute(
        "INSERT INTO webhook_endpoint (id, workspace, url, types, secret) VALUES ($1, $2, 'https://a.example', $3, $4)",
        *(uuid4(), OWNER, ["geofence.entered"], bytes(32)),
    )
    await town.rows.execute("UPDATE workspace SET catalog_version = catalog_version + 1")
    queued, other = "SELECT count(*) FROM webhook_delivery", (await town.phones(1))[0]
    async with town.pool.acquire() as beside:
        loop = asyncio.get_running_loop()
        town.turn.notify = lambda: woken.append(loop.create_task(beside.fetchval(queued)))
        assert await town.turn([other.moves(now_us() - 3_600_000_000, True)]) == {}
        assert [await count for count in woken] == [1]


async def test_who_withdrew_or_is_gone_is_left_out_and_the_others_are_written(town):
    at_us = now_us()
    (good,) = await town.phones(1)
    (withdrawn,) = await town.phones(1, CONSENTS.replace(b"true", b"false"))
    (unread,) = await town.phones(1, CONSENTS.replace(b"Z", b""))
    (foreign,) = await town.phones(1)
    await town.rows.execute("UPDATE app_user SET workspace = $2 WHERE id = $1", foreign.user, uuid4())
    gone = replace(good, user=uuid4(), device=uuid4())
    parts = [phone.moves(at_us, True) for phone in (good, withdrawn, unread, foreign, gone)]
    assert await town.turn(parts) == {
        withdrawn.user: "consent_required",
        unread.user: "consent_required",
        foreign.user: "unknown_device",
        gone.user: "unknown_device",
    }
    assert [row["device"] for row in await town.rows.fetch("SELECT device FROM visit")] == [good.device]


async def test_a_consent_that_is_withdrawn_while_the_turn_waits_for_the_lock_counts(town):
    (phone,) = await town.phones(1)
    async with town.rows.transaction():
        await town.rows.execute("UPDATE app_user SET consents = '{}'")
        turn = asyncio.create_task(town.turn([phone.moves(now_us(), True)]))
        await asyncio.sleep(0.2)
        assert not turn.done()
    assert await turn == {phone.user: "consent_required"}
    assert await town.rows.fetchval("SELECT count(*) FROM visit") == 0


async def test_a_campaign_that_appears_while_the_turn_waits_for_the_lock_is_asked(town):
    first, phone = await town.phones(2)
    await town.turn([first.moves(now_us(), True)])  # the policies are in memory: no campaign
    async with town.rows.transaction():
        await town.rows.execute("SELECT FROM app_user FOR UPDATE")
        turn = asyncio.create_task(town.turn([phone.moves(now_us(), True)]))
        await town.stuck()
        await town.campaign("enter")
    await turn
    assert await town.rows.fetchval("SELECT count(*) FROM decision WHERE user_id = $1", phone.user) == 1


async def test_the_turn_of_an_owner_who_was_deposed_is_refused_and_leaves_nothing(town):
    (phone,) = await town.phones(1)
    await town.rows.execute("UPDATE partition SET epoch = epoch + 1, owner = 'next'")
    with pytest.raises(Unavailable, match="another process owns"):
        await town.turn([phone.moves(now_us(), True)])
    assert await town.written(phone) == ([], None, None, None)


async def test_a_partition_is_not_taken_over_while_a_turn_of_it_waits_for_a_person(town):
    (phone,) = await town.phones(1)
    async with town.rows.transaction():
        await town.rows.execute("SELECT FROM app_user FOR UPDATE")
        turn = asyncio.create_task(town.turn([phone.moves(now_us(), True)]))
        await town.stuck()
        with pytest.raises(asyncpg.LockNotAvailableError):
            await town.pool.execute("SELECT FROM partition WHERE id = $1 FOR UPDATE NOWAIT", partition_of(phone.user))
    assert await turn == {}


async def test_of_one_turn_only_what_a_campaign_is_about_is_decided(town):
    at_us = now_us() - 1_000_000
    coming, going = await town.phones(2)
    first = going.moves(at_us - 60_000_000, True)
    going.state = first.state
    await town.turn([first])
    await town.campaign("exit")
    await town.turn([coming.moves(at_us, True), going.moves(at_us, False)])
    assert [row["user_id"] for row in await town.rows.fetch("SELECT user_id FROM decision")] == [going.user]
    assert await town.rows.fetchval("SELECT count(*) FROM visit") == 2


async def test_an_enter_decides_nothing_while_the_persons_other_phone_is_inside(town):
    at_us = now_us() - 1_000_000
    (phone,) = await town.phones(1)
    second = replace(phone, device=uuid4())
    await town.another(phone, second.device)
    await town.turn([phone.moves(at_us, True)])
    await town.campaign("enter")
    await town.turn([second.moves(at_us, True)])
    assert await town.rows.fetchval("SELECT reason FROM decision") == "no_consent"  # of all gates the first to fail
    await town.rows.execute("DELETE FROM decision")
    offers = CONSENTS[:-1] + b"," + CONSENTS[1:].replace(b"locate", b"offers")
    await town.rows.execute("UPDATE app_user SET consents = $1, rhythm = $2", offers, b'{"quiet":[]}')
    third = replace(phone, device=uuid4())
    await town.another(phone, third.device)
    await town.turn([third.moves(at_us, True)])
    assert await town.rows.fetchval("SELECT reason FROM decision") == "user_inside"


class Broken(Exception):
    pass


@pytest.mark.parametrize("when", ["after the lock", "before the write", "after the write"])
async def test_a_turn_that_breaks_between_lock_and_commit_leaves_nothing_and_is_good_again(town, monkeypatch, when):
    (phone,) = await town.phones(1)
    at_us = now_us()
    town.turn.catalog = Catalog()

    class Breaking(PostgresTurns):
        @asynccontextmanager
        async def open(self, *given):
            async with super().open(*given) as turn:
                if when == "after the lock":

                    async def failing(*_wanted):
                        raise Broken

                    monkeypatch.setattr(turn, "read", failing)
                if when == "before the write":

                    async def no_write(_writes, *, looked):
                        raise Broken

                    monkeypatch.setattr(turn, "write", no_write)
                yield turn
                if when == "after the write":
                    raise Broken

    town.turn.store = Breaking(town.pool)
    part = phone.moves(at_us, True)
    with pytest.raises(Broken):
        await town.turn([part])
    assert await town.written(phone) == ([], None, None, None)
    town.turn.store = town.store
    assert await town.turn([part]) == {}
    assert len((await town.written(phone))[0]) == 1
    async with transaction(town.pool, []) as connection:
        assert await connection.fetchval("SELECT count(*) FROM visit") == 0  # and the setting is not left behind


async def test_a_turn_whose_device_is_gone_is_refused_whole(town):
    phone, other = await town.phones(2)
    await town.rows.execute("DELETE FROM device WHERE id = $1", phone.device)
    with pytest.raises(Unavailable):
        await town.turn([phone.moves(now_us(), True), other.moves(now_us(), True)])
    assert await town.rows.fetchval("SELECT count(*) FROM visit") == 0


async def test_turns_and_enrolments_that_lock_the_same_devices_never_wait_for_each_other_in_a_circle(town):
    phones = await town.phones(30)
    devices = sorted(phone.device for phone in phones)

    async def locks():
        for _ in range(30):
            async with transaction(town.pool, [OWNER]) as connection:
                for device in devices:  # in the order of enrolments
                    await connection.execute("SELECT FROM device WHERE id = $1 FOR NO KEY UPDATE", device)

    async def turns():
        at_us = now_us() - 3_600_000_000
        for number in range(30):
            parts = [phone.moves(at_us + number * 1_000_000, number % 2 == 0) for phone in reversed(phones)]
            for phone, part in zip(reversed(phones), parts, strict=True):
                phone.state = part.state
            await town.turn(parts)

    await asyncio.gather(locks(), turns())
