"""The async Python SDK of geo-offers: enrol, consent, send pings, take offers; manage places and campaigns.

async with Client("http://127.0.0.1:8080", "pk_...") as client:
    device = await client.enrol(Enrolment(platform="android", consents={"locate": "v1", "offers": "v1"}))
    async with device.stream() as stream:
        answer = await stream.send([Ping(at="2026-05-01T10:00:00Z", lat=53.08, lon=8.81, accuracy_m=8)])
        async for offer in stream.offers():
            print(offer.title)
"""

from geo_offers.client.api import Client
from geo_offers.client.device import Device
from geo_offers.client.errors import ApiError, ClientError, ConnectionFailed, UnreadableAnswer
from geo_offers.client.live import LiveEvent
from geo_offers.client.manager import Manager
from geo_offers.client.retry import Patience
from geo_offers.client.seen import FileSeenStore, MemorySeenStore, SeenStore
from geo_offers.client.stream import Stream
from geo_offers.wire import Enrolment, Ping, PingsAnswer, Rhythm

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Device",
    "Enrolment",
    "FileSeenStore",
    "LiveEvent",
    "Manager",
    "MemorySeenStore",
    "Patience",
    "Ping",
    "PingsAnswer",
    "Rhythm",
    "SeenStore",
    "Stream",
    "UnreadableAnswer",
]
