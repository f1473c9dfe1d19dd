"""What a phone asks for by `?next=` is what its answers hold, over HTTP and on the stream."""

import pytest

from geo_offers.client import ApiError, Client, Enrolment, MemorySeenStore, Ping
from tests.support.running import Service

KINDS = {"regions": (20, False), "radius": (0, False), "ios": (18, True), "android": (30, True)}


def ping(second: int) -> Ping:
    return Ping(at=f"2026-01-01T00:00:{second:02}Z", lat=53.0, lon=8.0, accuracy_m=5, speed_mps=1)


async def test_an_answer_holds_what_was_wished_for(service: Service) -> None:
    async with Client(service.url, await service.make_key()) as client:
        for number in range(30):
            drawn = {"type": "Point", "coordinates": [8.0, 53.001 + number / 1_000]}
            properties = {"radius_m": 30, "detect": {"mode": "raw"}}
            feature = {"type": "Feature", "geometry": drawn, "properties": properties}
            await client.manager.put_geofence("s", f"{number:02}", feature)
    async with Client(service.url, await service.make_key("app", replay=True)) as client:
        device = await client.enrol(Enrolment(platform="ios", consents={"locate": "v1"}))
        second = 0
        for wish, (regions, refresh) in KINDS.items():
            by_http = (await device.send([ping(second)], wish=wish)).next
            async with device.stream(seen=MemorySeenStore(), wish=wish) as stream:
                by_stream = (await stream.send([ping(second + 1)])).next
            second += 2
            assert by_http is not None
            assert by_stream == by_http
            assert [region.fence for region in by_http.regions] == [f"s/{n:02}" for n in range(regions)]
            assert all(region.exact and region.radius_m == 30 for region in by_http.regions)
            assert (by_http.refresh is not None) == refresh
            assert by_http.safe_radius_m == pytest.approx(111.28 - 30, rel=2e-3)
            assert by_http.check_after_s == pytest.approx((by_http.safe_radius_m - 5) / 1.5, abs=0.1)
            assert by_http.send_after_s == 600
        assert (await device.send([ping(second)], wish="none")).next is None
        with pytest.raises(ApiError) as refused:
            await device.send([ping(second)], wish="everything")  # type: ignore[arg-type]
        assert refused.value.status == 422
