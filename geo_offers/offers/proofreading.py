"""What is wrong with a campaign's texts and fields, found when they are written, at the pointers of the public body."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from geo_offers.errors import Fault
from geo_offers.offers import fitting, formats
from geo_offers.offers.links import link_fault
from geo_offers.offers.locales import near
from geo_offers.offers.texts import (
    PLACEHOLDER,
    STANDARD,
    STANDARD_FIELDS,
    Field,
    Plural,
    Source,
    Text,
    names,
    stray,
    wordings,
)

_ECHO: Final = 64
_INSTANTS: Final = ("date", "time", "datetime")
_SOURCES: Final[Mapping[str, tuple[Source, ...]]] = {
    "text": ("store", "fence", "workspace", "profile"),
    "distance": ("distance", "profile"),
    **dict.fromkeys(("number", "percent", "money"), ("profile",)),
    **dict.fromkeys(_INSTANTS, ("offer_end", "campaign_end", "profile")),
}
_VALUES: Final = {
    "text": "words",
    "distance": "a number of metres, 0 or more",
    **dict.fromkeys(("number", "percent", "money"), "a number"),
    **dict.fromkeys(_INSTANTS, "an instant with its offset, as 2026-12-24T18:00:00+01:00"),
}


def faults(
    texts: Mapping[str, Text], fields: Sequence[Field], data: Mapping[str, str], *, ends: bool
) -> tuple[Fault, ...]:
    """Find all of it. data: what goes along with the words; ends: whether the campaign has an end."""
    found = [fault for field in fields for fault in _field_faults(field, texts, ends=ends)]
    declared = {field.name: field for field in (*STANDARD_FIELDS, *fields)}
    for locale, text in texts.items():
        found += _text_faults(text, locale, declared, data)
    if "image" in data and any(text.image is not None for text in texts.values()):
        found.append(Fault("/data/image", "image", "A text has an image, which goes by this name; name one of them."))
    return tuple(found)


# ------------------------------------------------------------------------------------------------ fields
def _field_faults(field: Field, texts: Mapping[str, Text], *, ends: bool) -> Iterator[Fault]:
    at = f"/fields/{field.name}"
    if field.name in STANDARD:
        yield Fault(at, "reserved", f"{{{field.name}}} is there without being declared; choose another name.")
    yield from _value_faults(field, at, ends=ends)
    if (field.attribute is not None) != (field.source == "profile"):
        yield Fault(f"{at}/attribute", "attribute", "An attribute goes with the source profile and only with it.")
    if (field.currency is not None) != (field.kind == "money"):
        yield Fault(f"{at}/currency", "currency", "A currency goes with the type money and only with it.")
    elif field.currency is not None and not formats.is_currency(field.currency):
        yield Fault(f"{at}/currency", "currency", "There is no such currency; give its ISO 4217 code, such as EUR.")
    yield from _fallback_faults(field, texts, at)


def _value_faults(field: Field, at: str, *, ends: bool) -> Iterator[Fault]:
    if field.value is None and field.source is None:
        yield Fault(at, "missing", "A field has a value, or says by from where it comes from; give one of the two.")
    elif field.value is not None and field.source is not None:
        yield Fault(f"{at}/from", "both", "A field with a value comes from nowhere else; drop one of the two.")
    elif field.value is not None:
        if formats.read(field, field.value) is None:
            yield Fault(f"{at}/value", "value", f"The value of a {field.kind} is {_VALUES[field.kind]}.")
    elif field.source not in _SOURCES[field.kind]:
        fitting_ones = ", ".join(_SOURCES[field.kind])
        yield Fault(f"{at}/from", "source", f"A {field.kind} comes from one of these: {fitting_ones}.")
    elif field.source == "campaign_end" and not ends:
        yield Fault(f"{at}/from", "campaign_end", "The campaign has no end; give its schedule one.")


def _fallback_faults(field: Field, texts: Mapping[str, Text], at: str) -> Iterator[Fault]:
    if not field.fallback:
        return
    if not field.uncertain:
        yield Fault(f"{at}/fallback", "fallback", "This field always has a value and needs no fallback; leave it out.")
        return
    spoken = tuple(locale for locale, _ in field.fallback)
    for locale, text in texts.items():
        used = any(field.name in names(words) for _, words in wordings(text))
        if used and near(spoken, locale) is None:
            yield Fault(f"{at}/fallback", "missing", f"Say what stands there in {locale[:_ECHO]}, too.")
    for locale, words in field.fallback:
        if PLACEHOLDER.search(words) or stray(words) is not None:
            yield Fault(f"{at}/fallback/{locale}", "unknown_field", "A fallback holds no fields; write plain words.")


# ------------------------------------------------------------------------------------------------ texts
def _text_faults(text: Text, locale: str, declared: Mapping[str, Field], data: Mapping[str, str]) -> Iterator[Fault]:
    at = f"/texts/{locale}"
    used = {name for _, words in wordings(text) for name in names(words)}
    for place, words in wordings(text):
        for name in names(words):
            if name not in declared:
                known = ", ".join(f"{{{one}}}" for one in declared)
                yield Fault(f"{at}{place}", "unknown_field", f"{{{name[:_ECHO]}}} is no field; use one of {known}.")
        if (braced := stray(words)) is not None:
            yield Fault(f"{at}{place}", "unknown_field", f"{braced[:_ECHO]} is no field; a field is written {{store}}.")
    for part, address in (("link", text.link), ("image", text.image)):
        if address is not None and (wrong := link_fault(address)) is not None:
            yield Fault(f"{at}/{part}", part, wrong)
    formatted = text.plural is not None or any(name in declared and declared[name].kind != "text" for name in used)
    if formatted and formats.known(locale) is None:
        yield Fault(at, "locale", "No rules are known for this locale: plurals, numbers and dates cannot be written.")
    elif text.plural is not None:
        yield from _plural_faults(text.plural, locale, declared, f"{at}/plural")
    yield from _length_faults(text, data, at)


def _plural_faults(plural: Plural, locale: str, declared: Mapping[str, Field], at: str) -> Iterator[Fault]:
    if plural.by not in declared or declared[plural.by].kind != "number":
        yield Fault(f"{at}/by", "plural", "A text changes by a declared field of the type number; name one.")
    has, needs = formats.categories(locale)
    told = {form.category for form in plural.forms}
    for category in sorted(told - has):
        yield Fault(f"{at}/forms/{category}", "plural", "This language has no such form; leave it out.")
    for missing in sorted(needs - told):
        yield Fault(f"{at}/forms/{missing}", "missing", "This language tells these numbers apart; give the form.")


def _length_faults(text: Text, data: Mapping[str, str], at: str) -> Iterator[Fault]:
    """Whether the words fit beside link, image and data even when nothing is put into them."""
    left = fitting.NARROWEST - fitting.ENVELOPE_BYTES - fitting.weight(text.link, text.image, data)
    literal = [fitting.weight(PLACEHOLDER.sub("", words)) for _, words in wordings(text)]
    if left < max(fitting.LEAST_WORDS, sum(literal[:2]), *literal):
        yield Fault(
            at,
            "too_long",
            f"A push message has {fitting.NARROWEST} bytes; shorten the link, the image, data or the words.",
        )
