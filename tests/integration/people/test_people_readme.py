"""The README's way from a key to an offer, run as it is printed: sh and curl in a fresh folder, then Python."""

import ast
import asyncio
import builtins
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from geo_offers import wire
from geo_offers.client import Client
from tests.support.running import without_our_settings

SECTION = (Path(__file__).parents[3] / "README.md").read_text().partition("## From a key to an offer")[2]
STORE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [8.8017, 53.0793]},
    "properties": {"name": "Main Street", "radius_m": 100},
}
CAMPAIGN = {
    "name": "Warm rolls",
    "objective": "visit",
    "trigger": {"on": "enter", "fences": {"set": "stores"}},
    "texts": {"en": {"title": "Warm rolls at {store}", "body": "Fresh until noon."}},
    "holdout": 0,
}


def printed(language):
    """The section's first block in that language."""
    return re.search(rf"```{language}\n(.*?)```", SECTION, re.DOTALL).group(1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(told):
    """The JSON documents that the commands printed, one after the other."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while place < len(told.rstrip()):
        value, place = decoder.raw_decode(told, place)
        found.append(value)
    return found


@pytest.fixture
def clone(fresh_root):
    """A folder like a clone in which `make setup` has done its work, and a home beside it."""
    folder = fresh_root / "clone"
    folder.mkdir()
    (folder / "Makefile").write_text("setup:\n\t@:\n")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


async def said_by(script, clone):
    """What `sh` prints of the script, run in that folder; whatever it left running is ended with it."""
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, cwd=clone, env=without_our_settings() | {"HOME": str(clone.parent)},
        start_new_session=True, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 90)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


@pytest.mark.skipif(
    shutil.which("curl") is None and os.environ.get("GEO_OFFERS_REQUIRE_ALL") != "1", reason="the walk needs curl"
)
async def test_the_walk_of_the_readme_ends_with_an_offer_and_a_withdrawal(clone):
    port = free_port()
    script = printed("sh").replace("8080", str(port))
    out, err = await said_by(f"{script}\nkill $!\nwait $!\n", clone)
    listening = f"listening on http://127.0.0.1:{port}\n"
    assert out.count(listening) == 1, err
    fence, workspace, submitted, rhythm, pinged, decisions, consent = answers(out.replace(listening, ""))
    assert fence["fence"] == "stores/main-street"
    assert workspace["holdout"] == 0
    assert submitted["state"] == "approved"
    assert rhythm["max"] == 3
    assert [seen["type"] for seen in pinged["transitions"]] == ["enter"]
    assert [offer["title"] for offer in pinged["offers"]] == ["Warm rolls at Main Street"]
    assert pinged["next"]["regions"][0]["fence"] == "stores/main-street"
    assert [decision["outcome"] for decision in decisions["items"]] == ["offer"]
    assert (consent["purpose"], consent["granted"]) == ("locate", False)
    assert (clone.parent / "geo-offers-data" / "postgres.log").exists()


async def test_the_python_of_the_readme_prints_the_offer(service, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with Client(service.url, await service.make_key()) as client:
        await client.manager.put_geofence("stores", "main-street", STORE)
        await client.manager.patch_workspace(wire.WorkspacePatch(holdout=0))
        campaign = await client.manager.create_campaign(msgspec.convert(CAMPAIGN, wire.CampaignBody))
        await client.manager.submit(campaign.id)
    program = printed("python").replace("http://127.0.0.1:8080", service.url)
    program = program.replace("pk_…", await service.make_key("app"))
    code = compile(program, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    shown = asyncio.Queue()
    running = asyncio.ensure_future(eval(code, {"print": shown.put_nowait, "__builtins__": builtins}))
    try:
        assert await asyncio.wait_for(shown.get(), 10) == "Warm rolls at Main Street"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
