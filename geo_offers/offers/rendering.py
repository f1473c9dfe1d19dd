"""From a campaign's text to the words that one person reads.

A placeholder is `{store}`, `{fence}` or `{workspace}`, written just so; everything else is literal: doubled braces,
`%s`, `{0.x}`, markup. What is put in is not looked at again. A name in braces that is none of the three is a fault
when the campaign is written, not a surprise when it is sent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from geo_offers.errors import Fault

FIELDS: Final = ("store", "fence", "workspace")
MAX_LINK: Final = 2000
_PLACEHOLDER: Final = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")
_ECHO: Final = 64


@dataclass(frozen=True, slots=True)
class Text:
    """What an offer says in one language; the link is an https address."""

    title: str
    body: str
    link: str | None = None


def render(text: Text, values: Mapping[str, str]) -> Text:
    """Put the values of `FIELDS` in; a placeholder without a value stays as it is written."""

    def value(found: re.Match[str]) -> str:
        return values.get(found[1], found[0])

    return Text(_PLACEHOLDER.sub(value, text.title), _PLACEHOLDER.sub(value, text.body), text.link)


def pick(locales: Mapping[str, Text], wanted: str) -> str:
    """Choose the locale to speak: the person's own, else its language, else the campaign's first of at least one."""
    given = {_canonical(locale): locale for locale in locales}
    tag = _canonical(wanted)
    while tag:
        if tag in given:
            return given[tag]
        tag = tag.rpartition("-")[0]
    return next(iter(locales))


def _canonical(locale: str) -> str:
    return locale.replace("_", "-").lower()


def faults(text: Text, pointer: str) -> tuple[Fault, ...]:
    """Find what is wrong with a text; pointers begin with `pointer`."""
    found = [
        Fault(f"{pointer}/{part}", "unknown_field", f"{{{name[:_ECHO]}}} is no field; use one of {_fields()}.")
        for part, words in (("title", text.title), ("body", text.body))
        for name in _PLACEHOLDER.findall(words)
        if name not in FIELDS
    ]
    if text.link is not None and (wrong := _link_fault(text.link)) is not None:
        found.append(Fault(f"{pointer}/link", "link", wrong))
    return tuple(found)


def _fields() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)


def _link_fault(link: str) -> str | None:
    """Judge a link by its form alone: where it leads is for the app's owner to answer for."""
    if len(link) > MAX_LINK or not link.isascii() or not link.isprintable() or " " in link or "\\" in link:
        return f"A link has at most {MAX_LINK} characters, all of them printable ASCII; percent-encode the others."
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
        _ = parts.port  # reading it checks it
    except ValueError:
        return "The link cannot be read; give an address of the form https://host/path."
    if parts.scheme != "https" or not host:
        return "A link begins with https:// and names a host."
    if parts.username is not None or parts.password is not None:
        return "A link carries no user name and no password; leave them out."
    if _is_address(host) or "." not in host.strip("."):
        return "A link names a public host, not a number or a bare name; use its full name."
    return None


def _is_address(host: str) -> bool:
    if host.rpartition(".")[2].isdigit() or host.rpartition(".")[2].startswith("0x"):
        return True  # 127.1 and 0x7f.1 are addresses to a browser, though not to the parser below
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
