"""Structured logs: one JSON object a line on stderr.

Coordinates never go in: nothing of ours passes them here, and the names under which they could come are dropped.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_NEVER: Final = frozenset(
    {"lat", "lon", "latitude", "longitude", "coordinates", "position", "geometry", "point", "points"}
)


def configure(level: str) -> None:
    """For the whole process; libraries' warnings come in the same form."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_places,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=sys.stderr, format='{"level":"%(levelname)s","logger":"%(name)s"}'
    )


def _without_places(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _NEVER & event.keys():
        del event[name]
    return event
