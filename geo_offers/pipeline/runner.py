"""The loop of one lane: claims due offers, looks once more whether each may be sent, sends, and records.

- Never more is claimed than there are free slots to send by; so a claimed row is sent at once or not at all, and it is
  `sending` only between the re-check, which comes with the claim, and its record.
- What is known is written before anything new is claimed. Where there is a backlog, or a wake-up finds the loop at
  work, a helper claims and looks beside it, so that nobody waits for a record and sends are under way while the
  database is waited for; it stops where as many records wait as there are slots.
- A lease that runs out brings a row back, whatever became of the process; the fencing token makes its late record
  harmless. What was under way then is sent again one at a time, so that a row which ends its process takes no other
  row's one repeat with it.
- Wake-ups: the commit's call of `wake()`, a device's return by `ring()`, the end of a send, every back-off of the next
  minute that this process has recorded, else a look every half second or so: a switch that another process turned, and
  what it left due, is felt within the second. Whatever fails, the lane goes on.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from geo_offers.errors import Unavailable
from geo_offers.pipeline.lanes import Lane, Outcome, Waiting, outcome_name
from geo_offers.pipeline.outbox import UNDER_WAY_S, Observer, Outbox, Ready, Rechecked, Taken
from geo_offers.pipeline.sends import Sends
from geo_offers.pipeline.settlement import (
    Claim,
    Close,
    Move,
    Retry,
    Settlement,
    hopeless,
    put_back,
    settle,
    unreadable,
)

BATCH: Final = 200
PART: Final = 2  # a claim takes half of the slots at most: one is looked at while others are under way
WORTH: Final = 8  # a helper claims for an eighth of the slots at least
BUSY_S: Final = 0.03  # a person's row is locked for one turn: some milliseconds
TICK_S: Final = 0.05  # rows that come due within one are looked for together
_AHEAD_S: Final = 60.0  # what comes due later is found by the sweep
_LOOK_SHARE: Final = 0.25  # of the lease: what a look has found is old then
_LOOK_S: Final = UNDER_WAY_S / 2  # or then: who withdraws waits UNDER_WAY_S for what has begun
_START_S: Final = 0.9 * UNDER_WAY_S  # after the look nothing leaves: a withdrawal may have been answered
_SEND_SHARE: Final = 0.8  # of the lease: what is left must do for the record
_LOG = structlog.stdlib.get_logger("geo_offers.dispatch")


class _Ended(msgspec.Struct, frozen=True):
    """What is to be recorded; `told` is the outcome's name where the observer is to hear of it."""

    settlement: Settlement
    told: str | None = None
    sent: bool = False


class LaneRunner:
    """The loop of one lane; `turn` is one round of it."""

    def __init__(
        self,
        lane: Lane,
        outbox: Outbox,
        observer: Observer,
        *,
        lease_s: float,
        sweep_s: float,
        jitter: Callable[[], float],
        wake_lane: Callable[[str], None],
    ) -> None:
        self._lane = lane
        self._outbox = outbox
        self._observer = observer
        self._lease_s = lease_s
        self._sweep_s = sweep_s
        self._fresh_s = min(lease_s * _LOOK_SHARE, _LOOK_S)
        self._most = BATCH  # of a claim; less where the database is too slow for so many
        self._jitter = jitter
        self._wake_lane = wake_lane
        self._sends = Sends(lane, observer, jitter=jitter, ended=self._sent)
        self._at_work = False
        self._spoken_for = 0  # slots that claims are made for
        self._helper: asyncio.Task[None] | None = None
        self._ended: list[_Ended] = []
        self._stranded: deque[Claim] = deque()
        self._rung: dict[UUID, UUID] = {}
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._due = True
        self._look_at = math.inf
        self._ticks: set[int] = set()  # when rows come due that were put back here
        self._sweep_at = 0.0
        self._stopping = False

    # ------------------------------------------------------------------------------------------ from outside
    def wake(self) -> None:
        """Look at once: something may be due."""
        self._due = True
        self._event.set()
        if self._at_work:
            self._call_help()

    def ring(self, workspace: UUID, device: UUID) -> None:
        """Note a device that is there now and may have been waited for."""
        self._rung[device] = workspace
        self.wake()

    def stop(self) -> None:
        """Claim no more; `run` returns once what is under way is recorded."""
        self._stopping = True
        self._event.set()

    def cut(self) -> None:
        """Give up on the sends under way: they count as unanswered."""
        self._sends.cut()

    async def run(self) -> None:
        """Work until `stop`."""
        self._look_at = self._now + self._sweep_s
        try:
            while not self._stopping or self._busy:
                self._at_work = True
                away_s = await self._guarded(self.turn())
                self._at_work = False
                await self._rest(away_s)
        finally:
            self.cut()
            if self._helper is not None:
                self._helper.cancel()

    @property
    def _busy(self) -> bool:
        return bool(self._helper or self._sends or self._ended or self._stranded)

    # ------------------------------------------------------------------------------------------ one round
    async def turn(self) -> None:
        """Record what ended, hasten what was rung for, then claim, look again and send."""
        if self._stopping:
            self._put_back(self._stranded, 0)
            self._stranded.clear()
        await self._record()
        if self._stopping:
            return
        await self._observe()
        await self._hasten()
        if self._due and self._free > 0:
            await self._fetch()
        await self._rescue()
        await self._record()

    @property
    def _free(self) -> int:
        slots = self._lane.concurrency - len(self._sends) - len(self._stranded)
        room = self._sends.worth_claiming(slots) - self._spoken_for
        part = 1 if self._rung else PART  # nobody helps then
        return min(self._most, math.ceil(self._lane.concurrency / part), room)

    @property
    def _now(self) -> float:
        return self._loop.time()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> float:
        """Do it and raise nothing; return how many seconds to keep away from the database."""
        try:
            await work
        except Unavailable as error:
            self._due = True
            return error.retry_after_s * (0.2 + 0.3 * self._jitter())
        except Exception:  # noqa: BLE001  whatever fails, the lane goes on; the log has it
            self._due = True
            _LOG.exception("dispatch_failed", lane=self._lane.name)
            return self._sweep_s
        return 0.0

    async def _rest(self, away_s: float) -> None:
        """Sleep until there is something to do."""
        if away_s > 0:
            await asyncio.sleep(away_s)
        elif (self._sends or self._helper) if self._stopping else not (self._due and self._free > 0):
            try:
                next_tick_s = min(self._ticks, default=math.inf) * TICK_S
                async with asyncio.timeout(max(min(self._look_at, next_tick_s) - self._now, 0)):
                    await self._event.wait()
            except TimeoutError:
                self._due = True
        self._event.clear()
        if self._now >= self._look_at:
            self._due = True
            self._look_at = self._now + self._sweep_s * (0.75 + self._jitter() / 2)
        if passed := {tick for tick in self._ticks if tick * TICK_S <= self._now}:
            self._due = True
            self._ticks -= passed

    async def _hasten(self) -> None:
        """Hasten with nothing under way: a row under way would be missed, and parked after the device came.

        So while a device is to be hastened for nobody helps.
        """
        if not self._rung or self._busy:
            return
        rung, self._rung = self._rung, {}
        try:
            await self._outbox.hasten(self._lane.name, rung)
        except BaseException:
            self._rung = rung | self._rung
            raise
        self._due = True

    async def _fetch(self) -> None:
        limit = self._free
        self._due = False
        self._spoken_for += limit
        try:
            asked_at = self._now
            taken = await self._taken(limit)
            if len(taken.claims) == limit:  # there may be more
                self._due = True
                self._call_help()
            await self._sift(taken, asked_at)
        finally:
            self._spoken_for -= limit

    async def _taken(self, limit: int) -> Taken:
        try:
            return await self._outbox.take(self._lane.name, limit, self._lease_s)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  some row's fault, perhaps: bounded to it by looks one by one
            _LOG.exception("take_failed", lane=self._lane.name)
            return Taken(await self._outbox.claim(self._lane.name, limit, self._lease_s))

    async def _sift(self, taken: Taken, asked_at: float) -> None:
        """Send what was found good; what nobody has looked at is hopeless, or waits for its turn, or is looked at."""
        claims = [claim for claim in taken.claims if not self._hopeless(claim)]
        self._stranded.extend(claim for claim in claims if claim.stranded)
        if taken.looked is not None:
            self._take(taken.looked, asked_at)
            return
        claims = [claim for claim in claims if not claim.stranded]
        if self._stopping:
            self._put_back(claims, 0)
        elif claims:
            await self._recheck(claims)

    def _call_help(self) -> None:
        if self._helper is None and self._wanted:
            self._helper = self._loop.create_task(self._help(), name=f"dispatch-{self._lane.name}-help")
            self._helper.add_done_callback(self._helped)

    async def _help(self) -> None:
        """Claim and look while there is a backlog. Whatever fails is for the lane's own loop to try again."""
        while self._wanted:
            if await self._guarded(self._fetch()) > 0:
                return

    def _helped(self, _helper: "asyncio.Task[None]") -> None:
        self._helper = None
        self._event.set()

    @property
    def _wanted(self) -> bool:
        """Whether there is something to help with, and room for so much of it that it is worth asking the database."""
        if not self._due or self._stopping or self._rung or len(self._ended) >= self._lane.concurrency:
            return False
        return self._free >= max(self._lane.concurrency // WORTH, 1)

    async def _rescue(self) -> None:
        """Send again what a process left that ended while sending, one at a time: one of them may have ended it.

        What waits here for longer than its lease goes back to everybody.
        """
        while self._stranded and not self._sends.any_stranded:
            self._spoken_for += 1
            try:
                await self._recheck([self._stranded.popleft()])
            finally:
                self._spoken_for -= 1
            await self._record()  # what is over must not wait for the others' looks: its lease runs

    async def _recheck(self, claims: Sequence[Claim]) -> None:
        asked_at = self._now
        try:
            rechecked = await self._outbox.recheck(claims, self._lease_s)
        except Unavailable:
            self._put_back(claims, self._sweep_s)
            raise
        except Exception:  # noqa: BLE001  bounded to its row: the others are tried without it
            if len(claims) == 1:
                _LOG.exception("recheck_failed", lane=self._lane.name, offer=str(claims[0].offer))
                rechecked = Rechecked(unreadable=claims)
            else:
                await self._recheck_singly(claims)
                return
        self._take(rechecked, asked_at)

    async def _recheck_singly(self, claims: Sequence[Claim]) -> None:
        began = self._now
        for number, claim in enumerate(claims, 1):
            try:
                await self._recheck([claim])
            except Unavailable:
                self._put_back(claims[number:], self._sweep_s)
                raise
            if self._now - began > self._fresh_s:
                self._put_back(claims[number:], 0)
                return

    async def _observe(self) -> None:
        """Look about once a sweep how far behind the lane is."""
        if self._now >= self._sweep_at:
            self._sweep_at = self._now + self._sweep_s
            self._observer.oldest_due(self._lane.name, await self._outbox.oldest_due_s(self._lane.name))
            self._observer.breakers(self._lane.name, self._sends.breakers)

    def _hopeless(self, claim: Claim) -> bool:
        end = hopeless(claim, repeats=self._lane.repeats)
        if end is not None:
            self._ended.append(_Ended(end, end.state))
        return end is not None

    def _put_back(self, claims: Iterable[Claim], after_s: float) -> None:
        self._ended.extend(_Ended(put_back(claim, after_s * (0.5 + self._jitter()))) for claim in claims)

    def _take(self, rechecked: Rechecked, asked_at: float) -> None:
        """Begin the sends, unless the look is old by now: a person who withdrew may have had an answer meanwhile."""
        self._ended.extend(_Ended(close, close.state) for close in rechecked.over)
        self._put_back(rechecked.busy, BUSY_S)
        for claim in rechecked.unreadable:
            _LOG.error("offer_unreadable", lane=self._lane.name, offer=str(claim.offer), attempts=claim.attempts)
            settlement = unreadable(claim, self._jitter())
            self._ended.append(_Ended(settlement, settlement.state if isinstance(settlement, Close) else "unreadable"))
        old = bool(rechecked.ready) and self._now - asked_at > self._fresh_s
        if old:
            _LOG.warning("look_too_old", lane=self._lane.name, offers=len(rechecked.ready))
        self._most = max(len(rechecked.ready) // 2, 1) if old else min(self._most * 2, BATCH)
        if old or self._stopping:
            self._put_back((ready.claim for ready in rechecked.ready), 0)
            return
        until = asked_at + self._lease_s * _SEND_SHARE
        for ready in rechecked.ready:
            hold_s = self._sends.begin(ready, start_by=min(asked_at + _START_S, until), until=until)
            if hold_s > 0:
                self._hold(ready, hold_s)

    def _hold(self, ready: Ready, after_s: float) -> None:
        self._ended.append(_Ended(put_back(ready.claim, after_s), "held"))

    def _sent(self, ready: Ready, outcome: Outcome | float) -> None:
        self._event.set()
        if self._at_work:
            self._call_help()
        if isinstance(outcome, float):
            self._hold(ready, outcome)
            return
        settlement = settle(
            ready.claim,
            ready.message,
            outcome,
            lane=self._lane.name,
            repeats=self._lane.repeats,
            lease_s=self._lease_s,
            jitter=self._jitter(),
        )
        self._ended.append(_Ended(settlement, outcome_name(outcome), sent=not isinstance(outcome, Waiting)))

    # ------------------------------------------------------------------------------------------ recording
    async def _record(self) -> None:
        batch = tuple(self._ended)
        if not batch:
            return
        try:
            applied = await self._outbox.finish([ended.settlement for ended in batch])
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001  raised again, logged and bounded to its row by the calls one by one
            await self._record_singly(batch)
        else:
            self._written(batch, applied)

    async def _record_singly(self, batch: Sequence[_Ended]) -> None:
        """Write one by one: a record that cannot be written must not hold the others; its lease brings it back."""
        for ended in batch:
            applied: Collection[UUID] = ()
            try:
                applied = await self._outbox.finish([ended.settlement])
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001  one row's fault must not hold the others; the log has it
                _LOG.exception("record_failed", lane=self._lane.name, offer=str(ended.settlement.claim.offer))
            self._written((ended,), applied)

    def _written(self, batch: Sequence[_Ended], applied: Collection[UUID]) -> None:
        """Let go of the first of what ended, and tell of each that was still this lane's to end."""
        del self._ended[: len(batch)]
        for ended in batch:
            if ended.settlement.claim.offer in applied:
                self._recorded(ended)

    def _recorded(self, ended: _Ended) -> None:
        claim, detail = ended.settlement.claim, None
        match ended.settlement:
            case Retry(after_s=after_s):
                if after_s <= _AHEAD_S:
                    self._ticks.add(math.ceil((self._now + after_s) / TICK_S))
            case Move(lane=lane):
                self.wake()  # the person's other phone may be of this lane
                self._wake_lane(lane)
            case Close():
                detail = ended.settlement.detail
        if ended.told is not None:
            self._tell(claim, ended.told, detail=detail, sent=ended.sent or isinstance(ended.settlement, Close))
        if isinstance(ended.settlement, Move):
            self._observer.under_way(claim.workspace, claim.offer, ended.settlement.lane, "moved")

    def _tell(self, claim: Claim, outcome: str, *, detail: str | None, sent: bool) -> None:
        self._observer.counted(self._lane.name, outcome)
        if sent:
            self._observer.delivered(claim.workspace, claim.offer, self._lane.name, outcome, detail)
        else:
            self._observer.under_way(claim.workspace, claim.offer, self._lane.name, outcome)
