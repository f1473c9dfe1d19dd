"""What becomes of a person's whereabouts where they may not be located any more."""

from uuid import UUID

from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql


async def wipe(connection: Connection, user: UUID) -> None:
    """Visits end where the device was last seen; where it is now is forgotten."""
    await connection.execute(sql("devices_of_user_lock"), user)
    await connection.execute(sql("visits_close_withdrawn"), user)
    await connection.execute(sql("presence_wipe"), user)
