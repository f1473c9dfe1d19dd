"""Who calls: a key or a device's token, and what each may do."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol
from uuid import UUID

Kind = Literal["app", "server", "manager", "device"]
Role = Literal["viewer", "editor", "approver", "owner"]
ROLES: Final[tuple[Role, ...]] = ("viewer", "editor", "approver", "owner")


@dataclass(frozen=True, slots=True)
class Caller:
    """`id` names the key or the device; a device acts for its user, a manager key in its role."""

    workspace: UUID
    kind: Kind
    id: str
    role: Role | None = None
    replay: bool = False
    device: UUID | None = None
    user: UUID | None = None
    proven: bool = False
    epoch: int = 0  # of the device's tokens: raised, it ends what was opened under them

    @property
    def confined_to(self) -> UUID | None:
        """A device enrolled without proof of its person reads and erases only what it caused itself."""
        return None if self.proven else self.device

    def may(self, role: Role) -> bool:
        """Whether a manager's role is at least this one."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(role)


class Keys(Protocol):
    async def find(self, workspace: UUID, key: str, secret_hash: bytes) -> Caller | None:
        """The caller that this key stands for, None where it is unknown or revoked."""
        ...
