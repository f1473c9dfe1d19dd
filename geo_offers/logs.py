"""Structured logs: one JSON object a line on stderr, ours and the libraries' alike.

Coordinates never go in: nothing of ours passes them here, and the names under which they could come are dropped. What
an exception or a library says may name a place; so of an exception its type and its last frames are told, of a
library's record where it was made, and of neither the words. Errors of ours carry a sentence that is made for readers.
"""

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import structlog

from geo_offers.errors import GeoOffersError

FRAMES: Final = 10
_NEVER: Final = frozenset(
    {"lat", "lon", "latitude", "longitude", "coordinates", "position", "geometry", "point", "points"}
)
_python: Final = logging.getLogger("python")


def configure(level: str) -> None:
    """For the whole process; libraries' warnings, and what nobody caught, come in the same form."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_places,
            _without_words,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Record())
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])
    sys.excepthook = _uncaught
    threading.excepthook = lambda ended: _uncaught(ended.exc_type, ended.exc_value, ended.exc_traceback)
    sys.unraisablehook = lambda failed: _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
    warnings.showwarning = _warned  # type: ignore[assignment] # only the order of what it is given counts


def failure(error: BaseException | None) -> dict[str, Any]:
    """What may be told of an exception: its type, its last frames as file:line:function, and a sentence of ours."""
    if error is None:
        return {}
    trace = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-FRAMES, lookup_lines=False)
    kind = type(error)
    told: dict[str, Any] = {
        "exception": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
        "frames": [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in trace],
    }
    return told | ({"reason": error.detail} if isinstance(error, GeoOffersError) else {})


# ------------------------------------------------------------------------------------------------ ours
def _without_places(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _NEVER & event.keys():
        del event[name]
    return event


def _without_words(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    if given:
        event.update(failure(given if isinstance(given, BaseException) else sys.exc_info()[1]))
    return event


# ------------------------------------------------------------------------------------------------ the libraries'
class _Record(logging.Formatter):
    """A library's record without its words."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "logger": record.name,
            "at": f"{record.pathname}:{record.lineno}:{record.funcName}",
        }
        return json.dumps(told | failure(record.exc_info[1] if record.exc_info else None))


def _uncaught(_kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None) -> None:
    _python.critical("uncaught", exc_info=error)


def _warned(*given: Any) -> None:
    _, category, filename, lineno = given[:4]
    if _python.isEnabledFor(logging.WARNING):
        made = logging.LogRecord(_python.name, logging.WARNING, filename, lineno, "", (), None, category.__name__)
        _python.handle(made)
