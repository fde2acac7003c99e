"""What our readers let pass of messages that are not as they should be, h11 reads alike."""

from __future__ import annotations

from typing import Any, TypeAlias

import h11
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import AIProxyError
from aiproxy.transport.http.common import origin_form
from aiproxy.transport.http.request_reader import RequestReader
from aiproxy.transport.http.response_reader import ResponseReader
from tests.transport.http.strategies import AMBIGUOUS, answers, mutated, requests

#: A method, a target in origin form, and a body.
Asked: TypeAlias = tuple[bytes, bytes, bytes]

_ASK = h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")])


def read_requests(wire: bytes) -> tuple[list[Asked], bool]:
    """Return what our reader lets pass, and whether it would read on."""
    reader = RequestReader(10_000)
    read: list[Asked] = []
    while wire and reader.refusal is None:
        wire = reader.feed(wire)
        for one in reader.ready:
            read.append((one.method, one.target, one.body))
            if one.last:
                return read, False
        reader.ready.clear()
    return read, reader.refusal is None


def read_requests_h11(wire: bytes) -> list[Asked]:
    """Return what h11 lets pass."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(wire)
    read: list[Asked] = []
    method = target = body = b""
    while True:
        try:
            event = server.next_event()
        except h11.RemoteProtocolError:
            return read
        if isinstance(event, h11.Request):
            method, target, body = event.method, event.target, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            read.append((method, origin_form(target), body))
            server.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            server.send(h11.EndOfMessage())
            if server.our_state is not h11.DONE or server.their_state is not h11.DONE:
                return read
            server.start_next_cycle()
        else:
            return read


def read_answer(wire: bytes) -> tuple[ResponseReader, AIProxyError | None]:
    """Let our reader read an answer, and what comes behind it."""
    reader = ResponseReader("x")
    try:
        reader.feed(wire)
    except AIProxyError as error:
        return reader, error
    return reader, None


def read_answer_h11(wire: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the status, the body and what is left behind it; None: it is refused, or cut."""
    client = h11.Connection(h11.CLIENT)
    client.send(_ASK)
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    client.receive_data(b"")
    status, body = 0, b""
    while True:
        try:
            event: Any = client.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return status, body, client.trailing_data[0]
        elif not isinstance(event, h11.InformationalResponse):
            return None


class RequestTests(SynchronousTestCase):
    """A server beside h11's."""

    @given(mutated(requests().map(lambda one: one.wire) | st.sampled_from(AMBIGUOUS)))
    def test_mutated(self, wire: bytes) -> None:
        """What both let pass is the same, and h11 sees no request where we have read on."""
        wire += b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"
        (ours, reads_on), theirs = read_requests(wire), read_requests_h11(wire)
        both = min(len(ours), len(theirs))
        self.assertEqual(ours[:both], theirs[:both])
        if reads_on:
            self.assertLessEqual(len(theirs), len(ours))


class AnswerTests(SynchronousTestCase):
    """A client beside h11's."""

    @example(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n1\r\na\r\n0\r\n\r\n")
    @given(mutated(answers().filter(lambda one: one.method == b"POST").map(lambda one: one.wire)))
    def test_mutated(self, wire: bytes) -> None:
        """An answer that both let pass is the same, and nothing of it is left to the next one."""
        (ours, error), theirs = read_answer(wire), read_answer_h11(wire)
        if error is not None or theirs is None:
            return
        status, body, left = theirs
        self.assertEqual((ours.status, b"".join(ours.pieces)), (status, body))
        self.assertTrue(ours.ended or ours.until_close)
        if ours.ended and ours.in_step:
            # Empty lines between two answers are passed over.
            self.assertEqual(left.strip(b"\r\n"), b"")
