"""The published vector of RFC 8291, appendix A: our sealing, and the browser of the tests that opens it."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from geo_offers.gateways.webpush_sealing import MAX_PLAIN, from_base64url, read_keys, sealed
from tests.support.gateways.webpush import opened


@pytest.fixture(scope="module")
def vector(real_data):
    return json.loads((real_data / "vectors" / "webhook_webpush.json").read_text())["rfc8291_web_push"]


def private(text):
    return ec.derive_private_key(int.from_bytes(from_base64url(text), "big"), ec.SECP256R1())


def test_our_sealing_gives_the_published_body(vector):
    keys = read_keys(json.dumps({"p256dh": vector["ua_public"], "auth": vector["auth_secret"]}))
    salt, sender = from_base64url(vector["salt"]), private(vector["as_private"])
    body = sealed(vector["plaintext"].encode(), keys, salt=salt, sender=sender)
    assert body == from_base64url(vector["body"])


def test_the_browser_of_the_tests_opens_the_published_body(vector):
    plain = opened(from_base64url(vector["body"]), private(vector["ua_private"]), from_base64url(vector["auth_secret"]))
    assert plain.decode() == vector["plaintext"]


@pytest.mark.parametrize("length", [0, 1, 600, MAX_PLAIN])
def test_what_is_sealed_is_103_bytes_longer_and_opens_to_what_it_was(vector, length):
    keys = read_keys(json.dumps({"p256dh": vector["ua_public"], "auth": vector["auth_secret"]}))
    body = sealed(b"\x02\x00" * (length // 2) + b"x" * (length % 2), keys)
    assert len(body) == length + 103 <= 4096
    plain = opened(body, private(vector["ua_private"]), from_base64url(vector["auth_secret"]))
    assert len(plain) == length
