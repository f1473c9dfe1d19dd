"""The service as a child of the demo and of benches: it answers, gives keys, ends, and says why it did not start."""

import os

import aiohttp
import psutil
import pytest

from geo_offers import settings
from geo_offers.demo import main
from geo_offers.demo.keys import keys_of
from geo_offers.demo.service import running
from geo_offers.errors import Misconfigured, Unavailable
from tests.support.running import without_our_settings


async def test_it_answers_gives_keys_and_is_gone_afterwards(fresh_root):
    core = min(os.sched_getaffinity(0))
    async with running(fresh_root, without_our_settings(), stop_s=20, core=core) as service:
        keys = await keys_of(service, "somewhere")
        headers = {"Authorization": f"Bearer {keys.manager}"}
        async with aiohttp.ClientSession(service.url, headers=headers) as session, session.get("/v1/workspace") as got:
            assert got.status == 200
        assert await keys_of(service, "somewhere") == keys, "kept for the next run"
        with pytest.raises(Misconfigured, match="no nothing key"):
            await service.create_key("nothing", "somewhere")
        assert psutil.Process(service.pid).cpu_affinity() == [core]
    assert not psutil.pid_exists(service.pid)
    assert not list(fresh_root.glob("pgdata-*/postmaster.pid")), "its database ended with it"


async def test_one_that_does_not_start_is_told_with_its_last_words(fresh_root):
    environment = {**without_our_settings(), "GEO_OFFERS_POOL_SIZE": "1"}
    with pytest.raises(Unavailable, match="GEO_OFFERS_POOL_SIZE"):
        async with running(fresh_root, environment, stop_s=20):
            pass


def test_what_an_operator_has_set_for_a_service_of_their_own_does_not_reach_the_demo(monkeypatch):
    theirs = {
        "DATABASE_URL": "postgresql://them/theirs",
        "MIGRATE_URL": "postgresql://owner@them/theirs",
        "WEBHOOK_URL": "https://push.example/",
        "WEBHOOK_SECRET": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(settings.PREFIX + name, value)
    monkeypatch.setenv("GEO_OFFERS_LOG_LEVEL", "warning")
    ours = settings.read(main._environment())
    assert (ours.database_url, ours.migrate_url, ours.webhook_url, ours.webhook_secret) == (None, None, None, None)
    assert ours.log_level == "warning"
