"""What a workspace's lanes sign in with, and the port to where that is kept.

A lane asks for it at each send and holds nothing of its own, so that what is replaced is in force within seconds.
"""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FcmAccount:
    """A Google service account, as its JSON file has it. `key` is PEM, RSA."""

    project: str
    email: str
    key_id: str
    key: str
    token_uri: str


@dataclass(frozen=True, slots=True)
class ApnsKey:
    """An APNs authentication key. `key` is PEM, P-256; `topic` is the app's bundle id."""

    team: str
    key_id: str
    key: str
    topic: str
    sandbox: bool


@dataclass(frozen=True, slots=True)
class VapidKey:
    """What a web app's subscriptions are bound to. `key` is PEM, P-256; `subject` a mailto: or https: address."""

    key: str
    subject: str


Credential = FcmAccount | ApnsKey | VapidKey


class Vault(Protocol):
    """Credentials by workspace and lane."""

    async def of(self, workspace: UUID, lane: str) -> Credential | None:
        """Give what is in force, as of some seconds ago at most; None where there is none. May raise Unavailable."""
        ...
