"""The people of the demo: enrolled through the API, walking, pinging over a stream each, replaced when they leave.

A run enrols a fresh crowd, since people who have had their offers of the week stay silent for a week. The crowd of the
run before is erased through the API; its refresh tokens are kept for that in a file that only the owner may read.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final
from uuid import UUID

import msgspec

from geo_offers import instants, wire
from geo_offers.client import ApiError, Client, ClientError, Device, Enrolment, MemorySeenStore, Ping, Stream
from geo_offers.client.device import EventType
from geo_offers.clock import now_us
from geo_offers.demo.names import pseudonyms
from geo_offers.demo.private import read_private, write_private
from geo_offers.demo.stage import Stage
from geo_offers.demo.town import Archetype
from geo_offers.demo.walking import StreetMap, Walker
from geo_offers.demo.witness import Witness
from geo_offers.presence.fixes import Fix

PING_EVERY_S = 2.0
TICK_S = 0.5
_SPREAD_S = 6.0  # the first crowd's streams open over this long, not all at once
_KEEP_EVERY_S = 20.0  # far under the life of an access token, and so of a refresh token
_AT_ONCE = 8  # erasures under way
_TEXT_VERSION = "demo-1"
_MORNING_H = 10.0
_UNSEEN = 0.04  # of the offers: the phone is in a pocket, so that the service says it again until they have left
_ANSWERS: Final[Mapping[EventType | None, float]] = {"opened": 0.45, "dismissed": 0.2, None: 0.35}
_ANSWER_S = (1.5, 9.0)


def zone_where_it_is(hour: float, at_us: int) -> str:
    """Name the time zone of whole hours where the wall shows nearest to this hour."""
    utc_h = (at_us / 3_600_000_000) % 24
    east_h = round(hour - utc_h)
    east_h = (east_h + 11) % 24 - 11  # -11 .. 12: each hour of the day has one
    return "Etc/GMT" if east_h == 0 else f"Etc/GMT{-east_h:+d}"  # POSIX counts westward


@dataclass(slots=True, eq=False)
class Person:
    """One of the crowd; `n` is their number on the stage."""

    n: int
    name: str
    archetype: Archetype
    zone: str
    device: Device
    walker: Walker
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def dark(self) -> bool:
        """They did not agree to be located, so their phone sends nothing."""
        return "locate" not in self.archetype.consents


class TokenFile:
    """Refresh tokens by device, of this run and of earlier ones that are not erased yet."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.earlier: dict[UUID, str] = read_private(file, dict[UUID, str]) or {}
        self._kept = dict(self.earlier)

    def keep(self, people: Iterable[Person]) -> None:
        tokens = self.earlier | {person.device.device_id: person.device.refresh_token for person in people}
        if tokens != self._kept:
            write_private(self._file, tokens)
            self._kept = tokens


class Crowd:
    """People on the stage. `gather` enrols them, `walk` lets them live until it is cancelled."""

    def __init__(
        self,
        client: Client,
        town: StreetMap,
        kinds: Sequence[Archetype],
        *,
        stage: Stage,
        tokens: TokenFile,
        witness: Witness,
        seed: int,
    ) -> None:
        self._client = client
        self._town = town
        self._kinds = kinds
        self._stage = stage
        self._tokens = tokens
        self._witness = witness
        self._chance = Random(seed)  # noqa: S311 - where invented people go; nothing secret comes of it
        self._names = pseudonyms(self._chance)
        self._people: dict[int, Person] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def gather(self, count: int) -> None:
        """Enrol the first crowd in one call; they start all over the town, as if they had walked for a while."""
        kinds = self._chance.choices(self._kinds, [kind.share for kind in self._kinds], k=count)
        for person in await self._enrol(kinds, self._town.crossings):
            person.walker.skip_ahead(self._chance.random())
        self._tokens.keep(self._people.values())

    async def walk(self) -> None:
        """Everybody walks and pings; ends only by cancellation, and then leaves no stream open."""
        for place, person in enumerate(list(self._people.values())):
            self._start(person, place / len(self._people) * _SPREAD_S)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._move())
                group.create_task(self._keep_tokens())
                group.create_task(self._erase_earlier())
        finally:
            for life in self._lives:
                life.cancel()
            await asyncio.gather(*self._lives, return_exceptions=True)
            self._tokens.keep(self._people.values())

    def about(self, n: int) -> Mapping[str, Any] | None:
        """Tell what the page shows of one person; None when they have left."""
        person = self._people.get(n)
        if person is None:
            return None
        return {
            "n": n,
            "name": person.name,
            "kind": person.archetype.name,
            "locale": person.archetype.locale,
            "time_zone": person.zone,
            "consents": person.archetype.consents,
            "rhythm": msgspec.to_builtins(person.archetype.rhythm or wire.Rhythm()),
            "default_rhythm": person.archetype.rhythm is None,
        }

    # ------------------------------------------------------------------------------------------ coming and going
    async def _enrol(self, kinds: Sequence[Archetype], starts: Sequence[str]) -> list[Person]:
        zone = zone_where_it_is(_MORNING_H, now_us())
        devices = await self._client.enrol_many(
            [
                Enrolment(
                    platform=self._chance.choice(("android", "ios")),
                    locale=kind.locale,
                    time_zone=zone,
                    consents=dict.fromkeys(kind.consents, _TEXT_VERSION),
                )
                for kind in kinds
            ]
        )
        return [self._arrive(kind, zone, device, starts) for kind, device in zip(kinds, devices, strict=True)]

    def _arrive(self, kind: Archetype, zone: str, device: Device, starts: Sequence[str]) -> Person:
        speed_mps = self._chance.uniform(*kind.speed_mps)
        walker = Walker(self._town, kind.habits, speed_mps, self._chance, start=self._chance.choice(starts))
        name = next(self._names)
        dark = "locate" not in kind.consents
        n = self._stage.join(name, kind.name, device.device_id, locale=kind.locale, dark=dark)
        person = Person(n, name, kind, zone, device, walker)
        self._people[n] = person
        return person

    def _start(self, person: Person, delay_s: float) -> None:
        life = asyncio.create_task(self._live(person, delay_s), name=f"demo person {person.n}")
        self._lives.add(life)
        life.add_done_callback(self._lives.discard)

    async def _live(self, person: Person, delay_s: float) -> None:
        """One person's time in town; afterwards they are erased and somebody else comes."""
        with suppress(ClientError):  # a phone that loses the service for good is one that has left
            await asyncio.sleep(delay_s)
            await self._visit(person)
        device = person.device
        self._tokens.earlier[device.device_id] = device.refresh_token  # if this run cannot erase it, the next one does
        del self._people[person.n]
        self._stage.leave(person.n, device.device_id)
        self._witness.forget(person.n)
        with suppress(ClientError):
            await device.erase()
            del self._tokens.earlier[device.device_id]
        await self._succeed()

    async def _succeed(self) -> None:
        """Somebody new comes down one of the roads into town, as soon as the service takes them."""
        while True:
            with suppress(ClientError):
                kind = self._chance.choices(self._kinds, [kind.share for kind in self._kinds])
                for person in await self._enrol(kind, self._town.ways_out):
                    self._start(person, 0.0)
                return
            await asyncio.sleep(5)

    # ------------------------------------------------------------------------------------------ a phone
    async def _visit(self, person: Person) -> None:
        if person.archetype.rhythm is not None:
            await person.device.set_rhythm(person.archetype.rhythm)
        if person.dark:
            await person.left.wait()
            return
        async with person.device.stream(seen=MemorySeenStore(), auto_shown=False) as stream:
            showing = asyncio.create_task(self._show_offers(person, stream))
            try:
                await self._ping(person, stream)
            finally:
                showing.cancel()
                await asyncio.gather(showing, return_exceptions=True)

    async def _ping(self, person: Person, stream: Stream) -> None:
        """Tell every two seconds where the phone is, until the person has left."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while not person.walker.gone:
            lat, lon = (round(degrees, 7) for degrees in person.walker.seen)
            speed_mps = round(person.walker.speed_mps, 1) if person.walker.moving else 0.0
            fix = Fix(now_us(), lat, lon, person.walker.accuracy_m, speed_mps)
            ping = Ping(
                at=instants.text(fix.at_us), lat=lat, lon=lon, accuracy_m=fix.accuracy_m, speed_mps=fix.speed_mps
            )
            await stream.send([ping])
            self._witness.saw(person.n, fix)
            due_s = max(due_s + PING_EVERY_S, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def _show_offers(self, person: Person, stream: Stream) -> None:
        async with asyncio.TaskGroup() as answers:
            async for offer in stream.offers():
                if self._chance.random() < _UNSEEN:
                    continue
                stream.shown(offer.id)
                shown = {"offer": offer.id, "title": offer.title, "body": offer.body, "fence": offer.fence}
                self._stage.land(person.n, shown)
                answers.create_task(self._answer(person, offer.id), name=f"demo answer {person.n}")

    async def _answer(self, person: Person, offer: UUID) -> None:
        """What people do with an offer that they have seen: some open it, some wipe it away, many do nothing."""
        (answer,) = self._chance.choices(tuple(_ANSWERS), tuple(_ANSWERS.values()))
        await asyncio.sleep(self._chance.uniform(*_ANSWER_S))
        if answer is not None:
            with suppress(ClientError):
                await person.device.event(offer, answer)

    # ------------------------------------------------------------------------------------------ what goes on
    async def _move(self) -> None:
        """Everybody's next step, twice a second, as far as the time that has really passed."""
        loop = asyncio.get_running_loop()
        then_s = loop.time()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = loop.time()
            for person in self._people.values():
                person.walker.step(min(5.0, now_s - then_s))
                if person.walker.gone:
                    person.left.set()
            then_s = now_s
            self._stage.move({person.n: person.walker.seen for person in self._people.values()})

    async def _keep_tokens(self) -> None:
        while True:
            await asyncio.sleep(_KEEP_EVERY_S)
            self._tokens.keep(self._people.values())

    async def _erase_earlier(self) -> None:
        """Erase the people of earlier runs; whom the service does not know any more is erased already."""
        waiting = list(self._tokens.earlier.items())

        async def erase_some() -> None:
            while waiting:
                device_id, refresh_token = waiting.pop()
                with suppress(ApiError):
                    await self._client.device(device_id, refresh_token).erase()
                self._tokens.earlier.pop(device_id, None)

        await asyncio.gather(*(erase_some() for _ in range(_AT_ONCE)))
        self._tokens.keep(self._people.values())
