"""Where a phone takes push: what a lane would have to send to is judged when it is given."""

from base64 import urlsafe_b64encode
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from geo_offers import wire
from geo_offers.pipeline.addresses import address_faults

ENDPOINT = "https://push.services.example.com/wpush/v2/abc"


def encoded(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def point(curve, form=PublicFormat.UncompressedPoint):
    return ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, form)


P256DH, AUTH = encoded(point(ec.SECP256R1())), encoded(bytes(range(16)))
KEYS = wire.PushKeys(p256dh=P256DH, auth=AUTH)


def faults(lane, token, keys=None):
    found = address_faults(wire.PushAddress(lane=lane, token=token, keys=keys), "/push")
    assert not any(len(token) > 1 and token in fault.detail for fault in found)
    return [fault.pointer for fault in found]


@pytest.mark.parametrize(
    ("lane", "token", "keys"),
    [
        ("webhook", "whatever the app likes: ü/../", None),
        ("log", "x", None),
        ("fcm", "dQw4w9WgXcQ:APA91bH-x_y", None),
        ("apns", "0aF9" * 16, None),
        ("apns", "00" * 100, None),
        ("webpush", ENDPOINT, KEYS),
        ("webpush", ENDPOINT, wire.PushKeys(p256dh=P256DH + "=", auth=AUTH + "==")),
    ],
)
def test_what_a_system_gives_is_taken(lane, token, keys):
    assert faults(lane, token, keys) == []


@pytest.mark.parametrize(
    ("lane", "token"),
    [("apns", "../../x"), ("apns", "0aF9"), ("apns", "00" * 101), ("apns", "0" * 65), ("fcm", "a b"), ("fcm", "a\n")],
)
def test_a_token_that_cannot_be_one_is_refused(lane, token):
    assert faults(lane, token) == ["/push/token"]


@pytest.mark.parametrize(
    "address",
    [
        "http://push.example.com/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://router.local/x",
        "https://u:p@push.example.com/",
        "https://0x7f.1/",
        f"https://push.example.com/{'x' * 2048}",
    ],
)
def test_an_endpoint_that_leads_elsewhere_than_to_a_public_host_is_refused(address):
    assert faults("webpush", address, KEYS) == ["/push/token"]


def test_keys_belong_to_a_browsers_subscription_and_to_nothing_else():
    assert faults("webpush", ENDPOINT) == ["/push/keys"]
    for lane, token in (("webhook", "t"), ("log", "t"), ("fcm", "t"), ("apns", "00" * 32)):
        assert faults(lane, token, KEYS) == ["/push/keys"]


@pytest.mark.parametrize(
    "given",
    [
        point(ec.SECP256R1(), PublicFormat.CompressedPoint),
        point(ec.SECP384R1()),
        b"\4" + bytes(64),  # of that length, and not on the curve
        b"",
    ],
)
def test_a_key_that_is_no_point_is_refused(given):
    keys = wire.PushKeys(p256dh=encoded(given) or "!", auth=AUTH)
    assert faults("webpush", ENDPOINT, keys) == ["/push/keys/p256dh"]


@pytest.mark.parametrize("given", [encoded(bytes(15)), encoded(bytes(17)), "no base64!", "A", "="])
def test_a_secret_of_another_length_is_refused(given):
    assert faults("webpush", ENDPOINT, wire.PushKeys(p256dh=P256DH, auth=given)) == ["/push/keys/auth"]


def test_a_registration_of_another_age_of_the_world_is_refused():
    for year, good in ((2026, True), (1, False), (1970, False), (2100, False), (9999, False)):
        push = wire.PushAddress(lane="log", token="x", at=datetime(year, 1, 1, tzinfo=timezone(timedelta(hours=14))))
        assert [fault.pointer for fault in address_faults(push, "")] == ([] if good else ["/at"])


@pytest.mark.parametrize(
    ("host", "good"),
    [("push.example", True), ("eu.push.example", True), ("notpush.example", False), ("push.example.org", False)],
)
def test_where_push_hosts_are_named_a_subscription_of_another_is_refused(host, good):
    push = wire.PushAddress(lane="webpush", token=f"https://{host}/a", keys=KEYS)
    found = address_faults(push, "", push_hosts=("push.example",))
    assert [(fault.pointer, fault.code) for fault in found] == ([] if good else [("/token", "link")])
