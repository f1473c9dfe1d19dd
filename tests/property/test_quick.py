"""The compiled parts of the ping path against the general ones: the reader of pings, and the memory of devices."""

import itertools
import json
import multiprocessing
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from uuid import UUID

import msgspec
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import held
from geo_offers import wire
from geo_offers.errors import GeoOffersError
from geo_offers.pipeline import quick
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Code, Point
from geo_offers.pipeline.tracks import PlainTracks
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Area, Circle, border_distance_one, enclosing
from geo_offers.places.index import GeofenceIndex
from geo_offers.places.plain import PlainTable
from geo_offers.presence import machine
from geo_offers.presence.calibrated import View
from geo_offers.presence.machine import REMEMBERED, breadth_of
from geo_offers.presence.states import NOWHERE, Course, PresenceState, Stay, load
from geo_offers.presence.trail import Trail, Worth, judge
from geo_offers.web import pings
from tests.property.test_places_table import geometries, places, turned

WORKSPACE, OTHER_WORKSPACE = UUID(int=1), UUID(int=2)
SERVER = Caller(WORKSPACE, "server", "k")
NOW_US = 1_800_000_000_000_000
EPOCHS = dict.fromkeys(range(256), 3)

compiled = pytest.mark.skipif(not quick.is_compiled(), reason="the kernels are not built here")


# ------------------------------------------------------------------------------------------------ reading
def general(text, *, wrapped):
    """What the general reader makes of a frame or a body: points, or None where it refuses."""
    decoder = msgspec.json.Decoder(wire.Pings if wrapped else wire.Ping | list[wire.Ping])
    try:
        sent = pings.bodies.decode(decoder, text.encode(), unique=True)
        batch = sent.pings if wrapped else sent if isinstance(sent, list) else [sent]
        pings.bound(batch)
        return pings.points(SERVER, batch)
    except GeoOffersError:
        return None


numbers = st.one_of(
    st.floats(-200, 200).map(repr),
    st.integers(-200, 10**20).map(str),
    st.decimals(-200, 200, places=7).map(str),
    st.sampled_from(
        ["-0", "0.0", "1e2", "1E-3", "1.5e+1", "01", "1.", ".5", "-", "+1", "1e", "1e999", "NaN", "0x1", "00"]
    ),
    st.from_regex(r"-?[0-9]{1,20}\.[0-9]{1,25}(e-?[0-9]{1,2})?", fullmatch=True),
)
instants = st.one_of(
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "+05:30"),
    st.from_regex(
        r"[0-9]{4}-(0[0-9]|1[0-3])-([0-2][0-9]|3[0-2])T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])?",
        fullmatch=True,
    ),
    st.sampled_from(
        [
            "",
            "now",
            "2026-02-29T00:00:00Z",
            "2024-02-29T23:59:59.999999-23:59",
            "0001-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2100-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
        ]
    ),
)
texts = st.one_of(st.just("a"), st.text(max_size=140)).map(json.dumps)
devices = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda u: str(u).upper()),
    st.sampled_from(["", "x" * 36, str(UUID(int=0)), UUID(int=5).hex]),
)
VALUES = {
    "at": instants.map(json.dumps),
    "lat": numbers,
    "lon": numbers,
    "accuracy_m": numbers | st.just("null"),
    "speed_mps": numbers | st.just("null"),
    "course_deg": numbers | st.just("null") | st.just('"n"'),
    "mock": st.sampled_from(["true", "false", "null", "1", "tru"]),
    "foreground": st.sampled_from(["true", "false", "null"]),
    "id": texts | st.just("null"),
    "device": devices.map(json.dumps) | st.just("null"),
    "region": st.just('"s/a"'),
    "event": st.just('"enter"'),
    "more": st.just("1"),
    "l\\u0061t": st.just("1"),
}
blanks = st.sampled_from(["", "", "", " ", "\n\t", "\r ", "\x0b"])


@st.composite
def ping_texts(draw):
    usual = ["at", "lat", "lon"] if draw(st.integers(0, 9)) else []
    keys = usual + draw(st.lists(st.sampled_from(list(VALUES)), max_size=3, unique=bool(draw(st.integers(0, 9)))))
    if draw(st.integers(0, 9)):
        keys = list(dict.fromkeys(keys))
    members = [
        f'{draw(blanks)}"{key}"{draw(blanks)}:{draw(blanks)}{draw(VALUES[key])}{draw(blanks)}'
        for key in draw(st.permutations(keys))
    ]
    return "{" + ",".join(members) + "}"


@st.composite
def frames(draw):
    body = draw(st.one_of(ping_texts(), st.lists(ping_texts(), max_size=4).map(lambda some: f"[{','.join(some)}]")))
    if draw(st.booleans()):
        body = f'{draw(blanks)}{{"pings"{draw(blanks)}:{body}}}'
    cut = draw(st.integers(0, 12))
    return body[: -cut or None] if cut < 3 else body + draw(blanks) + ("x" if cut == 3 else "")


@compiled
@settings(max_examples=400, deadline=None)
@given(text=frames(), wrapped=st.booleans())
def test_what_the_quick_reader_takes_the_general_one_takes_as_well_with_the_same_values(text, wrapped):
    for given_as in (text, text.encode()):
        read = quick.read(given_as, pings.PINGS, wrapped=wrapped)
        if read is not None:
            slow = general(text, wrapped=wrapped)
            assert slow is not None, text
            assert [repr(read[number]) for number in range(len(read))] == [repr(point) for point in slow]


@compiled
@given(
    sent=st.lists(
        st.tuples(
            st.datetimes().map(lambda at: at.isoformat() + "Z"),
            *[
                st.floats(low, high).map(lambda number: round(number, 15))
                for low, high in ((-90, 90), (-180, 180), (0, 500))
            ],
            st.uuids(),
        ),
        min_size=1,
        max_size=30,
    ),
    wrapped=st.booleans(),
)
def test_the_quick_reader_takes_what_phones_and_servers_write(sent, wrapped):
    said = [
        {
            "at": at,
            "lat": lat,
            "lon": lon,
            "accuracy_m": metres,
            "speed_mps": None,
            "mock": False,
            "device": str(device),
        }
        for at, lat, lon, metres, device in sent
    ]
    text = json.dumps({"pings": said} if wrapped else said)
    read = quick.read(text, pings.PINGS, wrapped=wrapped)
    assert read is not None
    assert list(map(read.__getitem__, range(len(read)))) == general(text, wrapped=wrapped)


@compiled
def test_the_quick_reader_takes_as_many_pings_as_a_request_may_have_and_no_more():
    ping = '{"at":"2026-01-01T00:00:00Z","lat":1,"lon":2}'
    for count, taken in ((1, True), (1000, True), (1001, False)):
        assert (quick.read(f"[{','.join([ping] * count)}]", 1000, wrapped=False) is not None) == taken
    assert quick.read("[]", 1000, wrapped=False) is None


@compiled
def test_pings_that_name_another_device_are_not_a_devices_own():
    own, other = UUID(int=7), UUID(int=8)
    ping = {"at": "2026-01-01T00:00:00Z", "lat": 1, "lon": 2}
    read = quick.read(json.dumps([ping, ping | {"device": str(own)}]), 9, wrapped=False)
    assert read is not None
    assert read.sent_by(own)
    assert [read[number].device for number in range(2)] == [own, own]
    assert not quick.read(json.dumps([ping, ping | {"device": str(other)}]), 9, wrapped=False).sent_by(own)


# ------------------------------------------------------------------------------------------------ ways
@compiled
@settings(max_examples=150, deadline=None)
@given(
    drawn=st.lists(geometries(), min_size=1, max_size=4),
    at=places(),
    seed=st.integers(0, 2**32 - 1),
    far_m=st.sampled_from([20.0, 130.0, 700.0, 3_000.0]),
)
def test_of_a_short_way_all_fences_that_it_crosses_are_proposed(drawn, at, seed, far_m):
    fences = [
        Geofence(FenceId(f"s/{n}"), 1, "", shape, None, (), active=True, detect=Detect("raw"))
        for n, shape in enumerate(drawn)
    ]
    index, plain = GeofenceIndex(fences), GeofenceIndex(fences, PlainTable())
    rng = random.Random(seed)
    for shape in drawn:
        if isinstance(shape, Circle):
            corners = [(shape.lat + shape.radius_m / 111_300 * rng.choice([-1, 1]), shape.lon), (shape.lat, shape.lon)]
        else:
            corners = [(lat, lon) for lon, lat in shapely.get_coordinates(shape.shape).tolist()]
        for _ in range(30):
            lat, lon = rng.choice([*corners, at])
            away = far_m / 111_300
            lat0, lat1 = (max(-89.9, min(89.9, lat + rng.uniform(-away, away))) for _ in range(2))
            lon0, lon1 = (turned(lon + rng.uniform(-away, away)) for _ in range(2))
            proposed = index.kernel.crossing(lat0, lon0, lat1, lon1)
            crossed = plain.crossed(lat0, lon0, lat1, lon1)
            assert index.crossed(lat0, lon0, lat1, lon1) == crossed
            if proposed is not None:
                found = {fence.id for fence in crossed}
                assert {f"s/{n}" for n in proposed if n >= 0} <= found <= {f"s/{max(n, ~n)}" for n in proposed}


# ------------------------------------------------------------------------------------------------ presence
LAT, LON = 48.2, 11.6
STEP_DEG = 0.0004  # some 40 m
PLACES = [(LAT + STEP_DEG * row, LON + STEP_DEG * column) for row in range(5) for column in range(5)]
FAR_PLACES = [(LAT + 0.05, LON), (LAT + 0.05, LON + STEP_DEG), (LAT - 3.0, LON + 20.0)]


def fence(name, row, column, radius_m, *, version=1, dwell_s=60.0, active=True, area=False, mode="raw", **detect):
    lat, lon = LAT + STEP_DEG * row, LON + STEP_DEG * column
    reach = radius_m / 111_300
    shape = Circle(lat, lon, radius_m)
    if area:
        ring = [
            (lon - reach, lat - reach),
            (lon + reach, lat - reach),
            (lon + reach, lat + reach),
            (lon - reach, lat + reach),
        ]
        shape = Area(shapely.Polygon(ring))
    found = Detect(mode, dwell_s=dwell_s, **detect)
    return Geofence(FenceId(f"s/{name}"), version, name, shape, None, (), active=active, detect=found)


fence_changes = st.builds(
    fence,
    st.sampled_from("abcde"),
    st.floats(0, 4),
    st.floats(0, 4),
    st.sampled_from([3.0, 15.0, 45.0, 120.0, 2_500.0]),
    version=st.integers(2, 99),
    dwell_s=st.sampled_from([0.0, 30.0, 60.0]),
    active=st.integers(0, 5).map(bool),
    area=st.booleans(),
    mode=st.sampled_from(["calibrated", "calibrated", "raw"]),
    exit_margin_m=st.sampled_from([0.0, 10.0, 60.0]),
    min_confidence=st.sampled_from([0.0, 0.73, 0.99]),
    confirm_s=st.sampled_from([0.0, 0.0, 45.0]),
    max_speed_mps=st.sampled_from([1.0, 7.0]),
)
regions = st.tuples(st.sampled_from("abcde"), st.booleans())
# Device, seconds from the last request on, place, accuracy, speed, whether it is mocked.
points_drawn = st.tuples(
    st.integers(0, 3),
    st.integers(-3, 90),
    st.one_of(st.sampled_from([*PLACES, *FAR_PLACES]), st.sampled_from(PLACES), regions),
    st.sampled_from([None, 3.0, 8.0, 8.0, 8.0, 30.0, 90.0, 250.0, 3_000.0, -1.0]),
    st.sampled_from([None, None, 0.0, 1.2, 15.0, -1.0]),
    st.sampled_from([False] * 9 + [True]),
)
requests_drawn = st.lists(points_drawn, min_size=1, max_size=12)
plays = st.lists(
    st.one_of(
        requests_drawn,
        requests_drawn,
        requests_drawn,
        fence_changes,
        fence_changes,
        st.sampled_from(["drop a", "drop b", "restart", "wait 700", "wait 90000"]),
    ),
    max_size=14,
)


def known(number, user, **more):
    fields = {
        "partition": number,
        "replay": True,
        "locate": True,
        "of_age": True,
        "proven": False,
        "token_epoch": 0,
        "state": NOWHERE,
    } | more
    return KnownDevice(id=UUID(int=100 + number), user=UUID(int=user), workspace=WORKSPACE, **fields)


class World:
    """Devices in one memory, stepped as the engine steps them."""

    def __init__(self, tracks):
        self.tracks, self.index, self.left_to_machine = tracks, GeofenceIndex(), Counter()
        for number in range(4):
            tracks.add(known(number, number // 2), 3, 0, self.index, held=False)

    def send(self, points):
        batch = quick.batch_of(points) if isinstance(self.tracks, type(quick.tracks(1, 1))) else points
        codes = bytearray([Code.ABSENT] * len(points))
        self.tracks.settle(batch, codes, WORKSPACE, NOW_US, epochs=EPOCHS, index=self.index)
        edges = []
        for _, device, _, numbers in sorted(self.tracks.shares(batch, codes, range(len(points)))):
            edges += self.step_together(device, batch, numbers, codes)
        return list(codes), edges

    def step_together(self, device, batch, numbers, codes):
        """As one part: all at once where the memory can, else one by one by the machine."""
        before = self.tracks.get(device), bytes(codes)
        moved = self.tracks.step(device, batch, numbers, codes, self.index)
        assert self.tracks.get(device) == before[0]
        if moved is not None:
            edges = list(moved.arrivals)
            assert all(one.device == device and one.fence == self.index.get(one.transition.fence) for one in edges)
            newest_us, kept = moved.newest_us, moved.kept()
            self.tracks.install(device, moved, self.index)
            state = self.tracks.get(device).device.state
            assert (state.newest_us, state.kept()) == (newest_us, kept)
            return [(device, arrival.transition) for arrival in edges]
        assert bytes(codes) == before[1]
        edges = []
        points = [(batch[number], number) for number in numbers]
        for point, number in sorted(
            points, key=lambda pair: (pair[0].at_us, pair[0].lat or 0, pair[0].lon or 0, pair[1])
        ):
            state, told, codes[number] = self.step(point)
            edges += [(device, edge) for edge in told]
            self.tracks.install(device, state, self.index)
        return edges

    def step(self, point):
        state, index = self.tracks.get(point.device).device.state, self.index
        view = View(index.get, index.border_distance, index.around, breadth_of, calibrated=index.calibrated > 0)
        if point.region is not None:
            return self.step_region(point, state, view)
        fix = point.fix()
        received = machine.receive(state, fix)
        if received != "accepted":
            return state, (), Code[received.upper()]
        inside = index.locate_one(fix.lat, fix.lon)
        moved = state.lat is not None and (state.lat, state.lon) != (fix.lat, fix.lon)
        crossed = index.crossed(state.lat, state.lon, fix.lat, fix.lon) if moved else ()
        if view.calibrated:
            self.left_to_machine[judge(state.trail, fix)] += 1
        state, told = machine.step(state, fix, inside, crossed, workspace=WORKSPACE, device=point.device, view=view)
        return state, told, Code.ACCEPTED

    def left_out(self):
        """Of all fixes so far, by worth."""
        self.left_to_machine.update(self.tracks.take_left_out())
        return {worth: count for worth, count in self.left_to_machine.items() if worth is not Worth.SOUND}

    def step_region(self, point, state, view):
        of = self.index.get(FenceId(point.region))
        if of is None or not of.active:
            return state, (), Code.UNKNOWN_REGION
        if machine.is_late(state, point.at_us):
            return state, (), Code.LATE
        state, told = machine.step_region(
            state, point.at_us, of, entered=point.entered, workspace=WORKSPACE, device=point.device, view=view
        )
        return state, told, Code.ACCEPTED

    def restart(self):
        """What is kept of each device is all that is left."""
        for number, state in enumerate(self.states()):
            self.tracks.drop(UUID(int=100 + number))
            kept = load(state.kept())
            self.tracks.add(known(number, number // 2, state=kept), 3, 0, self.index, held=False)

    def states(self):
        return [self.tracks.get(UUID(int=100 + number)).device.state for number in range(4)]


@compiled
@settings(max_examples=150, deadline=None)
@given(shape=geometries(), seed=st.integers(0, 2**32 - 1))
def test_the_kernel_measures_to_a_border_as_geometry_does(shape, seed):
    index = GeofenceIndex([Geofence(FenceId("s/0"), 1, "", shape, None, (), active=True, detect=Detect("raw"))])
    fence, rng = index.get(FenceId("s/0")), random.Random(seed)
    around = enclosing(shape)
    for away in (0.3, 0.9, 1.1, 3.0):
        reach = away * around.radius_m / 111_300
        lat = max(-89.0, min(89.0, around.lat + rng.uniform(-reach, reach)))
        lon = turned(around.lon + rng.uniform(-reach, reach))
        exactly = border_distance_one(shape, lat, lon)
        assert abs(index.border_distance(fence, lat, lon) - exactly) <= 0.025 + 1e-6 * abs(exactly)


@compiled
@settings(max_examples=200, deadline=None)
@given(play=plays)
def test_whatever_is_sent_and_however_fences_change_the_quick_way_and_the_machine_say_the_same(play):
    worlds = World(quick.tracks(1.0, 20.0)), World(PlainTracks(1.0, 20.0))
    at_us = NOW_US
    for act in play:
        if isinstance(act, list):
            points = [point_drawn(at_us, drawn) for drawn in act]
            at_us = max(at_us, *(point.at_us for point in points))
            alike([world.send(points) for world in worlds])
        elif isinstance(act, str) and act.startswith("wait"):
            at_us += int(act.split()[1]) * 1_000_000
        else:
            for world in worlds:
                change(world, act)
        alike([world.states() for world in worlds])
    alike([world.left_out() for world in worlds])


@compiled
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_on_long_ways_among_calibrated_fences_the_quick_way_and_the_machine_say_the_same(seed):
    """People who stop and go, whose phones err, drift, fall silent and lie."""
    rng = random.Random(seed)
    worlds = World(quick.tracks(1.0, 20.0)), World(PlainTracks(1.0, 20.0))
    for name in "abcdefgh":
        put = fence(
            name,
            rng.uniform(0, 40),
            rng.uniform(0, 40),
            rng.choice([15.0, 40.0, 90.0, 300.0]),
            dwell_s=rng.choice([30.0, 300.0]),
            area=rng.random() < 0.5,
            mode=rng.choice(["raw", "calibrated", "calibrated", "calibrated"]),
            exit_margin_m=rng.choice([0.0, 10.0]),
            confirm_s=rng.choice([0.0, 30.0]),
        )
        for world in worlds:
            world.index.put(put)
    at_us, place, goal, points = NOW_US, [LAT, LON], [LAT, LON], []
    for _ in range(150):
        wait_s = rng.choice([1.0, 5.0, 10.0, 30.0, 60.0])
        at_us += int(wait_s * 1e6)
        way = [there - here for here, there in zip(place, goal, strict=True)]
        if max(map(abs, way)) < STEP_DEG / 4 and rng.random() < 0.2:
            goal = [LAT + STEP_DEG * rng.uniform(-5, 45), LON + STEP_DEG * rng.uniform(-5, 45)]
        share = min(1.0, 1.4e-5 * wait_s * rng.choice([1, 1, 8]) / max(1e-9, *map(abs, way)))
        place = [here + share * by for here, by in zip(place, way, strict=True)]
        accuracy_m = rng.choice([4.0, 8.0, 8.0, 20.0, 60.0, 150.0, 400.0])
        error = accuracy_m / 111_300 * (1 if rng.random() < 0.95 else 30)
        lat, lon = (where + rng.gauss(0, 0.66) * error for where in place)
        speed_mps, mock = rng.choice([None, None, 0.0, 1.4]), rng.random() < 0.03
        points.append(Point(UUID(int=100), at_us, lat, lon, accuracy_m, speed_mps, mock))
        if rng.random() < 0.7:
            rng.shuffle(points)
            alike([world.send(points) for world in worlds])
            alike([world.states() for world in worlds])
            points = []
    alike([world.left_out() for world in worlds])


def point_drawn(at_us, drawn):
    device, later_s, where, *more = drawn
    device, at_us = UUID(int=100 + device), at_us + later_s * 1_000_000
    if isinstance(where[0], str):
        return Point(device, at_us, None, None, region=f"s/{where[0]}", entered=where[1])
    return Point(device, at_us, *where, *more)


def change(world, act):
    if isinstance(act, Geofence):
        world.index.put(act)
    elif act == "restart":
        world.restart()
    else:
        world.index.remove(FenceId(f"s/{act[-1]}"))


def alike(found):
    assert found[0] == found[1]


@compiled
@given(play=st.lists(requests_drawn, min_size=2, max_size=6), mode=st.sampled_from(["raw", "calibrated"]))
def test_a_ping_that_causes_nothing_is_taken_without_the_machine(play, mode):
    """The quick way is not only right, it is taken: far from all fences nothing is left to step."""
    world, at_us = World(quick.tracks(1.0, 20.0)), NOW_US
    world.index.put(fence("far", 4000, 0, 50.0, mode=mode))
    for request in play:
        newest: dict[int, int] = {}
        points = []
        for device, _, where, *more in request:
            at_us += 1_000_000
            newest[device] = at_us
            near = where if where in PLACES else PLACES[0]  # a leap may cross the fence, a region is not quiet
            points.append(Point(UUID(int=100 + device), at_us, *near, *more))
        codes = bytearray([Code.ABSENT] * len(points))
        assert not world.tracks.settle(
            quick.batch_of(points), codes, WORKSPACE, NOW_US, epochs=EPOCHS, index=world.index
        )
        assert set(codes) == {Code.ACCEPTED}


@compiled
@given(radius_m=st.sampled_from([15.0, 45.0, 120.0]), area=st.booleans(), accuracy_m=st.sampled_from([None, 0.0, 8.0]))
def test_who_walks_in_stays_and_walks_out_is_stepped_without_the_machine(radius_m, area, accuracy_m):
    world, device = World(quick.tracks(1.0, 20.0)), UUID(int=100)
    shop = fence("a", 2, 2, radius_m, area=area)
    world.index.put(shop)
    told = []
    for minute, where in enumerate(
        [(LAT - 0.01, LON), PLACES[12], PLACES[12], (LAT - 0.01, LON), (LAT + 0.01, LON + 0.0016)]
    ):
        batch = quick.batch_of([Point(device, NOW_US + minute * 61_000_000, *where, accuracy_m)])
        codes = bytearray([Code.STEP])
        moved = world.tracks.step(device, batch, [0], codes, world.index)
        assert list(codes) == [Code.ACCEPTED]
        world.tracks.install(device, moved, world.index)
        told += [(one.transition.type, one.transition.accuracy_m, one.fence) for one in moved.arrivals]
    assert told == [(kind, accuracy_m or 50.0, shop) for kind in ("enter", "dwell", "exit", "cross")]


@compiled
def test_who_visits_a_calibrated_fence_is_stepped_without_the_machine(monkeypatch):
    world, device = World(quick.tracks(1.0, 20.0)), UUID(int=100)
    world.index.put(fence("a", 2, 2, 60.0, mode="calibrated", confirm_s=90.0, min_confidence=0.5))
    monkeypatch.setattr(machine, "step", None)
    told, away = [], (LAT - 0.01, LON)
    for minute, where in enumerate([*[away] * 2, *[PLACES[12]] * 6, *[away] * 4, (LAT + 0.01, LON + 0.0016)]):
        _, edges = world.send([Point(device, NOW_US + minute * 61_000_000 + minute // 12 * 10**9, *where, 8.0, 1.0)])
        told += [edge.type for _, edge in edges]
    assert told == ["enter", "dwell", "confirm", "exit", "cross"]


@compiled
@pytest.mark.parametrize("mode", ["raw", "calibrated"])
def test_where_no_border_is_near_a_device_at_calibrated_fences_needs_no_look_up(mode):
    world = World(quick.tracks(1.0, 20.0))
    world.index.put(fence("far", 40, 0, 50.0, mode=mode))
    world.index.put(fence("farther", 4000, 0, 50.0, mode="calibrated"))
    looked = []
    for at, where in enumerate([*[PLACES[0], PLACES[1]] * 4, *[PLACES[0]] * 2]):
        if at == 8:
            world.index.put(fence("new", 0, 9, 50.0, mode=mode))
        world.send([Point(UUID(int=100), NOW_US + at * 30_000_000, *where, 8.0)])
        looked.append(world.tracks.looked)
    assert looked == [1, 0, 0, 0, 0, 0, 0, 0, 1, 0]


@compiled
def test_within_a_part_each_new_fix_makes_the_oldest_mark_forgotten():
    worlds, device = (World(quick.tracks(1.0, 20.0)), World(PlainTracks(1.0, 20.0))), UUID(int=100)
    marked = [Point(device, NOW_US, lat / 100, 1.0) for lat in range(1, REMEMBERED + 1)]  # all of one instant
    for world in worlds:
        for point in marked:
            world.send([point])
    again = [Point(device, NOW_US, 0.0, 1.0), *marked[:2]]
    told = [world.send(again)[0] for world in worlds]
    assert told == [[Code.ACCEPTED, Code.ACCEPTED, Code.ACCEPTED]] * 2  # each of them makes the next one forgotten


# ------------------------------------------------------------------------------------------------ the memory
def states():
    stays = st.builds(
        Stay,
        st.sampled_from([FenceId("s/a"), FenceId("s/bä"), FenceId("t/c")]),
        st.integers(1, 2**31 - 1),
        st.uuids(),
        st.integers(0, NOW_US),
        st.booleans(),
        st.none() | st.floats(-3.0, 6.0),
        st.none() | st.builds(Course, st.booleans(), fixes=st.integers(0, 9), way_m=st.floats(0, 1e5)),
    )
    degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
    placed = st.one_of(degrees, st.just((None, None)))
    trails = st.builds(
        lambda at_us, moved_us, where, stray, still: Trail(
            at_us, at_us - moved_us, *where, 8.0, 1.5, *stray, *still, at_us - 9
        ),
        st.integers(0, NOW_US),
        st.sampled_from([0, 5]),
        degrees,
        placed,
        degrees,
    )
    return st.builds(
        lambda newest, where, inside, recent, trail, elsewhere, arriving: PresenceState(
            newest, *where, {stay.fence: stay for stay in inside}, recent, trail, elsewhere, arriving
        ),
        st.none() | st.integers(0, NOW_US),
        placed,
        st.lists(stays, max_size=3),
        st.integers(0, 64).map(lambda marks: bytes(range(1, marks * 3 + 1)) if marks < 64 else bytes(192)),
        st.one_of(st.none(), trails, st.builds(Trail, st.integers(0, NOW_US))),
        st.floats(-3.0, 6.0),
        st.dictionaries(st.sampled_from(["s/a", "s/bä", "t/d"]), st.floats(-3.0, 6.0)),
    )


class Both:
    """The same calls to both memories; whatever they answer must be the same."""

    def __init__(self):
        self.memories = (quick.tracks(1.0, 2.0), PlainTracks(1.0, 2.0))
        self.index = GeofenceIndex()

    def ask(self, call):
        one, other = (call(memory) for memory in self.memories)
        assert one == other
        return one


memory_acts = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 30), st.integers(0, 6), states()),
        st.tuples(st.just("drop"), st.integers(0, 30)),
        st.tuples(st.just("install"), st.integers(0, 30), states()),
        st.tuples(st.just("hold"), st.integers(0, 6), st.booleans()),
        st.tuples(st.just("ask"), st.lists(st.integers(0, 30), max_size=6), st.integers(0, 3)),
        st.tuples(st.just("sweep"), st.integers(0, 3)),
    ),
    max_size=40,
)


@compiled
@settings(max_examples=150, deadline=None)
@given(acts=memory_acts)
def test_the_compiled_memory_of_devices_holds_what_the_plain_one_holds(acts):
    both, held = Both(), set()
    for name, *rest in acts:
        if name == "add" and rest[0] not in held:
            number, user, state = rest
            held.add(number)
            device = known(
                number, user, state=state, replay=number % 3 == 0, locate=number % 7 != 0, of_age=number % 5 != 0
            )
            both.ask(
                lambda memory, device=device: memory.add(
                    device, 3 if device.partition % 4 else None, NOW_US, both.index, held=False
                )
            )
        elif name == "drop" and rest[0] in held:
            held.discard(rest[0])
            both.ask(lambda memory, number=rest[0]: memory.drop(UUID(int=100 + number)))
        elif name == "install" and rest[0] in held:
            both.ask(lambda memory, rest=rest: memory.install(UUID(int=100 + rest[0]), rest[1], both.index))
        elif name == "hold":
            both.ask(lambda memory, rest=rest: memory.hold(UUID(int=rest[0]), rest[1]))
        elif name == "ask":
            refusals(both, *rest)
        elif name == "sweep":
            swept = [sorted_sweep(memory, NOW_US + rest[0] * 1_000_000) for memory in both.memories]
            assert swept[0] == swept[1]
            held = {number for number in held if UUID(int=100 + number) in both.memories[0]}
        assert both.ask(len) == len(held)
        for number in range(31):
            both.ask(lambda memory, number=number: memory.get(UUID(int=100 + number)))
            if number in held:
                both.ask(lambda memory, number=number: memory.gate(UUID(int=100 + number), EPOCHS))
        for user in range(7):
            both.ask(lambda memory, user=user: sorted(memory.of_user(UUID(int=user))))


def refusals(both, numbers, later_s):
    """Points without a way to be taken quickly: who is refused, and why, is the same."""
    for shape in ((95.0, 0.0), (0.0, 0.0)):
        points = [Point(UUID(int=100 + number), NOW_US + 10**9, *shape) for number in numbers]
        found = []
        for memory in both.memories:
            codes = bytearray([Code.ABSENT] * len(points))
            batch = points if isinstance(memory, PlainTracks) else quick.batch_of(points)
            memory.settle(batch, codes, WORKSPACE, NOW_US + later_s * 1_000_000, epochs=EPOCHS, index=None)
            found.append(list(codes))
        assert found[0] == found[1]


def sorted_sweep(memory, before_us):
    at, gone = 0, []
    while at >= 0:
        at, some = memory.sweep(at, 7, before_us, before_us - 1_500_000)
        gone += some
    return gone.count(WORKSPACE)


@compiled
def test_thousands_of_devices_are_found_after_others_went():
    memory, index = quick.tracks(1.0, 20.0), GeofenceIndex()
    rng = random.Random(5)
    all_of_them = [UUID(int=rng.getrandbits(128)) for _ in range(5_000)]
    for device, user in zip(all_of_them, itertools.cycle(range(1_700)), strict=False):
        memory.add(
            KnownDevice(device, UUID(int=user), WORKSPACE, 0, True, True, True, False, 0, NOWHERE),
            3,
            0,
            index,
            held=False,
        )
    gone = set(rng.sample(all_of_them, 3_000))
    for device in gone:
        memory.drop(device)
    assert len(memory) == 2_000
    assert [device in memory for device in all_of_them] == [device not in gone for device in all_of_them]
    assert sum(len(memory.of_user(UUID(int=user))) for user in range(1_700)) == 2_000


@compiled
@pytest.mark.parametrize("mode", held.MODES)
def test_a_device_of_which_all_is_kept_takes_less_than_400_bytes(mode):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as own:
        assert own.submit(held.device_bytes, 170_000, mode).result() < 400
