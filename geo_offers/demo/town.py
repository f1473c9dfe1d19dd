"""Reads `store_data/` into typed values; the formats are described in `store_data/README.md`."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from geo_offers import wire
from geo_offers.errors import Misconfigured

T = TypeVar("T")


class Node(Struct, frozen=True):
    id: str
    lat: float
    lon: float
    door: str | None = None


class Streets(Struct, frozen=True):
    """An undirected, connected graph; an edge is (node, node, street name)."""

    nodes: list[Node]
    edges: list[tuple[str, str, str]]


class Shop(Struct, frozen=True):
    """A store; `lat`, `lon` is its middle and `door` the node just inside it."""

    id: str
    name: str
    street: str
    hours: list[wire.OpeningHours]
    lat: float
    lon: float
    kind: str
    door: str


class Habits(Struct, frozen=True):
    """What a kind of person does; `store_data/README.md` says how the numbers are read."""

    walks: dict[str, float]
    roam: float
    likes: list[str]
    stay_s: tuple[float, float]
    legs: tuple[int, int]


class Archetype(Struct, frozen=True):
    """A kind of person; `rhythm` is None for people who never touched theirs."""

    key: str
    name: str
    share: float
    locale: str
    consents: list[wire.PurposeName]
    rhythm: wire.Rhythm | None
    speed_mps: tuple[float, float]
    habits: Habits


class Stop(Struct, frozen=True):
    node: str
    pause_s: float = 0.0


class Walk(Struct, frozen=True):
    key: str
    name: str
    shows: str
    stops: list[Stop]
    fence: str | None = None


class WorkspaceFile(Struct, frozen=True):
    """The demo's workspace: its name and the gaps that make something visible within minutes."""

    name: str
    patch: dict[str, Any]


class Town(Struct, frozen=True):
    """Everything of `store_data/`; what only passes through (map, fences, campaigns) stays as it was read."""

    map: dict[str, Any]
    streets: Streets
    shops: list[Shop]
    fences: dict[str, Any]
    campaigns: list[dict[str, Any]]
    people: list[Archetype]
    walks: list[Walk]
    workspace: WorkspaceFile


def read(folder: Path) -> Town:
    """Read the town of one folder; a file that is missing or does not fit its format is named."""

    def one(name: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode((folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError) as error:
            raise Misconfigured(f"the town file {folder / name} cannot be read: {error}") from error

    return Town(
        map=one("town.geojson", dict[str, Any]),
        streets=one("streets.json", Streets),
        shops=one("stores.json", list[Shop]),
        fences=one("fences.geojson", dict[str, Any]),
        campaigns=one("campaigns.json", list[dict[str, Any]]),
        people=one("people.json", list[Archetype]),
        walks=one("walks.json", list[Walk]),
        workspace=one("workspace.json", WorkspaceFile),
    )
