"""The child: `python -m geo_offers.sandbox.child FD`, reading texts from stdin until it ends.

Before each text it gives itself the processor time that one may take; more ends it. Memory is bounded once, where the
system does that. FD is a file in which the number of the row under work stands, for whoever asks why it ended.
"""

import gc
import os
import resource
import sys
from typing import BinaryIO, Final

import msgspec

from geo_offers.errors import Invalid, Malformed
from geo_offers.places.importing.rows import Manner, read_rows
from geo_offers.sandbox.frames import LENGTH, READY, Answer, NoFile, NoJson, Rows, length_of

CPU_S: Final = 30
"""The dearest file that is taken needs 10 s: 983 outlines of 2,000 vertices (docs/decisions/0009)."""
MEMORY_BYTES: Final = 2 * 2**30
"""Of address space, a third of it libraries; the same file needs 0.7 GB, the worst that is refused 1.1 GB."""
TIGHT: Final = 64
"""Open files, and bytes that may be written to one."""


def main(row_file: int) -> None:
    _bound()
    gc.disable()  # what is read has no cycles, and looking for them takes much of the time of a large text
    source, target = sys.stdin.buffer, sys.stdout.buffer
    target.write(READY)
    target.flush()
    while (manner := _frame(source)) is not None:
        data = _frame(source)
        if data is None:
            return
        _allow_time()
        answer = msgspec.msgpack.encode(_answer(data, manner, row_file))
        target.writelines((length_of(answer), answer))
        target.flush()
        del data, answer


def _answer(data: bytes, manner: bytes, row_file: int) -> Answer:
    def at(row: int) -> None:
        os.pwrite(row_file, row.to_bytes(LENGTH, "big"), 0)

    try:
        return Rows(read_rows(data, msgspec.json.decode(manner, type=Manner), at))
    except Malformed as error:
        return NoJson(error.detail)
    except Invalid as error:
        return NoFile(error.detail, error.faults)


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH)
    return source.read(int.from_bytes(head, "big")) if len(head) == LENGTH else None


def _bound() -> None:
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: TIGHT,
        resource.RLIMIT_NOFILE: TIGHT,
        resource.RLIMIT_AS: MEMORY_BYTES,
    }
    for kind, most in bounds.items():
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # macOS knows no bound of address space
            continue


def _allow_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + CPU_S, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
