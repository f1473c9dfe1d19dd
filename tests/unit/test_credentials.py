"""What a manager gives to sign in to push services with: checked to the last field, and never told again."""

import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from geo_offers import wire
from geo_offers.errors import Invalid
from geo_offers.pipeline.credentials import apns_key, facts, fcm_account, vapid_key

TOKENS = "https://oauth2.googleapis.com/token"


def pem(key, form=PrivateFormat.PKCS8, password=None):
    sealing = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, form, sealing).decode()


RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
SMALL_RSA = rsa.generate_private_key(65537, 1024)


def account(**changes):
    return {
        "type": "service_account",
        "project_id": "bakery-4711",
        "private_key_id": "0f" * 20,
        "private_key": pem(RSA),
        "client_email": "push@bakery-4711.iam.gserviceaccount.com",
        "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": TOKENS,
    } | changes


def fcm(**changes):
    body = json.dumps({"service_account": account(**changes)})
    return fcm_account(msgspec.json.decode(body, type=wire.FcmCredentials), TOKENS)


def apns(**changes):
    body = {"team": "ABCDE12345", "key_id": "KEY1234567", "private_key": pem(P256), "topic": "com.example.shop"}
    return apns_key(msgspec.convert(body | {"environment": "sandbox"} | changes, wire.ApnsCredentials))


def webpush(**changes):
    return vapid_key(msgspec.convert({"subject": "mailto:push@example.com"} | changes, wire.WebPushCredentials))


def fault(check, **changes):
    with pytest.raises(Invalid) as caught:
        check(**changes)
    (one,) = caught.value.faults
    return one


def test_googles_file_is_taken_as_it_is():
    taken = fcm()
    assert (taken.project, taken.key_id, taken.token_uri) == ("bakery-4711", "0f" * 20, TOKENS)
    assert taken.email == "push@bakery-4711.iam.gserviceaccount.com"
    assert load_pem_private_key(taken.key.encode(), None).private_numbers() == RSA.private_numbers()


def test_a_key_is_held_in_one_form_however_it_was_written():
    assert apns(private_key=pem(P256, PrivateFormat.TraditionalOpenSSL)).key == apns().key == pem(P256)


def test_tokens_are_asked_for_nowhere_else():
    for address in ("https://attacker.example/token", "http://127.0.0.1/token", TOKENS + "/", ""):
        assert fault(fcm, token_uri=address).pointer == "/service_account/token_uri"


@pytest.mark.parametrize(
    "text",
    ["x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", pem(RSA).replace("MII", "NJJ"), "\u00e9"],
)
def test_what_is_no_key_is_refused_at_its_place_and_not_repeated(text):
    for check, pointer in ((fcm, "/service_account/private_key"), (apns, "/private_key"), (webpush, "/private_key")):
        told = fault(check, private_key=text)
        assert (told.pointer, told.code) == (pointer, "private_key")
        assert "password" in told.detail


def test_a_key_under_a_password_is_refused():
    assert fault(fcm, private_key=pem(RSA, password=b"open")).code == "private_key"


def test_another_kind_of_key_is_refused():
    others = [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate(), RSA]
    for key in others:
        assert fault(apns, private_key=pem(key)).detail.startswith("this is another kind of key")
        assert fault(webpush, private_key=pem(key)).detail.startswith("this is another kind of key")
    for key in (P256, SMALL_RSA):
        assert fault(fcm, private_key=pem(key)).detail.startswith("this is another kind of key")


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        (fcm, {"type": "authorized_user"}),
        (fcm, {"project_id": "../x"}),
        (fcm, {"project_id": "bakery-4711\n"}),
        (fcm, {"private_key_id": "not hex"}),
        (fcm, {"client_email": "push@bakery\r\nx: y"}),
        (apns, {"team": "abcde12345"}),
        (apns, {"team": "ABCDE12345\n"}),
        (apns, {"key_id": "KEY"}),
        (apns, {"topic": "com.example/shop"}),
        (apns, {"environment": "test"}),
        (webpush, {"subject": "push@example.com"}),
        (webpush, {"subject": "http://example.com"}),
        (webpush, {"subject": "mailto:push@example.com\n"}),
    ],
)
def test_every_field_has_its_shape(check, changes):
    with pytest.raises(msgspec.ValidationError):
        check(**changes)


def test_without_a_key_web_push_gets_a_new_one_each_time():
    one, other = webpush(), webpush()
    assert one.key != other.key
    point = facts(one)["application_server_key"]
    assert (len(point), point[0]) == (87, "B")  # 65 bytes that begin with 4, in base64url
    assert facts(webpush(subject="https://example.com/push", private_key=one.key))["application_server_key"] == point


@pytest.mark.parametrize("given", [fcm(), apns(), webpush()])
def test_no_key_shows_in_what_is_told_or_written(given):
    secret = given.key.split("\n")[1]
    assert secret not in repr(given) + json.dumps(facts(given))
    assert len(facts(given)["fingerprint"]) == 64
    row = {"lane": "fcm", "version": 1, "created_by": "x", "created_at": "2026-01-01T00:00:00Z"}
    assert msgspec.convert(row | facts(given), wire.PushCredential).fingerprint == facts(given)["fingerprint"]
