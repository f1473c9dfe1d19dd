"""The supervisor's child processes: whom they run as, how they end with their parent, who is still alive.

POSIX only. A server that outlives its program would hold the data folder for ever, so a child is tied to its parent
in one of two ways: on Linux the kernel sends it SIGINT when the parent dies, however it died; elsewhere a small shell
waits at a pipe that only the parent holds open, and sends the SIGINT when the pipe breaks.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geo_offers.errors import Misconfigured

SHELL = "/bin/sh"
BARE_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}  # the operator's locale must not leak in
PR_SET_PDEATHSIG = 1

_IN_FOLDER = 'for p in /proc/[0-9]*; do [ "$p/cwd" -ef "$1" ] && echo "${p#/proc/}"; done; true'
_WAIT_FOR_PARENT = 'read -r _; kill -INT "$1"'


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged user that root's PostgreSQL runs as: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int


def choose_account(data: Path) -> Account | None:
    """Who runs PostgreSQL: None for the present user, an account to drop to when that is root.

    An existing data folder decides by its owner; a new one goes to `postgres` where that user exists, else `nobody`.
    """
    import pwd  # noqa: PLC0415 - absent on Windows, where this module must still import

    if os.geteuid() != 0:
        try:
            pwd.getpwuid(os.geteuid())
        except KeyError as error:
            msg = (
                f"user id {os.geteuid()} has no entry in the user database, which PostgreSQL needs: "
                "add one, or set GEO_OFFERS_DATABASE_URL"
            )
            raise Misconfigured(msg) from error
        return None
    if is_filled(data):
        return _owner_of(data)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    msg = "root may not run PostgreSQL and there is no user postgres or nobody: start geo-offers as an ordinary user"
    raise Misconfigured(msg)


def is_filled(folder: Path) -> bool:
    """Whether the folder exists and holds anything."""
    return folder.is_dir() and any(folder.iterdir())


def _owner_of(data: Path) -> Account:
    import pwd  # noqa: PLC0415 - absent on Windows, where this module must still import

    uid = data.stat().st_uid
    try:
        entry = pwd.getpwuid(uid)
    except KeyError as error:
        msg = f"{data} belongs to user id {uid}, which this machine does not know: give it to a user with chown -R"
        raise Misconfigured(msg) from error
    if entry.pw_uid == 0:
        msg = f"{data} belongs to root, who may not run PostgreSQL: give it to another user with chown -R"
        raise Misconfigured(msg)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def run(command: Sequence[str], account: Account | None) -> subprocess.CompletedProcess[str]:
    """Run a command of a few milliseconds to its end as that account. Blocks; raises OSError when it cannot start."""
    return subprocess.run(  # noqa: S603 - commands are our own constants and paths, no shell text from outside
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env=BARE_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )


def barrier(folder: Path, account: Account | None) -> Path | None:
    """Find the first folder on the way down to `folder` that the account may not enter; None when the way is free."""

    def may_enter(step: Path) -> bool:  # asked of the system itself, which knows of access lists too
        return run([SHELL, "-c", 'cd -- "$1"', SHELL, str(step)], account).returncode == 0

    if may_enter(folder):
        return None
    return next((step for step in reversed(folder.parents) if not may_enter(step)), folder)


def spawn(command: Sequence[str], account: Account | None, log: Path) -> subprocess.Popen[bytes]:
    """Start a long-running child in a session of its own, its output appended to `log`.

    Main thread only: Linux sends the death signal when the *thread* that forked ends.
    """
    if threading.current_thread() is not threading.main_thread():
        msg = "PostgreSQL must be started from the main thread"
        raise RuntimeError(msg)
    with open(log, "ab", opener=_open_private) as output:  # Path.open takes no opener
        return subprocess.Popen(  # noqa: S603 - commands are our own constants and paths
            command,
            cwd="/",
            env=BARE_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,  # else Ctrl-C at a terminal reaches PostgreSQL before the program has flushed
            preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one system call prepared before the fork, no lock taken
        )


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def kernel_ends_orphans() -> bool:
    """Whether the kernel ends a child whose parent died (Linux); elsewhere `watch_parent` does it."""
    return sys.platform == "linux"


def _die_with_parent() -> Callable[[], None] | None:
    if not kernel_ends_orphans():
        return None
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # it died before the call took effect
            os._exit(1)

    return arm


def watch_parent(pid: int, account: Account | None) -> subprocess.Popen[bytes]:
    """Where the kernel does not: a shell that sends SIGINT to `pid` once this process is gone."""
    return subprocess.Popen(  # noqa: S603 - our own constants
        [SHELL, "-c", _WAIT_FOR_PARENT, SHELL, str(pid)],
        cwd="/",
        env=BARE_ENVIRONMENT,
        stdin=subprocess.PIPE,  # held open by us alone; its end is the signal
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        start_new_session=True,
    )


def end_watch(watch: subprocess.Popen[bytes]) -> None:
    """Dismiss the shell of `watch_parent` without letting it signal; call it after the watched process has ended."""
    watch.kill()
    watch.wait()
    if watch.stdin is not None:
        watch.stdin.close()


def alive_in(data: Path, account: Account | None) -> list[int]:
    """List the processes that work in a PostgreSQL data folder. The number in postmaster.pid alone proves nothing.

    After a crash that number may belong to a stranger, or to a dead process nobody has reaped. Every PostgreSQL
    process has the data folder as its working directory; asking as its own user needs no privilege, not even where
    root's are cut (containers). Without /proc the process table's command line must name the folder.
    """
    if Path("/proc/self/cwd").exists():
        found = run([SHELL, "-c", _IN_FOLDER, SHELL, str(data)], account)
        return [int(pid) for pid in found.stdout.split()]
    return _alive_by_ps(data)


def _alive_by_ps(data: Path) -> list[int]:
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return []
    state, _, command = run(["ps", "-o", "stat=,command=", "-p", str(pid)], None).stdout.strip().partition(" ")
    return [pid] if not state.startswith("Z") and str(data) in command else []
