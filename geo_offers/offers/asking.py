"""Progressive profiling: an offer may ask for one attribute of the person, by its name in the offer's data."""

from collections.abc import Mapping
from typing import Final

from geo_offers.people.segments import Facts

KEY: Final = "ask"


def asked(wanted: str | None, facts: Facts) -> Mapping[str, str]:
    """What the offer's data gets: nothing of who has no profile, is known in this or has once refused it."""
    if wanted is None or not facts.profiled or wanted in facts.attributes or wanted in facts.refused:
        return {}
    return {KEY: wanted}
