"""The log lane."""

from uuid import UUID

from structlog.testing import capture_logs

from geo_offers.gateways.log import LogLane
from geo_offers.pipeline.lanes import Accepted, Message


async def test_an_offer_is_one_line_without_token_text_or_place():
    message = Message(
        offer=UUID(int=1),
        workspace=UUID(int=2),
        user=UUID(int=3),
        device=UUID(int=4),
        platform="ios",
        push_token="secret-token",
        campaign=UUID(int=5),
        fence="town/bakery",
        title="Warm buns",
        body="Two for one",
        link=None,
        data=None,
        replace_key="r",
        created_us=0,
        expires_us=1_795_000_000_000_000,
    )
    with capture_logs() as lines:
        assert await LogLane().send(message) == Accepted()
    (line,) = lines
    assert line["event"] == "offer"
    assert (line["offer"], line["fence"]) == (str(message.offer), "town/bakery")
    assert line["expires_at"].endswith("Z")
    assert "secret-token" not in str(line)
    assert not {"lat", "lon", "body"} & line.keys()
