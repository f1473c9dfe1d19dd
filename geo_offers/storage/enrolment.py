"""Devices come in and change their tokens: all of a call's devices in one transaction.

The language, the zone and the age that a phone gives are its person's: decisions look at no device for them.
"""

import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid4, uuid5  # noqa: TID251 - an edge makes ids

import msgspec

from geo_offers import wire
from geo_offers.clock import now_us
from geo_offers.errors import Forbidden, Unauthenticated, Unavailable
from geo_offers.people.consent import BY_SIGNAL, NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.consents import of_enrolments, refuse_unknown
from geo_offers.pipeline.login import named_user
from geo_offers.pipeline.partitions import partition_of
from geo_offers.pipeline.people import Concerns, Issued, Manner
from geo_offers.pipeline.tokens import REFRESH, REFRESH_S, KeyText, digest, new_secret, parse_key
from geo_offers.storage import consents, ledger, profiles, rows
from geo_offers.storage.pool import Connection, Pool, columns, transaction
from geo_offers.storage.queries import sql
from geo_offers.storage.vault import USER_PROOF, Safe, own_secret

UNSAID_LOCALE: Final = "en"
_UNSENT: Final = "consent refused at an enrolment"


@dataclass(frozen=True, slots=True)
class _Newcomer:
    """One enrolment with the ids it will have; `repeated` where the device came in under the same key before."""

    enrolment: wire.Enrolment
    device: UUID
    user: UUID
    proven: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class _Told:
    """What the enrolments of one call tell of one person, in their order: where two differ, the later one holds.

    trusted: whether they may say that the person is an adult; that they are none, or that it is not known, anybody may.
    """

    enrolments: Sequence[wire.Enrolment]
    trusted: bool = True

    @property
    def agreed(self) -> Iterable[tuple[Purpose, wire.Agreed]]:
        """Where an enrolment does not say in which language a text was shown, it was in the phone's."""
        for one in self.enrolments:
            for purpose, given in one.consents.items():
                told = wire.Agreed(text_version=given) if isinstance(given, str) else given
                yield Purpose(purpose), msgspec.structs.replace(told, locale=told.locale or one.locale)

    @property
    def age(self) -> str | None:
        return _last(one.age for one in self.enrolments if self.trusted or one.age != "adult")

    @property
    def locale(self) -> str | None:
        return _last(one.locale for one in self.enrolments)

    @property
    def time_zone(self) -> str | None:
        return _last(one.time_zone for one in self.enrolments)


def _last(given: Iterable[str | None]) -> str | None:
    return next((value for value in reversed([*given]) if value is not None), None)


async def enrol(
    connection: Connection,
    caller: Caller,
    enrolments: Sequence[wire.Enrolment],
    manner: Manner,
    concerns: Concerns,
    *,
    safe: Safe,
) -> Sequence[Issued]:
    """Ids come from the Idempotency-Key where there is one: a repeat finds its device and gets new tokens for it.

    People who are new are made first and the others locked after, so that two enrolments that name one new person at
    once take turns: the second waits for the first one's row and adds to what it says.
    """
    settings = await rules(connection, caller.workspace)
    refuse_unknown(of_enrolments(enrolments, many=manner.many), settings.consent_texts)
    proven = await _proven(connection, caller, settings, enrolments, safe)
    newcomers = await _newcomers(connection, caller, enrolments, proven, manner.key_id)
    told = _told(newcomers)
    vouched = "adult" if settings.age == "vouched" else "unknown"
    added = await _add_users(connection, caller.workspace, told, vouched)
    known = ({one.user for one in newcomers if one.repeated} | told.keys()) - added
    concerns(known)
    locked = await _lock_users(connection, known)
    told |= {user: replace(told[user], trusted=False) for user in await _doubted(connection, newcomers)}
    await _follow(connection, {user: what for user, what in told.items() if user in known})
    held = {user: rows.consents(locked[user]["consents"]) if user in locked else NONE_GIVEN for user in told}
    ages = {user: what.age or (locked[user]["age"] if user in locked else vouched) for user, what in told.items()}
    said = await _said(connection, caller.workspace, told, held, ages, refuses=manner.refuses)
    issued = await _add_devices(connection, caller, newcomers)
    await consents.say(connection, caller.workspace, held, said, _UNSENT)
    profiled = {one.user for one in said if one.granted and one.purpose is Purpose.PROFILE}
    await profiles.restage(connection, caller.workspace, profiled)
    return issued


async def _newcomers(
    connection: Connection,
    caller: Caller,
    enrolments: Sequence[wire.Enrolment],
    proven: Sequence[bool],
    key_id: UUID | None,
) -> list[_Newcomer]:
    devices = [uuid4() if key_id is None else uuid5(key_id, f"device {number}") for number in range(len(enrolments))]
    found = [] if key_id is None else await connection.fetch(sql("devices_owners"), devices)
    owners = {row["id"]: row["user_id"] for row in found}
    return [
        _Newcomer(one, device, owners.get(device) or _user(caller.workspace, one, device), proof, device in owners)
        for one, device, proof in zip(enrolments, devices, proven, strict=True)
    ]


def _user(workspace: UUID, enrolment: wire.Enrolment, device: UUID) -> UUID:
    if enrolment.user is None:
        return uuid5(device, "user")
    return named_user(workspace, enrolment.user)


def _told(newcomers: Sequence[_Newcomer]) -> dict[UUID, _Told]:
    """By person; a repeated enrolment tells nothing new."""
    enrolments: dict[UUID, list[wire.Enrolment]] = {}
    for one in newcomers:
        if not one.repeated:
            enrolments.setdefault(one.user, []).append(one.enrolment)
    return {user: _Told(given) for user, given in enrolments.items()}


async def rules(connection: Connection, workspace: UUID) -> wire.Workspace:
    row = await connection.fetchrow(sql("workspace_settings"), workspace)
    assert row is not None  # the caller's key names it
    return rows.settings(row["settings"], workspace)


async def prove(connection: Connection, caller: Caller, said: wire.LogIn, safe: Safe) -> bool:
    """Whether a log-in proves whose the device is. Forbidden for a false proof, or none where there has to be one."""
    (proven,) = await _proven(connection, caller, await rules(connection, caller.workspace), [said], safe)
    return proven


async def _proven(
    connection: Connection,
    caller: Caller,
    settings: wire.Workspace,
    said: Sequence[wire.Enrolment | wire.LogIn],
    safe: Safe,
) -> list[bool]:
    """Of each what `_proof` says; the secret is read where there is a proof to check."""
    secret = None
    if caller.kind != "server" and any(one.user_proof is not None for one in said):
        secret = await own_secret(connection, safe, caller.workspace, USER_PROOF)
    return [_proof(caller, settings, secret or b"", one) for one in said]


def _proof(caller: Caller, settings: wire.Workspace, secret: bytes, enrolment: wire.Enrolment | wire.LogIn) -> bool:
    """Whether this device may act for all of the person; a server key vouches, and an unnamed person has one phone."""
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


# ------------------------------------------------------------------------------------------------ people
async def _add_users(connection: Connection, workspace: UUID, told: Mapping[UUID, _Told], vouched: str) -> set[UUID]:
    """Makes those who are new; answers with them."""
    values = [
        (
            user,
            workspace,
            partition_of(user),
            what.enrolments[-1].user,
            what.age or vouched,
            what.locale or UNSAID_LOCALE,
            what.time_zone,
        )
        for user, what in sorted(told.items())
    ]
    return {row["id"] for row in await connection.fetch(sql("users_add"), *columns(values, 7))}


async def _lock_users(connection: Connection, users: Collection[UUID]) -> Mapping[UUID, Any]:
    """What each has agreed to so far, and their age, under their locks."""
    if not users:
        return {}
    found = await connection.fetch(sql("users_lock"), list(users))
    if len(found) != len(users):
        raise Unavailable("this person is being erased; send the same request again")
    return {row["id"]: row for row in found}


async def _doubted(connection: Connection, newcomers: Sequence[_Newcomer]) -> set[UUID]:
    """The persons whom somebody with proof has spoken for, where these here have none. Under their locks."""
    unproven = {one.user for one in newcomers if not (one.proven or one.repeated)}
    if not unproven:
        return set()
    return {row["user_id"] for row in await connection.fetch(sql("users_vouched"), list(unproven))}


async def _follow(connection: Connection, told: Mapping[UUID, _Told]) -> None:
    """What is given of age, language and zone holds from now on; what is not stays as it is."""
    values = [(user, what.age, what.locale, what.time_zone) for user, what in told.items()]
    values = [value for value in values if any(value[1:])]
    if values:
        await connection.execute(sql("users_follow"), *columns(values, 4))


async def _said(
    connection: Connection,
    workspace: UUID,
    told: Mapping[UUID, _Told],
    held: Mapping[UUID, Consents],
    ages: Mapping[UUID, str],
    *,
    refuses: bool,
) -> Sequence[ledger.Said]:
    """The ledger's rows of everybody. A refusal by `Sec-GPC: 1` goes before what the same call agrees to."""
    at_us = now_us()
    without = BY_SIGNAL if refuses else ()
    said: list[ledger.Said] = []
    for user, what in told.items():
        agreed = [(purpose, given) for purpose, given in what.agreed if purpose not in without]
        consents.refuse_age(ages[user], [purpose for purpose, _ in agreed])
        said += _agreed(user, held[user], agreed, at_us)
    said += consents.out_of_age(held, ages, at_us)
    return [*said, *await consents.signalled(connection, workspace, list(told), at_us)] if refuses else said


def _agreed(
    user: UUID, before: Consents, agreed: Iterable[tuple[Purpose, wire.Agreed]], at_us: int
) -> list[ledger.Said]:
    """The ledger's rows of what is new in it."""
    value, said = before, list[ledger.Said]()
    for purpose, given in agreed:
        held, version = value.said.get(purpose), given.text_version
        if held is None or not held.granted or held.text_version != version:
            value = value.having(purpose, Consent(granted=True, text_version=version, at_us=at_us))
            said.append(ledger.Said(user, purpose, True, version, "enrol", at_us, ledger.shown(given)))
    return said


# ------------------------------------------------------------------------------------------------ devices and tokens
async def _add_devices(connection: Connection, caller: Caller, newcomers: Sequence[_Newcomer]) -> list[Issued]:
    values = [
        (
            one.device,
            caller.workspace,
            one.user,
            one.enrolment.platform,
            one.proven,
            caller.replay,
        )
        for one in newcomers
    ]
    pushed = [(one.device, push) for one in newcomers if (push := one.enrolment.push) and not one.repeated]
    await _lock_devices(connection, caller.workspace, [one.device for one in newcomers], [push for _, push in pushed])
    made = {row["id"]: row["token_epoch"] for row in await connection.fetch(sql("devices_add"), *columns(values, 6))}
    await _bind(connection, pushed)
    await connection.execute(sql("refresh_tokens_drop"), list(made))
    tokens = {one.device: _refresh_token(caller.workspace, one.device) for one in newcomers}
    await _keep_tokens(connection, caller.workspace, [(tokens[device], device, 1) for device in tokens])
    return [Issued(one.device, one.user, made[one.device], str(tokens[one.device])) for one in newcomers]


async def _lock_devices(
    connection: Connection, workspace: UUID, devices: Sequence[UUID], pushes: Sequence[wire.PushAddress]
) -> None:
    """The tokens, then these devices and those that lose their tokens, each in the one order."""
    tokens = columns([(push.lane, push.token) for push in pushes], 2)
    await connection.execute(sql("push_tokens_lock"), workspace, *tokens)
    await connection.execute(sql("devices_lock"), devices, *tokens)


async def _bind(connection: Connection, pushed: Sequence[tuple[UUID, wire.PushAddress]]) -> bool:
    """Give the devices, which are locked, their tokens; others lose them. False where none of the devices is there."""
    if not pushed:
        return False
    values = [
        (device, push.lane, push.token, None if push.keys is None else msgspec.json.encode(push.keys).decode(), push.at)
        for device, push in pushed
    ]
    found = await connection.fetch(sql("push_tokens_set"), *columns(values, 5))
    await connection.execute(sql("push_token_owner_moves"), *columns([value[:3] for value in values], 3))
    return bool(found)


async def set_push(connection: Connection, caller: Caller, push: wire.PushAddress | None) -> None:
    """The caller's device takes push here from now on; None: nowhere. Unauthenticated where the device is gone."""
    assert caller.device is not None
    await _lock_devices(connection, caller.workspace, [caller.device], [] if push is None else [push])
    if push is None:
        await connection.execute(sql("push_token_drop"), caller.device)
    elif not await _bind(connection, [(caller.device, push)]):
        raise Unauthenticated("this device is gone; enrol again")


def _refresh_token(workspace: UUID, device: UUID) -> KeyText:
    return KeyText(REFRESH, workspace, device.hex, new_secret())


async def _keep_tokens(connection: Connection, workspace: UUID, tokens: Sequence[tuple[KeyText, UUID, int]]) -> None:
    values = [(digest(token.secret), workspace, device, generation) for token, device, generation in tokens]
    await connection.execute(sql("refresh_tokens_add"), *columns(values, 4), REFRESH_S)


async def rotate(pool: Pool, presented: str, concerns: Concerns) -> tuple[UUID, Issued] | None:
    """A token is good until a successor is used; one from before that betrays a copy, and revokes the family.

    Of several successors (an answer was lost, or somebody holds a copy) the first one used is the successor.
    None, and `concerns` told, where the family was revoked.
    """
    token = parse_key(presented)
    if token.prefix != REFRESH:
        raise Unauthenticated("this is no refresh token")
    async with transaction(pool, [token.workspace]) as connection:
        row = await connection.fetchrow(sql("refresh_token_find"), digest(token.secret))
        if row is None or row["expired"] or row["id"].hex != token.id:
            raise Unauthenticated("this refresh token is not good; enrol again")
        device, generation = row["id"], row["generation"]
        if generation < row["refresh_used"]:
            concerns([row["user_id"]])
            await connection.execute(sql("device_revoke"), device)
            await connection.execute(sql("refresh_tokens_drop"), [device])
            return None
        fresh = _refresh_token(token.workspace, device)
        await connection.execute(sql("refresh_used"), device, generation, digest(token.secret))
        await _keep_tokens(connection, token.workspace, [(fresh, device, generation + 1)])
        await connection.execute(sql("refresh_tokens_forget_old"), device, generation)
        return token.workspace, Issued(device, row["user_id"], row["token_epoch"], str(fresh))
