"""Pings on the wire: encoded without empty fields, split at the server's bounds, and their answers put together again.

A batch that has to be split is split along `at`, not along its order: the server takes the points of one request by
time, but those of a later request against the newest before it; cutting an unordered list would make its older half
`late`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from geo_offers import instants, wire
from geo_offers.client.http import Bearer, Call, Caller, given

MAX_POINTS = 1_000
MAX_BODY_BYTES = 1_000_000
MAX_FRAME_BYTES = 64_000

_AROUND = len(b'{"pings":[]}')


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pings of a call: their places in it, and a JSON array of them."""

    places: tuple[int, ...]
    array: bytes


def encoded(ping: wire.Ping) -> bytes:
    return msgspec.json.encode(given(ping))


def split(pings: Sequence[wire.Ping], max_bytes: int, max_points: int = MAX_POINTS) -> list[Batch]:
    """Split into as few batches as the bounds allow, none empty; a single one keeps the given order.

    A single ping over `max_bytes` is a batch of its own; the server says what is wrong with it.
    """
    parts = [encoded(ping) for ping in pings]
    if len(parts) <= max_points and sum(map(len, parts)) + len(parts) + _AROUND <= max_bytes:
        return [_batch(parts, list(range(len(parts))))] if parts else []
    batches: list[Batch] = []
    places: list[int] = []
    size = _AROUND
    for place in sorted(range(len(parts)), key=lambda place: _time_us(pings[place])):
        if places and (len(places) == max_points or size + len(parts[place]) + 1 > max_bytes):
            batches.append(_batch(parts, places))
            places, size = [], _AROUND
        places.append(place)
        size += len(parts[place]) + 1
    batches.append(_batch(parts, places))
    return batches


def _batch(parts: Sequence[bytes], places: list[int]) -> Batch:
    return Batch(tuple(places), b"[" + b",".join(parts[place] for place in places) + b"]")


def _time_us(ping: wire.Ping) -> int:
    at_us = instants.parse(ping.at)
    return 0 if at_us is None else at_us  # refused wherever it stands


def merged(batches: Sequence[Batch], answers: Sequence[wire.PingsAnswer]) -> wire.PingsAnswer:
    """One answer of several: results in the call's order, transitions and offers as they came, the newest `next`."""
    if len(answers) == 1:
        return answers[0]
    results: dict[int, wire.PointResult] = {}
    offers: dict[object, wire.Offer] = {}
    transitions: list[wire.TransitionSeen] = []
    for batch, answer in zip(batches, answers, strict=True):
        results.update(zip(batch.places, answer.results, strict=False))
        transitions.extend(answer.transitions)
        offers.update((offer.id, offer) for offer in answer.offers)
    return wire.PingsAnswer(
        results=[results[place] for place in sorted(results)],
        transitions=transitions,
        offers=list(offers.values()),
        next=answers[-1].next if answers else None,
    )


def wished(wish: wire.NextWish) -> dict[str, str]:
    """The query that asks for it."""
    return {} if wish == "regions" else {"next": wish}


async def send(
    caller: Caller, bearer: Bearer, pings: Sequence[wire.Ping], wish: wire.NextWish = "regions"
) -> wire.PingsAnswer:
    """All pings by HTTP, in one request or, past the bounds, in several one after the other."""
    batches = split(pings, MAX_BODY_BYTES)
    query = wished(wish)
    answers = [
        await caller.ask(Call("POST", "/v1/pings", b'{"pings":' + batch.array + b"}", query), bearer, wire.PingsAnswer)
        for batch in batches
    ]
    return merged(batches, answers)
