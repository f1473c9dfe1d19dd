"""Files of features, read in child processes: few, started when they are needed and used again, killed when they must.

A text that is small is read in a thread: nothing in it can cost much. For the rest a child has a bound of processor
time and memory (`child.py`), and here a deadline. One that ends without an answer was made to do too much: that is the
file's fault, and its place is the row at which the child was.
"""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from geo_offers.errors import Fault, Invalid, Malformed, Unavailable
from geo_offers.pipeline.slices import batches
from geo_offers.places.importing.rows import EASY_BODY, Manner, ReadRow, read_rows
from geo_offers.sandbox.frames import LARGEST, LENGTH, READY, NoFile, NoJson, Unread, length_of

CHILDREN: Final = 2
WAITING: Final = 8
DEADLINE_S: Final = 90.0
"""A child has 30 s of processor time; the rest is for a machine that does other things too."""
START_S: Final = 30.0
KEPT_BODY: Final = 8 * 1024 * 1024
"""After a longer text a child is ended: what memory a process once had it seldom gives back."""
PIECE: Final = 256 * 1024
RETRY_S: Final = 5.0
PASSED_ON: Final = frozenset({"PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR", "LANG"})
"""Of the environment: a child knows none of the service's secrets."""

_answer: Final[msgspec.msgpack.Decoder[Unread | NoJson | NoFile]] = msgspec.msgpack.Decoder(Unread | NoJson | NoFile)
_row: Final = msgspec.msgpack.Decoder(ReadRow)


class ChildReader:
    """`pipeline.management.Reader`. Leaving it ends its children."""

    def __init__(self, deadline_s: float = DEADLINE_S, command: Sequence[str] = ()) -> None:
        """command: of a child, the number of its row file comes after it; the product's own if not given."""
        self._deadline_s = deadline_s
        self._command = command or (sys.executable, "-P", "-m", "geo_offers.sandbox.child")
        self._idle: list[_Child] = []
        self._free = asyncio.Semaphore(CHILDREN)
        self._waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._idle.pop().end()

    async def read(self, data: bytes, manner: Manner) -> Sequence[ReadRow]:
        if len(data) <= EASY_BODY:
            return await asyncio.to_thread(read_rows, data, manner)
        if self._waiting >= WAITING:
            raise Unavailable("too many large files are being read; send this one again", RETRY_S)
        self._waiting += 1
        try:
            async with self._free:
                said = await self._ask(data, manner)
        finally:
            self._waiting -= 1
        answer = _answer.decode(said)
        if isinstance(answer, NoJson):
            raise Malformed(answer.detail)
        if isinstance(answer, NoFile):
            raise Invalid(answer.detail, answer.faults)
        return tuple([_row.decode(raw) async for some in batches(answer.rows, 32) for raw in some])

    async def _ask(self, data: bytes, manner: Manner) -> bytes:
        child = await self._child()
        try:
            async with asyncio.timeout(self._deadline_s):
                said = await child.ask(msgspec.json.encode(manner), data)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            fault = _too_dear(child.row(), single=manner.external_id is not None)
            await child.end()
            raise Invalid(fault.detail, (fault,)) from error
        except BaseException:  # the caller has gone, and the child would go on with what nobody asks for
            await child.end()
            raise
        if len(data) <= KEPT_BODY:
            self._idle.append(child)
        else:
            await child.end()
        return said

    async def _child(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.end()
        return await _Child.start(self._command)


def _too_dear(row: int | None, *, single: bool) -> Fault:
    pointer = "/geometry" if single else "" if row is None else f"/features/{row}"
    return Fault(pointer, "too_costly", "reading took more time or memory than a file may; simplify it or split it")


class _Child:
    """One child and its pipes."""

    def __init__(self, process: Process, row_file: IO[bytes]) -> None:
        self._process = process
        self._row_file = row_file

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        row_file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
        environment = {name: value for name, value in os.environ.items() if name in PASSED_ON}
        environment |= {"OPENBLAS_NUM_THREADS": "1"}  # each thread of its would take address space
        try:
            process = await asyncio.create_subprocess_exec(
                *command, str(row_file.fileno()), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment,
                pass_fds=(row_file.fileno(),), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            row_file.close()
            raise
        child = cls(process, row_file)
        try:
            await child._ready()
        except BaseException:
            await child.end()
            raise
        return child

    async def _ready(self) -> None:
        assert self._process.stdout is not None
        said = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                said = await self._process.stdout.read(len(READY))
        if said != READY:
            raise RuntimeError("a child that reads files does not start")

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, manner: bytes, data: bytes) -> bytes:
        """Its answer; IncompleteReadError where it ends before."""
        source, target = self._process.stdout, self._process.stdin
        assert source is not None
        assert target is not None
        os.ftruncate(self._row_file.fileno(), 0)
        try:
            for frame in (manner, data):
                target.write(length_of(frame))
                for start in range(0, len(frame), PIECE):  # a piece at a time, so that the loop does other things too
                    target.write(frame[start : start + PIECE])
                    await target.drain()
        except ConnectionError as error:
            raise asyncio.IncompleteReadError(b"", LENGTH) from error
        return await _framed(source)

    def row(self) -> int | None:
        """Which row it was at, counted from 0."""
        said = os.pread(self._row_file.fileno(), LENGTH, 0)
        return int.from_bytes(said, "big") if said else None

    async def end(self) -> None:
        if self.alive:
            self._process.kill()
        await self._process.wait()
        self._row_file.close()


async def _framed(source: asyncio.StreamReader) -> bytes:
    missing = int.from_bytes(await source.readexactly(LENGTH), "big")
    if missing > LARGEST:
        raise asyncio.IncompleteReadError(b"", missing)
    pieces: list[bytes] = []
    while missing:
        piece = await source.read(min(PIECE, missing))
        if not piece:
            raise asyncio.IncompleteReadError(b"", missing)
        missing -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)
