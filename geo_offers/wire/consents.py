"""What proves a consent: what the person had before them, as the app tells it, and the ledger's rows of them."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from geo_offers.wire.base import SHA256, Answer, Locale, PurposeName, Request, TextVersion

ConsentTexts = Annotated[list[TextVersion], Meta(min_length=1, max_length=100)]


class ShownText(Request, frozen=True, kw_only=True, omit_defaults=True):
    """All of it may be left out.

    `locale` is the text's, `proof` the SHA-256 in hexadecimal of the text as shown or of another record that the app
    keeps, `said_at` the instant by the phone's own clock. `tc_string`, with `locate` alone and instead of `proof`: that
    of the app's consent tool, whose SHA-256 becomes the proof; without its special feature 1 nothing is granted.
    """

    locale: Locale | None = None
    proof: Annotated[str, Meta(pattern=SHA256, max_length=64)] | None = None
    said_at: datetime | None = None
    tc_string: Annotated[str, Meta(min_length=1, max_length=8192)] | None = None


class Agreed(ShownText, frozen=True, kw_only=True):
    """What somebody agrees to as they enrol: a version of the text, and what proves it."""

    text_version: TextVersion


class ConsentChange(ShownText, omit_defaults=True, frozen=True, kw_only=True):
    granted: bool
    text_version: TextVersion


class LedgerWord(Answer, frozen=True, kw_only=True):
    """One row of the ledger about the caller. `hash` seals it, and `prev_hash` is the seal of the row before it."""

    seq: int
    purpose: PurposeName
    granted: bool
    text_version: str
    surface: str
    at: datetime
    locale: str | None = None
    proof: str | None = None
    said_at: datetime | None = None
    prev_hash: str
    hash: str
