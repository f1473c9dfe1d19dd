"""What a call is: a row of the table from which routes, decoding, rights and the OpenAPI document are made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct

from geo_offers.pipeline.callers import Caller, Kind, Role

SMALL_BODY: Final = 64 * 1024
PINGS_BODY: Final = 1024 * 1024
IMPORT_BODY: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """One request, decoded: path parts, query and body are of the types that the call names.

    `key_id` is made from the Idempotency-Key where one was given: what is created under it has this id, so that a
    repeat after a crash finds it again.
    """

    caller: Caller
    path: Mapping[str, str]
    query: Any
    body: Any
    raw: bytes = b""
    key_id: UUID | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: a wire value, or nothing."""

    value: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handle = Callable[[Any, Given], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Call:
    """`handle(services, given)` answers it. `role` is the least role of a manager key."""

    method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
    path: str
    summary: str
    handle: Handle
    who: tuple[Kind, ...]
    answer: Any = None
    status: int = 200
    other_statuses: tuple[int, ...] = ()
    body: Any = None
    plain: Callable[[bytes], Any] | None = None  # reads what is written plainly, faster; None: `body` is to be read
    query: type[Struct] | None = None
    role: Role = "viewer"
    max_body: int = SMALL_BODY
    hot: bool = False  # a ping path: no Idempotency-Key, and it looks for doubled keys itself, at a price it can pay
    keeps_answer: bool = True  # false where the answer holds secrets
    changes: bool = True  # false of a POST that only asks: no Idempotency-Key, since nothing of it is to be kept
    elsewhere: bool = False  # the call has its body read from `Given.raw`, as it may cost much; `body` is for documents
    tag: str = ""

    @property
    def keyed(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method != "GET" and bool(self.who) and self.changes and not self.hot


class NoQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """A call without query parameters."""
