"""Access tokens: who made them, until when they are good, and when the service's keys are read again."""

import asyncio
from uuid import UUID

import pytest

from geo_offers.errors import Unauthenticated, Unavailable
from geo_offers.pipeline import tokens as module
from geo_offers.pipeline.tokens import ACCESS_S, RETIRED_GOOD_S, AccessTokens, KeyText, ServiceKey, parse_key

WORKSPACE, DEVICE, USER = UUID(int=1), UUID(int=2), UUID(int=3)
NOW = 1_800_000_000_000_000
SECOND = 1_000_000


class Store:
    """Service keys as they stand in the database; `away` while it does not answer."""

    def __init__(self, *keys):
        self.keys = list(keys)
        self.reads = 0
        self.away = False
        self.gate = None

    async def all(self):
        self.reads += 1
        if self.away:
            raise Unavailable("away")
        if self.gate is not None:
            await self.gate.wait()
        return list(self.keys)

    def rotate(self, at_us):
        self.keys = [ServiceKey(key.id, key.secret, key.retired_us or at_us) for key in self.keys]
        self.keys.append(ServiceKey(len(self.keys) + 1, bytes([len(self.keys) + 1]) * 32, None))


FIRST = ServiceKey(1, b"1" * 32, None)


async def made(store=None):
    store = store or Store(FIRST)
    tokens = AccessTokens(store)
    await tokens.refresh()
    return store, tokens


async def issue(tokens, now_us=NOW, epoch=0):
    return await tokens.issue(WORKSPACE, DEVICE, USER, epoch, now_us)


async def test_a_token_says_who_it_is_for():
    _, tokens = await made()
    access = await tokens.check(await issue(tokens, epoch=7), NOW)
    assert (access.workspace, access.device, access.user, access.epoch) == (WORKSPACE, DEVICE, USER, 7)
    assert access.expires_s == NOW // SECOND + ACCESS_S


async def test_a_token_ends_after_a_quarter_of_an_hour():
    _, tokens = await made()
    token = await issue(tokens)
    await tokens.check(token, NOW + ACCESS_S * SECOND - 1)
    with pytest.raises(Unauthenticated, match="expired"):
        await tokens.check(token, NOW + ACCESS_S * SECOND)


async def test_no_character_of_a_token_may_be_another():
    _, tokens = await made()
    token = await issue(tokens)
    for place in range(3, len(token) - 1):  # the last character holds two bits more than the bytes need
        other = token[:place] + ("B" if token[place] == "A" else "A") + token[place + 1 :]
        if other == token or (token[place] == "a" and place < 36):
            continue
        with pytest.raises(Unauthenticated):
            await tokens.check(other, NOW)


async def test_a_token_of_somebody_elses_key_is_refused():
    _, theirs = await made(Store(ServiceKey(1, b"2" * 32, None)))
    _, ours = await made()
    with pytest.raises(Unauthenticated):
        await ours.check(await issue(theirs), NOW)


@pytest.mark.parametrize(
    "token", ["", "at", "at__", "at_x_y", "at_" + "0" * 32 + "_" + "A" * 400, "at_ö_ö", "at_\udcff_a"]
)
async def test_what_is_no_token_is_refused(token):
    _, tokens = await made()
    with pytest.raises(Unauthenticated):
        await tokens.check(token, NOW)


# ------------------------------------------------------------------------------------------------ rotation
async def test_a_rotation_elsewhere_is_in_force_within_five_seconds():
    store, tokens = await made()
    await issue(tokens)
    store.rotate(NOW)
    later = NOW + 5 * SECOND
    token = await issue(tokens, later)
    only_new = AccessTokens(Store(store.keys[1]))
    assert (await only_new.check(token, later)).device == DEVICE


async def test_a_retired_key_is_good_for_a_quarter_of_an_hour_more():
    store, tokens = await made()
    store.rotate(NOW)
    late = AccessTokens(Store(FIRST))  # a process that has not noticed yet still issues under the old key
    token = await issue(late, NOW + 4 * SECOND)
    end = NOW + RETIRED_GOOD_S * SECOND
    await tokens.check(token, end - 1)
    with pytest.raises(Unauthenticated, match="not good"):
        await tokens.check(token, end)


async def test_a_key_that_was_made_elsewhere_just_now_is_asked_for():
    store, tokens = await made()
    await tokens.check(await issue(tokens), NOW)
    store.rotate(NOW)
    _, others = await made(store)
    assert (await tokens.check(await issue(others), NOW)).user == USER


async def test_forged_key_numbers_do_not_hammer_the_store():
    store, tokens = await made()
    await issue(tokens)
    _, forger = await made(Store(ServiceKey(99, b"9" * 32, None)))
    forged = await issue(forger)
    reads = store.reads
    for place in range(100):
        with pytest.raises(Unauthenticated):
            await tokens.check(forged, NOW + place * SECOND // 100)
    assert store.reads - reads <= 2


async def test_the_keys_are_not_read_for_every_token():
    store, tokens = await made()
    reads = store.reads
    for place in range(100):
        await tokens.check(await issue(tokens, NOW + place), NOW + place)
    assert store.reads - reads == 1


async def test_tokens_are_checked_with_the_keys_that_are_held_while_the_database_is_away():
    store, tokens = await made()
    token = await issue(tokens)
    store.away = True
    later = NOW + 60 * SECOND
    assert (await tokens.check(token, later)).device == DEVICE
    assert (await tokens.check(await issue(tokens, later), later)).device == DEVICE


async def test_nobody_waits_for_a_slow_read_of_the_keys_but_the_one_who_makes_it():
    store, tokens = await made()
    token = await issue(tokens)
    store.gate = asyncio.Event()
    later = NOW + 60 * SECOND
    slow = asyncio.create_task(tokens.check(token, later))
    await asyncio.sleep(0)
    await asyncio.wait_for(tokens.check(token, later), 1)
    assert not slow.done()
    store.gate.set()
    assert (await slow).device == DEVICE


# ------------------------------------------------------------------------------------------------ keys as text
def test_a_key_reads_back_as_it_was_written():
    key = KeyText("pk", WORKSPACE, "abc", "secret")
    assert parse_key(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pk",
        "___",
        f"pk_{WORKSPACE.hex}_id_",
        f"pk_{WORKSPACE.hex}__secret",
        f"pk_{WORKSPACE}_id_secret",
        f"pk_{'g' * 32}_id_secret",
        f"pk_{WORKSPACE.hex}_id_secret_more",
        f"pk_{WORKSPACE.hex}_id_sécret",
        f"pk_{WORKSPACE.hex}_id_\udcff",
    ],
)
def test_what_is_no_key_is_refused_in_one_way(text):
    with pytest.raises(Unauthenticated) as refused:
        parse_key(text)
    assert refused.value.detail == "this is no key or token of this service"


def test_a_workspaces_id_follows_from_its_name():
    assert module.workspace_id("bakery") == module.workspace_id("bakery") != module.workspace_id("Bakery")


def test_secrets_are_long_and_never_the_same():
    assert len({module.new_secret() for _ in range(100)}) == 100
    assert all(len(bytes.fromhex(module.new_secret())) == 32 for _ in range(10))
