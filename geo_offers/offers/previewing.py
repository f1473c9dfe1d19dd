"""What invented people would read: every text of a campaign, filled in for samples, on every channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from geo_offers.offers.fitting import CHANNEL_BYTES, ENVELOPE_BYTES, Carried, carry, weight
from geo_offers.offers.rendering import Facts, Said, lacking, render
from geo_offers.offers.texts import Field, Text


@dataclass(frozen=True, slots=True)
class Shown:
    """The words on one channel. size: bytes of words, link and data; most: what it takes, None where nobody counts."""

    channel: str
    carried: Carried
    size: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What one person reads. lacking: fields without a value; such a person gets no offer of the campaign."""

    said: Said
    lacking: tuple[str, ...]
    channels: tuple[Shown, ...]


def previews(
    texts: Mapping[str, Text],
    fields: tuple[Field, ...],
    data: Mapping[str, str],
    sample: Facts,
    locales: Sequence[str],
) -> list[Preview]:
    """Fill a sample in, in each of these locales, which stand in for the sample's own."""
    found = []
    for locale in locales:
        facts = msgspec.structs.replace(sample, locale=locale)
        said = render(texts, fields, facts)
        shown = tuple(_shown(said, data, channel) for channel in CHANNEL_BYTES)
        found.append(Preview(said, tuple(lacking(texts, fields, facts)), shown))
    return found


def _shown(said: Said, data: Mapping[str, str], channel: str) -> Shown:
    carried, most = carry(said, data, channel), CHANNEL_BYTES[channel]
    size = weight(carried.title, carried.body, said.link, carried.data)
    return Shown(channel, carried, size, None if most is None else most - ENVELOPE_BYTES)
