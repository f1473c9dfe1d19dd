"""Runs one PostgreSQL server in a data folder that this process owns, from a crash's remains to a clean stop."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import asyncpg

from geo_offers.errors import Misconfigured, Unavailable
from geo_offers.storage import datafolder, processes
from geo_offers.storage.binaries import Programs, find, reach
from geo_offers.storage.datafolder import Endpoint
from geo_offers.storage.processes import Account

SUPERUSER = "postgres"

RECOVERY_WAIT_S = 300.0  # replaying max_wal_size after a crash
ORPHAN_WAIT_S = 15.0  # for the server of an owner that was killed to shut down
STOP_WAIT_S = 30.0  # a fast shutdown writes one checkpoint; past it the shutdown is immediate
RESTARTS_A_MINUTE = 5

_LOG_BYTES = 16 * 2**20
_POLL_S = 0.02

_SETTINGS = {
    "listen_addresses": "",
    "port": str(datafolder.PORT),
    "unix_socket_permissions": "0700",
    # Full-page images after a checkpoint are most of the log at our write rates: few checkpoints, compressed images.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "jit": "off",  # the statements are short; compiling them costs more than it saves
    # The server's log must not repeat anybody's data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
}


class Supervisor:
    """Owner of the server process, and of what must be removed after it.

    root: a folder that is there. locks: its owner's lock among them; `stop` lets go of them.
    """

    def __init__(self, root: Path, locks: ExitStack) -> None:
        self.root = root.absolute()
        self.process: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._account: Account | None = None
        self._data = self.root
        self._command: list[str] = []
        self._log = self.root / "postgres.log"
        self._log_start = 0
        self._watch: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._stopped = False
        self._locks = locks

    async def start(self, binaries: Path | None) -> Endpoint:
        """Start the server and wait until it answers, after a crash until it has recovered. Main thread only.

        Raises Misconfigured where the folder cannot be used.
        """
        programs = await asyncio.to_thread(self._choose, binaries)
        if not processes.is_filled(self._data):
            await self._initialise(programs)
        await self._wait_for_orphans()
        sockets = await asyncio.to_thread(datafolder.make_socket_folder, self._account)
        self._endpoint = Endpoint(sockets, programs.major)
        compression = await asyncio.to_thread(self._compression, programs)
        settings = {**_SETTINGS, "unix_socket_directories": str(sockets), "wal_compression": compression}
        self._command = [programs.postgres, "-D", str(self._data)]
        for name, value in settings.items():
            self._command += ["-c", f"{name}={value}"]
        await self._launch(self._endpoint)
        return self._endpoint

    async def keep_running(self) -> None:
        """Launch the server anew on the same socket whenever it ends unasked; return after `stop`."""
        ended: list[float] = []
        while not self._stopping and self.process is not None and self._endpoint is not None:
            if self.process.poll() is None:
                await asyncio.sleep(0.2)
                continue
            ended = [at for at in ended if at > time.monotonic() - 60] + [time.monotonic()]
            if len(ended) > RESTARTS_A_MINUTE:
                raise Unavailable(f"PostgreSQL ended {len(ended)} times within a minute: {self._last_words()}")
            await asyncio.sleep(0.2 * (len(ended) - 1))
            await self._relaunch(self._endpoint)

    async def _relaunch(self, endpoint: Endpoint) -> None:
        self._dismiss_watch()
        await self._wait_for_orphans()
        if self._stopping:
            return
        datafolder.clear_sockets(endpoint.folder)
        try:
            await self._launch(endpoint)
        except Misconfigured:
            if self.process is None or self.process.poll() is None:  # it hangs; one that ended is only counted
                raise

    async def stop(self) -> None:
        """Shut the server down and give the folder free; a second call does nothing."""
        self._stopping = True
        if self._stopped:
            return
        datafolder.withdraw(self.root)
        if self.process is not None:
            for kind, wait_s in ((signal.SIGINT, STOP_WAIT_S), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
                if await _ended(self.process, kind, wait_s):
                    break
        self._dismiss_watch()
        if self._endpoint is not None:
            datafolder.remove_socket_folder(self._endpoint.folder)
        self._stopped = True
        self._locks.close()

    def _choose(self, binaries: Path | None) -> Programs:
        """Choose programs, data folder and account so that they fit each other. Blocks."""
        programs = find(binaries)
        self._data = self.root / f"pgdata-{programs.major}"
        datafolder.refuse_other_major(self.root, programs.major)
        self._account = processes.choose_account(self._data)
        closed = processes.barrier(self.root, self._account)
        if closed is not None:
            who = f"user {self._account.name}, who runs PostgreSQL," if self._account else "this user"
            raise Misconfigured(f"{who} may not enter {closed}: run chmod o+x {closed}, or choose another data folder")
        left = datafolder.published(self.root)
        if left is not None:  # of an owner that was killed
            datafolder.withdraw(self.root)
            datafolder.remove_socket_folder(left.folder)
        if self._log.exists() and self._log.stat().st_size > _LOG_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        return reach(programs, self._account, self.root)

    async def _initialise(self, programs: Programs) -> None:
        """Make a new database cluster; under another name first, so that a half-made one is never taken for one."""
        fresh = self._fresh_folder()
        self._mark_log()
        command = [programs.initdb, *_initdb_options(fresh, programs.major)]
        self.process = processes.spawn(command, self._account, self._log)
        while self.process.poll() is None:  # noqa: ASYNC110 - a child of another user; uvloop cannot start one to await
            await asyncio.sleep(_POLL_S)
        if self.process.returncode != 0:
            raise Misconfigured(f"PostgreSQL's initdb failed: {self._last_words()}")
        self.process = None
        fresh.rename(self._data)
        _sync_folder(self.root)

    def _fresh_folder(self) -> Path:
        for left in self.root.glob(f"{self._data.name}.new*"):
            shutil.rmtree(left, ignore_errors=True)  # the initdb of a killed owner may be removing it as well
        fresh = Path(tempfile.mkdtemp(prefix=f"{self._data.name}.new-", dir=self.root))
        if self._account is not None:
            os.chown(fresh, self._account.uid, self._account.gid)
        return fresh

    async def _wait_for_orphans(self) -> None:
        """Clear the pid file of a crashed server, once no process of it is left.

        The lock is ours, so whatever still runs in the folder has lost its owner and is shutting down, or was started
        by hand. It is waited for and never touched, and neither is the process that the pid file names.
        """
        pid_file = self._data / "postmaster.pid"
        deadline = time.monotonic() + ORPHAN_WAIT_S
        while pid_file.exists():
            alive = await asyncio.to_thread(processes.alive_in, self._data, self._account)
            if self._stopped:  # meanwhile: the folder may be another owner's by now
                return
            if not alive:
                pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise Misconfigured(
                    f"processes {', '.join(map(str, alive))} still work in {self._data} without an owner: "
                    "end them (a PostgreSQL with SIGINT), then start again"
                )
            await asyncio.sleep(0.05)

    async def _launch(self, endpoint: Endpoint) -> None:
        self._mark_log()
        self.process = processes.spawn(self._command, self._account, self._log)
        if not processes.kernel_ends_orphans():
            self._watch = processes.watch_parent(self.process.pid, self._account)
        deadline = time.monotonic() + RECOVERY_WAIT_S
        while not await answers(endpoint):
            if self.process.poll() is not None:
                raise Misconfigured(f"PostgreSQL did not start: {self._last_words()}")
            if time.monotonic() > deadline:
                raise Misconfigured(f"PostgreSQL took longer than {RECOVERY_WAIT_S:g} s to start: see {self._log}")
            await asyncio.sleep(_POLL_S)

    def _compression(self, programs: Programs) -> str:
        """Answer the best WAL compression this build has, by letting it read a configuration with it. Blocks."""
        question = [programs.postgres, "-D", str(self._data), "-c", "wal_compression=lz4", "-C", "wal_compression"]
        return "lz4" if processes.run(question, self._account).returncode == 0 else "pglz"

    def _mark_log(self) -> None:
        self._log_start = self._log.stat().st_size if self._log.exists() else 0

    def _last_words(self) -> str:
        """Why the last child ended, as far as its log tells: one line."""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "FATAL" in line or "PANIC" in line or "error:" in line] or lines
        return f"{telling[-1].strip() if telling else 'it said nothing'} (see {self._log})"

    def _dismiss_watch(self) -> None:
        if self._watch is not None:
            processes.end_watch(self._watch)
            self._watch = None


async def answers(endpoint: Endpoint) -> bool:
    """Whether a server takes connections there now."""
    try:
        connection = await asyncpg.connect(endpoint.dsn(SUPERUSER, "postgres"), timeout=2)
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
        return False
    await connection.close()
    return True


async def _ended(process: subprocess.Popen[bytes], kind: signal.Signals, wait_s: float) -> bool:
    if process.poll() is None:
        process.send_signal(kind)
    deadline = time.monotonic() + wait_s
    while process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - as in _initialise
        await asyncio.sleep(_POLL_S)
    return process.poll() is not None


def _initdb_options(data: Path, major: int) -> list[str]:
    """Byte-wise sorting and Unicode-wide character classes that no update of the system's libraries can change."""
    if major >= 17:
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    else:
        locale = ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    return ["-D", str(data), "-U", SUPERUSER, "-E", "UTF8", *locale, "--auth=trust", "--no-instructions"]


def _sync_folder(folder: Path) -> None:
    """Make a rename inside the folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
