"""The open-loop sender: the schedule does not wait for the server, and latency counts from when a ping was due."""

import math

import numpy as np
import pytest

from bench.openloop import Outcome, Record, climb, drain, schedule, send_on_schedule


class Pace:
    """A clock that moves only when somebody waits; `at` calls what is to happen meanwhile."""

    def __init__(self):
        self.time = 100.0
        self.plans = []

    def now(self):
        return self.time

    def at(self, seconds, act):
        self.plans.append((100.0 + seconds, act))

    async def wait(self, seconds):
        self.time += max(seconds, 1e-6)
        due = [plan for plan in self.plans if plan[0] <= self.time]
        self.plans = [plan for plan in self.plans if plan[0] > self.time]
        for _, act in sorted(due, key=lambda plan: plan[0]):
            act()


def record(*due_s):
    return Record(np.array(due_s, dtype=float), Pace())


def test_a_schedule_is_seeded_and_keeps_its_rate():
    due_s = schedule(1_000, 10, seed=3)
    assert np.array_equal(due_s, schedule(1_000, 10, seed=3))
    assert not np.array_equal(due_s[:5], schedule(1_000, 10, seed=4)[:5])
    assert 9_500 < len(due_s) < 10_500
    assert due_s[0] > 0
    assert due_s[-1] < 10
    assert np.all(np.diff(due_s) >= 0)


async def test_pings_go_out_when_due_though_no_answer_comes():
    run, sent = record(0.0, 1.0, 1.5, 4.0), []
    await send_on_schedule(run, lambda number: sent.append((number, run.pace.now() - run.started)))
    assert [number for number, _ in sent] == [0, 1, 2, 3]
    assert [at_s for _, at_s in sent] == pytest.approx([0.0, 1.0, 1.5, 4.0], abs=1e-5)
    assert run.waiting == 4


async def test_a_stall_of_the_server_counts_for_every_ping_that_was_due_meanwhile():
    run = record(0.0, 1.0, 2.0)
    for number in range(3):
        run.pace.at(3.0, lambda number=number: run.settle(number, Outcome.OK))
    await send_on_schedule(run, lambda _: None)
    await drain(run, 5.0)
    assert run.ok_latency_ms() == pytest.approx([3_000, 2_000, 1_000], abs=10)


async def test_a_stall_of_the_sender_counts_as_latency_and_is_told_apart():
    run = record(0.0, 1.0)

    def send(number):
        if number == 0:
            run.pace.time += 1.4
        run.settle(number, Outcome.OK)

    await send_on_schedule(run, send)
    assert run.ok_latency_ms() == pytest.approx([1_400, 400])
    assert run.late_s == pytest.approx([0.0, 0.4])


async def test_what_has_no_answer_in_time_has_failed_and_weighs_on_the_tail():
    run = record(*([0.0] * 50))
    await send_on_schedule(run, lambda number: run.settle(number, Outcome.OK, transitions=2) if number else None)
    await drain(run, 1.0)
    assert (run.count(Outcome.OK), run.count(Outcome.FAILED), run.waiting) == (49, 1, 0)
    assert run.transitions == 98
    assert run.p99_ms() == math.inf
    run.settle(0, Outcome.OK)
    assert run.count(Outcome.FAILED) == 1


async def test_shed_pings_are_not_counted_as_fast_ones():
    run = record(0.0, 0.0)
    await send_on_schedule(run, lambda number: run.settle(number, Outcome.SHED if number else Outcome.OK))
    assert (run.count(Outcome.SHED), len(run.ok_latency_ms()), run.p99_ms()) == (1, 1, math.inf)


async def test_a_hopeless_step_is_given_up_early():
    run, sent = record(*range(1_000)), []
    await send_on_schedule(run, sent.append, most_open=10)
    assert len(sent) == run.sent == 11


@pytest.mark.parametrize("limit", [70.0, 300.0, 500.0, 1_100.0, 9_000.0])
async def test_the_highest_rate_that_holds_is_found_to_a_fifth(limit):
    async def holds(rate):
        return rate <= limit

    assert limit / 1.2 < await climb(holds, 500.0) <= limit


async def test_one_unlucky_step_does_not_end_the_climb():
    unlucky = [2_000.0]

    async def holds(rate):
        if rate in unlucky:
            unlucky.remove(rate)
            return False
        return rate <= 3_000

    assert await climb(holds, 500.0) > 2_000


async def test_a_server_that_holds_nothing_is_not_asked_for_ever():
    asked = []

    async def holds(rate):
        asked.append(rate)
        return False

    assert await climb(holds, 500.0) == 0.0
    assert len(asked) < 20
