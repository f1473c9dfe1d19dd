"""Settings: `GEO_OFFERS_…` variables, checked once at the start; an unknown one is refused."""

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from platformdirs import user_data_path

from geo_offers import hosts, signing
from geo_offers.errors import Misconfigured
from geo_offers.pipeline.credentials import GOOGLE_OAUTH
from geo_offers.storage.sealing import Seals
from geo_offers.web.sentences import sentence

PREFIX: Final = "GEO_OFFERS_"
FOR_OTHERS: Final = frozenset({"REAL_DATA", "REQUIRE_ALL", "PICTURE"})  # read by tests, known here


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field a variable: `GEO_OFFERS_` and the field's name in capitals. The README's table names each."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8080
    data_dir: str | None = None
    database_url: str | None = None
    migrate_url: str | None = None
    postgres_bin: str | None = None
    pool_size: Annotated[int, Meta(ge=2, le=100)] = 8
    webhook_url: str | None = None
    webhook_secret: str | None = None
    webhook_secret_file: str | None = None
    credentials_key: str | None = None
    fcm_url: str | None = None
    fcm_token_url: str = GOOGLE_OAUTH
    apns_url: str | None = None
    gateway_ca: str | None = None
    log_lane: bool = False
    webpush_hosts: str = ""
    egress_allow: str = ""
    lease_s: Annotated[float, Meta(gt=0.1, le=300)] = 10.0
    queue_points: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 100_000
    device_rate_per_s: Annotated[float, Meta(gt=0, le=1_000)] = 1.0
    device_burst: Annotated[float, Meta(ge=1, le=100_000)] = 20.0
    allowed_origins: str = ""
    public_url: str | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def folder(self) -> Path:
        """Where data lives when no folder is named: the system's place as root, else the user's."""
        if self.data_dir:
            return Path(self.data_dir).expanduser().absolute()
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            return Path("/var/lib/geo-offers")
        return user_data_path("geo-offers")

    @property
    def binaries(self) -> Path | None:
        """A folder with `postgres` and `initdb` to use instead of those that are found."""
        return Path(self.postgres_bin).expanduser().absolute() if self.postgres_bin else None

    @property
    def origins(self) -> frozenset[str]:
        return frozenset(_between_commas(self.allowed_origins))

    @property
    def push_hosts(self) -> tuple[str, ...]:
        """Hosts of push services that may be called, they and what is under them; empty: all public ones."""
        return tuple(_between_commas(self.webpush_hosts))

    @property
    def egress_networks(self) -> tuple[hosts.Network, ...]:
        """Networks of the operator's own into which addresses of tenants and clients may lead."""
        return hosts.networks(self.egress_allow)


def read(environment: Mapping[str, str]) -> Settings:
    """Raises Misconfigured with the variable's name where a value does not fit or a name is unknown."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in FOR_OTHERS and value != ""  # empty is unset
    }
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Misconfigured(_sentence(str(error))) from error
    secrets = (settings.webhook_secret is not None) + (settings.webhook_secret_file is not None)
    if secrets != (settings.webhook_url is not None):
        raise Misconfigured(
            "GEO_OFFERS_WEBHOOK_URL and GEO_OFFERS_WEBHOOK_SECRET, or GEO_OFFERS_WEBHOOK_SECRET_FILE, go together"
        )
    for name, good, said in _TEXTS:
        value = getattr(settings, name)
        if value is not None and not good(value):
            raise Misconfigured(f"{PREFIX}{name.upper()}: {said}")
    return settings


def _between_commas(text: str) -> Iterator[str]:
    return (part.strip() for part in text.split(",") if part.strip())


def _are_networks(text: str) -> bool:
    try:
        hosts.networks(text)
    except ValueError:
        return False
    return True


def _are_hosts(text: str) -> bool:
    return all(hosts.is_name(host) and not hosts.is_number(host) for host in _between_commas(text))


def _is_gateway(address: str) -> bool:
    """An http or https URL with a host, and no user or password in it: the signature proves who sends."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    whole = address.isprintable() and " " not in address and port != 0
    return whole and parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc


def _is_host(address: str) -> bool:
    """An https URL of a host, with no path below it."""
    if not _is_gateway(address):
        return False
    parts = urlsplit(address)
    return parts.scheme == "https" and parts.path in {"", "/"} and not parts.query and not parts.fragment


def _holds_certificates(file: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except OSError:
        return False
    return True


def _are_keys(text: str) -> bool:
    try:
        return bool(Seals(text))
    except Misconfigured:
        return False


_TEXTS: Final[tuple[tuple[str, Callable[[str], bool], str], ...]] = (
    (
        "webhook_url",
        _is_gateway,
        "give an http or https address with a host and without a user name, such as https://push.example/offers",
    ),
    ("apns_url", _is_host, "give an https address with a host and no path, such as https://push-proxy.example:2197"),
    ("gateway_ca", _holds_certificates, "give a file that can be read and holds certificates as PEM"),
    (
        "fcm_url",
        _is_gateway,
        "give the http or https address that stands in for https://fcm.googleapis.com, such as https://proxy.example",
    ),
    (
        "fcm_token_url",
        _is_gateway,
        "give the http or https address that stands in for Google's token endpoint, such as https://proxy.example/token",
    ),
    (
        "public_url",
        _is_gateway,
        "give the http or https address under which phones reach this service, such as https://offers.example",
    ),
    (
        "fcm_token_url",
        _is_gateway,
        "give the http or https address that service accounts get their tokens from; Google's is the default",
    ),
    (
        "credentials_key",
        _are_keys,
        "give the base64 of 32 random bytes; while one is replaced, the new one, a space, and the old one",
    ),
    (
        "webhook_secret",
        lambda text: signing.are_secrets(text.split()),
        "give whsec_ and the base64 of 24 to 64 random bytes; while one is replaced, two with a space between",
    ),
    (
        "webpush_hosts",
        _are_hosts,
        "give names of hosts in lower case with commas between, such as push.services.mozilla.com,fcm.googleapis.com",
    ),
    (
        "egress_allow",
        _are_networks,
        "give networks as CIDRs with commas between, such as 10.20.0.0/16,fd00:20::/32",
    ),
)
"""What a text has to be beyond being there, and what is said where it is not: never the text, which may be a secret."""


def _sentence(fault: str) -> str:
    """Msgspec's words as ours, with our variables' names."""
    told, _, place = fault.partition(" - at `$.")
    if place:
        name = place.rstrip("`")
        return f"{PREFIX}{name.upper()}: {sentence(told, Settings, [name])}"
    name = told.partition("`")[2].rstrip("`")
    return f"there is no setting {PREFIX}{name.upper()}"
