"""What the delivery bench needs of a lane: a double of its gateway, the lane itself, and phones that it reaches."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from geo_offers.pipeline.lanes import Lane


@dataclass(frozen=True, slots=True)
class Phone:
    """How the lane reaches one device, as its row has it."""

    platform: str
    token: str
    keys: str | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """A double that runs. about: what the lane has to know of it, to be pickled; taken: how many messages it took."""

    about: Any
    taken: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Peer:
    """One lane's part; `lane` and `phone` get what the gateway tells about itself, in another process than its own."""

    serve: Callable[[], AbstractAsyncContextManager[Gateway]]
    lane: Callable[[Any], AbstractAsyncContextManager[Lane]]
    phone: Callable[[Any, int], Phone]
