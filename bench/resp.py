"""Redis' protocol, as much of it as the benches need: Tile38 speaks it as well."""

import socket
from collections.abc import Iterator, Sequence
from typing import Any, Self


def command(*words: object) -> bytes:
    """One command as bytes, ready to be sent."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class Resp:
    """One connection; as a context it closes itself."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb", buffering=1 << 18)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def ask(self, *words: object) -> Any:
        self.socket.sendall(command(*words))
        return self.read()

    def pipeline(self, commands: Sequence[bytes], deep: int) -> Iterator[Any]:
        """The answers, in order; at most `deep` commands wait for theirs."""
        sent = min(deep, len(commands))
        self.socket.sendall(b"".join(commands[:sent]))
        for done in range(1, len(commands) + 1):
            yield self.read()
            if sent < len(commands) and sent - done <= deep // 2:
                upto = min(done + deep, len(commands))
                self.socket.sendall(b"".join(commands[sent:upto]))
                sent = upto

    def read(self) -> Any:
        """The next answer: bytes, int, None, or a list of them. Raises RuntimeError for an error of the server's."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server hung up")
        kind, said = line[:1], line[1:-2]
        if kind == b"+":
            return said
        if kind == b"-":
            raise RuntimeError(said.decode(errors="replace"))
        if kind == b":":
            return int(said)
        size = int(said)
        if size < 0:
            return None
        if kind == b"*":
            return [self.read() for _ in range(size)]
        found = self._file.read(size + 2)
        return found[:-2]
