"""What every double of a push gateway has: its side of a service's settings, a ledger, and who makes trouble for it.

An address is what a message is sent to: a token, or an endpoint. A place is what a later message takes on the screen
of an address: FCM's tag or collapse id, Apple's collapse id, a web push's tag, the replace key of the webhook.
"""

import base64
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from geo_offers.clock import now_us
from geo_offers.instants import from_us

KEY = base64.b64encode(bytes(range(32))).decode()  # an operator's, to seal credentials by


@dataclass(frozen=True, slots=True)
class Shown:
    """What lies at one place of one screen."""

    offer: str
    title: str
    body: str
    data: Mapping[str, str]


@dataclass(kw_only=True)
class Gateway(ABC):
    """One push gateway and the phones behind it.

    `attempts`: by offer, when it came, whatever became of it. `arrivals`: how many came, by address.
    `screens`: by address and place, what is there. `faults`: what was wrong with what came.
    `trouble`: asked with address and offer of each message that no script speaks of; gives a fault of the double's own.
    """

    lane: ClassVar[str]
    attempts: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    arrivals: Counter[str] = field(default_factory=Counter)
    screens: dict[str, dict[str, Shown]] = field(default_factory=lambda: defaultdict(dict))
    faults: list[str] = field(default_factory=list)
    trouble: Callable[[str, str], Any] = lambda _address, _offer: None

    # -------------------------------------------------------------------------------------------- the service's side
    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Those of a service that sends to it, save whom it trusts."""

    @property
    def authority(self) -> bytes:
        """Whom a service has to trust for it: certificates as PEM."""
        return b""

    @property
    def credentials(self) -> dict[str, Any] | None:
        """What a workspace hands in for its lane."""
        return None

    @abstractmethod
    def phone(self, name: str) -> dict[str, Any]:
        """What a phone that it reaches says of itself at its enrolment."""

    # -------------------------------------------------------------------------------------------- the ledger
    def came(self, address: str, offer: str) -> None:
        self.attempts[offer].append(from_us(now_us()))
        self.arrivals[address] += 1

    def put(self, address: str, place: str, shown: Shown) -> None:
        """On the screen, in place of what lies there."""
        self.screens[address][place] = shown

    def on(self, address: str) -> list[Shown]:
        """What this phone shows, or has shown, and no later copy has replaced."""
        return list(self.screens[address].values()) if address in self.screens else []

    def visible(self) -> Counter[str]:
        """How many messages each offer has on screens: a copy at the same place took the first one's."""
        return Counter(shown.offer for screen in self.screens.values() for shown in screen.values())


def settings_for(gateways: Collection[Gateway], folder: Path) -> dict[str, Any]:
    """Settings of a service that sends to all of these; whom it has to trust is written into the folder."""
    settings = {"credentials_key": KEY}
    authorities = b"".join(gateway.authority for gateway in gateways)
    if authorities:
        file = folder / "authorities.pem"
        file.write_bytes(authorities)
        settings["gateway_ca"] = str(file)
    return settings | {name: value for gateway in gateways for name, value in gateway.settings.items()}
