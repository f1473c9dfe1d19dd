"""Numbers, money, dates and distances as a locale writes them, by CLDR through babel.

The locale is the text's, not the person's: what a manager saw in the preview is what is sent. Of the person only the
territory counts, and that for lengths alone: whose locale names a country of miles reads miles. Digits are 0 to 9 in
all locales. Babel's formatting takes 60 to 150 µs, so whoever formats the same value again keeps what came out.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

from babel import Locale
from babel.core import UnknownLocaleError, get_global
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_currency, format_decimal, format_percent
from babel.units import format_unit

from geo_offers import instants
from geo_offers.offers.locales import normal, territory
from geo_offers.offers.texts import Field, Style, Value

MINUTE_US: Final = 60_000_000
MOST: Final = 1e12  # of a number, either way
_CURRENCIES: Final = frozenset(get_global("all_currencies"))
_NUMBERS: Final = ("number", "percent", "money", "distance")

Lengths = Literal["metric", "us", "uk"]
_LENGTHS: Final[dict[str, Lengths]] = {"US": "us", "LR": "us", "MM": "us", "GB": "uk"}
_FOOT_M, _YARD_M, _MILE_M = 0.3048, 0.9144, 1609.344


def known(locale: str) -> Locale | None:
    """CLDR's data of a locale, of its language where it has none of the territory; None where it has neither."""
    spelled = normal(locale)
    while spelled:
        try:
            return Locale.parse(spelled)
        except (UnknownLocaleError, ValueError):
            spelled = spelled.rpartition("_")[0]
    return None


def _rules(locale: str) -> Locale:
    """Those of a locale that nobody knows, such as of a campaign from another release, are CLDR's root's."""
    return known(locale) or Locale("root")


def is_currency(code: str) -> bool:
    return code in _CURRENCIES


def lengths_of(locale: str) -> Lengths:
    return _LENGTHS.get(territory(locale) or "", "metric")


def read(field: Field, value: object) -> Value | None:
    """Take a value as one of the field's type: instants as whole minutes since 1970; None where it is none."""
    if field.kind == "text":
        return value if isinstance(value, str) and value else None
    if field.kind in _NUMBERS:
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MOST:
            return None  # true is no number, and neither is what is none by its name
        return None if field.kind == "distance" and value < 0 else value
    at_us = instants.parse(value) if isinstance(value, str) else None
    return None if at_us is None else at_us // MINUTE_US


def written(field: Field, value: float, locale: str, zone: ZoneInfo, lengths: Lengths) -> str:
    """Write a value that `read` gave and that is no text. zone: the wall by whose clock an instant is told."""
    if field.kind in ("date", "time", "datetime"):
        return _instant(field.kind, field.style, locale, int(value), zone)
    if field.kind == "distance":
        return _length(_rounded(value, lengths), locale)
    return _number(field.kind, str(value), locale, field.currency)


@lru_cache(maxsize=4096)
def plural_of(locale: str) -> Callable[[Value], str]:
    """The CLDR rule by which a locale tells numbers apart."""
    rule = _rules(locale).plural_form
    return lambda number: str(rule(_plain(str(number))))


@lru_cache(maxsize=1024)
def categories(locale: str) -> tuple[frozenset[str], frozenset[str]]:
    """The plural categories that a locale has besides `other`, and of them those that numbers up to 200 meet."""
    found = known(locale)
    if found is None:
        return frozenset(), frozenset()
    rule = found.plural_form
    return frozenset(rule.tags) - {"other"}, frozenset(rule(number) for number in range(201)) - {"other"}


@lru_cache(maxsize=4096)
def _number(kind: str, digits: str, locale: str, currency: str | None) -> str:
    number, by = _plain(digits), _rules(locale)
    if kind == "percent":
        return format_percent(number / 100, locale=by, decimal_quantization=False)
    if kind == "money" and currency is not None:
        return format_currency(number, currency, locale=by)
    return format_decimal(number, locale=by)


def _plain(digits: str) -> Decimal:
    """A number as it is shown: to the thousandth, without noughts at its end."""
    number = round(Decimal(digits), 3)
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


@lru_cache(maxsize=4096)
def _instant(kind: str, style: Style, locale: str, minute: int, zone: ZoneInfo) -> str:
    shown: datetime = instants.from_us(minute * MINUTE_US).astimezone(zone)
    by = _rules(locale)
    if kind == "date":
        return format_date(shown, style, locale=by)
    clock = format_time(shown.replace(tzinfo=None), "short", locale=by)
    if kind == "time":
        return clock
    frame = str(get_datetime_format(style, locale=by)).replace("'", "")
    return frame.replace("{0}", clock).replace("{1}", format_date(shown, style, locale=by))


def _rounded(metres: float, lengths: Lengths) -> tuple[float, str]:
    """As CLDR has lengths of roads: in round tens and fifties, and from half a mile or 0.9 km in the larger unit."""
    if lengths == "metric":
        return (round(metres / 1000, 1), "length-kilometer") if metres >= 900 else (_round(metres), "length-meter")
    if metres >= _MILE_M / 2:
        return round(metres / _MILE_M, 1), "length-mile"
    if lengths == "us":
        return _round(metres / _FOOT_M), "length-foot"
    return _round(metres / _YARD_M), "length-yard"


def _round(length: float) -> float:
    step = 50 if length >= 300 else 10
    return round(length / step) * step


@lru_cache(maxsize=4096)
def _length(rounded: tuple[float, str], locale: str) -> str:
    amount, unit = rounded
    return format_unit(_plain(str(amount)), unit, "short", locale=_rules(locale))
