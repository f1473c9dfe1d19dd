"""Errors become problems: every class of ours has its status, and each says no more than it should."""

import json

import pytest

from geo_offers import errors
from geo_offers.errors import Fault, GeoOffersError
from geo_offers.web import problems

TAKES_FAULTS = {
    errors.Malformed,
    errors.Invalid,
    errors.Unauthenticated,
    errors.NotFound,
    errors.Conflict,
    errors.Crowded,
    errors.TooLarge,
}


def leaves(kind):
    """The classes below without any of their own; what a start refuses in finer words never meets a request."""
    below = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return {leaf for child in below for leaf in leaves(child)} if below else {kind}


def test_every_error_class_has_a_status():
    assert leaves(GeoOffersError) == set(problems.STATUS)


@pytest.mark.parametrize("kind", list(problems.STATUS))
def test_a_problem_carries_what_its_error_says(kind):
    error = kind("the sentence", (Fault("/a", "c", "d"),)) if kind in TAKES_FAULTS else kind("the sentence")
    response = problems.response(error, "/v1/things")
    status, code, title = problems.STATUS[kind]
    body = json.loads(response.body)
    assert response.status == body["status"] == status
    assert response.content_type == "application/problem+json"
    assert body["type"] == f"urn:geo-offers:problem:{code}"
    assert (body["code"], body["title"]) == (code, title)
    assert (body["detail"], body["instance"]) == ("the sentence", "/v1/things")
    faults = [{"pointer": "/a", "code": "c", "detail": "d"}] if kind in TAKES_FAULTS else []
    assert body.get("errors", []) == faults


def test_codes_are_told_apart_by_status():
    codes = [code for _, code, _ in problems.STATUS.values()]
    assert len(set(codes)) == len(codes)


def test_who_may_come_back_is_told_when():
    for error in (errors.TooManyRequests("slow down", 2.4), errors.Unavailable("later", 0.1)):
        headers = problems.response(error, "/").headers
        assert int(headers["Retry-After"]) >= 1
    assert problems.response(errors.TooManyRequests("slow down", 2.4), "/").headers["Retry-After"] == "2"
    assert "Retry-After" not in problems.response(errors.Conflict("no"), "/").headers


def test_a_missing_key_is_asked_for():
    assert problems.response(errors.Unauthenticated("who?"), "/").headers["WWW-Authenticate"] == "Bearer"


def test_a_refusal_may_have_a_code_of_its_own():
    body = json.loads(problems.response(errors.Forbidden("no", "consent_required"), "/").body)
    assert (body["status"], body["code"]) == (403, "consent_required")


def test_a_problem_found_before_ours_is_of_the_same_form():
    response = problems.plain(405, "not this method", "/v1/x", {"Allow": "GET"})
    body = json.loads(response.body)
    assert (response.status, body["code"], response.headers["Allow"]) == (405, "method_not_allowed", "GET")
    assert json.loads(problems.plain(418, "tea", "/").body)["code"] == "http_error"
