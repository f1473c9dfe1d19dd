"""What the demo's page is told of one person."""

from uuid import UUID

import pytest

from geo_offers.client import ApiError
from geo_offers.demo.main import _about
from geo_offers.wire import Problem

PERSON = {"n": 7, "name": "Amber Heron"}
ID = UUID(int=9)


class Record:
    """The manager's calls, of which one is made."""

    def __init__(self, decision=None):
        self.decision_made = decision

    async def decision(self, ident):
        if self.decision_made is None:
            gone = Problem(kind="x", title="x", status=404, detail="x", instance="/", code="not_found")
            raise ApiError(gone, None)
        return self.decision_made | {"id": ident}


@pytest.mark.parametrize(
    ("told", "title"),
    [
        ({"id": str(ID), "outcome": "offer", "offer": {"title": "Warm rolls"}}, "Warm rolls"),
        ({"id": str(ID), "outcome": "suppressed", "reason": "cap"}, None),
    ],
)
async def test_a_person_is_shown_with_their_last_decision_and_its_offers_title(told, title):
    shown = await _about(PERSON, told, Record({"gates": []}))
    assert shown == PERSON | {"decision": {"gates": [], "id": ID}, "title": title}


async def test_a_person_of_whom_nothing_was_decided_or_is_on_record_is_shown_without():
    assert await _about(PERSON, None, Record({"gates": []})) == PERSON
    assert await _about(PERSON, {"id": str(ID)}, Record()) == PERSON


async def test_nobody_is_shown_of_whom_left():
    assert await _about(None, {"id": str(ID)}, Record({"gates": []})) is None
