"""The `detect` member of a fence: how presence there is told. What each value means: `places/fences.py`."""

from collections.abc import Mapping
from typing import Any, Final

from geo_offers.places.fences import Detect
from geo_offers.places.importing.findings import Findings, echo, token

DEFAULT: Final = Detect()
MODES: Final = ("raw", "calibrated")
BOUNDS: Final[Mapping[str, tuple[str, float, float]]] = {
    "dwell_s": ("dwell time; give seconds", 60, 3_600),
    "exit_margin_m": ("exit margin; give metres", 0, 200),
    "min_confidence": ("confidence; give a probability", 0.5, 0.99),
    "confirm_s": ("time to confirm; give seconds", 0, 600),
    "max_speed_mps": ("speed; give metres a second", 1, 100),
}
"""Of each number: what it is, from where, to where."""


def check_mode(mode: object, pointer: str, findings: Findings) -> None:
    if mode is not None and mode not in MODES:
        detail = f"{echo(mode)} is not a way of detection; use calibrated or raw, or leave it out"
        findings.fault(pointer, "mode", detail)


def read_detect(properties: dict[str, Any], mode: str | None, *, strict: bool, findings: Findings) -> dict[str, Any]:
    """Keep what was given explicitly: a later default must not overwrite a choice, nor a default become one."""
    pointer = "/properties/detect"
    value = properties.get("detect")
    given: dict[str, Any] = {} if mode is None else {"mode": mode}
    if value is None:
        return given
    if not isinstance(value, dict):
        findings.fault(pointer, "type", f"{echo(value)} is not an object; write detect as one")
        return given
    for name in sorted(value.keys() - BOUNDS.keys() - {"mode"}) if strict else ():
        known = ", ".join(("mode", *BOUNDS))
        findings.fault(f"{pointer}/{token(name)}", "unknown", f"detect has no such member; it has {known}")
    if value.get("mode") is not None:
        check_mode(value["mode"], f"{pointer}/mode", findings)
        given["mode"] = value["mode"]
    for name, (what, least, most) in BOUNDS.items():
        number = value.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= most:
            findings.fault(f"{pointer}/{name}", name, f"{echo(number)} is no {what} from {least} to {most}")
        else:
            given[name] = number
    return given


def detect_of(given: Mapping[str, Any]) -> Detect:
    """What was given, checked by `read_detect`; the defaults for the rest."""
    numbers = {name: float(given[name]) for name in BOUNDS if name in given}
    return Detect(given.get("mode", DEFAULT.mode), **numbers)
