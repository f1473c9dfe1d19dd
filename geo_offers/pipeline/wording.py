"""A campaign's words between the public contract and what decisions read, and what samples of people would read."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from geo_offers import wire
from geo_offers.instants import to_us
from geo_offers.offers.decide import OFFER_LIFE_US
from geo_offers.offers.previewing import Preview, Shown, previews
from geo_offers.offers.rendering import Facts
from geo_offers.offers.texts import Field, Form, Plural, Text


def texts_of(texts: Mapping[str, wire.Text]) -> dict[str, Text]:
    return {locale: _text(text) for locale, text in texts.items()}


def _text(text: wire.Text) -> Text:
    plural = None
    if text.plural is not None:
        forms = (Form(category, form.title, form.body) for category, form in text.plural.forms.items())
        plural = Plural(text.plural.by, tuple(forms))
    return Text(text.title, text.body, text.link, text.image, plural)


def fields_of(fields: Mapping[str, wire.TextField]) -> tuple[Field, ...]:
    return tuple(
        Field(
            name,
            field.type,
            field.value,
            field.from_,
            field.attribute,
            field.currency,
            field.style,
            tuple(field.fallback.items()),
        )
        for name, field in fields.items()
    )


def preview(
    campaign: wire.Campaign, workspace: wire.WorkspaceState, asked: wire.TextsAsked, now_us: int
) -> wire.TextsPreview:
    """What the samples would read of a campaign, in their locales, or in each of the campaign's. Zones must exist."""
    texts, fields = texts_of(campaign.texts), fields_of(campaign.fields)
    items = []
    for number, sample in enumerate(asked.samples):
        facts = _facts(sample, campaign, workspace, now_us)
        locales = tuple(texts) if sample.locale is None else (sample.locale,)
        items += [_item(number, seen) for seen in previews(texts, fields, campaign.data, facts, locales)]
    return wire.TextsPreview(campaign=campaign.id, version=campaign.version, items=items)


def _facts(sample: wire.TextSample, campaign: wire.Campaign, workspace: wire.WorkspaceState, now_us: int) -> Facts:
    at_us = now_us if sample.at is None else to_us(sample.at)
    until_us = None if campaign.schedule.until is None else to_us(campaign.schedule.until)
    ends_us = at_us + OFFER_LIFE_US
    return Facts(
        store=sample.store,
        fence=sample.fence,
        workspace=workspace.name,
        zone=ZoneInfo(sample.time_zone or workspace.time_zone),
        offer_end_us=ends_us if until_us is None else min(ends_us, until_us),
        campaign_end_us=until_us,
        distance_m=sample.distance_m,
        profile=sample.profile,
    )


def _item(sample: int, seen: Preview) -> wire.SampleWords:
    said = seen.said
    return wire.SampleWords(
        sample=sample,
        locale=said.locale,
        direction=said.direction,
        title=said.title,
        body=said.body,
        link=said.link,
        image=said.image,
        title_characters=len(said.title),
        body_characters=len(said.body),
        lacking=list(seen.lacking),
        channels=[_channel(shown) for shown in seen.channels],
    )


def _channel(shown: Shown) -> wire.ChannelWords:
    carried = shown.carried
    return wire.ChannelWords(
        channel=shown.channel,
        bytes=shown.size,
        most_bytes=shown.most,
        cut=list(carried.cut),
        title=carried.title if carried.cut else None,
        body=carried.body if carried.cut else None,
    )
