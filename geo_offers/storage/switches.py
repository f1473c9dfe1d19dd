"""The switch of the whole installation."""

from geo_offers.storage.auditing import CLI
from geo_offers.storage.outbox import PostgresOutbox
from geo_offers.storage.pool import Pool, transaction
from geo_offers.storage.queries import sql


async def pause_all(pool: Pool, *, paused: bool) -> bool:
    """Nothing more is decided or sent for anybody, or is again; False where that was so already.

    The switch comes first, by itself: sends read it, and need not wait for who holds a workspace's row just now.
    Catalogs follow even where nothing changed, and what waits is made due for the servers' next look: who was broken
    off in between is helped by saying it again.
    """
    async with transaction(pool, []) as connection:
        changed = await connection.fetchval(sql("installation_pause"), paused) is not None
        workspaces = [row["id"] for row in await connection.fetch(sql("workspaces_all"))]
    async with transaction(pool, workspaces) as connection:
        await connection.execute(sql("workspaces_catalog_raise"))
        if changed:
            action = "installation.pause" if paused else "installation.resume"
            await connection.execute(sql("audit_add_all"), workspaces, CLI, action, "all")
    if paused:
        await PostgresOutbox(pool).recall(workspaces)
    return changed
