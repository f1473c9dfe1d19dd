"""Invented people for a campaign that has no history: who they are and when they come follows from their number alone.

Each has a place of their own to which they go seven times in ten, and otherwise any of the places. On a working day
three in ten of them go out, on a Saturday four, on a Sunday one and a half; between 9 and 20 o'clock on the wall there,
for three minutes to an hour. These shares are judgements, not measurements.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from geo_offers.offers.experiment import place
from geo_offers.people.wall import MINUTE_US, first_instant_us, wall
from geo_offers.places.fences import Geofence
from geo_offers.presence.retelling import KeptVisit
from geo_offers.presence.visits import visit_id

WALKERS: Final = 200
OUT: Final = (0.3, 0.3, 0.3, 0.3, 0.3, 0.4, 0.15)
FAITHFUL: Final = 0.7
FIRST_MINUTE: Final = 9 * 60
LAST_MINUTE: Final = 20 * 60


def walker(number: int) -> UUID:
    return UUID(bytes=blake2b(f"walker {number}".encode(), digest_size=16).digest())


def visits(person: UUID, places: Sequence[tuple[Geofence, ZoneInfo]], days: int, until_us: int) -> Iterator[KeptVisit]:
    """Their visits of the days before an instant, oldest first. places: not empty, each with its zone."""
    for ago in range(days, 0, -1):
        name = str(ago).encode()
        own = place(person, b"faithful", name) < FAITHFUL
        fence, zone = places[int(place(person, b"place", b"" if own else name) * len(places))]
        today = wall(until_us, zone).date() - timedelta(days=ago)
        if place(person, b"out", name) >= OUT[today.weekday()]:
            continue
        minute = FIRST_MINUTE + int(place(person, b"minute", name) * (LAST_MINUTE - FIRST_MINUTE))
        entered_us = first_instant_us(datetime.combine(today, datetime.min.time()) + timedelta(minutes=minute), zone)
        left_us = entered_us + int((3 + 57 * place(person, b"stay", name)) * MINUTE_US)
        dwelt_us = entered_us + round(fence.detect.dwell_s * 1_000_000)
        yield KeptVisit(
            visit_id(person, person, fence.id, entered_us),
            fence.id,
            entered_us,
            dwelt_us=dwelt_us if dwelt_us < left_us else None,
            left_us=left_us,
        )
