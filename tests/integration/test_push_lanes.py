"""From a workspace's credentials to a phone's screen: an arrival, the decision, and each push service in between."""

import pytest

from tests.faults.world import until, world
from tests.support.gateways import apns, fcm, webpush
from tests.support.gateways.common import settings_for
from tests.support.running import running

GATEWAYS = {"fcm": lambda: fcm.running(fcm.Fcm("town-test")), "apns": apns.serving, "webpush": webpush.push_service}


async def arrive(town, gateway):
    """A person with a phone that this gateway sends to comes to the one geofence."""
    await town.fences(1)
    campaign = await town.campaign()
    (phone,) = await town.phones([None], gateway=gateway)
    answer = await town.pings(phone.token, [phone.ping(0)])
    assert answer.status == 200, answer.body
    return campaign, phone


async def ended_well(town, campaign, lane):
    """The one decision's offer went by this lane, and its gateway took it."""

    async def accepted():
        (decision,) = (await town.good("GET", f"/v1/decisions?campaign={campaign}", "manager"))["items"]
        told = await town.good("GET", f"/v1/decisions/{decision['id']}", "manager")
        return (
            any(step["step"] == "accepted" for step in told["delivery"]["steps"]) and told["delivery"]["lane"] == lane
        )

    await until(accepted, why=f"accepted by {lane}")


@pytest.mark.parametrize("lane", GATEWAYS)
async def test_an_arrival_is_shown_on_the_phone(database, tmp_path, lane):
    async with (
        GATEWAYS[lane]() as gateway,
        running(database, **settings_for([gateway], tmp_path)) as service,
        world(database, lambda: service.url) as town,
    ):
        await town.credentials(gateway)
        campaign, phone = await arrive(town, gateway)
        await until(lambda: len(gateway.on(phone.address)) == 1, why="the phone shows it")
        assert gateway.on(phone.address)[0].title == "Welcome to Place 0"
        await ended_well(town, campaign, lane)
        assert gateway.faults == []


@pytest.mark.parametrize("gateway", [fcm.Fcm(), apns.FakeApns(apns.new_key())], ids=lambda gateway: gateway.lane)
async def test_without_credentials_the_offer_waits_in_the_app(database, gateway):
    async with running(database) as service, world(database, lambda: service.url) as town:
        _, phone = await arrive(town, gateway)
        (offer,) = (await town.good("GET", "/v1/me/offers", phone.token))["items"]
        assert offer["lane"] == "inapp"
