"""How far a device without proof of its person speaks for them: what it tells and changes of the rhythm.

It reads what it caused itself and may make things stricter. While it is the person's only device there is nobody else
to have said anything, and it speaks for all of them, as an unnamed person's phone does.
"""

from msgspec import UNSET, structs

from geo_offers import wire
from geo_offers.errors import Conflict, Fault, Forbidden
from geo_offers.pipeline.callers import Caller
from geo_offers.storage import rows
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql


async def is_confined(connection: Connection, caller: Caller) -> bool:
    """Whether a caller is held to what its device caused: it has no proof of its person, who has other devices too."""
    if caller.confined_to is None:
        return False
    others: bool = await connection.fetchval(sql("user_has_others"), caller.user, caller.confined_to)
    return others


async def rhythm_told(connection: Connection, caller: Caller, held: wire.Rhythm) -> wire.Rhythm:
    """The person's rhythm as the caller may know it: without their places for one that is confined."""
    return structs.replace(held, not_at=UNSET) if await is_confined(connection, caller) else held


async def rhythm_taken(connection: Connection, caller: Caller, held: wire.Rhythm, given: wire.Rhythm) -> wire.Rhythm:
    """What is in force once this caller has given a rhythm; the person is locked.

    One that is confined adds to the person's places, which it does not know, and makes nothing looser: Forbidden with
    the places of what it would.
    """
    if not await is_confined(connection, caller):
        return given
    found = rows.made_looser(held, given)
    if found:
        faults = tuple(Fault(pointer, "looser", "This allows more than the rhythm in force.") for pointer in found)
        raise Forbidden(
            "a device without proof of its person makes their rhythm stricter at most", "user_proof", faults
        )
    places = rows.both_places(held, given)
    if len(places) > rows.MOST_PLACES:
        raise Conflict(
            f"a person names at most {rows.MOST_PLACES} places; take some out with proof of the person first"
        )
    return structs.replace(given, not_at=places)
