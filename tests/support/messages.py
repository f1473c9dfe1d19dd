"""A message as a lane gets it."""

from typing import Any
from uuid import UUID

from geo_offers import clock
from geo_offers.pipeline.lanes import Message


def a_message(**changed: Any) -> Message:
    """One offer that lives for 90.5 s from now; `changed` are its fields."""
    now_us = clock.now_us()
    fields: dict[str, Any] = {
        "offer": UUID(int=1),
        "workspace": UUID(int=2),
        "user": UUID(int=3),
        "device": UUID(int=4),
        "platform": "ios",
        "push_token": "token-1",
        "campaign": UUID(int=5),
        "fence": "town/bakery",
        "title": "Warm buns",
        "body": "Two for one",
        "link": None,
        "data": {"code": "BUN"},
        "replace_key": "r" * 32,
        "created_us": now_us,
        "expires_us": now_us + 90_500_000,
    }
    return Message(**(fields | changed))
