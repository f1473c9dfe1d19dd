"""`geo-offers …`: one sub-command a purpose. Exit codes: 0 done, 1 refused with a one-line reason, 2 wrong usage."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib import import_module
from typing import Any, Final

from geo_offers import settings
from geo_offers.errors import GeoOffersError
from geo_offers.settings import Settings

Run = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]
_MODULES: Final = {
    "serve": "serving",
    "demo": "demo",
    "import": "importing",
    "replay": "replaying",
    "explain": "explaining",
    "preview": "previewing",
    "outbox": "outboxing",
    "keys": "keys",
    "migrate": "migrating",
    "pause": "switching",
    "resume": "switching",
    "doctor": "doctor",
}


def parser(wanted: str | None = None) -> argparse.ArgumentParser:
    """The grammar of the wanted command, or of all: loading one takes a third of the time of loading all."""
    root = argparse.ArgumentParser(prog="geo-offers", description="Real-time proximity offers.")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    modules = [_MODULES[wanted]] if wanted in _MODULES else dict.fromkeys(_MODULES.values())
    for module in modules:
        import_module(f"geo_offers.cli.{module}").add(commands)
    for command in commands.choices.values():
        command.set_defaults(command=command)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the answer is its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = _parsed(words)
    try:
        read = settings.read(os.environ)
        from geo_offers import logs  # noqa: PLC0415 - after the grammar: wrong usage is answered at once

        logs.configure(read.log_level)
        return _loop_run(given.run(given, read))
    except GeoOffersError as error:
        print(f"geo-offers: {error.detail}", file=sys.stderr)
        for fault in error.faults:
            print(f"  {fault.pointer or '/'}: {fault.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1


def _parsed(words: list[str]) -> argparse.Namespace:
    """Ends the program with 2 and the command's usage where the words are none of its."""
    root = parser(words[0] if words else None)
    given, unknown = root.parse_known_args(words)
    if unknown:
        given.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    return given


def _loop_run(work: Coroutine[Any, Any, int]) -> int:
    """Uvloop where there is one (not on Windows)."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
