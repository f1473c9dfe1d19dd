"""Errors as problem+json (RFC 9457): one table from our error classes to status, code and title."""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from geo_offers import errors
from geo_offers.wire import Problem, ProblemFault

TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[type[errors.GeoOffersError], tuple[int, str, str]]] = {
    errors.Malformed: (400, "malformed", "The request cannot be read"),
    errors.Unauthenticated: (401, "unauthenticated", "No good key or token"),
    errors.Forbidden: (403, "forbidden", "Not allowed"),
    errors.NotFound: (404, "not_found", "Nothing here"),
    errors.Gone: (410, "gone", "Not kept any more"),
    errors.Conflict: (409, "conflict", "Not in this state"),
    errors.Keyless: (409, "credentials_key", "No key to keep secrets under"),
    errors.Crowded: (409, "crowded", "Too many at one spot"),
    errors.TooLarge: (413, "too_large", "Over a bound"),
    errors.Invalid: (422, "invalid", "A field is wrong"),
    errors.TooManyRequests: (429, "too_many_requests", "Over the rate"),
    errors.Misconfigured: (500, "misconfigured", "The service is not set up rightly"),
    errors.Unavailable: (503, "unavailable", "Not now"),
}

HTTP: Final[Mapping[int, tuple[str, str]]] = {
    400: ("malformed", "The request cannot be read"),
    404: ("not_found", "Nothing here"),
    405: ("method_not_allowed", "Not this method"),
    408: ("too_slow", "The request took too long to arrive"),
    409: ("conflict", "Not in this state"),
    413: ("too_large", "Over a bound"),
    415: ("unsupported_media_type", "Not this media type"),
    500: ("internal", "Something failed here"),
}


def problem(error: errors.GeoOffersError, instance: str) -> tuple[Problem, dict[str, str]]:
    """The problem of an error of ours, and the headers that go with it."""
    status, code, title = STATUS[type(error)]
    if isinstance(error, errors.Forbidden):
        code = error.code
    headers: dict[str, str] = {}
    if isinstance(error, errors.TooManyRequests | errors.Unavailable):
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    faults = [ProblemFault(pointer=f.pointer, code=f.code, detail=f.detail) for f in error.faults]
    return (
        Problem(
            kind=f"urn:geo-offers:problem:{code}",
            title=title,
            status=status,
            detail=error.detail,
            instance=instance,
            code=code,
            errors=faults,
        ),
        headers,
    )


def response(error: errors.GeoOffersError, instance: str) -> web.Response:
    body, headers = problem(error, instance)
    return web.Response(status=body.status, body=msgspec.json.encode(body), content_type=TYPE, headers=headers)


def plain(status: int, detail: str, instance: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """A problem that aiohttp or a deadline found before any of ours did."""
    code, title = HTTP.get(status, ("http_error", "The request was not taken"))
    body = Problem(
        kind=f"urn:geo-offers:problem:{code}", title=title, status=status, detail=detail, instance=instance, code=code
    )
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=TYPE, headers=headers)
