"""What the database holds of geofences, as a restart would read it."""

from geo_offers.storage import catalogs


async def load_fences(pool):
    """By workspace."""
    return {
        workspace: [fence async for page in pages for fence in page]
        async for workspace, pages in catalogs.load_fences(pool)
    }
