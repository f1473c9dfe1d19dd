"""What a line says of each ping that it sent."""

from enum import IntEnum


class Outcome(IntEnum):
    WAITING = 0
    OK = 1
    SHED = 2
    """The server said that it has too much to do."""
    FAILED = 3
