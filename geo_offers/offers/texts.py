"""What a campaign says, as its manager writes it: texts by locale, and the fields that stand in them.

A field is written `{name}`, just so; everything else is literal: doubled braces, `%s`, markup. Any other brace is no
field and refused when it is written, since whoever wrote it meant one: `{0.x}`, `{ store }`, `{store`. `STANDARD`
names need no declaration. A declared field has a type, and its value either fixed or from a source: the offer, the
campaign, the arrival, or the person's profile. Where a person may have no value a fallback may say what stands there
instead; without one the offer is none for that person.

All of these are plain values that can be hashed, so that what is made of them can be remembered.
"""

import re
from typing import Final, Literal

import msgspec

Kind = Literal["text", "number", "percent", "money", "distance", "date", "time", "datetime"]
Source = Literal["store", "fence", "workspace", "offer_end", "campaign_end", "distance", "profile"]
Style = Literal["short", "medium", "long", "full"]
Category = Literal["zero", "one", "two", "few", "many"]
Value = str | int | float

STANDARD: Final = ("store", "fence", "workspace")
UNCERTAIN: Final = ("profile", "distance")
PLACEHOLDER: Final = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_DOUBLED: Final = re.compile(r"\{\{|\}\}")
_STRAY: Final = re.compile(r"\{[^{}]*\}?|\}")


class Form(msgspec.Struct, frozen=True):
    """What a text says for a number of this category; None: what it says for others."""

    category: Category
    title: str | None = None
    body: str | None = None


class Plural(msgspec.Struct, frozen=True):
    """By which number a text changes. The text itself is the form `other`."""

    by: str
    forms: tuple[Form, ...]


class Text(msgspec.Struct, frozen=True, cache_hash=True):
    """What an offer says in one language; link and image are https addresses."""

    title: str
    body: str
    link: str | None = None
    image: str | None = None
    plural: Plural | None = None


class Field(msgspec.Struct, frozen=True, cache_hash=True):
    """One declared field.

    value: fixed; a percent as 20 for 20 %, a distance in metres, an instant as RFC 3339 text with its offset.
    source: where the value comes from if it is not fixed; attribute: the profile's.
    fallback: (locale, words) for who has no value. currency: ISO 4217, of money. style: how long a date is.
    """

    name: str
    kind: Kind
    value: Value | None = None
    source: Source | None = None
    attribute: str | None = None
    currency: str | None = None
    style: Style = "medium"
    fallback: tuple[tuple[str, str], ...] = ()

    @property
    def uncertain(self) -> bool:
        """Whether somebody may have no value."""
        return self.source in UNCERTAIN


STANDARD_FIELDS: Final = (
    Field("store", "text", source="store"),
    Field("fence", "text", source="fence"),
    Field("workspace", "text", source="workspace"),
)


def names(words: str) -> list[str]:
    """Names of the fields that stand in words."""
    return PLACEHOLDER.findall(words)


def stray(words: str) -> str | None:
    """What stands in single braces, or after one, and is no field's name; None where nothing does."""
    found = _STRAY.search(_DOUBLED.sub("", PLACEHOLDER.sub("", words)))
    return None if found is None else found.group()


def wordings(text: Text) -> list[tuple[str, str]]:
    """All that a text may say, each with its pointer below the text's own."""
    said = [("/title", text.title), ("/body", text.body)]
    for form in text.plural.forms if text.plural is not None else ():
        place = f"/plural/forms/{form.category}"
        said += [
            (f"{place}/{part}", words)
            for part, words in (("title", form.title), ("body", form.body))
            if words is not None
        ]
    return said
