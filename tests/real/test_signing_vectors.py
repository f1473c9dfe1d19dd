"""The published vector of Standard Webhooks."""

import json

import pytest

from geo_offers import signing
from geo_offers.errors import Unauthenticated


@pytest.fixture(scope="module")
def vector(real_data):
    return json.loads((real_data / "vectors" / "webhook_webpush.json").read_text())["standard_webhooks"]


def test_our_signature_is_the_published_one(vector):
    made = signing.sign(vector["secret"], vector["msg_id"], vector["timestamp"], vector["payload"].encode())
    assert made == vector["signature"]


@pytest.mark.parametrize("prefix", ["", "whsec_"])
@pytest.mark.parametrize("others", ["", "v1,AAAA ", "v2,AAAA "])
def test_the_published_call_is_accepted_beside_other_signatures(vector, prefix, others):
    headers = {
        "webhook-id": vector["msg_id"],
        "webhook-timestamp": str(vector["timestamp"]),
        "webhook-signature": others + vector["signature"],
    }
    secret = prefix + vector["secret"].removeprefix("whsec_")
    signing.verify([secret], headers, vector["payload"].encode(), now_s=vector["timestamp"])
    with pytest.raises(Unauthenticated):
        signing.verify([secret], headers, vector["payload"].encode(), now_s=vector["timestamp"] + 301)
