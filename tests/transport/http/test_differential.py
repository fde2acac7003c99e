"""Both HTTP servers see the same in what is well-formed, and llhttp's is the stricter one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource

from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from tests.transport.http.clients import Client
from tests.transport.http.strategies import AMBIGUOUS, WrittenRequest, pipelines, requests, split

LIMIT = 1000
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


class RecordingResource(Resource):
    """
    Answers each request by nothing.

    :ivar seen: all of each request.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Any, ...]] = []

    def render(self, request: IRequest) -> bytes:
        raw: Any = request
        headers = {name.lower(): values for name, values in raw.requestHeaders.getAllRawHeaders()}
        self.seen.append(
            (raw.method, raw.uri, raw.path, raw.args, raw.clientproto, headers, raw.content.read())
        )
        return b""


@frozen
class Seen:
    """
    What a server made of some bytes.

    :ivar refused: it has refused something.
    :ivar closed: it has ended the connection.
    :ivar statuses: the first lines of its answers.
    """

    requests: list[tuple[Any, ...]]
    refused: bool
    closed: bool
    statuses: list[bytes]


def serve(pieces: Iterable[bytes], make: type[GatewaySite]) -> Seen:
    """Let a server read."""
    clock = MemoryReactorClock()
    resource = RecordingResource()
    site = make(resource, clock, max_request_bytes=LIMIT)
    client = Client(site, clock)
    for piece in pieces:
        if client.closed:
            break
        client.send(piece)
    lines = client.take().split(b"\r\n")
    seen = Seen(
        resource.seen,
        client.channel.refused,
        client.closed or client.transport.half_closed,
        [line.split(b" ")[1] for line in lines if line.startswith((b"HTTP/1.0 ", b"HTTP/1.1 "))],
    )
    client.leave()
    return seen


class DifferentialTests(SynchronousTestCase):
    """One server beside the other."""

    maxDiff = None

    @given(pipelines, st.data())
    def test_well_formed(self, written: list[WrittenRequest], data: st.DataObject) -> None:
        """All is seen alike, however the bytes are split, and everything is seen."""
        wire = b"".join(one.wire for one in written)
        stock = serve(split(wire, data), StockSite)
        llhttp = serve(split(wire, data), LlhttpSite)
        self.assertEqual(llhttp, stock)
        self.assertEqual(len(llhttp.requests), len(written))
        self.assertFalse(llhttp.closed)

    @given(requests(), st.sampled_from((b"1.0", b"1.1")), st.data())
    def test_last(self, written: WrittenRequest, version: bytes, data: st.DataObject) -> None:
        """So is a request that closes its connection; nothing behind it is."""
        wire = written.wire.replace(b" HTTP/1.1\r\n", b" HTTP/%b\r\n" % version, 1)
        if version == b"1.1":
            wire = wire.replace(b"Host: x\r\n", b"Host: x\r\nConnection: te, Close\r\n", 1)
        pieces = split(wire + NEXT, data)
        llhttp = serve(pieces, LlhttpSite)
        self.assertEqual(llhttp, serve(pieces, StockSite))
        self.assertTrue(llhttp.closed)
        self.assertLessEqual(len(llhttp.requests), 1)

    @given(requests(), st.data())
    def test_mutated(self, written: WrittenRequest, data: st.DataObject) -> None:
        """Of a request with a wrong byte, what both let pass is the same to both."""
        wire = bytearray(written.wire)
        place = data.draw(st.integers(0, len(wire) - 1))
        wire[place] = data.draw(st.sampled_from(b"\r\n \t:;,/0139aAxX\0\x7f\xff"))
        pieces = [bytes(wire), NEXT]
        stock, llhttp = serve(pieces, StockSite), serve(pieces, LlhttpSite)
        for one, other in zip(llhttp.requests, stock.requests, strict=False):
            self.assertEqual(one, other)
        if not (stock.refused or llhttp.refused):
            self.assertEqual(len(llhttp.requests), len(stock.requests))

    def test_ambiguous(self) -> None:
        """What could be read in two ways is refused by both, and nothing behind it is read."""
        for wire in AMBIGUOUS:
            for site in (LlhttpSite, StockSite):
                for pieces in ([wire + b"\r\n" + NEXT], [bytes([byte]) for byte in wire + NEXT]):
                    seen = serve(pieces, site)
                    where = (site, wire)
                    self.assertTrue(seen.refused, where)
                    self.assertEqual(seen.requests, [], where)
                    self.assertIn(seen.statuses, ([b"400"], [b"413"]), where)
