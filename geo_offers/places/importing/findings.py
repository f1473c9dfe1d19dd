"""What a reader has to say about an input: faults that refuse it, notes on what was mended or left out.

A detail is one sentence: what is wrong, then what to do. Input is echoed in at most 64 characters, in ASCII, so that
neither a control character nor half a surrogate pair reaches an answer or a terminal.
"""

from dataclasses import dataclass, field

from geo_offers.errors import Fault

MAX_FAULTS = 20
"""Nobody reads more of one feature; a hostile one could else have a fault for each of its points."""
ECHO_CHARS = 64


@dataclass(slots=True)
class Findings:
    """Collects while a feature is read. Pointers are RFC 6901, relative to the feature."""

    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)

    def fault(self, pointer: str, code: str, detail: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(pointer, code, detail))

    def take(self, others: "Findings") -> None:
        """Add what was found in a part that was read on its own."""
        self.faults = (self.faults + others.faults)[:MAX_FAULTS]
        self.notes = (self.notes + others.notes)[:MAX_FAULTS]

    def note(self, pointer: str, code: str, detail: str) -> None:
        if len(self.notes) < MAX_FAULTS:
            self.notes.append(Fault(pointer, code, detail))


def echo(value: object) -> str:
    """Show a JSON value of any size and kind in at most 64 characters."""
    match value:
        case dict():
            return "an object"
        case list() | tuple():
            return "an array"
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            text = ascii(value[:ECHO_CHARS])
            return text if len(text) <= ECHO_CHARS and len(value) <= ECHO_CHARS else f"{text[: ECHO_CHARS - 3]}..."
        case int() if abs(value) >= 10**15:
            return "a number of many digits"
        case _:
            return repr(value)[:ECHO_CHARS]


def token(name: str) -> str:
    """Escape a member's name for a pointer; a long one is cut, as it only has to be found again by eye."""
    return ascii(name[:ECHO_CHARS])[1:-1].replace("~", "~0").replace("/", "~1")
