"""What a person's own words hide: by how far they let us locate them, and by place."""

import pytest

from geo_offers.people.whereabouts import ANYWHERE, UNKNOWN, Whereabouts
from geo_offers.places.geometry import Circle

HOME = Circle(53.0, 8.8, 200.0)
DEG = 1 / 111_300  # of latitude, a metre


@pytest.mark.parametrize(
    ("locate", "in_foreground", "in_background"),
    [("always", False, False), ("foreground", False, True), ("coarse", True, True), ("off", True, True)],
)
def test_how_far_a_person_lets_us_locate_them_decides_what_is_unseen(locate, in_foreground, in_background):
    said = Whereabouts(locate)
    assert said.is_unseen(foreground=True) == in_foreground
    assert said.is_unseen(foreground=False) == in_background


def test_the_default_hides_nothing_and_what_cannot_be_read_hides_all():
    assert not ANYWHERE.is_unseen(foreground=False)
    assert not ANYWHERE.hides(53.0, 8.8)
    assert UNKNOWN.is_unseen(foreground=True)


def test_a_place_hides_what_is_within_its_radius_alone():
    said = Whereabouts(not_at=(Circle(0.0, 0.0, 50.0), HOME))
    assert said.hides(53.0 + 199 * DEG, 8.8)
    assert not said.hides(53.0 + 202 * DEG, 8.8)
    assert not said.hides(53.0, -8.8)


def test_a_place_touches_circles_that_have_any_point_in_common_with_it():
    said = Whereabouts(not_at=(HOME,))
    assert said.touches(Circle(53.0 + 299 * DEG, 8.8, 100.0))
    assert said.touches(Circle(53.0, 8.8, 10.0))
    assert not said.touches(Circle(53.0 + 302 * DEG, 8.8, 100.0))


def test_a_place_on_the_antimeridian_hides_both_sides():
    said = Whereabouts(not_at=(Circle(10.0, 180.0, 500.0),))
    assert said.hides(10.0, -179.998)
    assert said.hides(10.0, 179.998)
