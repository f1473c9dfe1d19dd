"""A phone introduces itself, and changes its tokens."""

from typing import Annotated

from msgspec import Meta

from geo_offers.clock import now_us
from geo_offers.errors import Fault, Forbidden, Invalid
from geo_offers.people.zones import zone_names
from geo_offers.pipeline import people, signals
from geo_offers.pipeline.addresses import address_faults
from geo_offers.pipeline.consents import of_enrolments, refuse_instants, refuse_tc_strings
from geo_offers.pipeline.people import Issued, Manner
from geo_offers.pipeline.services import Services
from geo_offers.pipeline.tokens import ACCESS_S
from geo_offers.web.calls import PINGS_BODY, Call, Given, Reply
from geo_offers.web.checks import refuse, refuse_unsafe
from geo_offers.wire import Enrolled, Enrolment, TokenRequest, Tokens

Enrolments = Enrolment | Annotated[list[Enrolment], Meta(min_length=1, max_length=1000)]


async def enrol(services: Services, given: Given) -> Reply:
    """One device, or under a server key up to 1,000 in one transaction."""
    many = isinstance(given.body, list)
    if many and given.caller.kind != "server":
        raise Forbidden("an app key enrols one device a call; a server key takes an array")
    enrolments: list[Enrolment] = given.body if many else [given.body]
    refuse_unsafe(given.body)
    _refuse_zones(enrolments, many)
    words = of_enrolments(enrolments, many=many)
    refuse_instants(words)
    refuse_tc_strings(words)
    _refuse_twins(enrolments)
    refuse(
        [
            fault
            for number, one in enumerate(enrolments)
            if one.push is not None
            for fault in address_faults(
                one.push, f"/{number}/push" if many else "/push", services.networks, services.push_hosts
            )
        ]
    )
    issued = await people.enrol(
        services.people,
        services.engine,
        given.caller,
        enrolments,
        Manner(given.key_id, many=many, refuses=signals.refuses(given.headers)),
    )
    answers = [await _enrolled(services, given, one) for one in issued]
    return Reply(answers if many else answers[0], 201)


def _refuse_zones(enrolments: list[Enrolment], many: bool) -> None:
    faults = tuple(
        Fault(
            f"/{number}/time_zone" if many else "/time_zone",
            "time_zone",
            "name a zone of the IANA database, such as Europe/Berlin",
        )
        for number, one in enumerate(enrolments)
        if one.time_zone is not None and one.time_zone not in zone_names()
    )
    if faults:
        raise Invalid("there is no such time zone", faults[:20])


def _refuse_twins(enrolments: list[Enrolment]) -> None:
    tokens = [(one.push.lane, one.push.token) for one in enrolments if one.push is not None]
    if len(set(tokens)) != len(tokens):
        raise Invalid(
            "one push token stands in two enrolments",
            (Fault("", "duplicate", "a push token belongs to one device"),),
        )


async def _enrolled(services: Services, given: Given, issued: Issued) -> Enrolled:
    access = await services.tokens.issue(given.caller.workspace, issued.device, issued.user, issued.epoch, now_us())
    return Enrolled(
        device=issued.device,
        user=issued.user,
        access_token=access,
        expires_in=ACCESS_S,
        refresh_token=issued.refresh_token,
    )


async def rotate(services: Services, given: Given) -> Reply:
    """New tokens for a refresh token; the old one stays good until the new one is first used."""
    workspace, issued = await people.rotate(
        services.people, services.engine, services.streams, given.body.refresh_token
    )
    access = await services.tokens.issue(workspace, issued.device, issued.user, issued.epoch, now_us())
    return Reply(Tokens(access_token=access, expires_in=ACCESS_S, refresh_token=issued.refresh_token))


CALLS = (
    Call(
        "POST",
        "/v1/devices",
        "Enrol a device (an array of up to 1,000 under a server key)",
        enrol,
        ("app", "server"),
        answer=Enrolled | list[Enrolled],
        status=201,
        body=Enrolments,
        max_body=PINGS_BODY,
        keeps_answer=False,
        tag="devices",
    ),
    Call(
        "POST",
        "/v1/devices/token",
        "Rotate a device's tokens",
        rotate,
        (),
        answer=Tokens,
        body=TokenRequest,
        keeps_answer=False,
        tag="devices",
    ),
)
