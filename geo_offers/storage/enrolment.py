"""Devices come in and change their tokens: all of a call's devices in one transaction."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID, uuid4, uuid5

import msgspec

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Fault, Forbidden, Invalid, Unauthenticated
from geo_offers.people.consent import Consent, Consents, Purpose
from geo_offers.people.zones import zone_names
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.partitions import partition_of
from geo_offers.pipeline.people import Issued, Revoked
from geo_offers.pipeline.tokens import REFRESH, REFRESH_S, KeyText, digest, new_secret, parse_key
from geo_offers.storage import ledger, rows
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql


@dataclass(frozen=True, slots=True)
class _Newcomer:
    """One enrolment with the ids it will have."""

    enrolment: wire.Enrolment
    device: UUID
    user: UUID
    known: bool
    proven: bool


async def enrol(
    connection: Connection, caller: Caller, enrolments: Sequence[wire.Enrolment], key_id: UUID | None
) -> Sequence[Issued]:
    """Ids come from the Idempotency-Key where there is one: a repeat finds its device and gets new tokens for it."""
    settings, secret = await _workspace(connection, caller.workspace)
    proven = [_proof(caller, settings, secret, one, number) for number, one in enumerate(enrolments)]
    users = await _known_users(connection, caller.workspace, enrolments)
    newcomers: list[_Newcomer] = []
    for number, (one, proof) in enumerate(zip(enrolments, proven, strict=True)):
        device = uuid4() if key_id is None else uuid5(key_id, f"device {number}")
        known = one.user is not None and one.user in users
        user = users[one.user][0] if one.user is not None and known else _new_user(caller.workspace, one, device)
        newcomers.append(_Newcomer(one, device, user, known, proof))
    at_us = now_us()
    consents, said = _consents(newcomers, users, at_us)
    await _add_users(connection, caller.workspace, newcomers, consents, settings)
    await connection.execute(
        sql("users_set_consents"), list(consents), [rows.consents_column(held) for held in consents.values()]
    )
    issued = await _add_devices(connection, caller, newcomers)
    await ledger.append(connection, caller.workspace, said)
    return issued


def _new_user(workspace: UUID, enrolment: wire.Enrolment, device: UUID) -> UUID:
    """A named person's id follows from the name, so that two phones enrolling at once mean one person."""
    if enrolment.user is None:
        return uuid5(device, "user")
    return uuid5(workspace, f"user {enrolment.user}")


async def _workspace(connection: Connection, workspace: UUID) -> tuple[wire.Workspace, bytes]:
    row = await connection.fetchrow(sql("workspace_settings"), workspace)
    assert row is not None  # the caller's key names it
    secret: bytes = await connection.fetchval(sql("user_proof_secret"), workspace)
    return msgspec.json.decode(row["settings"], type=wire.Workspace), secret


def _proof(caller: Caller, settings: wire.Workspace, secret: bytes, enrolment: wire.Enrolment, number: int) -> bool:
    """Whether this device may act for all of the person; a server key vouches, and an unnamed person has one phone."""
    if enrolment.time_zone is not None and enrolment.time_zone not in zone_names():
        raise Invalid(
            "there is no such time zone",
            (Fault(f"/{number}/time_zone", "time_zone", "name a zone of the IANA database, such as Europe/Berlin"),),
        )
    if enrolment.user is None or caller.kind == "server":
        return True
    if enrolment.user_proof is None:
        if settings.user_proof == "required":
            raise Forbidden("this workspace wants `user_proof` with a `user`", "user_proof")
        return False
    wanted = hmac.new(secret, enrolment.user.encode(), sha256).hexdigest()
    if not hmac.compare_digest(wanted.encode(), enrolment.user_proof.lower().encode()):
        raise Forbidden("the `user_proof` does not fit this `user`", "user_proof")
    return True


async def _known_users(
    connection: Connection, workspace: UUID, enrolments: Sequence[wire.Enrolment]
) -> Mapping[str, tuple[UUID, Consents]]:
    names = sorted({one.user for one in enrolments if one.user is not None})
    if not names:
        return {}
    found = await connection.fetch(sql("users_by_external_id"), workspace, names)
    return {row["external_id"]: (row["id"], rows.consents(row["consents"])) for row in found}


def _consents(
    newcomers: Sequence[_Newcomer], users: Mapping[str, tuple[UUID, Consents]], at_us: int
) -> tuple[dict[UUID, Consents], list[ledger.Said]]:
    """Each person's consents after this call, and the ledger rows of what is new in them."""
    held: dict[UUID, Consents] = {}
    said: list[ledger.Said] = []
    for one in newcomers:
        known = users.get(one.enrolment.user or "")
        value = held.get(one.user, known[1] if known and one.known else Consents())
        for name, version in one.enrolment.consents.items():
            purpose = Purpose(name)
            before = value.said.get(purpose)
            if before is None or not before.granted or before.text_version != version:
                value = value.having(purpose, Consent(granted=True, text_version=version, at_us=at_us))
                said.append(ledger.Said(one.user, purpose, True, version, "enrol", at_us))
        held[one.user] = value
    return held, said


async def _add_users(
    connection: Connection,
    workspace: UUID,
    newcomers: Sequence[_Newcomer],
    consents: Mapping[UUID, Consents],
    settings: wire.Workspace,
) -> None:
    vouched = "adult" if settings.age == "vouched" else "unknown"
    fresh = {one.user: one for one in newcomers if not one.known}
    values = [
        (
            user,
            workspace,
            partition_of(user),
            one.enrolment.user,
            rows.consents_column(consents[user]),
            one.enrolment.age or vouched,
            one.enrolment.locale,
            one.enrolment.time_zone,
        )
        for user, one in sorted(fresh.items())
    ]
    await connection.execute(sql("users_add"), *columns(values, 8))


async def _add_devices(connection: Connection, caller: Caller, newcomers: Sequence[_Newcomer]) -> list[Issued]:
    values = [
        (
            one.device,
            caller.workspace,
            one.user,
            one.enrolment.platform,
            one.proven,
            caller.replay,
            one.enrolment.push.lane if one.enrolment.push else None,
            one.enrolment.push.token if one.enrolment.push else None,
            one.enrolment.locale,
            one.enrolment.time_zone,
        )
        for one in newcomers
    ]
    made = {row["id"]: row["token_epoch"] for row in await connection.fetch(sql("devices_add"), *columns(values, 10))}
    pushed = [(value[0], value[6], value[7]) for value in values if value[7] is not None]
    if pushed:
        await connection.execute(sql("push_token_owner_moves"), *columns(pushed, 3))
    await connection.execute(sql("refresh_tokens_drop"), list(made))
    tokens = {one.device: _refresh_token(caller.workspace, one.device) for one in newcomers}
    await _keep_tokens(connection, caller.workspace, [(tokens[device], device, 1) for device in tokens])
    return [Issued(one.device, one.user, made[one.device], str(tokens[one.device]), one.known) for one in newcomers]


def _refresh_token(workspace: UUID, device: UUID) -> KeyText:
    return KeyText(REFRESH, workspace, device.hex, new_secret())


async def _keep_tokens(connection: Connection, workspace: UUID, tokens: Sequence[tuple[KeyText, UUID, int]]) -> None:
    values = [(digest(token.secret), workspace, device, generation) for token, device, generation in tokens]
    await connection.execute(sql("refresh_tokens_add"), *columns(values, 4), REFRESH_S)


async def rotate(pool: Pool, presented: str) -> tuple[UUID, Issued] | Revoked:
    """A token is good until its successor is used; one from before that betrays a copy, and revokes the family."""
    token = parse_key(presented)
    if token.prefix != REFRESH:
        raise Unauthenticated("this is no refresh token")
    async with transaction(pool, [token.workspace]) as connection:
        row = await connection.fetchrow(sql("refresh_token_find"), digest(token.secret))
        if row is None or row["expired"] or row["id"].hex != token.id:
            raise Unauthenticated("this refresh token is not good; enrol again")
        device, generation = row["id"], row["generation"]
        if generation < row["refresh_used"]:
            await connection.execute(sql("device_revoke"), device)
            await connection.execute(sql("refresh_tokens_drop"), [device])
            return Revoked(row["user_id"])
        fresh = _refresh_token(token.workspace, device)
        await connection.execute(sql("refresh_used"), device, generation)
        await _keep_tokens(connection, token.workspace, [(fresh, device, generation + 1)])
        await connection.execute(sql("refresh_tokens_forget_old"), device, generation)
        return token.workspace, Issued(device, row["user_id"], row["token_epoch"], str(fresh), user_known=True)
