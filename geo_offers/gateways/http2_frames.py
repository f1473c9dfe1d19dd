"""What a server sends over HTTP/2, cut into frames, with its GOAWAYs taken out: h2 refuses all that follows one."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from h2.exceptions import ProtocolError

_HEAD: Final = 9  # bytes before a frame's payload
_MOST: Final = 16_384
_MOST_SAID: Final = 1_024
_GOAWAY: Final = 7
_STREAM_BITS: Final = 0x7FFF_FFFF


class Goaway(NamedTuple):
    """The server will look at no stream above `last`; `said` is how its words for the reason begin."""

    last: int
    code: int
    said: bytes


class Frames:
    """Keeps what is not whole yet."""

    def __init__(self) -> None:
        self._left = bytearray()

    def of(self, data: bytes) -> Iterator[bytes | Goaway]:
        """Give the frames that are whole by now, as they came. Raises ProtocolError for one that h2 would not take."""
        self._left += data
        while len(self._left) >= _HEAD:
            length = int.from_bytes(self._left[:3], "big")
            if length > _MOST:
                raise ProtocolError("a frame that is too long")
            if len(self._left) < _HEAD + length:
                return
            frame = bytes(self._left[: _HEAD + length])
            del self._left[: _HEAD + length]
            yield _goaway(frame) if frame[3] == _GOAWAY else frame


def _goaway(frame: bytes) -> Goaway:
    if len(frame) < _HEAD + 8:
        raise ProtocolError("a GOAWAY that is too short")
    last, code = (int.from_bytes(frame[at : at + 4], "big") for at in (_HEAD, _HEAD + 4))
    return Goaway(last & _STREAM_BITS, code, frame[_HEAD + 8 : _HEAD + 8 + _MOST_SAID])
