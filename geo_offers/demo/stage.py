"""What the page shows: who is in town, where they are, who is inside which fence, and what was decided.

Positions come from the simulator's own memory. What the service tells (`GET /v1/live`) names devices; the stage puts
the person's number in their place, and leaves out what belongs to nobody in this town.
"""

import itertools
from collections import deque
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import Struct

from geo_offers.demo.feed import Feed, encode
from geo_offers.demo.lives import Life, Lives

_RECENT = 40  # decisions that a page opened later still shows
_E6 = 1_000_000


class Figure(Struct, frozen=True):
    """One person as the page knows them; `dark` people share no position with the service."""

    n: int
    name: str
    kind: str
    locale: str
    dark: bool


class Stage:
    """Holds the state of the show and publishes each change of it."""

    def __init__(self, feed: Feed, title: str, view: tuple[float, float, float, float]) -> None:
        self._feed = feed
        self._title = title
        self._view = view  # west, south, east, north
        self._numbers = itertools.count(1)
        self._figures: dict[int, Figure] = {}
        self._by_device: dict[UUID, int] = {}
        self._inside: dict[str, set[int]] = {}
        self._recent: deque[Mapping[str, Any]] = deque(maxlen=_RECENT)
        self._last_decision: dict[int, Mapping[str, Any]] = {}
        self._lives = Lives()
        self._stats: Mapping[str, Any] | None = None

    def join(self, name: str, kind: str, device: UUID, *, locale: str, dark: bool) -> int:
        """Somebody comes to town; answers their number, which is never used again."""
        figure = Figure(next(self._numbers), name, kind, locale, dark)
        self._figures[figure.n] = figure
        self._by_device[device] = figure.n
        self._feed.publish("joined", figure)
        return figure.n

    def leave(self, n: int, device: UUID) -> None:
        self._figures.pop(n, None)
        self._by_device.pop(device, None)
        self._last_decision.pop(n, None)
        for people in self._inside.values():
            people.discard(n)
        self._feed.publish("left", {"n": n})

    def move(self, places: Mapping[int, tuple[float, float]]) -> None:
        """Where everybody is now; sent as whole millionths of a degree from the south-west corner of the view."""
        if not self._feed.watched:
            return
        west, south = self._view[0], self._view[1]
        flat: list[int] = []
        for n, (lat, lon) in places.items():
            flat += (n, round((lat - south) * _E6), round((lon - west) * _E6))
        self._feed.replace("at", flat)

    def land(self, n: int, offer: Mapping[str, Any]) -> None:
        """Show an offer on a phone."""
        self._feed.publish("landed", {"n": n, **offer})

    def service_says(self, event: str, data: Mapping[str, Any]) -> None:
        """One event of the service's live feed."""
        if event == "stats":
            self._stats = data
            self._feed.replace("stats", data)
            return
        if event == "delivery":
            self._lived(self._lives.told(data))
            return
        n = self._by_device.get(_device(data))
        if n is None:
            return
        if event == "transition":
            self._transition(n, data)
        elif event == "decision":
            self._decision(n, data)

    def last_decision(self, n: int) -> Mapping[str, Any] | None:
        """As the service told it; None while nothing was decided for that person."""
        return self._last_decision.get(n)

    def hello(self) -> bytes:
        """All that a page needs to start from; changes follow."""
        return encode(
            "hello",
            {
                "title": self._title,
                "view": self._view,
                "people": list(self._figures.values()),
                "inside": {fence: sorted(people) for fence, people in self._inside.items() if people},
                "recent": list(self._recent),
                "lives": self._lives.all(),
                "stats": self._stats,
            },
        )

    def _transition(self, n: int, data: Mapping[str, Any]) -> None:
        fence = str(data["fence"])
        if data["type"] == "enter":
            self._inside.setdefault(fence, set()).add(n)
        elif data["type"] == "exit":
            self._inside.get(fence, set()).discard(n)
        self._feed.publish("moved", {"n": n, "fence": fence, "type": data["type"]})

    def _decision(self, n: int, data: Mapping[str, Any]) -> None:
        told = {key: value for key, value in data.items() if key not in {"user", "device"}}
        told["n"] = n
        told["name"] = self._figures[n].name
        self._recent.append(told)
        self._last_decision[n] = told
        self._feed.publish("decided", told)
        if "offer" in told:
            self._lived(self._lives.decided(told["offer"]))

    def _lived(self, life: Life | None) -> None:
        if life is not None:
            self._feed.publish("life", life)


def _device(data: Mapping[str, Any]) -> UUID:
    try:
        return UUID(str(data.get("device")))
    except ValueError:
        return UUID(int=0)
