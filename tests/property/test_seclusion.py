"""What is hidden is hidden by the compiled memory of devices and by the plain one alike, and leaves nothing behind."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from geo_offers.people.whereabouts import Whereabouts
from geo_offers.pipeline import quick
from geo_offers.pipeline.requests import Code, Point
from geo_offers.pipeline.seclusion import secluded
from geo_offers.pipeline.tracks import PlainTracks
from geo_offers.places.fences import Detect, FenceId, Geofence
from geo_offers.places.geometry import Circle
from geo_offers.places.index import GeofenceIndex
from tests.property.test_quick import (
    EPOCHS,
    LAT,
    LON,
    NOW_US,
    PLACES,
    STEP_DEG,
    WORKSPACE,
    compiled,
    fence,
    known,
    point_drawn,
    requests_drawn,
)

whereabouts = st.one_of(
    st.none(),
    st.builds(
        Whereabouts,
        st.sampled_from(["off", "foreground", "always", "always", "coarse"]),
        st.lists(
            st.builds(
                Circle,
                st.floats(0, 4).map(lambda step: LAT + step * STEP_DEG),
                st.floats(0, 4).map(lambda step: LON + step * STEP_DEG),
                st.sampled_from([50.0, 120.0, 2_500.0]),
            ),
            max_size=2,
        ).map(tuple),
    ),
)
places = st.lists(
    st.builds(
        fence,
        st.sampled_from("pqr"),
        st.floats(0, 4),
        st.floats(0, 4),
        st.sampled_from([25.0, 45.0, 120.0]),
        area=st.booleans(),
    ),
    max_size=3,
)


def memory_of(tracks, wheres, index):
    for number, where in enumerate(wheres):
        tracks.add(known(number, number // 2, replay=number < 2, where=where), 3, 0, index, held=False)
    return tracks


@compiled
@settings(max_examples=200, deadline=None)
@given(
    wheres=st.lists(whereabouts, min_size=4, max_size=4),
    private=places,
    sent=requests_drawn,
    foreground=st.lists(st.booleans(), min_size=12, max_size=12),
    elsewhere=st.booleans(),
)
def test_both_memories_hide_the_same_pings_and_leave_no_trace_of_them(wheres, private, sent, foreground, elsewhere):
    index, hidden = GeofenceIndex([fence("a", 2, 2, 60.0), fence("b", 3, 0, 300.0)]), GeofenceIndex(private)
    given_private = hidden if len(hidden) and not elsewhere else None
    points = [
        Point(
            **{name: getattr(point_drawn(NOW_US, drawn), name) for name in Point.__struct_fields__[:-1]}, foreground=on
        )
        for drawn, on in zip(sent, foreground, strict=False)
    ]
    expected = [secluded(point, wheres[point.device.int - 100], given_private, index) for point in points]
    for tracks in (quick.tracks(1.0, 20.0), PlainTracks(1.0, 20.0)):
        memory = memory_of(tracks, wheres, index)
        before = [memory.get(UUID(int=100 + number)) for number in range(4)]
        codes = bytearray([Code.ABSENT] * len(points))
        batch = points if isinstance(memory, PlainTracks) else quick.batch_of(points)
        memory.settle(batch, codes, WORKSPACE, NOW_US, epochs=EPOCHS, index=index, private=given_private)
        told = [Code(code) if code in (Code.PRIVATE, Code.UNSEEN) else None for code in codes]
        assert told == expected
        for number in range(4):
            all_hidden = all(code for code, point in zip(told, points, strict=True) if point.device.int == 100 + number)
            if all_hidden:
                assert memory.get(UUID(int=100 + number)) == before[number]


@compiled
def test_a_person_who_went_takes_what_they_said_along():
    index = GeofenceIndex()
    for memory in (quick.tracks(1.0, 20.0), PlainTracks(1.0, 20.0)):
        memory.add(known(0, 0, where=Whereabouts("off")), 3, 0, index, held=False)
        memory.drop(UUID(int=100))
        memory.add(known(1, 1), 3, 0, index, held=False)
        assert memory.where(UUID(int=101)) is None
        assert memory.get(UUID(int=101)).device.where is None


def test_what_the_phone_saw_of_a_fence_that_comes_near_a_hidden_place_is_hidden():
    index = GeofenceIndex([fence("a", 2, 2, 60.0), fence("b", 40, 40, 60.0)])
    near, far = (Point(UUID(int=100), NOW_US, None, None, region=f"s/{name}", entered=True) for name in "ab")
    lat, lon = PLACES[12]  # the middle of `a`
    beside = Circle(lat + 200 / 111_300, lon, 150.0)
    by_person = Whereabouts(not_at=(beside,))
    by_workspace = GeofenceIndex([fence("p", 2, 2, 25.0)])
    around = GeofenceIndex([fence("p", 2, 2, 500.0)])
    at_its_edge = GeofenceIndex([Geofence(FenceId("s/p"), 1, "", beside, None, (), active=True, detect=Detect("raw"))])
    for where, private in ((by_person, None), (None, by_workspace), (None, around), (None, at_its_edge)):
        assert secluded(near, where, private, index) is Code.PRIVATE
        assert secluded(far, where, private, index) is None
    unknown = Point(UUID(int=100), NOW_US, None, None, region="s/z", entered=True)
    assert secluded(unknown, by_person, by_workspace, index) is None
    assert index.get(FenceId("s/z")) is None


@compiled
def test_on_the_very_border_of_a_private_place_both_memories_say_what_exact_arithmetic_says():
    index, private = GeofenceIndex(), GeofenceIndex([fence("p", 2, 2, 60.0)])
    (place,) = private
    lat, lon = place.geometry.lat, place.geometry.lon
    told = set()
    for step in range(-60, 61):
        points = [Point(UUID(int=100), NOW_US, lat + (60.0 + step / 1_000) / 111_200, lon)]
        expected = secluded(points[0], None, private, index)
        told.add(expected)
        for tracks in (quick.tracks(1.0, 20.0), PlainTracks(1.0, 20.0)):
            memory = memory_of(tracks, [None], index)
            codes = bytearray([Code.ABSENT])
            batch = points if isinstance(memory, PlainTracks) else quick.batch_of(points)
            memory.settle(batch, codes, WORKSPACE, NOW_US, epochs=EPOCHS, index=index, private=private)
            assert (codes[0] == Code.PRIVATE) == (expected is Code.PRIVATE)
    assert told == {None, Code.PRIVATE}
