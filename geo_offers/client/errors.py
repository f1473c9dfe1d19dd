"""What a call of the SDK can end in besides its answer.

These are not `GeoOffersError`s: those say what our own program refuses, these say what a far one answered or failed to.
"""

from geo_offers import wire
from geo_offers.errors import Fault


class ClientError(Exception):
    """Root of the SDK's errors; `detail` is one sentence."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConnectionFailed(ClientError):
    """No answer came in the tries allowed. What was sent may have been applied; sending the same again is safe."""


class UnreadableAnswer(ClientError):
    """The answer is not what the public contract says: another program, or another version, is on that address."""


class ApiError(ClientError):
    """The server answered with a problem.

    `code` is stable and meant for programs; `faults` are the places of the fault in the body that was sent;
    `retry_after_s` is the server's wish, None where it named none.
    """

    def __init__(self, problem: wire.Problem, retry_after_s: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.status = problem.status
        self.code = problem.code
        self.faults = tuple(Fault(fault.pointer, fault.code, fault.detail) for fault in problem.errors)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"
