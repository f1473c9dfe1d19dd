"""Answers to pings as they are written: as `wire.PingsAnswer` is, byte for byte."""

from types import SimpleNamespace
from uuid import UUID

import msgspec
import pytest

from geo_offers import instants, wire
from geo_offers.pipeline.callers import Caller
from geo_offers.pipeline.requests import RESULTS, Code, MadeOffer, Request, Seen
from geo_offers.places.fences import FenceId
from geo_offers.presence.states import Transition, TransitionType
from geo_offers.web import pings

WORKSPACE, DEVICE, NOW_US = UUID(int=1), UUID(int=2), 1_795_000_000_000_000
SERVER = Caller(workspace=WORKSPACE, kind="server", id="key")
PHONE = Caller(workspace=WORKSPACE, kind="device", id=str(DEVICE), device=DEVICE, user=UUID(int=3))
OFFER = MadeOffer(UUID(int=4), UUID(int=5), "set/id", b'{"title":"Rolls","body":"Warm"}', "inapp", NOW_US, NOW_US + 1)
SEEN = Seen(DEVICE, Transition(TransitionType.ENTER, FenceId("set/id"), 1, NOW_US, UUID(int=6), NOW_US, 8.0, -3.0, 0.9))
ADVICE = wire.Next(safe_radius_m=10.0, check_after_s=5.0, send_after_s=600.0, regions=[])


def request(codes, **more):
    return Request(WORKSPACE, NOW_US, [], bytearray(codes), **more)


@pytest.mark.parametrize("seq", [None, 1, 12_345])
@pytest.mark.parametrize("codes", [[], [0], [0] * 100, [code for code in Code if code not in {1, 2}]], ids=len)
@pytest.mark.parametrize(
    "more", [{}, {"transitions": [SEEN]}, {"offers": [OFFER]}, {"transitions": [SEEN] * 2, "offers": [OFFER]}]
)
@pytest.mark.parametrize("told", [(SERVER, None), (PHONE, None), (PHONE, ADVICE)], ids=["server", "phone", "advised"])
def test_an_answer_is_written_as_its_type_says(monkeypatch, codes, more, seq, told):
    caller, advice = told
    monkeypatch.setattr(pings, "_next", lambda *_: advice)
    asked = request(codes, **more)
    expected = wire.PingsAnswer(
        results=[wire.PointResult(status=RESULTS[code].status, reason=RESULTS[code].reason) for code in codes],
        transitions=[
            wire.TransitionSeen(
                type="enter",
                fence="set/id",
                at=instants.from_us(NOW_US),
                confidence=seen.transition.confidence,
                device=None if caller.device else DEVICE,
            )
            for seen in asked.transitions
        ],
        offers=[pings.offer(made) for made in asked.offers],
        next=advice,
        seq=seq,
    )
    assert pings.answer(SimpleNamespace(), caller, asked, "regions", seq) == msgspec.json.encode(expected)


def test_a_server_is_not_advised(monkeypatch):
    monkeypatch.setattr(pings, "_next", lambda *_: ADVICE)
    answer = msgspec.json.decode(pings.answer(SimpleNamespace(), SERVER, request([0]), "regions"))
    assert "next" not in answer
