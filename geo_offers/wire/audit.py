"""Who did what, as owners read it."""

from datetime import datetime

from geo_offers.wire.base import Answer, Page


class Deed(Answer, frozen=True, kw_only=True):
    """One entry of the audit: `caller` is the id of a key, `subject` what it was done to."""

    at: datetime
    caller: str
    action: str
    subject: str


class DeedPage(Page, frozen=True, kw_only=True):
    items: list[Deed]
