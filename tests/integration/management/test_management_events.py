"""Events as managers put them: six kinds, what is refused and where, approvals of news, numbers fed."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime.now(UTC).replace(microsecond=0)
AREA = {"type": "Polygon", "coordinates": [[[8.0, 53.0], [9.0, 53.0], [9.0, 54.0], [8.0, 54.0], [8.0, 53.0]]]}


def instant(**ahead):
    return f"{NOW + timedelta(**ahead):%Y-%m-%dT%H:%M:%SZ}"


def dated(**changes):
    return {"kind": "corporate", "name": "Fair", "start": instant(days=1), "end": instant(days=2)} | changes


def weekly(**changes):
    base = {"kind": "recurring", "name": "Market", "start": "2026-01-05T09:00:00", "length_s": 3600}
    return base | {"rrule": "FREQ=WEEKLY;BYDAY=MO", "time_zone": "Europe/Berlin"} | changes


def local(**changes):
    return dated() | {"kind": "local", "area": AREA} | changes


def rain(**changes):
    return {"kind": "predictive", "name": "Rain", "above": 2.0, "hysteresis": 0.5, "max_age_s": 600} | changes


def news(**changes):
    return {"kind": "news", "name": "Flood", "end": instant(hours=20)} | changes


def calendar(*lines):
    event = ["BEGIN:VEVENT", "UID:1", "DTSTART;TZID=Europe/Berlin:20260105T090000", *lines, "END:VEVENT"]
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", *event, "END:VCALENDAR", ""])


GOOD = {
    "fair": dated(),
    "market": weekly(),
    "file": {"kind": "recurring", "name": "Sales", "ics": calendar("DURATION:PT2H", "RRULE:FREQ=MONTHLY;BYDAY=-1FR")},
    "holidays": {"kind": "recurring", "name": "Off", "holidays": "DE-BY", "time_zone": "Europe/Berlin"},
    "street": local(),
    "round": local(area={"type": "Point", "coordinates": [8.5, 53.5]}, radius_m=500),
    "rain": rain(),
    "basket": {"kind": "interaction", "name": "Left basket", "type": "basket_left", "valid_s": 3600},
    "flood": news(),
}


@pytest.mark.parametrize("name", GOOD)
async def test_what_is_put_is_what_is_got_and_the_same_again_changes_nothing(site, name):
    path = f"/v1/events/{name}"
    first = await site.call("PUT", path, GOOD[name], who="editor")
    assert (first.status, first.body["version"]) == (201, 1)
    version = await site.catalog_version()
    again = await site.call("PUT", path, GOOD[name], who="editor")
    assert (again.status, again.body) == (200, first.body)
    assert await site.catalog_version() == version
    assert (await site.get(path, who="viewer")).body == first.body
    assert first.body["event"] | GOOD[name] == first.body["event"]


async def test_what_comes_again_shows_when(site):
    found = (await site.call("PUT", "/v1/events/market", weekly())).body["next"]
    starts = [datetime.fromisoformat(one["start"]) for one in found]
    assert len(starts) == 5
    assert all(at.weekday() == 0 and at > NOW for at in starts)
    assert {(later - earlier).days for earlier, later in itertools.pairwise(starts)} <= {6, 7}
    holidays = (await site.call("PUT", "/v1/events/off", GOOD["holidays"])).body["next"]
    assert len(holidays) == 5


async def test_a_list_goes_page_by_page_and_leaves_the_files_out(site):
    for name, body in GOOD.items():
        await site.call("PUT", f"/v1/events/{name}", body)
    items = await site.all("/v1/events", 4)
    assert [item["id"] for item in items] == sorted(GOOD)
    assert next(item for item in items if item["id"] == "file")["event"]["ics"] is None
    assert "VEVENT" in (await site.get("/v1/events/file")).body["event"]["ics"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (dated(end=instant(hours=1)), "/end"),
        (dated(start="2026-01-01T00:00:00"), "/start"),
        (dated(start="0001-01-01T00:00:00Z"), "/start"),
        (dated(kind="party"), "/kind"),
        (dated(name="a\u202eb"), "/name"),
        (weekly(time_zone="Mars/X"), "/time_zone"),
        (weekly(start="2026-01-05T09:00:00Z"), "/start"),
        (weekly(start="1970-01-05T09:00:00"), "/start"),
        (weekly(start=None), "/start"),
        (weekly(length_s=None), "/length_s"),
        (weekly(length_s=0), "/length_s"),
        (weekly(holidays="DE"), "/rrule"),
        (weekly(rrule=None), "/rrule"),
        (weekly(rrule="FREQ=SECONDLY"), "/rrule"),
        (weekly(rrule="FREQ=MINUTELY;INTERVAL=1"), "/rrule"),
        (weekly(rrule="FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"), "/rrule"),
        (weekly(rrule="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), "/rrule"),
        (weekly(rrule="FREQ=DAILY;INTERVAL=7;BYDAY=MO"), "/rrule"),
        (weekly(rrule="FREQ=DAILY;COUNT=1000000"), "/rrule"),
        (weekly(rrule="FREQ=DAILY;UNTIL=tomorrow"), "/rrule"),
        (weekly(rrule="FREQ=WEEKLY;BYDAY=XX"), "/rrule"),
        (weekly(rrule="FREQ=WEEKLY\nRDATE:20260101T000000"), "/rrule"),
        (weekly(rrule="x" * 301), "/rrule"),
        ({"kind": "recurring", "name": "Off", "holidays": "XX"}, "/holidays"),
        ({"kind": "recurring", "name": "Off", "holidays": "DE-ZZ"}, "/holidays"),
        ({"kind": "recurring", "name": "Off", "holidays": "DE", "length_s": 60}, "/start"),
        ({"kind": "recurring", "name": "Sales", "ics": "BEGIN:VCALENDAR"}, "/ics"),
        ({"kind": "recurring", "name": "Sales", "ics": "hello"}, "/ics"),
        (
            {"kind": "recurring", "name": "Sales", "ics": calendar("RRULE:FREQ=SECONDLY", "DURATION:PT2H")},
            "/ics/0/rrule",
        ),
        ({"kind": "recurring", "name": "Sales", "ics": calendar("DTEND:20250105T090000Z")}, "/ics/0"),
        ({"kind": "recurring", "name": "Sales", "ics": "BEGIN:VEVENT\r\nEND:VEVENT\r\n" * 2000}, "/ics"),
        ({"kind": "recurring", "name": "Sales", "ics": "x" * 65_537}, "/ics"),
        (local(area={"type": "Polygon", "coordinates": [[[8, 53], [9, 53], [8, 53]]]}), "/area/coordinates/0"),
        (local(area={"type": "Point", "coordinates": [8, 53]}), "/radius_m"),
        (local(area={}), "/area/type"),
        (rain(above=None), "/above"),
        (rain(below=1.0), "/above"),
        (rain(hysteresis=-1), "/hysteresis"),
        (rain(max_age_s=0), "/max_age_s"),
        ({"kind": "interaction", "name": "a", "type": "Left!"}, "/type"),
        (news(end=instant(hours=25)), "/end"),
        (news(end=instant(hours=-1)), "/end"),
    ],
)
async def test_an_event_that_cannot_be_meant_is_refused_with_its_place_and_not_kept(site, body, pointer):
    answer = await site.call("PUT", "/v1/events/x", body)
    assert (answer.status, answer.pointers[0]) == (422, pointer), answer.body
    assert (await site.get("/v1/events/x")).status == 404


async def test_a_file_of_ten_megabytes_is_not_even_read(site):
    answer = await site.call("PUT", "/v1/events/x", {"kind": "recurring", "name": "x", "ics": "x" * 10_000_000})
    assert answer.status == 413


# ------------------------------------------------------------------------------------------------ news
async def test_news_takes_two_approvers_who_did_not_write_it_and_an_edit_takes_them_away(site):
    await site.call("PUT", "/v1/events/flood", news(), who="editor")
    path = "/v1/events/flood/approve"
    assert (await site.call("POST", path, who="editor")).status == 403
    assert [(await site.call("POST", path, who="approver")).body["approvals"] for _ in range(2)] == [1, 1]
    assert (await site.call("POST", path, who="second approver")).body["approvals"] == 2
    edited = await site.call("PUT", "/v1/events/flood", news(name="Big flood"), who="approver")
    assert edited.body["approvals"] == 0
    own = await site.call("POST", path, who="approver")
    assert (own.status, own.body["code"]) == (403, "own_event")


async def test_nobody_approves_news_that_they_have_not_seen(site):
    await site.call("PUT", "/v1/events/flood", news(), who="editor")
    await site.call("PUT", "/v1/events/flood", news(name="Big flood"), who="editor")
    path = "/v1/events/flood/approve?version="
    assert (await site.call("POST", f"{path}1", who="approver")).status == 409
    told = [(await site.call("POST", f"{path}2", who=who)).body for who in ("approver", "second approver")]
    assert [(one["version"], one["approvals"]) for one in told] == [(2, 1), (2, 2)]


async def test_nothing_but_news_is_approved(site):
    await site.call("PUT", "/v1/events/fair", dated())
    assert (await site.call("POST", "/v1/events/fair/approve", who="approver")).status == 409


# ------------------------------------------------------------------------------------------------ numbers
async def test_numbers_count_in_the_order_in_which_they_were_measured(site):
    await site.call("PUT", "/v1/events/rain", rain())

    at = {minute: instant(minutes=minute) for minute in range(-9, -5)}

    async def feed(value, minutes):
        answer = await site.call("POST", "/v1/events/rain/value", {"value": value, "at": at[minutes]}, who="server")
        assert answer.status == 200, answer.body
        return answer.body["value"], answer.body["on"]

    assert await feed(1.9, minutes=-9) == (1.9, False)
    assert await feed(2.0, minutes=-8) == (2.0, True)
    assert await feed(1.6, minutes=-7) == (1.6, True)
    assert await feed(1.4, minutes=-7) == (1.6, True), "of one instant the first holds"
    assert await feed(9.0, minutes=-8) == (1.6, True), "and an older one comes too late"
    assert await feed(1.4, minutes=-6) == (1.4, False)
    assert (await site.get("/v1/events/rain")).body["number"]["value"] == 1.4
    await site.call("PUT", "/v1/events/rain", rain(above=1.0))
    assert (await site.get("/v1/events/rain")).body["number"] is None


async def test_a_number_is_for_a_predictive_event_by_a_server_and_not_of_the_future(site):
    await site.call("PUT", "/v1/events/rain", rain())
    await site.call("PUT", "/v1/events/fair", dated())
    good = {"value": 1.0, "at": instant(minutes=-1)}
    assert (await site.call("POST", "/v1/events/rain/value", good, who="owner")).status == 403
    assert (await site.call("POST", "/v1/events/fair/value", good, who="server")).status == 409
    assert (await site.call("POST", "/v1/events/none/value", good, who="server")).status == 404
    late = await site.call("POST", "/v1/events/rain/value", good | {"at": instant(days=1)}, who="server")
    assert (late.status, late.pointers) == (422, ["/at"])


# ------------------------------------------------------------------------------------------------ who names them
async def test_a_campaign_and_the_embargo_name_events_that_are_there_and_these_stay(site):
    for name in ("rain", "fair", "market"):
        await site.call("PUT", f"/v1/events/{name}", GOOD[name])
    wrong = await site.call("POST", "/v1/campaigns", site.campaign(when={"events": ["rain"], "unless": ["fair", "no"]}))
    assert (wrong.status, wrong.pointers) == (422, ["/when/unless/1"])
    made = await site.call("POST", "/v1/campaigns", site.campaign(when={"events": ["rain"], "unless": ["fair"]}))
    assert made.status == 201
    patched = await site.call("PATCH", "/v1/workspace", {"embargo": {"days": ["2026-12-24"], "events": ["no"]}})
    assert (patched.status, patched.pointers) == (422, ["/embargo/events/0"])
    good = {"days": ["2026-12-24"], "events": ["market"]}
    assert (await site.call("PATCH", "/v1/workspace", {"embargo": good})).body["embargo"] == good
    for name in ("rain", "fair", "market"):
        assert (await site.call("DELETE", f"/v1/events/{name}")).status == 409
    await site.call("POST", f"/v1/campaigns/{made.body['id']}/end")
    await site.call("PATCH", "/v1/workspace", {"embargo": {}})
    for name in ("rain", "fair", "market"):
        assert (await site.call("DELETE", f"/v1/events/{name}")).status == 204
    assert (await site.get("/v1/events")).body["items"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"hours": "Mo-Fr 25:00-26:00"}, "/hours"),
        ({"hours": "whenever"}, "/hours"),
        ({"hours": "x" * 1001}, "/hours"),
        ({"hours": 9}, "/hours"),
        ({"hours": "Mo-Fr 10:00-19:00; PH off", "holidays": "XX"}, "/holidays"),
        ({"holidays": "DEU"}, "/holidays"),
    ],
)
async def test_hours_that_are_none_of_openstreetmaps_are_refused_with_their_place(site, body, pointer):
    answer = await site.call("PUT", "/v1/stores/market", {"name": "Market"} | body)
    assert (answer.status, answer.pointers) == (422, [pointer])
    good = {"name": "Market", "hours": "Mo-Sa 10:00-19:00; PH off", "holidays": "FR"}
    assert good.items() <= (await site.call("PUT", "/v1/stores/market", good)).body.items()


async def test_another_workspace_sees_no_event(site):
    await site.call("PUT", "/v1/events/fair", dated())
    assert (await site.get("/v1/events/fair", who="beta")).status == 404
    assert (await site.get("/v1/events", who="beta")).body["items"] == []
