"""Which of two rhythms allows more: an offer that a stricter one allows, the other allows too, whatever came before it.

Judged part by part, on the safe side: of windows that lie in no fixed way to each other (a week and a month) the one
is as loose as the other.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from geo_offers.people.quiet import QuietRule
from geo_offers.people.rhythm import Channel, Per, Rhythm, Rolling
from geo_offers.people.wall import DAY_MINUTES
from geo_offers.people.whereabouts import Locate

_WEEK_MINUTES: Final = 7 * DAY_MINUTES
_WITHIN: Final = {("day", "week"), ("day", "month")}  # a week may begin in one month and end in the next
_STRICTEST_FIRST: Final[Sequence[Locate]] = ("off", "coarse", "foreground", "always")
_QUIETEST_FIRST: Final[Sequence[Channel | None]] = (None, "inapp", "push")
_ABLE: Final[Sequence[frozenset[Channel]]] = (frozenset({"inapp"}), frozenset({"inapp", "push"}))


def looser(before: Rhythm, after: Rhythm) -> Iterator[str]:
    """Find where a rhythm allows what the one before forbade, as pointers into its public form."""
    yield from _more("", (before.max, before.per), (after.max, after.per))
    if after.min_gap_h < before.min_gap_h:
        yield "/min_gap_h"
    if _quiet(before.quiet) & ~_quiet(after.quiet):
        yield "/quiet"
    if after.special.allow:
        if not before.special.allow:
            yield "/special/allow"
        was, now = before.special, after.special
        yield from _more("/special", (was.max, was.per), (now.max, now.per))
    if any(_loudness(after.channels, able) > _loudness(before.channels, able) for able in _ABLE):
        yield "/channels"
    for kind in ("stores", "categories", "campaigns"):
        if getattr(before.mute, kind) - getattr(after.mute, kind):
            yield f"/mute/{kind}"


def locates_more(before: Locate, after: Locate) -> bool:
    """Whether a person may be located where they might not be before."""
    return _STRICTEST_FIRST.index(after) > _STRICTEST_FIRST.index(before)


def _more(pointer: str, before: tuple[int, Per], after: tuple[int, Per]) -> Iterator[str]:
    """Find what is looser in so many offers per window. None at all are the strictest, in whatever window."""
    (was, was_per), (now, now_per) = before, after
    if now > was:
        yield f"{pointer}/max"
    if now and not _within(was_per, now_per):
        yield f"{pointer}/per"


def _within(window: Per, other: Per) -> bool:
    """Whether what counts together in one window does so in the other."""
    if isinstance(window, Rolling) and isinstance(other, Rolling):
        return window.hours <= other.hours
    return window == other or (window, other) in _WITHIN


def _quiet(rules: Sequence[QuietRule]) -> int:
    """The minutes of a week, from Monday on, that are quiet: a bit for each. Persons name no public holidays."""
    quiet = 0
    for rule in rules:
        length = (rule.end_minute - rule.start_minute - 1) % DAY_MINUTES + 1
        for day in rule.days:
            minutes = ((1 << length) - 1) << (day * DAY_MINUTES + rule.start_minute)
            quiet |= minutes | minutes >> _WEEK_MINUTES
    return quiet & ((1 << _WEEK_MINUTES) - 1)


def _loudness(channels: Sequence[Channel], able: frozenset[Channel]) -> int:
    """How loud an offer is on a device: the first of the channels that it can take alerts."""
    return _QUIETEST_FIRST.index(next((channel for channel in channels if channel in able), None))
