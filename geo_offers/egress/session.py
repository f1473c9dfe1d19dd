"""The one session for addresses that tenants and clients name.

Its socket factory sees each address to which a connection is about to be opened, the looked-up, the written-out and the
redirected-to alike, and makes no socket for one that is not allowed. What was checked is thereby what is connected to:
a name that leads elsewhere a moment later changes nothing. Proxies of the environment are not asked, since behind one
it would be the proxy that looks names up.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver

from geo_offers.hosts import ForbiddenAddress, Network, is_allowed


def guarded_session(
    allowed: Sequence[Network] = (), *, resolver: AbstractResolver | None = None, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """Make the session; the caller closes it and follows no redirects. What is forbidden fails as ClientConnectorError.

    Its `os_error` is then a ForbiddenAddress. The session keeps no cookie and unpacks nothing. How many connections
    there are is bounded by who sends: a bound of the session's own would let one slow host hold the others.
    `tls`: what it trusts instead of the system's authorities.
    """
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        ssl=tls or True,
        limit=0,
        socket_factory=_sockets(tuple(allowed)),
    )
    return aiohttp.ClientSession(
        connector=connector, trust_env=False, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    )


def _sockets(allowed: Sequence[Network]) -> Callable[[AddrInfoType], socket.socket]:
    def opened(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(ip_address(address[0]), allowed):
            raise ForbiddenAddress("the address is not a public one")
        return socket.socket(family, kind, protocol)

    return opened
