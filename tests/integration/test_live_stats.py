"""The figures of the live feed: a workspace sees its own, and nothing of another's."""

import asyncio
import json
from contextlib import asynccontextmanager

from geo_offers import app
from tests.faults.world import administrator, at_now, until, world
from tests.support.running import running

NOTHING = {
    "pings_per_s": 0.0,
    "streams": 0,
    "devices": 0,
    "queued": 0,
    "fences": 0,
    "decisions": {},
    "decision_ms": {},
}
OF_THE_MACHINE = {"lookup_us"}


@asynccontextmanager
async def stats_of(made, key):
    """The next figures that a manager is told, each time it is called."""
    headers = {"Authorization": f"Bearer {key}"}
    async with made.session.get(f"{made._url()}/v1/live?types=stats", headers=headers) as response:

        async def told():
            async with asyncio.timeout(5):
                while not (line := (await response.content.readline()).decode()).startswith("data: "):
                    pass
            return json.loads(line.removeprefix("data: "))

        yield told


async def test_a_workspace_is_told_its_own_figures_and_nothing_of_another_one(database, monkeypatch):
    monkeypatch.setattr(app, "STATS_S", 0.05)
    async with (
        running(database) as service,
        world(database, lambda: service.url) as busy,
        administrator(database) as rows,
        stats_of(busy, await service.make_key(workspace="quiet")) as told_quiet,
        stats_of(busy, busy.keys["manager"]) as told_busy,
    ):
        await busy.fences(3)
        await busy.campaign()
        phone, held = await busy.phones(["phone", "held"])
        headers = {"Authorization": f"Bearer {phone.token}"}
        async with busy.session.ws_connect(f"{service.url}/v1/stream", headers=headers) as line:
            await line.send_json(phone.ping(0, at_now(1)))
            await line.receive_json(timeout=5)
            async with rows.transaction():
                await rows.execute("SELECT 1 FROM app_user WHERE id = $1 FOR UPDATE", held.user)
                waiting = asyncio.create_task(busy.pings("server", [held.ping(1, named=True)]))
                seen = []

                async def all_of_it():
                    seen.append(await told_busy())
                    return seen[-1]["queued"] == 1 and bool(seen[-1]["decisions"])

                await until(all_of_it, why="an offer made, and a point that waits")
                figures, others = seen[-1], [await told_quiet() for _ in range(len(seen))]
            assert (await waiting).status == 200
    assert max(one["pings_per_s"] for one in seen) > 0
    assert figures | {"streams": 1, "devices": 1, "queued": 1, "fences": 3, "decisions": {"offer": 1}} == figures
    assert figures["decision_ms"]
    for other in others:
        assert {name: value for name, value in other.items() if name not in OF_THE_MACHINE} == NOTHING
