"""The corpus: device-hours that follow from a seed, whichever process makes which part of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from bench.detection.noise import Handset, Trace, draw_handset, observe
from bench.detection.people import Path, draw_path
from bench.detection.sites import Site, draw_site

HOURS_EACH: Final = 4
"""Device-hours of one phone."""
MALL_EVERY: Final = 4
"""Every fourth phone is in a mall, the others at street sites."""


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone at one site: what its fixes said, and where it truly was."""

    number: int
    site: Site
    handset: Handset
    path: Path
    trace: Trace


def phones_of(hours: int) -> int:
    """How many phones make so many device-hours, at least."""
    return -(-hours // HOURS_EACH)


def make_phone(seed: int, number: int, *, hostile: bool = False) -> Phone:
    """The same for the same arguments, always."""
    random = np.random.default_rng([seed, number])
    site = draw_site(random, "mall" if number % MALL_EVERY == 0 else "street")
    path = draw_path(random, site, HOURS_EACH * 3600)
    handset = draw_handset(random, hostile=hostile)
    return Phone(number, site, handset, path, observe(random, handset, site, path))


def make_phones(seed: int, numbers: range, *, hostile: bool = False) -> Iterator[Phone]:
    for number in numbers:
        yield make_phone(seed, number, hostile=hostile)
