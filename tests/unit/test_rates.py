"""Token buckets: what flows in, how many fit, and that only so many are remembered."""

import uuid

from geo_offers.pipeline.rates import Bucket, Buckets

SECOND_US = 1_000_000
ONE, OTHER, THIRD = (uuid.UUID(int=n) for n in range(3))


def test_a_bucket_gives_its_burst_and_then_what_flows_in():
    bucket = Bucket(0.5, 3.0, 0)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(2 * SECOND_US - 1)
    assert bucket.take(2 * SECOND_US)
    assert [bucket.take(100 * SECOND_US) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing():
    bucket = Bucket(1.0, 1.0, 10 * SECOND_US)
    assert bucket.take(10 * SECOND_US)
    assert not bucket.take(5 * SECOND_US)
    assert bucket.take(6 * SECOND_US)


def test_each_device_has_a_bucket_of_its_own():
    buckets = Buckets(1.0, 1.0)
    assert [buckets.take(device, 0) for device in (ONE, OTHER, ONE, OTHER)] == [True, True, False, False]


def test_the_devices_that_asked_last_are_remembered_and_no_more_than_so_many():
    buckets = Buckets(1.0, 1.0, most=2)
    assert all(buckets.take(device, 0) for device in (ONE, OTHER))
    assert not buckets.take(ONE, 0)  # asked again: now the other one is the longest ago
    assert buckets.take(THIRD, 0)
    assert not buckets.take(ONE, 0)
    assert buckets.take(OTHER, 0)  # forgotten, so full
    assert not buckets.take(OTHER, 0)
