"""Server-sent events: the workspace's live feed, kept up over as many connections as it takes."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from geo_offers.client.errors import ApiError, ClientError, ConnectionFailed, UnreadableAnswer
from geo_offers.client.http import LOST, Bearer, Caller, authorization, decoded, path, problem, reason
from geo_offers.client.retry import AGAIN_STATUS, Backoff, Patience

LIVE_PATIENCE = Patience(attempts=200, longest_s=15.0, total_s=900.0)
MAX_EVENT_CHARS = 1_000_000
SILENCE_S = 90.0  # a line this quiet is taken for dead; the server writes a comment more often than that


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event of the feed: its id (to go on after it), its kind, and what it says."""

    id: str
    kind: str
    data: dict[str, Any]


class EventParser:
    """Bytes in, events out, as the HTML standard describes the format; holds no more than one event."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self._rest = b""
        self._kind = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[tuple[str, str, str]]:
        """Whole events as (id, kind, data). Raises UnreadableAnswer where one outgrows its bound."""
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        events = [event for line in lines if (event := self._line(line.decode("utf-8", "replace"))) is not None]
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_CHARS:
            raise UnreadableAnswer("an event of the live feed is larger than a million characters")
        return events

    def _line(self, line: str) -> tuple[str, str, str] | None:
        if not line:
            event = (self.last_id, self._kind or "message", "\n".join(self._data)) if self._data else None
            self._kind, self._data = "", []
            return event
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self.last_id = value
        return None


async def follow(
    caller: Caller, bearer: Bearer, types: Sequence[str], last_event_id: str, patience: Patience
) -> AsyncIterator[LiveEvent]:
    """Events without end, from after `last_event_id` ("" = from now).

    Raises ApiError when refused for good, ConnectionFailed when patience is spent.
    """
    backoff = Backoff(patience)
    last_id = last_event_id
    while True:
        failure: ClientError = ConnectionFailed("the live feed ended")
        try:
            async for event in _connection(caller, bearer, types, last_id):
                backoff.reset()
                last_id = event.id
                yield event
        except LOST as error:
            failure = ConnectionFailed(f"the live feed was lost: {reason(error)}")
        except ApiError as error:
            if error.status not in AGAIN_STATUS:
                raise
            failure = error
        if not await backoff.again(failure.retry_after_s if isinstance(failure, ApiError) else None):
            raise failure


async def _connection(caller: Caller, bearer: Bearer, types: Sequence[str], last_id: str) -> AsyncIterator[LiveEvent]:
    headers = authorization(await bearer.token()) | {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    parser = EventParser(last_id)
    async with caller.streams.get(
        caller.url(path("live"), {"types": ",".join(types)} if types else None),
        headers=headers,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S),
        allow_redirects=False,
    ) as response:
        if response.status != 200:
            raise problem(response.status, await response.read(), response.headers, "/v1/live")
        async for chunk in response.content.iter_any():
            for event_id, kind, data in parser.feed(chunk):
                yield LiveEvent(event_id, kind, decoded(data, dict[str, Any]))
