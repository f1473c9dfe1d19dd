"""Whose a device is that is held, in both memories."""

from uuid import UUID

import pytest

from geo_offers.pipeline import quick
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.tracks import PlainTracks
from geo_offers.places.index import GeofenceIndex
from geo_offers.presence.states import NOWHERE

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
