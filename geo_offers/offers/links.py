"""Links and images of an offer, judged by their form alone.

Nothing is fetched: who fetches what a tenant names can be sent anywhere. Where an address leads, and whither it leads
on, is for the app's owner to answer for; that it cannot lead into a private network by its name, and does not pass for
another, is seen here.
"""

import unicodedata
from typing import Final
from urllib.parse import urlsplit

from geo_offers import hosts

MAX_LINK: Final = 2000

# Scripts that are written together; any other two in one label are a disguise.
_TOGETHER: Final = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)
# Letters of other scripts that are drawn as Latin ones: a label of nothing else passes for a Latin name.
_DRAWN_ALIKE: Final = frozenset("аеорсухівјѕԁԛԝһӏүгпшьєкмнтυαονρκιετωγηӕɑɡοѵҫ")


def link_fault(link: str) -> str | None:
    """Say what is wrong with an address, None where nothing is."""
    if len(link) > MAX_LINK or not link.isascii() or not link.isprintable() or " " in link or "\\" in link:
        return f"A link has at most {MAX_LINK} characters, all of them printable ASCII; percent-encode the others."
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").removesuffix(".")
        _ = parts.port  # reading it checks it
    except ValueError:
        return "The link cannot be read; give an address of the form https://host/path."
    if parts.scheme != "https" or not host:
        return "A link begins with https:// and names a host."
    if parts.username is not None or parts.password is not None:
        return "A link carries no user name and no password; leave them out."
    return _host_fault(host)


def _host_fault(host: str) -> str | None:
    if hosts.is_number(host) or "." not in host:
        return "A link names a public host, not a number or a bare name; use its full name."
    if hosts.is_private_name(host):
        return "A link names a public host; nobody outside finds this one."
    if not hosts.is_name(host):
        return "The link's host is no name; it has letters, digits and hyphens, with dots between."
    if any(_disguised(label) for label in host.split(".")):
        return "The link's host mixes scripts or passes for another name; use one that reads as what it is."
    return None


def _disguised(label: str) -> bool:
    """Whether a label of a host is an international one that no reader could tell from another, or is none at all."""
    if not label.startswith("xn--"):
        return False
    try:
        shown = label.removeprefix("xn--").encode("ascii").decode("punycode")
        honest = shown.encode("punycode").decode("ascii") == label.removeprefix("xn--")
    except (UnicodeError, ValueError):
        return True
    if not honest or shown.isascii() or unicodedata.normalize("NFKC", shown).lower() != shown:
        return True
    letters = [letter for letter in shown if not (letter.isascii() and (letter.isdigit() or letter == "-"))]
    kinds = {letter: unicodedata.category(letter) for letter in letters}
    if not all(kind[0] in "LM" or kind == "Nd" for kind in kinds.values()):
        return True
    scripts = {_script(letter) for letter, kind in kinds.items() if kind[0] == "L"}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return True
    return all(letter in _DRAWN_ALIKE for letter in letters)


def _script(letter: str) -> str:
    """A letter's script, as its name begins."""
    name = unicodedata.name(letter, "").partition(" ")[0]
    return {"IDEOGRAPHIC": "CJK", "KATAKANA-HIRAGANA": "KATAKANA"}.get(name, name)
