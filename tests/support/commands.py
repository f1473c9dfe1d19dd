"""The command line as users run it: child processes, with what they print and how they end."""

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from dataclasses import dataclass

from geo_offers.settings import PREFIX
from tests.support.running import without_our_settings

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended; `err` of one that ran on a terminal holds its control characters too."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def complaints(self) -> list[str]:
        return self.err.splitlines()


async def command(
    *arguments: object, settings: Mapping[str, object] | None = None, program: tuple[str, ...] = ()
) -> Ended:
    """Run `geo-offers ARGUMENTS`; settings are named without their prefix. Killed past a minute."""
    return await _ended(arguments, settings or {}, program, stderr=PIPE)


async def command_on_a_terminal(*arguments: object) -> Ended:
    """The same with stderr on a terminal of 80 columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    reading = asyncio.create_task(asyncio.to_thread(_drained, master))
    try:
        ended = await _ended(arguments, {}, (), stderr=slave)
    finally:
        os.close(slave)
    shown = await reading
    return Ended(ended.code, ended.out, shown)


def _drained(master: int) -> str:
    """Everything until the last writer closes: then Linux says EIO and others say end of file."""
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass
    finally:
        os.close(master)
    return shown.decode()


async def _ended(
    arguments: tuple[object, ...], settings: Mapping[str, object], program: tuple[str, ...], *, stderr: int
) -> Ended:
    own = {PREFIX + name: str(value) for name, value in settings.items()}
    child = await asyncio.create_subprocess_exec(
        *(program or (sys.executable, "-m", "geo_offers")), *map(str, arguments),
        stdin=DEVNULL, stdout=PIPE, stderr=stderr, env=without_our_settings() | own,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(child.communicate(), PATIENCE_S)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode is not None
    return Ended(child.returncode, out.decode(), (err or b"").decode())
