"""What a person, or the app's own server for them, says of them; and the log-in that makes a device a person's.

A profile is kept only of adults who gave the `profile` consent; a refusal to be asked, language and zone of anybody.
"""

from typing import Protocol
from uuid import UUID

from geo_offers import wire
from geo_offers.pipeline.callers import Caller


class Profiles(Protocol):
    async def read(self, caller: Caller) -> wire.Profile: ...

    async def patch(self, caller: Caller, user: UUID, patch: wire.ProfilePatch) -> wire.Profile:
        """All of it or nothing: Invalid for an attribute that is none or of another type, Forbidden without consent.

        The answer to a device without proof of its person tells no more than the device has said.
        """
        ...

    async def named(self, workspace: UUID, user: str) -> UUID:
        """The person by our id or the app's own name for them; NotFound where there is none."""
        ...
