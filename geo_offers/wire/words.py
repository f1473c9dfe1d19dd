"""The words of a campaign: fields, plurals, and what samples of people would read."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from geo_offers.wire.base import FIELD_NAME, Answer, Identifier, Locale, Name, Request, Zone

FieldName = Annotated[str, Meta(pattern=FIELD_NAME, max_length=32)]
FieldWords = Annotated[str, Meta(min_length=1, max_length=200)]
FieldValue = (
    Annotated[int, Meta(ge=-(10**12), le=10**12)]
    | Annotated[float, Meta(ge=-(10**12), le=10**12)]
    | Annotated[str, Meta(min_length=1, max_length=200)]
)
TitleText = Annotated[str, Meta(min_length=1, max_length=100)]
BodyText = Annotated[str, Meta(min_length=1, max_length=400)]


class TextField(Request, frozen=True, kw_only=True):
    """What `{name}` in a text stands for: a fixed `value`, or one `from` somewhere; exactly one of the two.

    A percent is written 20, a distance in metres, an instant as RFC 3339 text with its offset.
    """

    type: Literal["text", "number", "percent", "money", "distance", "date", "time", "datetime"]
    value: FieldValue | None = None
    from_: Literal["store", "fence", "workspace", "offer_end", "campaign_end", "distance", "profile"] | None = (
        msgspec.field(name="from", default=None)
    )
    attribute: Identifier | None = None
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    style: Literal["short", "medium", "long", "full"] = "medium"
    fallback: Annotated[dict[Locale, FieldWords], Meta(max_length=50)] = {}


TextFields = Annotated[dict[FieldName, TextField], Meta(max_length=16)]


class PluralForm(Request, frozen=True, kw_only=True):
    """What is said for numbers of this form; what is left out is as in the text itself."""

    title: TitleText | None = None
    body: BodyText | None = None


class Plural(Request, frozen=True, kw_only=True):
    """The text by a declared number, in the plural forms of CLDR; the text itself is the form `other`."""

    by: FieldName
    forms: Annotated[
        dict[Literal["zero", "one", "two", "few", "many"], PluralForm],
        Meta(min_length=1),
    ]


class TextSample(Request, frozen=True, kw_only=True):
    """An invented person at an invented place. `locale`: theirs; without one every text is shown in its own."""

    locale: Locale | None = None
    store: Name = "Main Street"
    fence: Name = "Main Street"
    time_zone: Zone | None = None
    at: datetime | None = None
    distance_m: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    profile: Annotated[dict[Identifier, FieldValue], Meta(max_length=32)] = {}


class TextsAsked(Request, frozen=True, kw_only=True):
    samples: Annotated[list[TextSample], Meta(min_length=1, max_length=10)] = msgspec.field(
        default_factory=lambda: [TextSample()]
    )


class ChannelWords(Answer, frozen=True, kw_only=True):
    """What one channel carries. `bytes` of `most_bytes`, where they are counted; words only where they were cut."""

    channel: str
    bytes: int
    most_bytes: int | None = None
    cut: list[Literal["title", "body"]] = []
    title: str | None = None
    body: str | None = None


class SampleWords(Answer, frozen=True, kw_only=True):
    """What one sample reads. `lacking`: fields without a value, for which this person would get no offer."""

    sample: int
    locale: Annotated[str, Meta(description="the text's")]
    direction: Literal["ltr", "rtl"]
    title: str
    body: str
    link: str | None = None
    image: str | None = None
    title_characters: int
    body_characters: int
    lacking: list[str] = []
    channels: list[ChannelWords]


class TextsPreview(Answer, frozen=True, kw_only=True):
    campaign: UUID
    version: int
    items: list[SampleWords]
