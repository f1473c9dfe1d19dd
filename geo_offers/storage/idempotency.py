"""Kept answers, one a workspace, caller and Idempotency-Key."""

from geo_offers.errors import Fault, Invalid, Unavailable
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.idempotency import Kept, Running
from geo_offers.storage.pool import Pool, transaction
from geo_offers.storage.queries import sql


class PostgresIdempotency:
    """`pipeline.idempotency.Idempotency`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def begin(self, caller: Caller, key: str, request_hash: bytes) -> Kept | Running | None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            taken = await connection.fetchval(sql("idempotency_begin"), caller.workspace, caller.id, key, request_hash)
            if taken is not None:
                return None
            row = await connection.fetchrow(sql("idempotency_read"), caller.workspace, caller.id, key)
        if row is None:
            raise Unavailable("the first request under this Idempotency-Key has just failed; send it again")
        if row["request_hash"] != request_hash:
            raise Invalid(
                "this Idempotency-Key was used for another request",
                (Fault("", "idempotency_key_reused", "make a new key for a new request"),),
            )
        if row["status"] is None:
            return Running()
        return Kept(row["status"], row["content_type"], row["answer"])

    async def finish(self, caller: Caller, key: str, kept: Kept) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await connection.execute(
                sql("idempotency_finish"), caller.workspace, caller.id, key, kept.status, kept.content_type, kept.body
            )

    async def forget(self, caller: Caller, key: str) -> None:
        async with transaction(self._pool, [caller.workspace]) as connection:
            await connection.execute(sql("idempotency_forget"), caller.workspace, caller.id, key)
