"""What the dispatcher relies on, the same in memory and in PostgreSQL."""

import asyncio
import uuid

import pytest

from geo_offers.pipeline.lanes import replace_key
from geo_offers.pipeline.outbox import Rechecked, Taken
from geo_offers.pipeline.settlement import MOST_ATTEMPTS, Close, DeadToken, Move, Retry, unreadable
from tests.contract.conftest import FENCE
from tests.support.replacing import replace

LEASE_S = 10.0


async def claimed(world, lane="webhook", limit=200):
    return await world.outbox.claim(lane, limit, LEASE_S)


async def looked_at(world, claims):
    """What a look finds, with the record of what is over."""
    rechecked = await world.outbox.recheck(claims, LEASE_S)
    await world.outbox.finish(rechecked.over)
    return rechecked


async def sending(world, lane="webhook"):
    return (await looked_at(world, await claimed(world, lane))).ready


# ---------------------------------------------------------------------------------------------- claims
async def test_a_claim_takes_what_is_due_of_its_lane_oldest_first_and_no_more_than_asked(world):
    third = await world.put(due_in_s=-1)
    first = await world.put(due_in_s=-3)
    second = await world.put(due_in_s=-2)
    await world.put(lane="inapp", due_in_s=-9)
    not_yet = await world.put(due_in_s=30)
    assert {claim.offer for claim in await claimed(world, limit=2)} == {first.offer, second.offer}
    assert [claim.offer for claim in await claimed(world)] == [third.offer]
    assert await claimed(world) == []
    await world.pass_time(31)
    assert not_yet.offer in {claim.offer for claim in await claimed(world)}


async def test_a_claim_leases_under_a_new_token_and_counts_the_attempt(world):
    case = await world.put()
    (claim,) = await claimed(world)
    assert (claim.workspace, claim.token, claim.attempts, claim.unanswered) == (case.workspace, 1, 1, 0)
    row = await world.row(case)
    assert (row.state, row.token, row.attempts) == ("leased", 1, 1)
    assert row.lease_s == pytest.approx(LEASE_S, abs=2)


async def test_a_lease_that_runs_out_is_claimed_again(world):
    await world.put()
    (first,) = await claimed(world)
    await world.pass_time(LEASE_S + 1)
    (second,) = await claimed(world)
    assert (second.token, second.attempts, second.unanswered) == (first.token + 1, 2, 0)


async def test_concurrent_claims_share_the_rows_and_take_none_twice(world):
    cases = [await world.put() for _ in range(20)]
    batches = await asyncio.gather(*(claimed(world, limit=5) for _ in range(8)))
    taken = [claim.offer for batch in batches for claim in batch]
    assert sorted(taken) == sorted(case.offer for case in cases)


async def test_a_row_that_comes_back_while_sending_went_unanswered_each_time(world):
    case = await world.put()
    counts = []
    for _ in range(3):
        (ready,) = await sending(world)
        counts.append(ready.claim.unanswered)
        await world.pass_time(LEASE_S + 1)
    assert counts == [0, 1, 2]
    assert (await world.row(case)).ambiguous


async def test_a_claim_tells_what_was_left_in_the_middle_of_a_send_from_what_was_put_back(world):
    await world.put()
    (ready,) = await sending(world)
    assert not ready.claim.stranded
    await world.outbox.finish([Retry(ready.claim, 1.0, 1, unanswered=True)])
    await world.pass_time(2)
    (ready,) = await sending(world)
    assert (ready.claim.unanswered, ready.claim.stranded) == (1, False)
    await world.pass_time(LEASE_S + 1)
    (claim,) = await claimed(world)
    assert (claim.unanswered, claim.stranded) == (2, True)


async def test_the_count_of_unanswered_sends_outlives_a_claim_that_comes_to_nothing(world):
    await world.put()
    for expected in (0, 1):
        assert [ready.claim.unanswered for ready in await sending(world)] == [expected]
        await world.pass_time(LEASE_S + 1)
    for _ in range(3):
        assert [claim.unanswered for claim in await claimed(world)] == [2]
        await world.pass_time(LEASE_S + 1)


# ---------------------------------------------------------------------------------------------- the re-check
async def test_what_passes_is_marked_and_comes_with_its_message(world):
    case = await world.put()
    (ready,) = await sending(world)
    message = ready.message
    assert (message.offer, message.user, message.device) == (case.offer, case.user, case.device)
    assert (message.title, message.body, message.push_token) == ("Warm buns", "Two for one", "token-1")
    assert message.replace_key == replace_key(case.decision)
    row = await world.row(case)
    assert row.state == "sending"
    assert (await world.ending(case)) == ("queued", None, 0)


async def test_the_mark_renews_the_lease(world):
    case = await world.put()
    claims = await claimed(world)
    await world.pass_time(LEASE_S - 1)
    await world.outbox.recheck(claims, LEASE_S)
    assert (await world.row(case)).lease_s == pytest.approx(LEASE_S, abs=2)


async def withdrawn_from_location(world, case):
    await world.withdraw(case, "locate")


async def withdrawn_from_offers(world, case):
    await world.withdraw(case, "offers")


async def paused_campaign(world, case):
    await world.set_campaign(case, "paused")


async def edited_campaign(world, case):
    await world.set_campaign(case, "draft")


async def ended_campaign(world, case):
    await world.set_campaign(case, "ended")


async def vanished_campaign(world, case):
    await world.set_campaign(case, None)


async def deleted_fence(world, case):
    await world.set_fence(case, active=None)


async def inactive_fence(world, case):
    await world.set_fence(case, active=False)


async def tripped_store(world, case):
    await world.trip(case, "store")


async def tripped_fence(world, case):
    await world.trip(case, "fence")


async def paused_workspace(world, case):
    await world.pause_workspace(case)


async def muted_campaign(world, case):
    await world.mute(case, "campaigns")


async def muted_store(world, case):
    await world.mute(case, "stores")


async def muted_category(world, case):
    await world.mute(case, "categories")


async def no_push_any_more(world, case):
    await world.take_channels(case, "inapp")


async def no_channel_any_more(world, case):
    await world.take_channels(case)


async def quiet_person(world, case):
    await world.quiet_person(case)


async def quiet_workspace(world, case):
    await world.quiet_workspace(case)


async def left_long_ago(world, case):
    await world.leave(case, 125)


async def wiped_visit(world, case):
    await world.wipe_visit(case)


async def run_out(world, case):
    await world.pass_time(601)


OBJECTIONS = [
    (withdrawn_from_location, "cancelled", "no_consent"),
    (withdrawn_from_offers, "cancelled", "no_consent"),
    (paused_campaign, "cancelled", "not_live"),
    (edited_campaign, "cancelled", "not_live"),
    (ended_campaign, "cancelled", "not_live"),
    (vanished_campaign, "cancelled", "not_live"),
    (deleted_fence, "cancelled", "not_live"),
    (inactive_fence, "cancelled", "not_live"),
    (tripped_store, "cancelled", "not_live"),
    (tripped_fence, "cancelled", "not_live"),
    (paused_workspace, "cancelled", "kill_switch"),
    (muted_campaign, "cancelled", "muted"),
    (muted_store, "cancelled", "muted"),
    (muted_category, "cancelled", "muted"),
    (no_push_any_more, "cancelled", "muted"),
    (no_channel_any_more, "cancelled", "muted"),
    (quiet_person, "cancelled", "quiet_hours"),
    (quiet_workspace, "cancelled", "quiet_hours"),
    (left_long_ago, "cancelled", "left"),
    (wiped_visit, "cancelled", "left"),
    (run_out, "expired", "expired"),
]


@pytest.mark.parametrize(("change", "state", "detail"), OBJECTIONS, ids=[o[0].__name__ for o in OBJECTIONS])
async def test_what_may_not_be_sent_any_more_is_finished_and_its_slot_released(world, change, state, detail):
    case, neighbour = await world.put(), await world.put(expires_s=5_000)
    claims = await claimed(world)
    await change(world, case)
    rechecked = await looked_at(world, claims)
    assert [ready.claim.offer for ready in rechecked.ready] == [neighbour.offer]
    assert [(close.claim.offer, close.detail) for close in rechecked.over] == [(case.offer, detail)]
    assert await world.row(case) is None
    assert await world.ending(case) == (state, detail, 2)


async def test_the_slot_of_what_may_have_been_shown_is_kept(world):
    case = await world.put()
    await sending(world)
    await world.pass_time(LEASE_S + 1)
    claims = await claimed(world)
    await world.withdraw(case, "offers")
    await looked_at(world, claims)
    assert await world.ending(case) == ("cancelled", "no_consent", 1)


@pytest.mark.parametrize(("change", "state"), [(paused_campaign, "cancelled"), (run_out, "expired")])
async def test_in_the_app_a_slot_is_kept_as_the_phone_had_the_offer_in_its_answer(world, change, state):
    case, moved = await world.put(lane="inapp"), await world.put()
    await dead(world)  # to the app, for want of another phone
    claims = await claimed(world, "inapp")
    for each in (case, moved):
        await change(world, each)
    assert len((await looked_at(world, claims)).over) == 2
    for each in (case, moved):
        ending = await world.ending(each)
        assert (ending[0], ending[2]) == (state, 1)


async def test_in_the_app_what_expires_at_its_send_keeps_its_slot(world):
    case = await world.put(lane="inapp")
    (ready,) = await sending(world, "inapp")
    await world.outbox.finish([Close(ready.claim, "expired", keep=False)])
    assert await world.ending(case) == ("expired", None, 1)


async def test_somebody_who_has_just_stepped_out_still_gets_it(world):
    case = await world.put(trigger="dwell")
    claims = await claimed(world)
    await world.leave(case, 110)
    assert (await world.outbox.recheck(claims, LEASE_S)).ready


async def test_an_offer_for_leaving_does_not_ask_whether_the_person_is_there(world):
    case = await world.put(trigger="exit")
    claims = await claimed(world)
    await world.leave(case, 500)
    assert (await world.outbox.recheck(claims, LEASE_S)).ready


async def test_whom_a_dead_token_leaves_with_the_app_is_not_alerted_there_against_their_will(world):
    case, other = await world.put(lane="inapp"), await world.put(lane="inapp")
    await world.take_channels(case, "push")
    rechecked = await world.outbox.recheck(await claimed(world, "inapp"), LEASE_S)
    assert [ready.claim.offer for ready in rechecked.ready] == [other.offer]


async def test_a_replayed_phone_is_not_judged_by_the_servers_clock_but_by_consent(world):
    case = await world.put(replay=True, lane="inapp")
    other = await world.put(replay=True, lane="inapp")
    claims = await claimed(world, "inapp")
    for each in (case, other):
        await world.leave(each, 1e8)
        await world.quiet_person(each)
    await world.withdraw(other, "offers")
    assert [r.claim.offer for r in (await world.outbox.recheck(claims, LEASE_S)).ready] == [case.offer]


@pytest.mark.parametrize("active", [None, False])
async def test_a_fence_that_is_gone_or_off_is_so_for_a_replayed_phone_too(world, active):
    case, other = [await world.put(replay=True, lane="inapp") for _ in range(2)]
    claims = await claimed(world, "inapp")
    await world.set_fence(case, active=active)
    assert [r.claim.offer for r in (await looked_at(world, claims)).ready] == [other.offer]
    assert await world.ending(case) == ("cancelled", "not_live", 1)


async def test_a_fence_that_is_put_again_before_the_send_is_live(world):
    case = await world.put()
    claims = await claimed(world)
    await world.set_fence(case, active=None)
    await world.set_fence(case, active=True)
    assert (await world.outbox.recheck(claims, LEASE_S)).ready


async def test_a_locked_person_is_busy_and_holds_nobody_else(world):
    case, neighbour = await world.put(), await world.put()
    claims = await claimed(world)
    async with world.person_locked(case):
        async with asyncio.timeout(2):
            rechecked = await world.outbox.recheck(claims, LEASE_S)
        assert [claim.offer for claim in rechecked.busy] == [case.offer]
        assert [ready.claim.offer for ready in rechecked.ready] == [neighbour.offer]
        assert [(await world.row(each)).state for each in (case, neighbour)] == ["leased", "sending"]
    assert (await world.outbox.recheck(rechecked.busy, LEASE_S)).ready


async def test_an_unreadable_row_is_named_and_holds_nobody_else(world):
    case, neighbour = await world.put(), await world.put()
    claims = await claimed(world)
    await world.corrupt(case)
    rechecked = await world.outbox.recheck(claims, LEASE_S)
    assert [claim.offer for claim in rechecked.unreadable] == [case.offer]
    assert [ready.claim.offer for ready in rechecked.ready] == [neighbour.offer]
    await world.outbox.finish([unreadable(claim, 0.5) for claim in rechecked.unreadable])
    assert [(await world.row(each)).state for each in (case, neighbour)] == ["due", "sending"]


async def test_what_was_erased_is_dropped(world):
    case = await world.put()
    claims = await claimed(world)
    await world.erase(case)
    rechecked = await world.outbox.recheck(claims, LEASE_S)
    assert rechecked == Rechecked([], [], [], [])
    assert await world.row(case) is None


async def test_a_recheck_under_an_old_token_marks_nothing(world):
    case = await world.put()
    old = await claimed(world)
    await world.pass_time(LEASE_S + 1)
    new = await claimed(world)
    await world.withdraw(case, "offers")
    assert await world.outbox.recheck(old, LEASE_S) == Rechecked([], [], [], [])
    assert (await world.row(case)).state == "leased"
    assert (await world.outbox.recheck(new, LEASE_S)).over


# ---------------------------------------------------------------------------------------------- both at once
async def test_what_is_taken_is_claimed_oldest_first_and_looked_at(world):
    third, first, second = [await world.put(due_in_s=due_s) for due_s in (-1, -3, -2)]
    await world.withdraw(second, "offers")
    taken = await world.outbox.take("webhook", 200, LEASE_S)
    assert [claim.offer for claim in taken.claims] == [first.offer, second.offer, third.offer]
    assert [ready.claim.offer for ready in taken.looked.ready] == [first.offer, third.offer]
    assert [(close.claim.offer, close.detail) for close in taken.looked.over] == [(second.offer, "no_consent")]
    assert [ready.claim for ready in taken.looked.ready] == [taken.claims[0], taken.claims[2]]
    assert {(await world.row(each)).state for each in (first, second, third)} == {"sending"}
    assert await world.outbox.take("webhook", 200, LEASE_S) == Taken([], Rechecked([], [], [], []))


async def test_what_is_stranded_or_out_of_attempts_is_taken_and_not_looked_at(world):
    worn = await world.put(expires_s=5_000)
    for _ in range(MOST_ATTEMPTS):
        await claimed(world)
        await world.pass_time(LEASE_S + 1)
    stranded = await world.put(expires_s=5_000)
    await world.outbox.recheck([claim for claim in await claimed(world) if claim.offer == stranded.offer], LEASE_S)
    await world.pass_time(LEASE_S + 1)
    good = await world.put(expires_s=5_000)
    taken = await world.outbox.take("webhook", 200, LEASE_S)
    found = {claim.offer: (claim.attempts > MOST_ATTEMPTS, claim.stranded) for claim in taken.claims}
    assert found == {worn.offer: (True, False), stranded.offer: (False, True), good.offer: (False, False)}
    assert [ready.claim.offer for ready in taken.looked.ready] == [good.offer]
    assert [*taken.looked.over, *taken.looked.busy, *taken.looked.unreadable] == []


# ---------------------------------------------------------------------------------------------- records
@pytest.mark.parametrize(("state", "keep"), [("accepted", True), ("ambiguous", True), ("failed", False)])
async def test_a_close_ends_the_offer_and_settles_its_slot(world, state, keep):
    case = await world.put()
    (ready,) = await sending(world)
    assert set(await world.outbox.finish([Close(ready.claim, state, keep=keep, detail="why")])) == {case.offer}
    assert await world.row(case) is None
    assert await world.ending(case) == (state, "why", 1 if keep else 2)


async def test_a_retry_is_due_later_and_keeps_what_is_known(world):
    case = await world.put()
    (ready,) = await sending(world)
    await world.outbox.finish([Retry(ready.claim, 8.0, attempts=1, unanswered=True)])
    row = await world.row(case)
    assert (row.state, row.attempts, row.ambiguous, row.lease_s) == ("due", 1, True, None)
    assert row.due_in_s == pytest.approx(8, abs=2)
    await world.pass_time(9)
    (claim,) = await claimed(world)
    assert (claim.attempts, claim.unanswered) == (2, 1)
    await world.outbox.finish([Retry(claim, 0.0, attempts=1)])
    assert (await world.row(case)).ambiguous


async def test_a_retry_is_never_due_after_the_expiry(world):
    case = await world.put(expires_s=30)
    (ready,) = await sending(world)
    await world.outbox.finish([Retry(ready.claim, 3600.0, attempts=1)])
    assert (await world.row(case)).due_in_s == pytest.approx(30, abs=2)
    await world.pass_time(31)
    await sending(world)
    assert await world.ending(case) == ("expired", "expired", 2)


async def test_a_move_sends_the_same_offer_by_another_lane_and_clears_the_dead_token(world):
    case = await world.put()
    (ready,) = await sending(world)
    await world.outbox.finish([Move(ready.claim, "inapp", DeadToken(case.workspace, "webhook", "token-1"))])
    assert await world.push_token(case) is None
    row = await world.row(case)
    assert (row.lane, row.state, row.attempts) == ("inapp", "due", 0)
    (again,) = await sending(world, "inapp")
    assert (again.message.offer, again.message.push_token) == (case.offer, None)


async def dead(world, token="token-1", at_us=None):
    """What is being sent is said to have gone to a dead token."""
    (ready,) = await sending(world)
    assert ready.message.push_token == token
    await world.outbox.finish([Move(ready.claim, "inapp", DeadToken(ready.claim.workspace, "webhook", token, at_us))])


async def two_phones(world, *, proven=True, push_token="token-2", replay=False):
    """An offer on one phone of a person; what waits for another phone of theirs is not due."""
    case = await world.put()
    other = await world.put(
        beside=case, other_device=True, push_token=push_token, replay=replay, due_in_s=60, lane="webhook"
    )
    if proven:
        await world.prove(other)
    return case, other


async def test_after_a_dead_token_the_offer_goes_to_another_phone_of_the_persons(world):
    case, other = await two_phones(world)
    await dead(world)
    row = await world.row(case)
    assert (row.lane, row.state, row.attempts) == ("webhook", "due", 1)
    (again,) = await sending(world)
    assert (again.message.offer, again.message.push_token) == (case.offer, "token-2")
    assert again.message.device == other.device
    await world.outbox.finish([Close(again.claim, "accepted", keep=True)])
    assert await world.ending(case) == ("accepted", None, 1)
    assert await world.taken_ago_s(other) is not None
    assert await world.taken_ago_s(case) is None


async def test_after_the_last_dead_token_it_goes_to_the_app_of_the_phone_that_earned_it(world):
    case, _ = await two_phones(world)
    await dead(world)
    await dead(world, "token-2")
    row = await world.row(case)
    assert (row.lane, row.attempts) == ("inapp", 0)
    (again,) = await sending(world, "inapp")
    assert (again.message.device, again.message.push_token) == (case.device, None)


@pytest.mark.parametrize("phone", [{"proven": False}, {"push_token": None}, {"replay": True}])
async def test_a_phone_that_may_not_or_cannot_have_it_does_not_get_it(world, phone):
    case, _ = await two_phones(world, **phone)
    await dead(world)
    assert (await world.row(case)).lane == "inapp"


async def test_a_phone_that_has_a_new_token_gets_it_there(world):
    case, _ = await two_phones(world)
    (ready,) = await sending(world)
    await world.register_token(case, "token-3")
    await world.outbox.finish([Move(ready.claim, "inapp", DeadToken(case.workspace, "webhook", "token-1"))])
    (again,) = await sending(world)
    assert (again.message.device, again.message.push_token) == (case.device, "token-3")


async def test_a_gateway_that_says_dead_of_every_token_and_of_none_since_when_comes_to_an_end(world):
    case, other = await two_phones(world)
    for one in (case, other):
        await world.prove(one)
        await world.register_token(one, await world.push_token(one))
    attempts = []
    for token in ("token-1", "token-2") * 3:
        await dead(world, token, at_us=1)
        attempts.append((await world.row(case)).attempts)
    assert attempts == [1, 2, 3, 4, 5, 6]  # past ten it is poison


async def test_a_token_that_died_is_taken_from_whoever_has_it_by_now(world):
    case = await world.put()
    other = await world.put(beside=case, other_device=True, push_token=None, due_in_s=60)
    (ready,) = await sending(world)
    await world.register_token(case, "token-9")
    await world.register_token(other, "token-1")
    await world.outbox.finish([Move(ready.claim, "inapp", DeadToken(case.workspace, "webhook", "token-1"))])
    assert (await world.push_token(case), await world.push_token(other)) == ("token-9", None)


async def test_that_a_token_is_alive_is_noted_once_an_hour(world):
    case = None
    for seconds, noted_ago_s in ((0, 0), (1800, 1800), (1900, 0)):
        await world.pass_time(seconds)
        case = await world.put(beside=case)
        (ready,) = await sending(world)
        await world.outbox.finish([Close(ready.claim, "accepted", keep=True)])
        assert await world.taken_ago_s(case) == pytest.approx(noted_ago_s, abs=5)


async def test_what_waits_on_a_lane_that_is_not_served_any_more_goes_to_the_app(world):
    stray, ours = await world.put(lane="webhook"), await world.put(lane="log")
    assert await world.outbox.adopt(["log", "inapp"], "inapp")
    assert ((await world.row(stray)).lane, (await world.row(ours)).lane) == ("inapp", "log")
    (ready,) = await sending(world, "inapp")
    assert ready.claim.offer == stray.offer


async def test_what_is_being_sent_on_a_lane_of_old_ends_unanswered_with_its_lease_and_is_told_by_no_other_lane(world):
    stray = await world.put(lane="webhook")
    (old,) = await sending(world)
    assert not await world.outbox.adopt(["inapp"], "inapp")
    assert (await world.row(stray)).lane == "webhook"
    await world.pass_time(LEASE_S + 1)
    assert await world.outbox.adopt(["inapp"], "inapp")
    assert await world.row(stray) is None
    assert await world.ending(stray) == ("ambiguous", "unanswered", 1)
    assert not await world.outbox.finish([Close(old.claim, "failed", keep=False)])


async def test_what_waits_for_its_second_try_on_a_lane_of_old_ends_unanswered(world):
    stray = await world.put(lane="webhook")
    (ready,) = await sending(world)
    await world.outbox.finish([Retry(ready.claim, 5.0, attempts=1, unanswered=True)])
    assert await world.outbox.adopt(["inapp"], "inapp")
    assert await world.ending(stray) == ("ambiguous", "unanswered", 1)


async def test_an_address_of_another_lane_is_not_shown_to_this_one_and_the_offer_moves_to_it(world):
    case = await world.put(lane="webhook")
    await world.register_token(case, "https://push.example/its-own-secret", lane="log")
    (ready,) = await sending(world)
    assert ready.message.push_token is None
    await world.outbox.finish([Move(ready.claim, "inapp", None)])
    (moved,) = await sending(world, "log")
    assert moved.message.push_token == "https://push.example/its-own-secret"


async def test_a_token_registered_since_the_send_stays(world):
    case = await world.put()
    (ready,) = await sending(world)
    await world.register_token(case, "token-2")
    await world.outbox.finish([Move(ready.claim, "inapp", DeadToken(case.workspace, "webhook", "token-1"))])
    assert await world.push_token(case) == "token-2"


async def test_a_late_record_changes_nothing(world):
    case = await world.put()
    (late,) = await sending(world)
    await world.pass_time(LEASE_S + 1)
    await sending(world)
    before = await world.row(case)
    for settlement in (
        Close(late.claim, "failed", keep=False),
        Retry(late.claim, 5.0, attempts=1),
        Move(late.claim, "inapp", None),
    ):
        assert not await world.outbox.finish([settlement])
    after = await world.row(case)
    assert (before.state, before.token, before.lane) == (after.state, after.token, after.lane)
    assert await world.ending(case) == ("queued", None, 0)


async def test_a_record_written_twice_counts_once(world):
    case = await world.put()
    (ready,) = await sending(world)
    settlement = Retry(ready.claim, 8.0, attempts=1)
    assert await world.outbox.finish([settlement])
    assert not await world.outbox.finish([replace(settlement, after_s=0.0)])
    assert (await world.row(case)).due_in_s == pytest.approx(8, abs=2)


async def test_one_record_may_hold_every_kind(world):
    cases = [await world.put() for _ in range(4)]
    ready = {ready.claim.offer: ready.claim for ready in await sending(world)}
    closed, retried, moved, stale = (ready[case.offer] for case in cases)
    applied = await world.outbox.finish(
        [
            Retry(retried, 8.0, attempts=1),
            Close(closed, "accepted", keep=True),
            Close(replace(stale, token=99), "failed", keep=False),
            Move(moved, "inapp", None),
        ]
    )
    assert set(applied) == {case.offer for case in cases[:3]}


# ---------------------------------------------------------------------------------------------- switches
async def test_a_switch_makes_due_on_every_lane_what_waits_of_it_and_nothing_else(world):
    case, other = await world.put(due_in_s=300), await world.put(due_in_s=300)
    in_app = await world.put(lane="inapp", due_in_s=300, beside=case)
    both = [case.workspace, other.workspace]
    await world.outbox.recall(both, campaign=uuid.uuid4())
    await world.outbox.recall(both, store="stores/none")
    assert min([(await world.row(one)).due_in_s for one in (case, in_app, other)]) > 200
    await world.outbox.recall(both, campaign=case.campaign)
    assert max([(await world.row(one)).due_in_s for one in (case, in_app)]) <= 0
    assert (await world.row(other)).due_in_s > 200
    await world.outbox.recall([case.workspace])
    assert (await world.row(other)).due_in_s > 200
    await world.outbox.recall(both, store=FENCE)
    assert (await world.row(other)).due_in_s <= 0


async def test_a_switch_leaves_a_row_that_is_under_way(world):
    case = await world.put()
    await sending(world)
    await world.outbox.recall([case.workspace])
    assert (await world.row(case)).state == "sending"


# ---------------------------------------------------------------------------------------------- in the app
async def test_a_returning_device_makes_due_what_waits_for_it_and_nothing_else(world):
    case = await world.put(lane="inapp", due_in_s=300)
    elsewhere = await world.put(lane="inapp", due_in_s=300)
    pushed = await world.put(lane="webhook", due_in_s=300, beside=case)
    tablet = await world.put(lane="inapp", due_in_s=300, beside=case, other_device=True)
    await world.outbox.hasten("inapp", {case.device: case.workspace})
    assert (await world.row(case)).due_in_s <= 0
    assert (await world.row(elsewhere)).due_in_s > 200
    assert (await world.row(pushed)).due_in_s > 200
    assert (await world.row(tablet)).due_in_s > 200


async def test_hastening_leaves_a_row_that_is_under_way(world):
    case = await world.put(lane="inapp")
    await sending(world, "inapp")
    await world.outbox.hasten("inapp", {case.device: case.workspace})
    assert (await world.row(case)).state == "sending"


async def test_hastening_from_another_workspace_does_nothing(world):
    case, other = await world.put(lane="inapp", due_in_s=300), await world.put()
    await world.outbox.hasten("inapp", {case.device: other.workspace})
    assert (await world.row(case)).due_in_s > 200


@pytest.mark.parametrize("before", ["due", "sending", "cancelled"])
async def test_shown_ends_the_offer_keeps_its_slot_and_is_an_event_once(world, before):
    case = await world.put(lane="inapp")
    if before != "due":
        (ready,) = await sending(world, "inapp")
    if before == "cancelled":
        await world.outbox.finish([Close(ready.claim, "cancelled", keep=False, detail="left")])
    assert await world.outbox.shown(case.workspace, case.offer, case.device) == "news"
    assert await world.outbox.shown(case.workspace, case.offer, case.device) == "known"
    assert await world.row(case) is None
    assert await world.ending(case) == ("shown", None, 1)
    assert await world.events(case) == ["shown"]


async def test_any_proven_device_of_the_person_says_that_an_offer_was_shown(world):
    case = await world.put(lane="inapp")
    tablet = await world.put(lane="inapp", beside=case, other_device=True)
    assert await world.outbox.shown(case.workspace, case.offer, tablet.device) == "unknown"
    assert (await world.row(case)).state == "due"
    await world.prove(tablet)
    assert await world.outbox.shown(case.workspace, case.offer, tablet.device) == "news"
    assert await world.row(case) is None
    assert await world.ending(case) == ("shown", None, 1)
    assert await world.events(case) == ["shown"]


async def test_a_proven_device_says_nothing_of_somebody_elses_offer(world):
    case, other = await world.put(lane="inapp"), await world.put(lane="inapp")
    await world.prove(other)
    assert await world.outbox.shown(case.workspace, case.offer, other.device) == "unknown"
    assert (await world.row(case)).state == "due"


async def test_shown_by_another_device_or_from_another_workspace_is_unknown(world):
    case, other = await world.put(lane="inapp"), await world.put(lane="inapp")
    for workspace, device in ((case.workspace, other.device), (other.workspace, case.device)):
        assert await world.outbox.shown(workspace, case.offer, device) == "unknown"
    assert (await world.row(case)).state == "due"
    assert await world.events(case) == []


async def test_shown_before_the_record_makes_the_record_late(world):
    case = await world.put(lane="inapp")
    (ready,) = await sending(world, "inapp")
    await world.outbox.shown(case.workspace, case.offer, case.device)
    assert not await world.outbox.finish([Retry(ready.claim, 8.0, attempts=0, unanswered=True)])
    assert await world.row(case) is None


async def test_the_age_of_the_oldest_due_row_is_told_by_lane(world):
    await world.put(due_in_s=-40)
    await world.put(due_in_s=-5)
    await world.put(lane="inapp", due_in_s=50)
    assert await world.outbox.oldest_due_s("webhook") == pytest.approx(40, abs=2)
    assert await world.outbox.oldest_due_s("inapp") == 0


async def test_what_a_back_off_holds_has_waited_all_the_same(world):
    """A throttled row must not hide from who watches the lane."""
    await world.put(due_in_s=-40)
    (ready,) = await sending(world)
    assert await world.outbox.finish([Retry(ready.claim, 300.0, attempts=1)])
    assert await world.outbox.oldest_due_s("webhook") == pytest.approx(40, abs=2)
