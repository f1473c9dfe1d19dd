"""The log lane."""

from math import inf

from structlog.testing import capture_logs

from geo_offers.gateways.log import LogLane
from geo_offers.pipeline.lanes import Accepted
from tests.support.messages import a_message


async def test_an_offer_is_one_line_without_token_text_or_place():
    message = a_message(push_token="secret-token")
    with capture_logs() as lines:
        assert await LogLane().send(message, inf) == Accepted()
    (line,) = lines
    assert line["event"] == "offer"
    assert (line["offer"], line["fence"]) == (str(message.offer), "town/bakery")
    assert line["expires_at"].endswith("Z")
    assert "secret-token" not in str(line)
    assert not {"lat", "lon", "body"} & line.keys()
