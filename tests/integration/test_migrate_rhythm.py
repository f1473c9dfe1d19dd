"""The migration that makes the rhythm one value: what was muted is muted still, what was not set stays unset."""

import json
import uuid

import asyncpg

from geo_offers.storage.files import sql_folder

CAMPAIGN = uuid.UUID(int=7)


async def test_what_was_muted_moves_into_the_rhythm_and_nothing_else_changes(database):
    (migration,) = (sql_folder() / "migrations").glob("*_rhythm.sql")
    people = {
        "default": (None, [CAMPAIGN], {"mute": {"campaigns": [str(CAMPAIGN)]}}),
        "own": (b'{"max":3,"quiet":[]}', [CAMPAIGN], {"max": 3, "quiet": [], "mute": {"campaigns": [str(CAMPAIGN)]}}),
        "nothing muted": (b'{"max":3}', [], {"max": 3}),
        "untouched": (None, [], None),
        "unreadable": (b"{", [CAMPAIGN], "{"),
        "no text": (b"\xff", [CAMPAIGN], "\udcff"),
    }
    admin, owner = await asyncpg.connect(database.superuser_dsn), await asyncpg.connect(database.owner_dsn)
    try:
        await admin.execute("ALTER TABLE app_user ADD COLUMN muted uuid[] NOT NULL DEFAULT '{}'")
        workspace = uuid.uuid4()
        await admin.execute("INSERT INTO workspace (id, name) VALUES ($1, 'w')", workspace)
        for name, (rhythm, muted, _) in people.items():
            await admin.execute(
                "INSERT INTO app_user (id, workspace, partition, external_id, rhythm, muted)"
                " VALUES ($1, $2, 0, $3, $4, $5)",
                *(uuid.uuid4(), workspace, name, rhythm, muted),
            )
        await owner.execute(migration.read_text().partition("ALTER TABLE reservation")[0])
        found = await admin.fetch("SELECT external_id, rhythm FROM app_user")
    finally:
        await owner.close()
        await admin.close()
    assert {row["external_id"]: _read(row["rhythm"]) for row in found} == {
        name: after for name, (_, _, after) in people.items()
    }


def _read(column: bytes | None) -> object:
    if column is None:
        return None
    text = column.decode(errors="surrogateescape")
    return json.loads(text) if text.endswith("}") else text
