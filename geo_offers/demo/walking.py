"""People walking over the street graph. No clock and no chance of its own: time steps and a generator are passed in.

A person makes some legs (a walk of the town, or a visit to a shop) and then leaves over one of the roads out of town.
All movement is in metres on a plane that touches the town; over two kilometres that is right to a few centimetres.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from geo_offers.demo.town import Habits, Shop, Streets, Walk

_METRES_PER_DEGREE = 111_195.0  # of latitude, on a sphere of the Earth's mean radius
_NOISE_M = 1.2  # spread of the error that a phone reports under open sky
_NOISE_MEMORY_S = 40.0  # the error wanders, it does not jump
_TURN_S = 3.0  # how long it takes to change from one kerb to the other
_LIKED = 3.0  # a kind of shop that a person likes is so many times as likely


@dataclass(frozen=True, slots=True)
class Point:
    """Metres east (`x`) and north (`y`) of the plane's origin."""

    x: float
    y: float

    def distance_m(self, other: "Point") -> float:
        return math.hypot(other.x - self.x, other.y - self.y)


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane that touches the Earth at `lat`, `lon`."""

    lat: float
    lon: float

    def point(self, lat: float, lon: float) -> Point:
        shrink = math.cos(math.radians(self.lat))
        return Point((lon - self.lon) * _METRES_PER_DEGREE * shrink, (lat - self.lat) * _METRES_PER_DEGREE)

    def degrees(self, point: Point) -> tuple[float, float]:
        """(lat, lon) of a point."""
        shrink = math.cos(math.radians(self.lat))
        return (
            self.lat + point.y / _METRES_PER_DEGREE,
            self.lon + point.x / (_METRES_PER_DEGREE * shrink),
        )


@dataclass(frozen=True, slots=True)
class Goal:
    """Somewhere to go, and how long to stay there."""

    point: Point
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Leg:
    """Goals one after the other, and the node at which the next leg starts."""

    goals: tuple[Goal, ...]
    end: str


class StreetMap:
    """The street graph with its distances; `ways_out` are the ends of the roads that leave the town."""

    def __init__(self, streets: Streets, shops: Sequence[Shop], walks: Sequence[Walk]) -> None:
        self.plane = Plane(
            sum(node.lat for node in streets.nodes) / len(streets.nodes),
            sum(node.lon for node in streets.nodes) / len(streets.nodes),
        )
        self.points: Mapping[str, Point] = {node.id: self.plane.point(node.lat, node.lon) for node in streets.nodes}
        self.shops = tuple(shops)
        self.middles = {shop.id: self.plane.point(shop.lat, shop.lon) for shop in shops}
        self.walks = {walk.key: walk for walk in walks}
        self._doors = {node.id for node in streets.nodes if node.door is not None}
        self._neighbours: dict[str, list[tuple[str, float]]] = {node.id: [] for node in streets.nodes}
        for one, other, _street in streets.edges:
            length_m = self.points[one].distance_m(self.points[other])
            self._neighbours[one].append((other, length_m))
            self._neighbours[other].append((one, length_m))
        self.crossings = tuple(node for node in self.points if node not in self._doors)
        self.ways_out = tuple(node for node in self.crossings if len(self._neighbours[node]) == 1) or self.crossings

    def path(self, start: str, end: str) -> tuple[str, ...]:
        """Shortest way, both ends included (Dijkstra 1959); the graph is connected, so there is one."""
        best: dict[str, float] = {start: 0.0}
        before: dict[str, str] = {}
        due = [(0.0, start)]
        while due:
            done_m, node = heapq.heappop(due)
            if node == end:
                break
            for neighbour, length_m in self._neighbours[node]:
                total_m = done_m + length_m
                if total_m < best.get(neighbour, math.inf):
                    best[neighbour] = total_m
                    before[neighbour] = node
                    heapq.heappush(due, (total_m, neighbour))
        way = [end]
        while way[-1] != start:
            way.append(before[way[-1]])
        return tuple(reversed(way))

    def goals(self, start: str, end: str, pause_s: float = 0.0) -> tuple[Goal, ...]:
        """Nodes after `start` up to `end`, with a pause at the last one."""
        way = self.path(start, end)[1:] or (end,)
        return (*(Goal(self.points[node]) for node in way[:-1]), Goal(self.points[way[-1]], pause_s))


def shop_visit(town: StreetMap, start: str, shop: Shop, stay_s: float) -> Leg:
    """To the door, to the middle of the shop, stay, and back to the door."""
    door = Goal(town.points[shop.door])
    inside = Goal(town.middles[shop.id], stay_s)
    return Leg((*town.goals(start, shop.door), inside, door), shop.door)


def named_walk(town: StreetMap, start: str, walk: Walk) -> Leg:
    """To the first stop of the walk and along it."""
    goals: list[Goal] = []
    here = start
    for stop in walk.stops:
        goals.extend(town.goals(here, stop.node, stop.pause_s))
        here = stop.node
    return Leg(tuple(goals), here)


def next_leg(town: StreetMap, habits: Habits, start: str, chance: Random) -> Leg:
    """Draw what a person with these habits does next."""
    if not habits.walks or chance.random() < habits.roam:
        weights = [_LIKED if shop.kind in habits.likes else 1.0 for shop in town.shops]
        shop = chance.choices(town.shops, weights)[0]
        return shop_visit(town, start, shop, chance.uniform(*habits.stay_s))
    key = chance.choices(list(habits.walks), list(habits.walks.values()))[0]
    return named_walk(town, start, town.walks[key])


class Walker:
    """One person on the way. `step` moves them; `seen` is where their phone believes to be."""

    def __init__(self, town: StreetMap, habits: Habits, speed_mps: float, chance: Random, *, start: str) -> None:
        self._town = town
        self._habits = habits
        self._chance = chance
        self._legs_left = chance.randint(*habits.legs)
        self._node = start
        self._goals: deque[Goal] = deque()
        self._pause_s = 0.0
        self._leaving = False
        self._side_m = chance.choice((-1.0, 1.0)) * chance.uniform(0.8, 2.4)
        self._kerb = Point(0.0, 0.0)
        self._error = Point(chance.gauss(0.0, _NOISE_M), chance.gauss(0.0, _NOISE_M))
        self.speed_mps = speed_mps
        self.accuracy_m = round(chance.uniform(4.0, 11.0), 1)
        self.place = town.points[start]
        self.gone = False

    @property
    def moving(self) -> bool:
        return self._pause_s <= 0 and not self.gone

    @property
    def seen(self) -> tuple[float, float]:
        """(lat, lon) as the phone reports it: the true place, the kerb, and the phone's wandering error."""
        return self._town.plane.degrees(
            Point(self.place.x + self._kerb.x + self._error.x, self.place.y + self._kerb.y + self._error.y)
        )

    def step(self, time_s: float) -> None:
        """Goes on for so long; after the last leg and the way out of town `gone` is true."""
        self._wander(time_s)
        left_s = time_s
        while left_s > 0 and not self.gone:
            if self._pause_s > 0:
                used_s = min(left_s, self._pause_s)
                self._pause_s -= used_s
            elif self._goals:
                used_s = self._approach(self._goals[0], left_s)
            else:
                self._plan()
                continue
            left_s -= used_s
        self._keep_to_the_side(time_s)

    def skip_ahead(self, share: float) -> None:
        """Start somewhere on the first leg, as somebody who has been walking for a while."""
        if not self._goals:
            self._plan()
        ends = list(itertools.pairwise((self.place, *(goal.point for goal in self._goals))))
        ahead_m = share * sum(one.distance_m(other) for one, other in ends)
        for one, other in ends:
            length_m = one.distance_m(other)
            if ahead_m < length_m:
                part = ahead_m / length_m
                self.place = Point(one.x + (other.x - one.x) * part, one.y + (other.y - one.y) * part)
                return
            ahead_m -= length_m
            self.place = other
            self._goals.popleft()

    def _plan(self) -> None:
        if self._leaving:
            self.gone = True
        elif self._legs_left <= 0:
            self._leaving = True
            way_out = self._chance.choice(self._town.ways_out)
            self._goals.extend(self._town.goals(self._node, way_out))
            self._node = way_out
        else:
            self._legs_left -= 1
            leg = next_leg(self._town, self._habits, self._node, self._chance)
            self._goals.extend(leg.goals)
            self._node = leg.end

    def _approach(self, goal: Goal, left_s: float) -> float:
        """Walk towards the goal; answers the time that it took."""
        far_m = self.place.distance_m(goal.point)
        reach_m = self.speed_mps * left_s
        if far_m > reach_m:
            part = reach_m / far_m
            self.place = Point(
                self.place.x + (goal.point.x - self.place.x) * part, self.place.y + (goal.point.y - self.place.y) * part
            )
            return left_s
        self.place = goal.point
        self._pause_s = goal.pause_s
        self._goals.popleft()
        return far_m / self.speed_mps

    def _wander(self, time_s: float) -> None:
        """Let the phone's error wander about nought with a fixed spread (an Ornstein-Uhlenbeck process)."""
        keep = math.exp(-time_s / _NOISE_MEMORY_S)
        spread_m = _NOISE_M * math.sqrt(1 - keep * keep)
        self._error = Point(
            self._error.x * keep + self._chance.gauss(0.0, spread_m),
            self._error.y * keep + self._chance.gauss(0.0, spread_m),
        )

    def _keep_to_the_side(self, time_s: float) -> None:
        """Nobody walks in the middle of the road; inside a shop there is no kerb."""
        wish = Point(0.0, 0.0)
        if self._goals and self._pause_s <= 0:
            ahead = self._goals[0].point
            far_m = self.place.distance_m(ahead)
            if far_m > 0:
                wish = Point(
                    (ahead.y - self.place.y) / far_m * self._side_m, -(ahead.x - self.place.x) / far_m * self._side_m
                )
        part = min(1.0, time_s / _TURN_S)
        self._kerb = Point(self._kerb.x + (wish.x - self._kerb.x) * part, self._kerb.y + (wish.y - self._kerb.y) * part)
