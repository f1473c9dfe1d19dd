"""`geo-offers doctor` finds what was done to the consent ledger behind the program's back, and names the row."""

import json
import re
import uuid

import pytest
from structlog.testing import capture_logs

from geo_offers.storage import ledger, proofs
from tests.support.commands import command
from tests.support.running import KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def faults(api):
    """What does not hold in this workspace."""

    async def look():
        (found,) = [proof for proof in await proofs.prove(api.pool) if proof.workspace == api.name]
        return list(found.faults)

    return look


async def doctor(shared, api):
    """Exit code, state and detail of the finding, of this workspace alone."""
    settings = {"DATABASE_URL": shared.database.app_dsn, "CREDENTIALS_KEY": KEY}
    ended = await command("doctor", "--json", settings=settings)
    (found,) = [one for one in json.loads(ended.out)["findings"] if one["check"] == "consents"]
    mine = [part for part in found["detail"].split("; ") if part.startswith(api.name)]
    return ended.code, found["state"], mine


@pytest.fixture
def tampering(api):
    """What a superuser does with all guards off; put right again at the end."""

    async def tamper(*statements):
        await api.rows.execute("SET session_replication_role = replica")
        for statement in statements:
            await api.rows.execute(statement, api.workspace)
        await api.rows.execute("SET session_replication_role = DEFAULT")

    return tamper


async def four_rows(api):
    phone = await api.phone()
    await phone.consent("measure", granted=True)
    await phone.consent("offers", granted=False)
    return phone


async def test_a_whole_ledger_is_told_with_its_head_and_one_that_is_not_with_what_is_wrong(shared, api, tampering):
    await four_rows(api)
    head = await api.rows.fetchval("SELECT hash FROM consent_head WHERE workspace = $1", api.workspace)
    assert await doctor(shared, api) == (0, "ok", [f"{api.name}: 4 rows, head {head.hex()}"])
    await tampering("UPDATE consent_ledger SET surface = 'device' WHERE workspace = $1 AND seq = 1")
    assert await doctor(shared, api) == (1, "wrong", [f"{api.name}: row 1 does not say what was sealed"])


MOVE = (
    "UPDATE consent_ledger SET seq = 99 WHERE workspace = $1 AND seq = 2",
    "UPDATE consent_ledger SET seq = 2 WHERE workspace = $1 AND seq = 3",
    "UPDATE consent_ledger SET seq = 3 WHERE workspace = $1 AND seq = 99",
)
PUT_IN = """INSERT INTO consent_ledger
    (workspace, seq, subject, purpose, granted, text_version, surface, at, prev_hash, hash)
SELECT workspace, 5, subject, 'profile', true, 'v1', surface, at, hash, hash FROM consent_ledger
WHERE workspace = $1 AND seq = 4"""
ALTERATIONS = {
    "altered": (
        ("UPDATE consent_ledger SET granted = NOT granted WHERE workspace = $1 AND seq = 3",),
        "row 3 does not",
    ),
    "given a proof": (
        ("UPDATE consent_ledger SET locale = 'de' WHERE workspace = $1 AND seq = 2",),
        "row 2 does not say",
    ),
    "of another form": (("UPDATE consent_ledger SET form = 1 WHERE workspace = $1 AND seq = 1",), "row 1 does not say"),
    "left out": (("DELETE FROM consent_ledger WHERE workspace = $1 AND seq = 2",), "row 3 stands where row 2 is due"),
    "the first left out": (
        ("DELETE FROM consent_ledger WHERE workspace = $1 AND seq = 1",),
        "row 2 stands where row 1",
    ),
    "the last left out": (("DELETE FROM consent_ledger WHERE workspace = $1 AND seq = 4",), "the head is not of row 3"),
    "moved": (MOVE, "row 2 was not sealed onto the row before it"),
    "put in": (
        (PUT_IN,),
        "row 5 stands beyond the head",
    ),
    "the head": (("UPDATE consent_head SET hash = sha256(hash) WHERE workspace = $1",), "the head is not of row 4"),
}


@pytest.mark.parametrize("page", [1, 2, 10_000])
@pytest.mark.parametrize("done", ALTERATIONS)
async def test_a_row_that_somebody_altered_is_found_and_named(api, faults, tampering, done, page):
    await four_rows(api)
    statements, told = ALTERATIONS[done]
    await tampering(*statements)
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(ledger, "PAGE", page)
        assert (await faults())[0].startswith(told)


COPIES = {
    "granted": ('"granted":true', '"granted":false'),
    "text": ('"text_version":"v1"', '"text_version":"v0"'),
    "row": ('"seq":1', '"seq":2'),
    "a purpose more": ('"offers"', '"profile"'),
    "unreadable": ("{", "["),
}


@pytest.mark.parametrize("copy", COPIES)
async def test_a_person_of_whom_the_hot_copy_says_something_else_is_named(api, faults, monkeypatch, copy):
    monkeypatch.setattr(proofs, "PEOPLE", 2)
    people = [await api.phone() for _ in range(5)]
    mine = uuid.UUID(people[3].user)
    before = await api.rows.fetchval("SELECT consents FROM app_user WHERE id = $1", mine)
    old, new = COPIES[copy]
    altered = re.sub(r'("seq":)\d+', r"\g<1>1", before.decode()).replace(old, new)
    await api.rows.execute("UPDATE app_user SET consents = $2 WHERE id = $1", mine, altered.encode())
    assert await faults() == [f"1 people's own rows do not say what the ledger says: {mine}"]


async def test_a_copy_from_before_rows_had_numbers_agrees(api, faults):
    phone = await api.phone()
    held = await api.rows.fetchval("SELECT consents FROM app_user WHERE id = $1", uuid.UUID(phone.user))
    await api.rows.execute(
        "UPDATE app_user SET consents = $2 WHERE id = $1",
        uuid.UUID(phone.user),
        re.sub(rb',"seq":\d+', b"", held),
    )
    assert await faults() == []


async def test_people_who_were_erased_leave_a_whole_ledger(api, faults):
    phone = await four_rows(api)
    await api.phone()
    await phone.good("DELETE", "/v1/me")
    assert await faults() == []


async def test_the_heads_are_written_to_the_log(api):
    await four_rows(api)
    head = await api.rows.fetchval("SELECT hash FROM consent_head WHERE workspace = $1", api.workspace)
    with capture_logs() as lines:
        await proofs.log_heads(api.pool)
    (mine,) = [line for line in lines if line["workspace"] == api.name]
    assert (mine["event"], mine["rows"], mine["head"]) == ("consent head", 4, head.hex())
