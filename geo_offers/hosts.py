"""Where a call may lead that a tenant or a client has named: a name's form, an address, a whole URL.

A host is judged twice. By its form, when it is saved and before each call: that costs nothing and tells the one who
named it. And by the address to which a connection is about to be opened (`geo_offers.egress`), because a name may lead
elsewhere a moment after it was looked up. Only addresses of the public internet are let through, and those that the
operator allows.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL: Final = 2000

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PRIVATE: Final = (  # names that no public server has (RFC 6761, 6762, 7686, 8375, ICANN's .internal, and old habits)
    *("alt", "arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain", "localhost"),
    *("onion", "private"),
)
# Of the registries of special addresses of IANA (RFC 6890): what is not a host of the public internet.
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            # of 2000::/3: Teredo and its like, documentation, 6to4
            *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        ),
    )
)
_PUBLIC_V6: Final = IPv6Network(
    "2000::/3"
)  # nothing else of IPv6 is given out: loopback, ULA, mapped, NAT64, multicast


class ForbiddenAddress(OSError):
    """A connection was about to be opened to an address to which none may be; not one byte has left."""


def networks(text: str) -> tuple[Network, ...]:
    """Read CIDRs that commas separate. Raises ValueError where one is none."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_allowed(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether a connection may be opened to it: it is public, or in a network that the operator allows."""
    if _within(address, allowed):
        return True
    if isinstance(address, IPv6Address) and (address not in _PUBLIC_V6 or address.scope_id is not None):
        return False
    return not _within(address, _NOT_PUBLIC)


def _within(address: Address, among: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in among)


def is_number(host: str) -> bool:
    """Whether a host is an address to anybody: 127.1 and 0x7f.1 are; all end in a number or have colons."""
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x") or ":" in host


def is_private_name(host: str) -> bool:
    """Whether a name is one that no public server has: of one label, or under a domain that is kept for private use."""
    return "." not in host or host.rpartition(".")[2] in _PRIVATE


def is_name(host: str) -> bool:
    """Whether it has the form of a name in lower case: labels of letters, digits and hyphens."""
    return len(host) <= 253 and all(_LABEL.fullmatch(label) for label in host.split("."))


def is_under(host: str, names: Sequence[str]) -> bool:
    """Whether it is one of these hosts, or under one."""
    return any(host == name or host.endswith(f".{name}") for name in names)


def url_fault(url: str, allowed: Sequence[Network] = ()) -> str | None:
    """Say what is wrong with an https URL that the service is to call, None where nothing is that can be seen.

    allowed: networks of the operator's own; with them, names of private use pass too, and their addresses are judged
    when it comes to connecting.
    """
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return f"The address has at most {MAX_URL} characters, all of them printable ASCII; percent-encode the others."
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return "The address cannot be read; give one of the form https://host/path."
    if parts.scheme != "https" or not host or port == 0:
        return "The address begins with https:// and names a host."
    if "@" in parts.netloc:
        return "The address carries no user name and no password; leave them out."
    return _host_fault(host, tuple(allowed))


@lru_cache(maxsize=1_024)  # many subscriptions, few push services
def _host_fault(host: str, allowed: Sequence[Network]) -> str | None:
    if is_number(host):
        return _number_fault(host, allowed)
    if not is_name(host):
        return "The address's host is no name; it has letters, digits and hyphens, with dots between."
    if is_private_name(host) and not allowed:
        return "The address names a public host; nobody outside finds this one."
    return None


def _number_fault(host: str, allowed: Sequence[Network]) -> str | None:
    try:
        address = ip_address(host)
    except ValueError:
        return "The address names its host by a number that is written in an odd way; use the host's name."
    if not is_allowed(address, allowed):
        return "The address leads into a network that is not public; use a public host."
    return None


@lru_cache(maxsize=1_024)  # one send asks for it time and again
def origin(url: str) -> str | None:
    """Scheme, host and port of a URL as RFC 6454 writes them, the default port left out; None where it has none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not parts.scheme or not host:
        return None
    named = f"[{host}]" if ":" in host else host
    usual = port is None or (parts.scheme, port) in {("https", 443), ("http", 80)}
    return f"{parts.scheme}://{named}" if usual else f"{parts.scheme}://{named}:{port}"
