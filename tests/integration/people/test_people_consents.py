"""Consent: absent means no, given and withdrawn by one call each, in force when it answers, proved by the ledger."""

import asyncio
import json
import uuid

import asyncpg
import pytest

from geo_offers.people.consent import verify_chain
from geo_offers.storage import ledger
from geo_offers.storage.pool import transaction
from tests.integration.people.conftest import AWAY, SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def proof(api):
    """The workspace's ledger and the head that was kept beside it."""
    async with transaction(api.pool, [api.workspace]) as connection:
        rows = await ledger.read(connection, api.workspace)
    head = await api.rows.fetchval("SELECT hash FROM consent_head WHERE workspace = $1", api.workspace)
    return rows, head


async def visits(api, phone):
    """Whether each visit of the phone has ended."""
    found = await api.rows.fetch(
        "SELECT left_at FROM visit WHERE device = $1 ORDER BY entered_at", uuid.UUID(phone.device)
    )
    return [row["left_at"] is not None for row in found]


async def decisions(api):
    return (await api.good("GET", "/v1/decisions", "owner"))["items"]


# ------------------------------------------------------------------------------------------------ giving, taking back
async def test_what_was_never_said_is_a_no(api):
    phone = await api.phone(consents={})
    assert await phone.consents() == {}
    answer = await phone.at(SHOP)
    assert (answer.status, answer.code) == (403, "consent_required")


async def test_consent_is_given_withdrawn_and_given_again(api):
    phone = await api.phone(consents={})
    for granted, version, status in ((True, "v1", 200), (False, "v1", 403), (True, "v2", 200)):
        answer = await phone.consent("locate", granted=granted, version=version)
        told = answer.body
        assert (told["purpose"], told["granted"], told["text_version"]) == ("locate", granted, version)
        assert (await phone.at(AWAY)).status == status
    assert await phone.consents() == {"locate": True}
    assert [(row.entry.granted, row.entry.surface) for row in (await proof(api))[0]] == [
        (True, "device"),
        (False, "device"),
        (True, "device"),
    ]


async def test_to_repeat_what_is_in_force_answers_the_same_and_adds_nothing_to_the_ledger(api):
    phone = await api.phone()
    before = await api.ledger()
    assert (await phone.consent("locate", granted=True)).status == 200
    assert await api.ledger() == before
    first = await phone.consent("locate", granted=False)
    second = await phone.consent("locate", granted=False)
    assert (first.status, first.body) == (second.status, second.body)
    assert await api.ledger() == before + 1


async def test_the_same_word_said_many_times_at_once_is_one_row(api):
    phone = await api.phone()
    before = await api.ledger()
    answers = await asyncio.gather(*(phone.consent("offers", granted=False) for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body["at"] for answer in answers}) == 1
    assert await api.ledger() == before + 1


@pytest.mark.parametrize(
    ("purpose", "body", "pointer"),
    [
        ("tracking", {"granted": True, "text_version": "v1"}, ""),
        ("locate%00", {"granted": True, "text_version": "v1"}, ""),
        ("locate", {"granted": "yes", "text_version": "v1"}, "/granted"),
        ("locate", {"granted": True}, ""),
        ("locate", {"granted": True, "text_version": ""}, "/text_version"),
        ("locate", {"granted": True, "text_version": "v" * 65}, "/text_version"),
        ("locate", {"granted": True, "text_version": "v\0"}, "/text_version"),
        ("locate", {"granted": True, "text_version": "v1", "user": "ann"}, "/user"),
    ],
)
async def test_a_consent_that_cannot_be_meant_is_refused(api, purpose, body, pointer):
    phone = await api.phone(consents={})
    answer = await phone.call("PUT", f"/v1/me/consents/{purpose}", body)
    assert (answer.status, answer.pointers) == (422, [pointer])
    assert await phone.consents() == {}


async def test_consents_are_the_persons_on_every_phone(api):
    one, other = await api.phone(user="ann"), await api.phone(user="ann")
    assert (await other.at(AWAY)).status == 200
    await one.consent("locate", granted=False)
    assert (await other.at(AWAY)).status == 403
    assert (await one.consents())["locate"] is False


# ------------------------------------------------------------------------------------------------ withdrawal
async def test_who_takes_back_the_consent_to_be_located_is_forgotten_before_the_answer(api):
    await api.shop()
    phone = await api.buyer()
    entered = await phone.at(SHOP)
    assert len(entered.body["offers"]) == 1
    assert (await phone.consent("locate", granted=False)).status == 200
    assert (await phone.at(SHOP)).code == "consent_required"
    device = await api.rows.fetchrow("SELECT * FROM device WHERE id = $1", uuid.UUID(phone.device))
    assert (device["newest_at"], device["presence"], device["received_at"]) == (None, None, None)
    assert await visits(api, phone) == []


async def test_what_waited_to_be_sent_is_cancelled_and_keeps_its_place_in_the_caps(api):
    await api.shop()
    phone = await api.buyer()
    (offer,) = (await phone.at(SHOP)).body["offers"]
    await api.waiting(offer)
    await phone.consent("offers", granted=False)
    assert await api.rows.fetchval("SELECT count(*) FROM outbox WHERE offer = $1", uuid.UUID(offer["id"])) == 0
    assert await api.rows.fetchval("SELECT state FROM offer WHERE id = $1", uuid.UUID(offer["id"])) == "cancelled"
    assert await api.rows.fetchval("SELECT state FROM reservation WHERE offer = $1", uuid.UUID(offer["id"])) == 1
    assert (await phone.good("GET", "/v1/me/offers"))["items"] == []


async def test_after_coming_back_a_visit_begins_anew(api):
    await api.shop()
    phone = await api.buyer()
    await phone.at(SHOP)
    await phone.consent("locate", granted=False)
    await phone.consent("locate", granted=True)
    answer = await phone.at(SHOP)
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]


async def test_without_consent_to_offers_the_decision_is_silence_and_nothing_after_it_is_read(api):
    await api.shop()
    phone = await api.buyer()
    await phone.consent("offers", granted=False)
    answer = await phone.at(SHOP)
    assert [seen["type"] for seen in answer.body["transitions"]] == ["enter"]
    assert answer.body["offers"] == []
    (decision,) = await decisions(api)
    assert (decision["outcome"], decision["reason"]) == ("suppressed", "no_consent")
    gates = [gate["gate"] for gate in decision["gates"]]
    assert gates[-1] == "consent"
    assert not decision["gates"][-1]["passed"]
    assert not {"rhythm_max", "rhythm_gap", "quiet_hours", "muted", "cap", "place_gap", "store_gap"} & set(gates)


# ------------------------------------------------------------------------------------------------ the ledger
async def test_the_ledger_is_one_whole_chain_however_many_speak_at_once(api):
    await api.key("app")
    phones = await asyncio.gather(*(api.phone() for _ in range(6)))
    await asyncio.gather(*(phone.consent("measure", granted=True) for phone in phones))
    rows, head = await proof(api)
    assert [row.entry.seq for row in rows] == list(range(1, 19))
    assert verify_chain(rows, head=head) is None


CHANGES = [
    "granted = NOT granted",
    "text_version = text_version || 'x'",
    "purpose = 'measure'",
    "surface = 'device'",
    "at = at + interval '1 microsecond'",
    "subject = subject || '\\x00'::bytea",
    "hash = sha256(hash)",
    "prev_hash = sha256(prev_hash)",
]


async def test_a_row_altered_past_all_guards_breaks_the_chain(api):
    await api.phone(consents={"locate": "v1", "offers": "v1", "profile": "v1"})
    rows, head = await proof(api)
    assert verify_chain(rows, head=head) is None
    for change in CHANGES:
        for seq in (1, 2, 3):
            tampering = api.rows.transaction()
            await tampering.start()
            await api.rows.execute("ALTER TABLE consent_ledger DISABLE TRIGGER ALL")
            done = await api.rows.execute(
                f"UPDATE consent_ledger SET {change} WHERE workspace = $1 AND seq = $2", api.workspace, seq
            )
            assert done == "UPDATE 1"
            altered = await ledger.read(api.rows, api.workspace)
            await tampering.rollback()
            assert verify_chain(altered, head=head) is not None, (change, seq)
    assert (await proof(api))[0] == rows


async def test_a_row_left_out_breaks_the_chain(api):
    await api.phone(consents={"locate": "v1", "offers": "v1", "profile": "v1"})
    rows, head = await proof(api)
    for place in range(3):
        assert verify_chain(rows[:place] + rows[place + 1 :], head=head) is not None


async def test_nobody_changes_the_ledger_by_the_programs_role_nor_by_the_tables_owner(api, shared):
    await api.phone()
    for dsn in (shared.database.app_dsn, shared.database.owner_dsn):
        connection = await asyncpg.connect(dsn)
        await connection.execute("SELECT set_config('app.workspaces', $1, false)", "{" + str(api.workspace) + "}")
        assert await connection.fetchval("SELECT count(*) FROM consent_ledger") == 2
        for statement in ("UPDATE consent_ledger SET granted = false", "DELETE FROM consent_ledger"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()


async def test_the_ledger_names_nobody_and_outlives_an_erasure(api):
    phone = await api.phone(user="ann")
    other = await api.phone()
    await other.good("DELETE", "/v1/me")
    rows, head = await proof(api)
    assert verify_chain(rows, head=head) is None
    assert [(row.entry.granted, row.entry.surface) for row in rows[-2:]] == [(False, "erasure")] * 2
    salts = await api.rows.fetch("SELECT user_id FROM consent_salt WHERE workspace = $1", api.workspace)
    assert [str(row["user_id"]) for row in salts] == [phone.user]
    told = json.dumps([str(row) for row in rows])
    for name in (phone.user, other.user, uuid.UUID(other.user).hex, "ann"):
        assert f"'{name}'" not in told


async def test_a_person_who_was_erased_and_comes_back_is_another_subject(api):
    phone = await api.phone("server", user="ann")
    await api.good("DELETE", "/v1/me", phone.token)
    again = await api.phone("server", user="ann")
    rows, head = await proof(api)
    assert verify_chain(rows, head=head) is None
    assert len({row.entry.subject for row in rows}) == 2
    assert await again.consents() == {"locate": True, "offers": True}
