"""From a workspace's credentials to a phone's screen: an arrival, the decision, and each push service in between."""

import base64
import json

import pytest

from tests.faults.world import CONSENTS, LOOSE, Phone, until, world
from tests.support.gateways import apns, fcm, webpush
from tests.support.running import running

APPLE_TOKEN = "a1" * 32
GOOGLE_TOKEN = "cTown:" + "x" * 140
KEY = base64.b64encode(bytes(range(32))).decode()


async def arrive(town, push):
    """A person whose phone has this address comes to the one geofence."""
    await town.fences(1)
    campaign = await town.campaign()
    body = {"platform": "ios", "locale": "en", "time_zone": "UTC", "consents": CONSENTS, "push": push}
    made = await town.good("POST", "/v1/devices", "server", body)
    phone = Phone(made["device"], made["user"], made["access_token"])
    await town.good("PUT", "/v1/me/rhythm", phone.token, LOOSE)
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


async def test_an_arrival_is_shown_on_an_android_phone(database):
    google = fcm.Fcm("town-test")
    async with (
        fcm.running(google),
        running(database, credentials_key=KEY, fcm_url=google.url, fcm_token_url=f"{google.url}/token") as service,
        world(database, lambda: service.url) as town,
    ):
        account = {
            "type": "service_account",
            "project_id": google.project,
            "private_key_id": "a" * 40,
            "private_key": google.key,
            "client_email": fcm.EMAIL,
            "token_uri": f"{google.url}/token",
        }
        await town.good("PUT", "/v1/workspace/push/fcm", "manager", {"service_account": account})
        campaign, _ = await arrive(town, {"lane": "fcm", "token": GOOGLE_TOKEN})
        await until(lambda: len(google.visible(GOOGLE_TOKEN)) == 1, why="the phone shows it")
        assert google.visible(GOOGLE_TOKEN)[0].title == "Welcome to Place 0"
        await ended_well(town, campaign, "fcm")


async def test_an_arrival_is_shown_on_an_iphone(database, tmp_path):
    authority = tmp_path / "authority.pem"
    authority.write_bytes(apns.authority_pem())
    async with (
        apns.serving() as apple,
        running(database, credentials_key=KEY, apns_url=apple.url, gateway_ca=str(authority)) as service,
        world(database, lambda: service.url) as town,
    ):
        key = {"team": apple.key.team, "key_id": apple.key.key_id, "private_key": apple.key.key}
        key |= {"topic": apple.key.topic, "environment": "production"}
        await town.good("PUT", "/v1/workspace/push/apns", "manager", key)
        campaign, _ = await arrive(town, {"lane": "apns", "token": APPLE_TOKEN})
        await until(lambda: len(apple.visible()) == 1, why="the phone shows it")
        await ended_well(town, campaign, "apns")
        assert apple.faults == []


async def test_an_arrival_is_shown_in_a_browser(database, tmp_path):
    authority = tmp_path / "authority.pem"
    async with webpush.push_service() as service_of_the_browser:
        authority.write_bytes(service_of_the_browser.certificate)
        async with (
            running(database, credentials_key=KEY, egress_allow="127.0.0.0/8", gateway_ca=str(authority)) as service,
            world(database, lambda: service.url) as town,
        ):
            ours = webpush.new_key()
            given = {"subject": "mailto:push@town.example", "private_key": webpush.pem_of(ours)}
            told = await town.good("PUT", "/v1/workspace/push/webpush", "manager", given)
            browser = service_of_the_browser.subscribe(ours)
            assert told["application_server_key"] == browser.bound_to
            push = {"lane": "webpush", "token": browser.endpoint, "keys": json.loads(browser.keys)}
            campaign, _ = await arrive(town, push)
            await until(lambda: len(browser.screen) == 1, why="the browser shows it")
            await ended_well(town, campaign, "webpush")


@pytest.mark.parametrize("lane", ["fcm", "apns"])
async def test_without_credentials_the_offer_waits_in_the_app(database, lane):
    token = GOOGLE_TOKEN if lane == "fcm" else APPLE_TOKEN
    async with running(database) as service, world(database, lambda: service.url) as town:
        _, phone = await arrive(town, {"lane": lane, "token": token})
        (offer,) = (await town.good("GET", "/v1/me/offers", phone.token))["items"]
        assert offer["lane"] == "inapp"
