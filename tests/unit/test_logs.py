"""The log of a process: one JSON object a line, whoever writes it, and no words that may name a place."""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from textwrap import dedent

import pytest

from geo_offers import logs
from geo_offers.errors import Unavailable

PLACE = "53.0793461, 8.8017329"


async def lines(script, level="info"):
    """What a process with our logs says on stderr while it runs the script; LOST is an error that names a place."""
    whole = f"""
import asyncio, gc, logging, sys, threading, warnings
import aiohttp, structlog
from aiohttp import web
from geo_offers import logs
logs.configure("{level}")

class LOST(ValueError):
    def __init__(self):
        super().__init__("cannot place {PLACE}")

def stumble():
    raise LOST

{dedent(script)}
"""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", "-W", "default", "-c", whole, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    _, err = await asyncio.wait_for(child.communicate(), 30)
    said = err.decode()
    assert "53.07" not in said
    assert "8.80" not in said
    return [json.loads(line) for line in said.splitlines()]


def frames(line):
    return [frame.rpartition(":")[2] for frame in line["frames"]]


async def test_a_task_whose_failure_nobody_asked_for_is_one_line_with_its_type_and_frames():
    (line,) = await lines(
        """
        async def walk():
            stumble()

        async def main():
            asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine's warning is not meant here
            task = asyncio.create_task(walk(), name="53.0793461")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            del task
            gc.collect()

        asyncio.run(main())
        """
    )
    assert (line["level"], line["logger"], line["exception"]) == ("error", "asyncio", "__main__.LOST")
    assert frames(line) == ["walk", "stumble"]
    assert all(frame.split(":")[-2].isdigit() for frame in line["frames"])
    assert {"timestamp", "at"} < line.keys()


async def test_a_handler_that_fails_in_aiohttp_is_one_line_with_its_type_and_frames():
    (line,) = await lines(
        """
        async def handler(request):
            stumble()

        async def main():
            app = web.Application()
            app.router.add_get("/53.0793461", handler)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/53.0793461") as answer:
                    assert answer.status == 500
            await runner.cleanup()

        asyncio.run(main())
        """
    )
    assert (line["level"], line["logger"], line["exception"]) == ("error", "aiohttp.server", "__main__.LOST")
    assert frames(line)[-2:] == ["handler", "stumble"]
    assert len(line["frames"]) <= logs.FRAMES


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("stumble()", "__main__.LOST"),
        ("thread = threading.Thread(target=stumble); thread.start(); thread.join()", "__main__.LOST"),
        ("class Left:\n    def __del__(self):\n        stumble()\nleft = Left()\ndel left", "__main__.LOST"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
async def test_what_nobody_caught_is_one_line_as_well(script, kind):
    (line,) = await lines(script)
    assert (line["level"], line["logger"], line["exception"]) == ("critical", "python", kind)


async def test_a_warning_is_one_line_that_says_where_and_of_which_kind():
    script = 'warnings.warn("near 53.0793461", RuntimeWarning, stacklevel=1)'
    (line,) = await lines(script)
    assert (line["level"], line["logger"]) == ("warning", "python")
    assert line["at"].endswith(":RuntimeWarning")
    assert await lines(script, "error") == []


async def test_a_librarys_words_are_left_out_and_so_is_what_is_no_warning():
    told = await lines(
        """
        library = logging.getLogger("library")
        library.info("at %s", "53.0793461")
        library.warning("at %s and %s", "53.0793461")
        library.error("at 53.0793461", exc_info=True)
        """
    )
    assert [(line["level"], line["logger"]) for line in told] == [("warning", "library"), ("error", "library")]
    assert all("exception" not in line for line in told)


async def test_a_line_of_ours_has_its_words_and_of_an_exception_the_type_and_frames():
    first, second, third = await lines(
        """
        log = structlog.get_logger()
        try:
            stumble()
        except LOST as error:
            log.exception("one")
            log.error("two", exc_info=error, lat=53.0793461, position="53.0793461", device="d")
        log.error("three", exc_info=False)
        """
    )
    assert (first["event"], first["exception"], frames(first)) == ("one", "__main__.LOST", ["<module>", "stumble"])
    assert (second["event"], second["exception"], second["device"]) == ("two", "__main__.LOST", "d")
    assert not {"lat", "position", "exc_info"} & second.keys()
    assert (third["event"], "exception" in third) == ("three", False)


def test_an_error_of_ours_says_its_sentence_and_others_do_not():
    assert logs.failure(Unavailable("the database is away"))["reason"] == "the database is away"
    assert "reason" not in logs.failure(ValueError(PLACE))
    assert logs.failure(None) == {}


def test_of_a_deep_failure_the_last_frames_are_told():
    def dig(depth):
        if depth == 0:
            raise KeyError(PLACE)
        dig(depth - 1)

    with pytest.raises(KeyError) as caught:
        dig(50)
    told = logs.failure(caught.value)["frames"]
    assert len(told) == logs.FRAMES
    assert all(frame.endswith(":dig") and "test_logs.py:" in frame for frame in told)
