"""What people say of each purpose, and what goes with a refusal: one transaction, in force before its answer.

Gone with a refusal is, of
- locate: where the devices are now, open visits, and past ones too unless `measure` is granted;
- measure: the past visits, where they stayed for it alone;
- profile: attributes and interactions, and the snapshots of decisions, which may hold them;
- locate or offers: what is queued. Reservations stay, so that whoever opts in again finds the caps as they were.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final
from uuid import UUID

from geo_offers.errors import Forbidden
from geo_offers.people.consent import BY_SIGNAL, NONE_GIVEN, Consent, Consents, Purpose
from geo_offers.pipeline.people import STOPS_SENDS, Ended
from geo_offers.storage import interactions, ledger
from geo_offers.storage.pool import Connection
from geo_offers.storage.queries import sql

SIGNAL: Final = "Sec-GPC"  # what a refusal by the header names for its text: there was none

_GOES_WITH: Final[Mapping[Purpose, Sequence[str]]] = MappingProxyType(
    {Purpose.LOCATE: ("devices_of_user_lock", "presence_wipe"), Purpose.PROFILE: ("profile_wipe", "snapshots_forget")}
)
"""Statements by the person's id alone; devices are locked before anything else of theirs."""


async def say(
    connection: Connection, workspace: UUID, held: Mapping[UUID, Consents], said: Sequence[ledger.Said], because: str
) -> tuple[Mapping[UUID, Consents], Sequence[Ended]]:
    """Does what the words ask for, writes them into the ledger; what holds of each person from now on, what it ended.

    held: what held before, of everybody who speaks; their rows are locked. because: what ended the sends it cancels.
    """
    left, refused = dict(held), dict[UUID, set[Purpose]]()
    for one in said:
        left[one.user] = left[one.user].having(one.purpose, Consent(one.granted, one.text_version, one.at_us))
        if not one.granted:
            refused.setdefault(one.user, set()).add(one.purpose)
    ended: list[Ended] = []
    for user, purposes in refused.items():
        ended += await forget(connection, user, purposes, left[user], because)
    return await ledger.note(connection, workspace, held, said), ended


async def forget(
    connection: Connection, user: UUID, refused: Collection[Purpose], left: Consents, because: str
) -> Sequence[Ended]:
    for purpose in (each for each in Purpose if each in refused):
        for statement in _GOES_WITH.get(purpose, ()):
            await connection.execute(sql(statement), user)
    if Purpose.PROFILE in refused:
        await interactions.forget_profile(connection, user)
    if Purpose.LOCATE in refused or (Purpose.MEASURE in refused and not left.granted(Purpose.LOCATE)):
        await connection.execute(sql("visits_forget"), user, left.granted(Purpose.MEASURE))
    return await cancel(connection, user, because) if STOPS_SENDS.intersection(refused) else ()


async def cancel(connection: Connection, user: UUID, because: str, device: UUID | None = None) -> Sequence[Ended]:
    """What waits to be sent to the person, or for one device of theirs; what is under way is left."""
    return [Ended(**row) for row in await connection.fetch(sql("sends_cancel"), user, because, device)]


# ------------------------------------------------------------------------------------------------ what nobody can say
def refuse_age(age: str, purposes: Collection[str]) -> None:
    """Forbidden where somebody who is not known to be of age would be profiled."""
    if age != "adult" and Purpose.PROFILE in purposes:
        raise Forbidden("nobody who is a minor, or of unknown age, is profiled; leave profile out", "age")


# ------------------------------------------------------------------------------------------------ Sec-GPC
async def signalled(
    connection: Connection, workspace: UUID, users: Collection[UUID], at_us: int
) -> Sequence[ledger.Said]:
    """The refusals that `Sec-GPC: 1` stands for, each once in a person's life.

    A signal is general and a person's own word is not: what they grant after it, in so many words, stands.
    """
    heard = await ledger.heard(connection, workspace, users, "gpc")
    return [
        ledger.Said(user, purpose, False, SIGNAL, "gpc", at_us)
        for user in users
        for purpose in BY_SIGNAL
        if (user, purpose) not in heard
    ]


def out_of_age(held: Mapping[UUID, Consents], ages: Mapping[UUID, str], at_us: int) -> Sequence[ledger.Said]:
    """The withdrawals of those who were profiled and turn out not to be of age."""
    return [
        ledger.Said(user, Purpose.PROFILE, False, said.text_version, "age", at_us)
        for user, age in ages.items()
        if age != "adult" and (said := held.get(user, NONE_GIVEN).said.get(Purpose.PROFILE)) and said.granted
    ]
