"""The README's walk from a key to an offer, run as it is written: a fresh data folder, bash and curl."""

import asyncio
import json
import os
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.support.running import without_our_settings

ROOT = Path(__file__).parents[3]
if shutil.which("curl") is None and os.environ.get("GEO_OFFERS_REQUIRE_ALL") != "1":
    pytest.skip("the README's walk needs curl", allow_module_level=True)


def walk():
    """The commands, as (what starts the server, what comes after), with what prepares them left to the test."""
    section = (ROOT / "README.md").read_text().partition("## From a key to an offer")[2]
    lines = re.search(r"```sh\n(.*?)```", section, re.DOTALL).group(1).splitlines()
    assert lines[0].startswith("make setup && export PATH=")
    assert "GEO_OFFERS_DATA_DIR=" in lines[0]
    assert re.match(r"GEO_OFFERS_PORT=8080 geo-offers serve & +# prints: listening on", lines[1])
    assert lines[2] == "URL=http://127.0.0.1:8080"
    return "\n".join(lines[3:])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(printed):
    """The JSON documents that the commands printed, one after the other."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(printed.rstrip()):
        value, place = decoder.raw_decode(printed, place)
        found.append(value)
    return found


@pytest.fixture
def environment(fresh_root):
    own = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GEO_OFFERS_DATA_DIR": str(fresh_root),
        "GEO_OFFERS_PORT": str(free_port()),
    }
    return without_our_settings() | own


@pytest.fixture
async def server(environment):
    """`geo-offers serve` with a PostgreSQL of its own; its URL."""
    process = await asyncio.create_subprocess_exec(
        "geo-offers", "serve", env=environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("listening on "), line
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_the_walk_of_the_readme_ends_with_an_offer_and_a_withdrawal(server, environment):
    script = f"set -euo pipefail\nURL={server}\n" + walk()
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    fence, submitted, rhythm, pinged, decisions, consent = answers(out.decode())
    assert fence["fence"] == "stores/main-street"
    assert submitted["state"] == "approved"
    assert rhythm["max"] == 3
    assert [seen["type"] for seen in pinged["transitions"]] == ["enter"]
    assert [offer["title"] for offer in pinged["offers"]] == ["Warm rolls at Main Street"]
    assert pinged["next"]["regions"][0]["fence"] == "stores/main-street"
    assert [decision["outcome"] for decision in decisions["items"]] == ["offer"]
    assert (consent["purpose"], consent["granted"]) == ("locate", False)
