"""Whose a device is that is held, and how often it may ask, in both memories."""

from uuid import UUID

import pytest

from geo_offers.pipeline import quick
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.requests import Code, Point
from geo_offers.pipeline.tracks import PlainTracks
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.states import NOWHERE

SECOND_US = 1_000_000
DEVICE, USER, WORKSPACE = UUID(int=1 << 64 | 2), UUID(int=3 << 64 | 4), UUID(int=5)
KNOWN = KnownDevice(
    id=DEVICE,
    user=USER,
    workspace=WORKSPACE,
    partition=0,
    replay=False,
    locate=True,
    of_age=True,
    proven=False,
    token_epoch=7,
    state=NOWHERE,
)


@pytest.fixture(params=[quick.tracks, PlainTracks], ids=["as built", "plain"])
def tracks(request):
    made = request.param(1.0, 20.0)
    made.add(KNOWN, 1, 1, GeofenceIndex(), held=False)
    return made


def test_a_device_is_its_persons_under_the_epoch_of_its_tokens(tracks):
    assert tracks.is_of(DEVICE, WORKSPACE, USER, 7)


@pytest.mark.parametrize(
    "other",
    [
        (UUID(int=1 << 64 | 3), WORKSPACE, USER, 7),
        (DEVICE, UUID(int=6), USER, 7),
        (DEVICE, WORKSPACE, UUID(int=3 << 64 | 5), 7),
        (DEVICE, WORKSPACE, UUID(int=4 << 64 | 4), 7),
        (DEVICE, WORKSPACE, USER, 6),
        (DEVICE, WORKSPACE, USER, 8),
    ],
    ids=["device", "workspace", "user", "user too", "epoch before", "epoch after"],
)
def test_it_is_nobody_elses(tracks, other):
    assert not tracks.is_of(*other)


def test_a_device_that_is_not_held_is_nobodys(tracks):
    tracks.drop(DEVICE)
    assert not tracks.is_of(DEVICE, WORKSPACE, USER, 7)


@pytest.mark.parametrize("memory", [quick.tracks, PlainTracks], ids=["as built", "plain"])
def test_a_clock_that_is_set_back_keeps_no_device_out_for_longer_than_its_rate(memory):
    tracks = memory(1.0, 1.0)
    tracks.add(KNOWN, 1, 3600 * SECOND_US, GeofenceIndex(), held=False)
    told = [asked(tracks, at_s) for at_s in (3600, 3600, 5, 5, 6, 6)]
    assert told == [Code.STEP, Code.RATE, Code.RATE, Code.RATE, Code.STEP, Code.RATE]


def asked(tracks, at_s):
    points = [Point(DEVICE, at_s * SECOND_US, 1.0, 1.0)]
    codes = bytearray([Code.ABSENT])
    batch = points if isinstance(tracks, PlainTracks) else quick.batch_of(points)
    tracks.settle(batch, codes, WORKSPACE, at_s * SECOND_US, epochs={}, index=None)
    return codes[0]
