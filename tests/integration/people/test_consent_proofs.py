"""A consent is proved by what the app tells of it; a decision names the ledger's rows that allowed it."""

import hashlib
import uuid

import pytest

from geo_offers.people.consent import verify_chain
from geo_offers.storage import ledger
from geo_offers.storage.pool import transaction
from tests.integration.people.conftest import SHOP

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROOF = hashlib.sha256(b"We tell your phone where it is.").hexdigest()
TOLD = {"locale": "de-AT", "proof": PROOF, "said_at": "2026-01-02T03:04:05+01:00"}


async def of_ledger(api):
    async with transaction(api.pool, [api.workspace]) as connection:
        rows = await ledger.read(connection, api.workspace)
    assert verify_chain(rows) is None
    return rows


async def words(phone):
    """The ledger's rows as the person's export tells them."""
    return (await phone.good("GET", "/v1/me/export"))["ledger"]


async def said(phone, purpose, **change):
    return await phone.call("PUT", f"/v1/me/consents/{purpose}", {"granted": True, "text_version": "v1"} | change)


def told(word):
    return {name: word[name] for name in TOLD if name in word}


# ------------------------------------------------------------------------------------------------ what the app tells
async def test_the_ledger_keeps_the_locale_the_proof_and_the_phones_time(api):
    phone = await api.phone(consents={})
    assert (await said(phone, "locate", **TOLD)).status == 200
    (word,) = await words(phone)
    assert told(word) == TOLD | {"said_at": "2026-01-02T02:04:05Z"}
    (row,) = await of_ledger(api)
    assert (row.entry.form, row.entry.shown.proof) == (2, bytes.fromhex(PROOF))
    assert (word["hash"], word["prev_hash"]) == (row.hash.hex(), row.prev_hash.hex())


async def test_an_enrolment_tells_it_too_and_a_text_without_a_locale_was_in_the_phones(api):
    agreed = {"locate": {"text_version": "v1"} | TOLD, "offers": {"text_version": "v2"}, "measure": "v3"}
    phone = await api.phone(locale="fr", consents=agreed)
    found = {word["purpose"]: word for word in await words(phone)}
    assert told(found["locate"])["locale"] == "de-AT"
    assert [told(found[purpose]) for purpose in ("offers", "measure")] == [{"locale": "fr"}] * 2
    assert [found[purpose]["text_version"] for purpose in agreed] == ["v1", "v2", "v3"]
    assert {word["surface"] for word in found.values()} == {"enrol"}


async def test_what_was_not_told_is_not_made_up(api):
    phone = await api.phone(consents={"locate": "v1"})
    assert told((await words(phone))[0]) == {}


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"locale": "german!"}, "/locale"),
        ({"proof": "a" * 63}, "/proof"),
        ({"proof": "A" * 64}, "/proof"),
        ({"proof": "a" * 64 + "\n"}, "/proof"),
        ({"said_at": "2026-01-02T03:04:05"}, "/said_at"),
        ({"said_at": "0001-01-01T00:00:00+14:00"}, "/said_at"),
        ({"said_at": "9999-12-31T23:59:59-14:00"}, "/said_at"),
        ({"said_at": 5}, "/said_at"),
        ({"surface": "device"}, "/surface"),
    ],
)
async def test_what_cannot_be_a_proof_is_refused_with_its_place(api, more, pointer):
    phone = await api.phone(consents={})
    answer = await said(phone, "locate", **more)
    assert (answer.status, answer.pointers) == (422, [pointer])
    enrolment = {"platform": "ios", "consents": {"locate": {"text_version": "v1"} | more}}
    answer = await api.call("POST", "/v1/devices", "server", [{"platform": "ios"}, enrolment])
    assert answer.status == 422
    assert answer.pointers == [f"/1/consents/locate{pointer}"]
    assert await api.ledger() == 0


# ------------------------------------------------------------------------------------------------ TC strings
TCF = "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA"  # with special feature 1
NO_TCF = "COrVd1pOrVd1pACABCENAHCAAAAAAAAAAAiQAAAAAAAA"  # without


async def test_a_tc_string_that_opts_in_to_precise_location_is_the_proof_by_its_digest_alone(api):
    phone = await api.phone(consents={"locate": {"text_version": "v1", "tc_string": TCF}, "offers": "v1"})
    assert (await said(phone, "locate", granted=False, tc_string=NO_TCF)).status == 200
    proofs = [word.get("proof") for word in await words(phone) if word["purpose"] == "locate"]
    assert proofs == [hashlib.sha256(one.encode()).hexdigest() for one in (TCF, NO_TCF)]
    assert await phone.consents() == {"locate": False, "offers": True}
    assert not any(TCF in row for rows in (await api.tables()).values() for row in rows)


async def test_without_special_feature_one_nobody_is_located(api):
    agreed = {"locate": {"text_version": "v1", "tc_string": NO_TCF}}
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "consents": agreed})
    assert (answer.status, answer.code) == (403, "tcf")
    phone = await api.phone(consents={})
    answer = await said(phone, "locate", tc_string=NO_TCF)
    assert (answer.status, answer.code) == (403, "tcf")
    assert await phone.consents() == {}
    assert (await phone.at(SHOP)).code == "consent_required"
    assert await api.ledger() == 0
    assert (await said(phone, "locate", tc_string=TCF)).status == 200


@pytest.mark.parametrize(
    ("purpose", "more"),
    [
        ("locate", {"tc_string": ""}),
        ("locate", {"tc_string": "no string"}),
        ("locate", {"tc_string": TCF + "." * 2}),
        ("locate", {"tc_string": "A" * 8193}),
        ("locate", {"tc_string": TCF, "proof": PROOF}),
        ("offers", {"tc_string": TCF}),
    ],
)
async def test_what_is_no_tc_string_or_says_nothing_of_the_purpose_is_refused_with_its_place(api, purpose, more):
    phone = await api.phone(consents={})
    answer = await said(phone, purpose, **more)
    assert (answer.status, answer.pointers) == (422, ["/tc_string"])
    enrolment = {"platform": "ios", "consents": {purpose: {"text_version": "v1"} | more}}
    answer = await api.call("POST", "/v1/devices", "server", [{"platform": "ios"}, enrolment])
    assert answer.status == 422
    assert answer.pointers == [f"/1/consents/{purpose}/tc_string"]
    assert await api.ledger() == 0


# ------------------------------------------------------------------------------------------------ texts that there are
async def test_a_workspace_that_names_its_texts_takes_no_other_and_every_refusal(api):
    await api.good("PATCH", "/v1/workspace", "owner", {"consent_texts": {"locate": ["v2", "v3"]}})
    answer = await api.call("POST", "/v1/devices", "app", {"platform": "ios", "consents": {"locate": "v1"}})
    assert (answer.status, answer.pointers) == (422, ["/consents/locate"])
    phone = await api.phone(consents={"locate": {"text_version": "v2"}, "offers": "any"})
    answer = await said(phone, "locate", text_version="v1")
    assert (answer.status, answer.pointers) == (422, ["/text_version"])
    assert (await said(phone, "locate", text_version="v1", granted=False)).status == 200
    assert (await said(phone, "locate", text_version="v3")).status == 200


async def test_texts_without_end_are_refused(api):
    for texts in ({"locate": []}, {"locate": ["v"] * 101}, {"locate": ["v" * 65]}):
        answer = await api.call("PATCH", "/v1/workspace", "owner", {"consent_texts": texts})
        assert answer.status == 422
        assert answer.pointers[0].startswith("/consent_texts/")


# ------------------------------------------------------------------------------------------------ what a decision names
async def test_every_offer_leads_to_the_rows_that_allowed_it(api):
    await api.shop()
    await api.phone()  # so that numbers differ
    phone = await api.buyer()
    await phone.consent("offers", granted=False)
    await phone.consent("offers", granted=True, version="v2")
    (offer,) = (await phone.at(SHOP)).body["offers"]
    decision = await api.rows.fetchval("SELECT decision FROM offer WHERE id = $1", uuid.UUID(offer["id"]))
    gates = (await api.good("GET", f"/v1/decisions/{decision}", "owner"))["gates"]
    (consent,) = [gate["detail"] for gate in gates if gate["gate"] == "consent"]
    rows = {row.entry.seq: row.entry for row in await of_ledger(api)}
    salt = await api.rows.fetchval("SELECT salt FROM consent_salt WHERE user_id = $1", uuid.UUID(phone.user))
    for purpose, version in (("locate", "v1"), ("offers", "v2")):
        row = rows[consent[f"{purpose}_seq"]]
        assert (row.purpose, row.granted, row.text_version) == (purpose, True, version)
        assert row.subject == ledger.subject(salt, uuid.UUID(phone.user))
    assert max(rows) == consent["offers_seq"]


async def test_a_silence_names_the_row_that_forbids_it(api):
    await api.shop()
    phone = await api.buyer()
    refusal = (await phone.consent("offers", granted=False)).body["seq"]
    await phone.at(SHOP)
    (decision,) = (await api.good("GET", "/v1/decisions", "owner"))["items"]
    assert decision["reason"] == "no_consent"
    assert decision["gates"][-1]["detail"]["offers_seq"] == refusal == await api.ledger()


async def test_the_newest_words_are_a_view_of_the_ledger_and_the_persons_row_is_its_copy(api):
    phones = [await api.phone(), await api.phone(consents={"measure": "v1"})]
    await phones[0].consent("locate", granted=False)
    await phones[0].consent("profile", granted=True, version="v7")
    found = await api.rows.fetch("SELECT * FROM consent_state WHERE workspace = $1", api.workspace)
    salts = dict(await api.rows.fetch("SELECT user_id, salt FROM consent_salt WHERE workspace = $1", api.workspace))
    for phone in phones:
        mine = [
            row
            for row in found
            if row["subject"] == ledger.subject(salts[uuid.UUID(phone.user)], uuid.UUID(phone.user))
        ]
        copied = (await phone.good("GET", "/v1/me/consents"))["items"]
        assert {(one["purpose"], one["granted"], one["text_version"], one["seq"]) for one in copied} == {
            (row["purpose"], row["granted"], row["text_version"], row["seq"]) for row in mine
        }
    assert len(found) == 4


async def test_the_export_tells_the_whole_ledger_of_the_person_and_of_nobody_else(api, monkeypatch):
    monkeypatch.setattr("geo_offers.storage.export.PAGE", 2)
    phone = await api.phone("server", user="ann")
    await api.phone()
    for granted in (False, True, False):
        await phone.consent("offers", granted=granted)
    assert [(word["purpose"], word["granted"]) for word in await words(phone)] == [
        ("locate", True),
        ("offers", True),
        ("offers", False),
        ("offers", True),
        ("offers", False),
    ]
    unproven = await api.phone(user="ann", consents={})
    assert await words(unproven) == []
