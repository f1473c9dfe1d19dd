"""A person's weeks against a model: arrivals, answers, silences and changed minds, in any order.

The model says from the definitions alone what each arrival has to come to; it shares no window, fold or gate with the
product.
"""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import structs

from geo_offers.offers.caps import Use
from geo_offers.offers.decide import Arrival, Decision, DeviceView, Person, Reason, Snapshot, WorkspacePolicy, decide
from geo_offers.people.backoff import BackOff, Became
from geo_offers.people.rhythm import Per, Rhythm, Rolling, Special
from geo_offers.presence.states import TransitionType
from tests.property.test_offers_decide import (
    AGREED,
    DEVICE,
    EPOCH,
    FENCES,
    HOUR_US,
    MINUTE_US,
    ZONES,
    campaign_of,
    edge,
    unit_of,
)
from tests.support.replacing import replace

ORDINARY = campaign_of(())
SPECIAL = replace(ORDINARY, id=UUID(int=2), special=True)
START_US = (datetime(2026, 3, 27, 6, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # before a change of the clock
MOVES = {
    Became.OPENED: 0,
    Became.WRONG_PLACE: 0,
    Became.PUT_OFF: 2,
    Became.UNWANTED: 2,
    Became.MUTED: 2,
    Became.REDEEMED: -2,
}

pers = st.sampled_from(["day", "week", "month"]) | st.builds(Rolling, st.sampled_from([1, 30, 200]))
rhythms = st.builds(
    Rhythm,
    max=st.sampled_from([0, 1, 3, 50, 50]),
    per=pers,
    min_gap_h=st.sampled_from([0.0, 0.5, 6.0, 24.0, 300.0]),
    quiet=st.just(()),
    special=st.builds(Special, allow=st.booleans(), max=st.integers(0, 2), per=pers),
)


def together(one_us: int, other_us: int, per: Per, zone: ZoneInfo) -> bool:
    """Whether two offers stand in one window."""
    if isinstance(per, Rolling):
        return abs(one_us - other_us) < round(per.hours * HOUR_US)
    return unit_of(one_us, per, zone) == unit_of(other_us, per, zone)


def steps(told: list[Became], back_off: BackOff) -> int:
    """By runs: each run of silent offers goes up by its whole multiples, each answer by its own measure."""
    at, highest = 0, max(n for n in range(10) if 2**n <= back_off.most)
    seen = [became for became in told if became is not Became.NOTHING]
    for became, run in groupby(seen):
        count = len(list(run))
        if became is Became.SHOWN:
            at = min(at + count // back_off.after, highest)
        else:
            for _ in range(count):
                at = max(0, min(at + MOVES[became], highest))
    return at


class Weeks(RuleBasedStateMachine):
    """One person, one fence, an ordinary and a special campaign."""

    @initialize(
        rhythm=rhythms,
        zone=st.sampled_from(ZONES),
        back_off=st.builds(BackOff, st.integers(1, 3), st.sampled_from([1, 2, 8])),
    )
    def begin(self, rhythm: Rhythm, zone: ZoneInfo, back_off: BackOff) -> None:
        self.rhythm, self.zone = rhythm, zone
        self.policy = WorkspacePolicy("w", zone, place_gap_s=0, store_gap_s=0, back_off=back_off)
        self.now_us = START_US
        self.uses: list[Use] = []

    @rule(minutes=st.integers(1, 90) | st.sampled_from([359, 360, 1439, 1440, 1441, 3 * 1440, 8 * 1440]))
    def wait(self, minutes: int) -> None:
        self.now_us += minutes * MINUTE_US

    @precondition(lambda self: self.uses)
    @rule(became=st.sampled_from(Became), times=st.sampled_from([1, 2, 3, 4, 8]), early_minutes=st.sampled_from([0, 1]))
    def answer_and_wait_for_the_gap(self, became: Became, times: int, early_minutes: int) -> None:
        """To the newest offer; then so many of the person's gaps go by from it, or a minute less."""
        self.tell(len(self.uses) - 1, became)
        gap_us = round(self.rhythm.min_gap_h * HOUR_US)
        ahead_us = max(use.at_us for use in self.uses) + times * gap_us - early_minutes * MINUTE_US
        self.now_us = max(self.now_us, ahead_us)
        self.arrive(special=False, late_minutes=0)

    @rule(rhythm=rhythms, really=st.sampled_from([False, False, False, True]))
    def change(self, rhythm: Rhythm, really: bool) -> None:
        if really:
            self.rhythm = rhythm

    @precondition(lambda self: self.uses)
    @rule(which=st.integers(0, 99), became=st.sampled_from(Became))
    def tell(self, which: int, became: Became) -> None:
        place = which % len(self.uses)
        self.uses[place] = structs.replace(self.uses[place], became=max(self.uses[place].became, became))

    @rule(special=st.booleans(), late_minutes=st.sampled_from([0, 0, 0, 30, 1440]))
    def arrive(self, special: bool, late_minutes: int) -> None:
        """At the fence of one of the campaigns; late: a recorded track that is played beside the live phone."""
        at_us = self.now_us + late_minutes * MINUTE_US
        self.now_us += 1  # no two visits begin at one instant
        found = self.decided(at_us, special=special)
        ordinary = [use.at_us for use in self.uses if not use.special]
        past = [use.at_us for use in self.uses if use.special]
        told = [use.became for use in sorted(self.uses, key=lambda use: use.at_us)]
        step = steps(told, self.policy.back_off)
        gap_us = min(round(self.rhythm.min_gap_h * HOUR_US) * 2**step, 31 * 24 * HOUR_US)
        room = sum(together(at_us, one, self.rhythm.per, self.zone) for one in ordinary) < self.rhythm.max
        apart = all(abs(at_us - use.at_us) >= gap_us for use in self.uses)
        budget = self.rhythm.special
        beside = special and budget.allow
        beside &= sum(together(at_us, one, budget.per, self.zone) for one in past) < budget.max
        if apart and (room or beside):
            assert found.offer is not None
            assert found.offer.special == (not room)
            self.uses.append(Use(at_us, found.campaign, "s", FENCES[3].id, special=found.offer.special))
        else:
            assert found.reason is (Reason.RHYTHM_GAP if room or beside else Reason.RHYTHM_MAX)
        (gap,) = [gate.detail for gate in found.gates if gate.gate == "rhythm_gap"]
        assert gap["step"] == step

    def decided(self, at_us: int, *, special: bool) -> Decision:
        person = Person(UUID(int=3), AGREED, self.rhythm, self.zone, "en")
        arrival = Arrival(edge(FENCES[3], TransitionType.ENTER, at_us, at_us), FENCES[3], self.zone)
        campaigns = (SPECIAL if special else ORDINARY,)
        found = decide(
            Snapshot(at_us, person, self.policy, DeviceView(DEVICE), (arrival,), campaigns, tuple(self.uses))
        )
        assert found is not None
        return found


TestWeeks = Weeks.TestCase
TestWeeks.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
