"""Well-formed answers of upstreams are read as Twisted's own parser reads them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import HTTPClientParser, Request, Response
from twisted.web.http_headers import Headers

from aiproxy.transport.http.response_reader import ResponseReader
from tests.transport.http.strategies import WrittenAnswer, answers, split


class Body:
    """
    Takes a body from Twisted.

    :ivar data: what came.
    """

    def __init__(self) -> None:
        self.data = b""

    def makeConnection(self, transport: object) -> None: ...

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: object) -> None: ...


def read_stock(pieces: list[bytes], method: bytes) -> tuple[Any, ...]:
    """Return what Twisted's parser reads."""
    request = Request(method, b"/", Headers({b"host": [b"x"]}), None)
    ended: list[bytes] = []
    parser: Any = HTTPClientParser(request, ended.append)
    parser.makeConnection(StringTransport())
    for piece in pieces:
        parser.dataReceived(piece)
    response: Response = parser.response
    body: Any = Body()
    response.deliverBody(body)
    headers = {name.lower(): values for name, values in response.headers.getAllRawHeaders()}
    # Twisted keeps what tells of framing by itself.
    for name, values in parser.connHeaders.getAllRawHeaders():
        headers[name.lower()] = values
    return (response.code, headers, body.data, bool(ended))


def read_llhttp(pieces: list[bytes], method: bytes) -> tuple[Any, ...]:
    """Return what our parser reads."""
    reader = ResponseReader("x")
    reader.expect(bodiless=method == b"HEAD")
    for piece in pieces:
        reader.feed(piece)
    headers: dict[bytes, list[bytes]] = {}
    for name, value in reader.fields:
        headers.setdefault(name, []).append(value)
    return (reader.status, headers, b"".join(reader.pieces), reader.ended)


class DifferentialTests(SynchronousTestCase):
    """One parser beside the other."""

    maxDiff = None

    @given(answers(), st.data())
    def test_well_formed(self, written: WrittenAnswer, data: st.DataObject) -> None:
        """Status, headers and body are the same, however the bytes are split."""
        pieces = split(written.wire, data)
        seen = read_llhttp(pieces, written.method)
        self.assertEqual(seen, read_stock(pieces, written.method))
        status, _, body, ended = seen
        self.assertEqual((status, body, ended), (written.status, written.body, True))
