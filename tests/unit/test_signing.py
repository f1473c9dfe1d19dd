"""Standard Webhooks signatures, checked against the reference package."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from geo_offers import clock, signing
from geo_offers.errors import Misconfigured, Unauthenticated

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
NOW_S = 1_795_000_000
BODY = b'{"type":"offer.push"}'


def headers(**changed: str) -> dict[str, str]:
    made = signing.signed_headers([SECRET], "offer-1", NOW_S, BODY)
    return made | {name.replace("_", "-"): value for name, value in changed.items()}


@given(st.binary(min_size=1, max_size=64), st.uuids(), st.integers(0, 4_000_000_000), st.text(max_size=200))
def test_a_signature_is_the_one_that_the_reference_package_makes(raw, message_id, timestamp_s, body):
    secret = base64.b64encode(raw).decode()
    reference = Webhook(secret).sign(str(message_id), datetime.fromtimestamp(timestamp_s, UTC), body)
    assert signing.sign("whsec_" + secret, str(message_id), timestamp_s, body.encode()) == reference


def test_the_reference_package_accepts_our_headers_now():
    now_s = clock.now_us() // 1_000_000
    made = signing.signed_headers([SECRET], "offer-1", now_s, BODY)
    assert Webhook(SECRET).verify(BODY, made) == json.loads(BODY)


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("=")])
def test_a_secret_may_lack_its_prefix_and_its_padding(secret):
    signing.verify([secret], headers(), BODY, now_s=NOW_S)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "ä", "whsec_A"])
def test_a_secret_that_is_none_is_refused_with_a_sentence(secret):
    with pytest.raises(Misconfigured, match="secret"):
        signing.key(secret)


def test_while_secrets_are_rotated_both_sign_and_either_verifies():
    made = signing.signed_headers([OTHER, SECRET], "offer-1", NOW_S, BODY)
    assert len(made["webhook-signature"].split(" ")) == 2
    signing.verify([SECRET], made, BODY, now_s=NOW_S)
    signing.verify([OTHER], made, BODY, now_s=NOW_S)
    signing.verify([OTHER, SECRET], headers(), BODY, now_s=NOW_S)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(name):
    made = headers()
    del made[name]
    with pytest.raises(Unauthenticated):
        signing.verify([SECRET], made, BODY, now_s=NOW_S)


@pytest.mark.parametrize("timestamp", ["soon", "", "-1", "1e9", "٣", "9" * 5000, f"{NOW_S}.0"])
def test_a_timestamp_that_is_no_number_is_refused(timestamp):
    with pytest.raises(Unauthenticated):
        signing.verify([SECRET], headers(webhook_timestamp=timestamp), BODY, now_s=NOW_S)


@pytest.mark.parametrize(("late_s", "good"), [(300, True), (301, False), (-300, True), (-301, False)])
def test_the_tolerance_is_five_minutes_either_way(late_s, good):
    if good:
        signing.verify([SECRET], headers(), BODY, now_s=NOW_S + late_s)
    else:
        with pytest.raises(Unauthenticated, match="5 minutes"):
            signing.verify([SECRET], headers(), BODY, now_s=NOW_S + late_s)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook_id": "offer-2"},
        {"webhook_timestamp": str(NOW_S + 1)},
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": "v2," + signing.sign(SECRET, "offer-1", NOW_S, BODY).removeprefix("v1,")},
        {"webhook_signature": "garbage"},
        {"webhook_signature": "v1,ä"},
        {"webhook_signature": "v1"},
        {"webhook_signature": " " * 100},
    ],
)
def test_what_was_not_signed_so_is_refused(changed):
    with pytest.raises(Unauthenticated):
        signing.verify([SECRET], headers(**changed), BODY, now_s=NOW_S)


def test_another_body_or_another_secret_is_refused():
    with pytest.raises(Unauthenticated):
        signing.verify([SECRET], headers(), BODY + b" ", now_s=NOW_S)
    with pytest.raises(Unauthenticated):
        signing.verify([OTHER], headers(), BODY, now_s=NOW_S)
    with pytest.raises(Unauthenticated):
        signing.verify([], headers(), BODY, now_s=NOW_S)


def test_unreadable_and_foreign_signatures_beside_a_good_one_are_skipped():
    good = headers()["webhook-signature"]
    mixed = f"v1a,{'A' * 88} nonsense v1,%% {good}"
    signing.verify([SECRET], headers(webhook_signature=mixed), BODY, now_s=NOW_S)


def test_header_names_are_compared_without_case():
    signing.verify([SECRET], {name.title(): value for name, value in headers().items()}, BODY, now_s=NOW_S)


def test_an_id_with_a_full_stop_is_not_signed():
    with pytest.raises(ValueError, match="full stop"):
        signing.sign(SECRET, "a.1", NOW_S, BODY)
