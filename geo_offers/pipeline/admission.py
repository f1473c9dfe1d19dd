"""Which points of a request go in: what is refused for good is refused here, the rest is gathered by device."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from geo_offers.errors import Forbidden, TooManyRequests
from geo_offers.pipeline.devices import Devices, Tracked
from geo_offers.pipeline.ports import KnownDevice
from geo_offers.pipeline.rates import Bucket
from geo_offers.pipeline.requests import Part, Point, Request, Result
from geo_offers.presence.fixes import check

_FORBIDDEN: Final = {
    "consent_required": "this person has not agreed to be located; ask for the purpose `locate` first",
    "age": "this person may not be located: their age is not given as adult",
}


def unlocatable(device: KnownDevice) -> str | None:
    """Why the device's person may not be located, or None."""
    if not device.locate:
        return "consent_required"
    return None if device.of_age else "age"


class Admission:
    """The checks at the door; `rate_per_s` and `burst` are a device's requests, save those of a replay."""

    def __init__(self, devices: Devices, *, rate_per_s: float, burst: float) -> None:
        self._devices = devices
        self._rate_per_s = rate_per_s
        self._burst = burst

    def sort_out(self, request: Request, points: Sequence[Point], caller: UUID | None) -> list[Part]:
        """Refuses what is refused for good, and gathers the rest by device: who arrives is who gets the offer."""
        parts: dict[UUID, Part] = {}
        rated: dict[UUID, bool] = {}
        for number, point in enumerate(points):
            tracked = self._devices.get(point.device)
            reason = self._refusal(request, point, tracked, caller, rated)
            if reason is not None or tracked is None:
                request.results[number] = Result("refused", reason or "unknown_device")
                continue
            device = tracked.device
            part = parts.get(device.id)
            if part is None:
                part = parts[device.id] = Part(request, device.user, device.id, device.partition, [])
            part.points.append((number, point))
        request.parts = len(parts)
        return list(parts.values())

    def _refusal(
        self, request: Request, point: Point, tracked: Tracked | None, caller: UUID | None, rated: dict[UUID, bool]
    ) -> str | None:
        if tracked is None or tracked.device.workspace != request.workspace:
            return "unknown_device"
        device = tracked.device
        reason = unlocatable(device)
        if reason is not None:
            if caller is not None:
                raise Forbidden(_FORBIDDEN[reason], reason)
            return reason
        if point.device not in rated:
            rated[point.device] = device.replay or self._within_rate(tracked, request.received_us)
        if not rated[point.device]:
            if caller is not None:
                raise TooManyRequests("one request a second is enough", 1.0 / self._rate_per_s)
            return "rate"
        tracked.heard_us = request.received_us
        lat, lon = (0.0, 0.0) if point.region is not None else (point.lat, point.lon)
        if lat is None or lon is None:
            return "out_of_range"
        return check(point.at_us, lat, lon, now_us=request.received_us, replay=device.replay)

    def _within_rate(self, tracked: Tracked, now_us: int) -> bool:
        if tracked.bucket is None:
            tracked.bucket = Bucket(self._rate_per_s, self._burst, now_us)
        return tracked.bucket.take(now_us)
