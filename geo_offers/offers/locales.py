"""Which of a campaign's languages a person is spoken to in, and which way it is written.

Locales are told apart by what they mean, not by how they are spelled: `pt` and `pt-BR` are one, `zh-TW` is written as
`zh-Hant` is. From a locale the way leads to its parents as CLDR has them (`es-AR`, `es-419`, `es`; `zh-Hant` has none:
it is no kind of `zh`), then to any text in the same language, then to the campaign's first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from babel.core import get_global

Direction = Literal["ltr", "rtl"]

_RTL: Final = frozenset({"Adlm", "Arab", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa"})
_TAG: Final = re.compile(r"([a-z]{2,3})(?:_([a-z]{4}))?(?:_([a-z]{2}|[0-9]{3}))?(?:_.*)?", re.ASCII)
# Both are read from babel's files once, here, so that no decision does.
_LIKELY: Final[Mapping[str, str]] = get_global("likely_subtags")
_PARENTS: Final[Mapping[str, str]] = get_global("parent_exceptions")
_LANGUAGES: Final[Mapping[str, Any]] = get_global("language_aliases")


def pick(locales: Iterable[str], wanted: str) -> str:
    """Choose the locale to speak of at least one, the first of which is the fallback."""
    given = tuple(locales)
    return near(given, wanted) or given[0]


@lru_cache(maxsize=4096)
def near(given: tuple[str, ...], wanted: str) -> str | None:
    """Find the locale that is the wanted one, its nearest parent, or at least of its language; None where none is."""
    parted = _parted(wanted)
    if parted is None:
        return None
    meant = {normal(locale): locale for locale in reversed(given)}  # of two of the same meaning the first holds
    for tag in _way(parted):
        if tag in meant:
            return meant[tag]
    same = (locale for locale in given if (other := _parted(locale)) is not None and other[0] == parted[0])
    return next(same, None)


@lru_cache(maxsize=4096)
def normal(locale: str) -> str:
    """Spell a locale as CLDR does, without a script that goes without saying; what is none stays as it is."""
    parted = _parted(locale)
    return locale if parted is None else _joined(*parted)


@lru_cache(maxsize=4096)
def direction(locale: str) -> Direction:
    """Tell the way in which a locale's script is written."""
    parted = _parted(locale)
    return "rtl" if parted is not None and (parted[1] or _script(parted[0], parted[2])) in _RTL else "ltr"


def territory(locale: str) -> str | None:
    """The territory that a locale names, if it names one."""
    parted = _parted(locale)
    return (parted[2] or None) if parted is not None else None


def _parted(locale: str) -> tuple[str, str, str] | None:
    """Language, script and territory, the latter two "" where they are not named; None for what is no locale."""
    found = _TAG.fullmatch(locale.replace("-", "_").lower())
    if found is None:
        return None
    language = str(_LANGUAGES.get(found[1], found[1])).partition("_")[0]
    return language, (found[2] or "").title(), (found[3] or "").upper()


def _script(language: str, territory: str) -> str:
    """The script that goes without saying."""
    likely = _LIKELY.get(f"{language}_{territory}") or _LIKELY.get(language, "")
    return next((part for part in likely.split("_")[1:] if len(part) == 4), "")


def _joined(language: str, script: str, territory: str) -> str:
    named = script if script != _script(language, territory) else ""
    return "_".join(part for part in (language, named, territory) if part)


def _way(parted: tuple[str, str, str]) -> Iterator[str]:
    """The locale itself and its parents, nearest first; for a bare language then that of its most speakers."""
    tag = _joined(*parted)
    while tag != "root":
        yield tag
        tag = _parent(tag)
    language, script, place = parted
    yield _joined(language, script, _likely_territory(language, script or _script(language, place)))


def _parent(tag: str) -> str:
    parted = _parted(tag)
    if parted is None:
        return "root"
    language, script, place = parted
    script = script or _script(language, place)
    above = _PARENTS.get(tag) or _PARENTS.get("_".join(part for part in (language, script, place) if part))
    if above is not None:
        return normal(above)
    return _joined(language, script, "") if place else "root"


def _likely_territory(language: str, script: str) -> str:
    likely = _LIKELY.get(f"{language}_{script}") or _LIKELY.get(language, "")
    last = likely.rpartition("_")[2]
    return last if len(last) in (2, 3) and last != language else ""
