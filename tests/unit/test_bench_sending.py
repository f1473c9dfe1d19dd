"""The benches' sender: the schedule does not wait for the server, and whatever was sent is accounted for."""

import math
import socket
import time

import numpy as np
import pytest

from bench import echo
from bench.sending import HttpLine, Line, Record, StreamLine, frame, on_schedule, saturate, schedule

GOOD = b'{"results":[{"status":"accepted"}],"transitions":[{"type":"enter","confidence":1.0}],"offers":[]}'


class Server(Line):
    """Answers the requests sent so far once it has got `answers_at` of them; with that answer each."""

    def __init__(self, answers_at=1, answer=GOOD):
        self.socket, self.other = socket.socketpair()
        self.socket.setblocking(False)
        self.got, self.most_open, self._answered = [], 0, 0
        self.answers_at, self.answer = answers_at, answer

    def send(self, requests):
        self.got += requests
        self.most_open = max(self.most_open, len(self.got) - self._answered)
        if len(self.got) >= self.answers_at:
            self.other.send(b"!")

    def flush(self):
        pass

    def answers(self):
        self.socket.recv(100)
        while self._answered < len(self.got):
            self._answered += 1
            yield self._answered - 1, self.answer


@pytest.fixture
def server():
    made = []

    def make(*given, **named):
        made.append(Server(*given, **named))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()
        one.other.close()


def test_a_schedule_is_seeded_and_keeps_its_rate():
    due_s = schedule(1_000, 10, seed=3)
    assert np.array_equal(due_s, schedule(1_000, 10, seed=3))
    assert not np.array_equal(due_s[:5], schedule(1_000, 10, seed=4)[:5])
    assert 9_500 < len(due_s) < 10_500
    assert due_s[0] > 0
    assert due_s[-1] < 10
    assert np.all(np.diff(due_s) >= 0)


def test_requests_go_out_when_due_and_never_before_though_no_answer_comes(server):
    line = server(answers_at=math.inf)
    run = on_schedule([line], [[b"a", b"b", b"c"]], 1, [0.0, 0.02, 0.05], patience_s=0.01)
    assert line.got == [b"a", b"b", b"c"]
    assert min(run.late_ms()) >= 0
    assert run.due_s == pytest.approx([run.due_s[0], run.due_s[0] + 0.02, run.due_s[0] + 0.05])
    assert (run.accepted, run.failed, run.waiting) == (0, 3, 0)


def test_a_stall_of_the_server_counts_for_every_request_that_was_due_meanwhile(server):
    run = on_schedule([server(answers_at=3)], [[b"a", b"b", b"c"]], 1, [0.0, 0.1, 0.2])
    first, second, third = run.latency_ms()
    assert first >= 200
    assert second >= 100
    assert first - third == pytest.approx(200)


def test_a_stall_of_the_sender_counts_as_latency_and_is_told_apart(server):
    class Stalling(Server):
        def send(self, requests):
            time.sleep(0.0 if self.got else 0.14)
            super().send(requests)

    line = Stalling()
    run = on_schedule([line], [[b"a", b"b"]], 1, [0.0, 0.1])
    line.socket.close()
    line.other.close()
    assert run.latency_ms()[0] >= 140
    assert run.latency_ms()[1] >= run.late_ms()[1] >= 40


def test_lines_take_turns_on_the_schedule(server):
    lines = [server(), server()]
    run = on_schedule(lines, [[b"a", b"c"], [b"b", b"d"]], 1, [0.0, 0.001, 0.002])
    assert [line.got for line in lines] == [[b"a", b"c"], [b"b"]]
    assert run.accepted == run.sent == 3


def test_what_has_no_answer_has_failed_and_weighs_on_the_tail(server):
    run = saturate([server(), server(answers_at=math.inf)], [[b"a"] * 5, [b"b"] * 5], 1, 5, patience_s=0.05)
    assert (run.accepted, run.failed, run.transitions) == (5, 5, 5)
    assert sorted(run.latency_ms())[-5:] == [math.inf] * 5


def test_no_more_than_the_window_is_unanswered(server):
    line = server()
    run = saturate([line], [[b"a"] * 50], 1, 4)
    assert run.accepted == 50
    assert line.most_open == 4


@pytest.mark.parametrize(
    ("answer", "shed", "failed"),
    [
        (b'{"type":"problem","seq":1,"problem":{"status":503}}', 2, 0),
        (b'{"type":"problem","seq":1,"problem":{"status":400}}', 0, 2),
        (b'{"results":[{"status":"accepted"},{"status":"late"}],"transitions":[]}', 0, 1),
    ],
)
def test_what_is_not_accepted_is_shed_or_failed(answer, shed, failed):
    run = Record(2, 1)
    run.settle(0, 1.0, answer)
    assert (run.accepted, run.shed, run.failed) == (2 - shed - failed, shed, failed)


def server_frame(text):
    return frame(1, text)[:1] + bytes((len(text),)) + text if len(text) < 126 else _longer(text)


def _longer(text):
    length = b"\x7e" + len(text).to_bytes(2, "big") if len(text) < 1 << 16 else b"\x7f" + len(text).to_bytes(8, "big")
    return b"\x81" + length + text


def pieces(kind, data, size):
    """What a line makes of the data where it comes in pieces of that size."""
    line = kind.__new__(kind)
    line._unread = line._unsent = b""
    if kind is HttpLine:
        line.open()
    found = []
    for start in range(0, len(data), size):
        found += line._parsed(line._unread + data[start : start + size])
    return found


@pytest.mark.parametrize("size", [1, 7, 130, 100_000])
def test_frames_are_told_apart_wherever_the_stream_is_cut(size):
    texts = [b'{"results":[],"seq":%d}' % (number + 1) + b" " * (number * 60) for number in range(5)]
    texts += [b'{"type":"problem","seq":9,"problem":{"status":503}}', b'{"x":"' + b"y" * 70_000 + b'","seq":7}']
    found = pieces(StreamLine, b"".join(map(server_frame, texts)), size)
    assert found == [*enumerate(texts[:5]), (8, texts[5]), (6, texts[6])]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_http_answers_are_told_apart_wherever_the_stream_is_cut(size):
    data = b"".join(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nX: 1\r\n\r\n" % n + b"b" * n for n in (0, 3, 900))
    assert pieces(HttpLine, data, size) == [(0, b""), (1, b"bbb"), (2, b"b" * 900)]


@pytest.mark.parametrize(("kind", "size", "window"), [(StreamLine, 1, 8), (StreamLine, 100, 3), (HttpLine, 20, 1)])
def test_every_ping_is_answered_over_real_connections(kind, size, window):
    ping = b'{"at":"2026-01-01T00:00:00Z","lat":1.0,"lon":2.0}'
    with echo.running(None) as url:
        lines = [kind(url, "token") for _ in range(3)]
        try:
            requests = [[kind.wrap(url, "token", [ping] * size)] * 40] * 3
            run = saturate(lines, requests, size, window)
        finally:
            for line in lines:
                line.socket.close()
    assert (run.accepted, run.failed, run.shed) == (3 * 40 * size, 0, 0)
    assert run.rate() > 0
    assert max(run.latency_ms()) < math.inf
