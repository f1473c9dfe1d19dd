"""From a campaign's text to the words that one person reads.

A text is taken apart once for each locale and kept; what is fixed in it is written then. What is put in is not looked
at again, holds no control or bidi characters, and is set apart where its direction is another than the text's (Unicode
isolates, UAX 9), so that it turns nothing around it over.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

from geo_offers.offers import formats
from geo_offers.offers.locales import Direction, direction, near, pick
from geo_offers.offers.texts import PLACEHOLDER, STANDARD_FIELDS, Field, Plural, Text, Value

__all__ = ["Facts", "Field", "Plural", "Said", "Text", "lacking", "pick", "render"]

FSI: Final = "\u2068"
PDI: Final = "\u2069"
_OPAQUE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = "\u200c\u200d"  # Persian is not written without the one, nor a family emoji without the other
_AGAINST_RTL: Final = frozenset({"L", "EN", "AN"})
_AGAINST_LTR: Final = frozenset({"R", "AL", "AN"})


class Facts(msgspec.Struct, frozen=True):
    """What the fields of one offer can be filled with.

    locale: the person's; zone: the fence's. distance_m: to the fence's border, 0 inside, None where it is not known.
    profile: of the person's attributes those that may be used; none without the consent `profile`.
    """

    store: str
    fence: str
    workspace: str
    zone: ZoneInfo
    locale: str = ""
    offer_end_us: int | None = None
    campaign_end_us: int | None = None
    distance_m: float | None = None
    profile: Mapping[str, Value] = {}


class Said(msgspec.Struct, frozen=True):
    """What one person reads. locale: the text's; fields without a value stand in it as they are written."""

    title: str
    body: str
    link: str | None
    image: str | None
    locale: str
    direction: Direction

    def data(self, campaigns: Mapping[str, str]) -> Mapping[str, str]:
        """The campaign's data with what the app needs to show the words: `image`, and `dir` where that is rtl."""
        if self.image is None and self.direction == "ltr":
            return campaigns
        more = {} if self.image is None else {"image": self.image}
        return more | ({"dir": "rtl"} if self.direction == "rtl" else {}) | dict(campaigns)


def render(texts: Mapping[str, Text], fields: tuple[Field, ...], facts: Facts) -> Said:
    """Choose the text of at least one and fill it in."""
    locale = pick(texts, facts.locale)
    text = texts[locale]
    script = _script(text, fields, locale)
    title, body = script.wordings[script.category(facts)] if script.category is not None else script.other
    return Said(_filled(title, facts), _filled(body, facts), text.link, text.image, locale, script.direction)


def lacking(texts: Mapping[str, Text], fields: tuple[Field, ...], facts: Facts) -> Sequence[str]:
    """Name the fields that the text for this person needs and has no value for."""
    if not texts:
        return ()
    locale = pick(texts, facts.locale)
    needed = _script(texts[locale], fields, locale).needed
    return [found.name for found in needed if value_of(found, facts) is None]


def value_of(declared: Field, facts: Facts) -> Value | None:
    """The value of a field, of its type; None where there is none."""
    if declared.value is not None:
        return formats.read(declared, declared.value)
    match declared.source:
        case "store":
            return facts.store
        case "fence":
            return facts.fence
        case "workspace":
            return facts.workspace
        case "offer_end":
            return _minute(facts.offer_end_us)
        case "campaign_end":
            return _minute(facts.campaign_end_us)
        case "distance":
            return facts.distance_m
        case "profile":
            return formats.read(declared, facts.profile.get(declared.attribute or ""))
        case None:
            return None


def _minute(at_us: int | None) -> int | None:
    """Whole minutes: an offer that ends within one is not promised for longer."""
    return None if at_us is None else at_us // formats.MINUTE_US


# ------------------------------------------------------------------------------------------------ taken apart
_Piece: TypeAlias = str | Callable[[Facts], str]
_Pieces: TypeAlias = tuple[_Piece, ...]


class _Script(msgspec.Struct, frozen=True):
    """A text taken apart. needed: fields whose value may be missing; wordings: title and body by plural category."""

    direction: Direction
    needed: tuple[Field, ...]
    other: tuple[_Pieces, _Pieces]
    wordings: Mapping[str, tuple[_Pieces, _Pieces]]
    category: Callable[[Facts], str] | None


@lru_cache(maxsize=8192)
def _script(text: Text, fields: tuple[Field, ...], locale: str) -> _Script:
    declared = {found.name: found for found in (*STANDARD_FIELDS, *fields)}
    used: dict[str, Field] = {}

    def pieces(words: str) -> _Pieces:
        made: list[_Piece] = []
        for number, part in enumerate(PLACEHOLDER.split(words)):
            if number % 2 == 0:
                made.append(part)
            elif part in declared:
                used[part] = declared[part]
                made.append(_writer(declared[part], locale))
            else:
                made.append(f"{{{part}}}")
        return _merged(made)

    other = pieces(text.title), pieces(text.body)
    wordings = {"other": other}
    for form in text.plural.forms if text.plural is not None else ():
        title = other[0] if form.title is None else pieces(form.title)
        wordings[form.category] = title, other[1] if form.body is None else pieces(form.body)
    category = None if text.plural is None else _category(declared[text.plural.by], locale, frozenset(wordings))
    needed = tuple(found for found in used.values() if found.uncertain and not found.fallback)
    return _Script(direction(locale), needed, other, wordings, category)


def _merged(made: Sequence[_Piece]) -> _Pieces:
    """Neighbouring literal pieces as one."""
    merged: list[_Piece] = []
    for piece in made:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        elif piece != "":
            merged.append(piece)
    return tuple(merged)


def _filled(pieces: _Pieces, facts: Facts) -> str:
    return "".join([piece if isinstance(piece, str) else piece(facts) for piece in pieces])


def _category(by: Field, locale: str, told: frozenset[str]) -> Callable[[Facts], str]:
    rule = formats.plural_of(locale)

    def category(facts: Facts) -> str:
        number = value_of(by, facts)
        found = "other" if number is None else rule(number)
        return found if found in told else "other"

    return category


def _writer(declared: Field, locale: str) -> _Piece:
    """What writes a field in a text of this locale: words where they are fixed, else a function of the facts."""
    rtl = direction(locale) == "rtl"
    instead = _instead(declared, locale)

    def write(facts: Facts) -> str:
        value = value_of(declared, facts)
        if value is None:
            return instead
        words = (
            _clean(value)
            if isinstance(value, str)
            else formats.written(declared, value, locale, facts.zone, formats.lengths_of(facts.locale))
        )
        return _isolated(words, rtl=rtl)

    fixed = declared.value is not None and declared.kind in ("text", "number", "percent", "money")
    return write(_NOBODY) if fixed else write


_NOBODY: Final = Facts("", "", "", ZoneInfo("UTC"))


def _instead(declared: Field, locale: str) -> str:
    """What stands in for a missing value: the fallback in the text's language, else the field as it is written."""
    spoken = near(tuple(tag for tag, _ in declared.fallback), locale)
    words = next((words for tag, words in declared.fallback if tag == spoken), f"{{{declared.name}}}")
    return _isolated(words, rtl=direction(locale) == "rtl")


def _clean(words: str) -> str:
    """Words of somebody else's without what would act on the words around them."""
    if words.isprintable():
        return words
    return "".join(sign for sign in words if sign in _JOINERS or unicodedata.category(sign) not in _OPAQUE)


def _isolated(words: str, *, rtl: bool) -> str:
    """Words with isolates around them where they are, or may be, written the other way than the text."""
    if words.isascii() and not rtl:
        return words
    against = _AGAINST_RTL if rtl else _AGAINST_LTR
    return f"{FSI}{words}{PDI}" if any(unicodedata.bidirectional(sign) in against for sign in words) else words
