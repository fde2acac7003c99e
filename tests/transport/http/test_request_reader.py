"""Tests of :mod:`aiproxy.transport.http.request_reader`."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.http.common import MAX_HEAD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from aiproxy.transport.http.request_reader import ReceivedRequest, RequestReader
from tests.transport.http.strategies import (
    AMBIGUOUS,
    UPGRADES,
    WrittenRequest,
    pipelines,
    requests,
    split,
)

LIMIT = 1000
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n"


@frozen
class Seen:
    """What a reader made of some bytes: requests, then why no more."""

    requests: list[tuple[bytes, bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes, bool]]
    refusal: str | None

    @property
    def targets(self) -> list[bytes]:
        """What was asked for."""
        return [target for _, target, *_ in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        """What was sent."""
        return [body for *_, body, _ in self.requests]


def read(pieces: Iterable[bytes], limit: int = LIMIT) -> Seen:
    """Feed pieces as a connection does: not beyond the last request."""
    reader = RequestReader(limit)
    seen: list[ReceivedRequest] = []
    for piece in pieces:
        rest = piece
        while rest and not (seen and seen[-1].last):
            before, rest = len(rest), reader.feed(rest)
            assert len(rest) < before or reader.refusal is not None
            seen += reader.ready
            reader.ready.clear()
            if reader.refusal is not None:
                break
    written = [
        (one.method, one.target, one.version, tuple(one.pairs), one.body, one.last) for one in seen
    ]
    refusal = None
    if reader.refusal is not None and not (seen and seen[-1].last):
        refusal = f"{reader.refusal.status} {reader.refusal.code}"
    return Seen(written, refusal)


def bytewise(data: bytes) -> list[bytes]:
    """Cut into single bytes."""
    return [bytes([byte]) for byte in data]


class WellFormedTests(SynchronousTestCase):
    """Requests that are in order."""

    @given(pipelines, st.data())
    def test_pipelines(self, written: list[WrittenRequest], data: st.DataObject) -> None:
        """They are read as they were meant, however their bytes are split."""
        wire = b"".join(one.wire for one in written)
        seen = read(split(wire, data))
        self.assertEqual(seen.refusal, None)
        for one, (method, target, version, pairs, body, last) in zip(
            written, seen.requests, strict=True
        ):
            self.assertEqual((method, target, body), (one.method, one.target, one.body))
            self.assertEqual((version, last), (b"HTTP/1.1", False))
            headers: dict[bytes, list[bytes]] = {}
            for name, value in pairs:
                headers.setdefault(name, []).append(value)
            for name in (b"host", b"content-length", b"transfer-encoding"):
                headers.pop(name, None)
            self.assertEqual(headers, one.headers)

    def test_many_in_one_piece(self) -> None:
        """A piece of many requests gives them all, a few at a time."""
        wire = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(1000))
        reader = RequestReader(LIMIT)
        rest = reader.feed(wire)
        self.assertLess(len(reader.ready), 200)
        self.assertTrue(wire.endswith(rest))
        self.assertEqual(read([wire]).targets, [b"/%d" % number for number in range(1000)])

    def test_large_bodies_in_one_piece(self) -> None:
        """So does one of long bodies, whose ends are where their lengths say."""
        one = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000
        seen = read([(one + NEXT) * 3], limit=20_000)
        self.assertEqual(seen.targets, [b"/", b"/next"] * 3)
        self.assertEqual(seen.bodies, [b"x" * 20_000, b""] * 3)

    def test_repeated_headers(self) -> None:
        """Of a repeated header the last value is found by name, and all are there."""
        reader = RequestReader(LIMIT)
        reader.feed(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nB:\r\na: 2 \r\nA:3\r\n\r\n")
        [request] = reader.ready
        self.assertEqual(request.headers, {b"host": b"x", b"a": b"3", b"b": b""})
        self.assertEqual(request.repeated, ((b"a", b"1"), (b"a", b"2")))
        values = [value for name, value in request.pairs if name == b"a"]
        self.assertEqual(values, [b"1", b"2", b"3"])

    def test_absolute_target(self) -> None:
        """A target may be a whole URL: what is asked for is its path and query."""
        for target, asked in (
            (b"http://x", b"/"),
            (b"http://x/", b"/"),
            (b"HTTPS://x.example:80/a/b?c=http://d", b"/a/b?c=http://d"),
            (b"http://x?a/b", b"/?a/b"),
            (b"http://x?a=b", b"/?a=b"),
            (b"/a?http://x/b", b"/a?http://x/b"),
            (b"ftp://x/a", b"ftp://x/a"),
            (b"http://[::1]:80/a", b"/a"),
            (b"*", b"*"),
        ):
            seen = read([b"OPTIONS " + target + b" HTTP/1.1\r\nHost: y\r\n\r\n"])
            self.assertEqual((seen.targets, seen.refusal), ([asked], None), target)

    def test_last(self) -> None:
        """Nothing is read after a request that says it is the last, even in one piece with it."""
        for head in (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: TE,\tClose\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        ):
            for pieces in ([head + NEXT], [head, NEXT], bytewise(head + NEXT)):
                seen = read(pieces)
                self.assertEqual((seen.targets, seen.refusal), ([b"/"], None), head)
                self.assertTrue(seen.requests[0][-1])

    def test_trailers(self) -> None:
        """Trailers are read over; one that tells of framing is refused."""
        self.assertEqual(
            read([CHUNKED + b"0\r\nA: b\r\nHost: y\r\n\r\n" + NEXT]).targets, [b"/", b"/next"]
        )
        for trailer in (b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            for cut in (bytewise, lambda wire: [wire]):
                seen = read(cut(CHUNKED + b"0\r\n" + trailer + b"\r\n\r\n" + NEXT))
                self.assertEqual((seen.requests, seen.refusal), ([], "400 bad_request"))


class ExpectTests(SynchronousTestCase):
    """Clients that wait for permission to send a body."""

    def expects(self, head: bytes) -> bool:
        reader = RequestReader(LIMIT)
        reader.feed(head + b"\r\n\r\n")
        self.assertEqual(reader.refusal, None)
        return reader.expects

    def test_expects(self) -> None:
        """It is seen where a body will come, in any writing."""
        for framing in (b"Content-Length: 3", b"Transfer-Encoding: chunked"):
            for wish in (b"Expect: 100-continue", b"EXPECT:100-Continue "):
                head = b"POST / HTTP/1.1\r\nHost: x\r\n" + wish + b"\r\n" + framing
                self.assertTrue(self.expects(head))

    def test_does_not(self) -> None:
        """There is nothing to permit without a body, to HTTP/1.0, or by another word."""
        for head in (
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue",
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0",
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 3",
            b"POST / HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3",
        ):
            self.assertFalse(self.expects(head), head)

    def test_came_anyway(self) -> None:
        """Once the body comes nobody waits any more, and the next request does not either."""
        reader = RequestReader(LIMIT)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        reader.feed(head + b"a")
        self.assertFalse(reader.expects)
        rest = reader.feed(b"bc" + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n")
        reader.ready.clear()
        self.assertEqual(reader.feed(rest), b"")
        self.assertTrue(reader.in_body)
        self.assertFalse(reader.expects)


class UpgradeTests(SynchronousTestCase):
    """Wishes for another protocol, which are not granted."""

    def test_every_split(self) -> None:
        """The request, its body and what follows are read as if there were no wish."""
        for wire, body in UPGRADES:
            whole = NEXT + wire + wire + NEXT
            for place in range(1, len(whole)):
                seen = read([whole[:place], whole[place:]])
                self.assertEqual(seen.refusal, None)
                self.assertEqual(seen.targets, [b"/next", b"/up", b"/up", b"/next"])
                self.assertEqual(seen.bodies, [b"", body, body, b""])
            self.assertEqual(read(bytewise(whole)), read([whole]))
            self.assertNotIn(b"upgrade", dict(seen.requests[1][3]))
            self.assertEqual(dict(seen.requests[1][3])[b"http2-settings"], b"AA")

    def test_too_large(self) -> None:
        """The bound on bodies holds for it."""
        head = UPGRADES[1][0].partition(b"Content-Length")[0]
        seen = read([head + b"Content-Length: 1001\r\n\r\n"])
        self.assertEqual((seen.requests, seen.refusal), ([], "413 request_too_large"))

    def test_ambiguous(self) -> None:
        """What is refused without the wish is refused with it."""
        wish = b"Connection: upgrade\r\nUpgrade: h2c\r\nHost: x\r\n"
        for wire in AMBIGUOUS:
            wished = wire.replace(b"Host: x\r\n", wish, 1)
            for pieces in ([wished], bytewise(wished)):
                seen = read(pieces)
                self.assertEqual((seen.requests, seen.refusal), ([], "400 bad_request"), wished)

    def test_many_in_one_piece(self) -> None:
        """Many in one piece are no deep recursion, nor a lost request."""
        wire = b"GET / HTTP/1.1\r\nHost:\r\nConnection:upgrade\r\nUpgrade:h\r\n\r\n"
        self.assertEqual(len(read([wire * 2000]).requests), 2000)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 has no such wish: the request stays one of HTTP/1.0."""
        seen = read([b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"])
        self.assertEqual([version for _, _, version, *_ in seen.requests], [b"HTTP/1.0"])

    def test_connect(self) -> None:
        """A tunnel is refused, with a body or without."""
        for more in (b"\r\n", b"Content-Length: 3\r\n\r\nabc", b"Upgrade: x\r\n\r\n"):
            seen = read([b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n" + more + NEXT])
            self.assertEqual((seen.requests, seen.refusal), ([], "400 bad_request"))


class HostileTests(SynchronousTestCase):
    """Bytes that are meant to do harm, or mean nothing."""

    def test_ambiguous(self) -> None:
        """What two parsers could read in two ways is refused, in one piece and byte by byte."""
        for wire in AMBIGUOUS:
            for pieces in ([wire + b"\r\n" + NEXT], bytewise(wire + b"\r\n" + NEXT)):
                seen = read(pieces)
                self.assertEqual((seen.requests, seen.refusal), ([], "400 bad_request"), wire)

    def test_behind_another(self) -> None:
        """So it is behind a request, whatever that ends with, and the request is read."""
        chunks = CHUNKED.replace(b"/", b"/next", 1) + b"4\r\n\r\n\r\n\r\n0\r\nX: y\r\n\r\n"
        for before in (NEXT, NEXT + b"\r\n", chunks, NEXT.replace(b"\r\n", b"\r\nA: /1.1\r\n", 1)):
            for wire in AMBIGUOUS:
                whole = before + wire + b"\r\n" + NEXT
                cuts = range(len(before) - 3, len(before) + 20, 4)
                for pieces in ([whole], bytewise(whole), *([whole[:n], whole[n:]] for n in cuts)):
                    seen = read(pieces)
                    self.assertEqual((seen.targets, seen.refusal), ([b"/next"], "400 bad_request"))

    def test_hosts(self) -> None:
        """All forms that a Host may have are taken (RFC 3986, 3.2.2)."""
        for host in (b"", b"x", b"x:", b"x.example:8080", b"127.0.0.1:80", b"[::1]:80", b"a_b~%20"):
            seen = read([NEXT.replace(b"Host: x", b"Host: " + host)])
            self.assertEqual((seen.targets, seen.refusal), ([b"/next"], None), host)

    def test_lenient(self) -> None:
        """Empty lines before a request are read over (RFC 9112, 2.2)."""
        for wire in (b"\r\n" + NEXT, b"\r\n\r\n" + NEXT):
            seen = read([wire + wire])
            self.assertEqual((seen.targets, seen.refusal), ([b"/next"] * 2, None), wire)

    def test_line_behind_a_body(self) -> None:
        """An empty line that comes with a body is its client's way to end it, no next request."""
        reader = RequestReader(LIMIT)
        wire = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        self.assertEqual(reader.feed(wire + b"\r\n"), b"")
        self.assertFalse(reader.begun)
        reader.ready.clear()
        self.assertEqual(reader.feed(wire + NEXT), NEXT)

    def test_rtsp(self) -> None:
        """Other protocols that llhttp knows are refused."""
        for line in (b"OPTIONS * RTSP/1.0", b"GET / RTSP/1.0", b"PLAY / RTSP/1.0"):
            seen = read([line + b"\r\nHost: x\r\n\r\n"])
            self.assertEqual((seen.requests, seen.refusal), ([], "400 bad_request"), line)

    @given(requests(), st.data())
    def test_mutated(self, written: WrittenRequest, data: st.DataObject) -> None:
        """A request with wrong bytes is read or refused, however it is split."""
        wire = bytearray(written.wire)
        for place, byte in data.draw(
            st.lists(st.tuples(st.integers(0, len(wire) - 1), st.integers(0, 255)), max_size=3)
        ):
            wire[place] = byte
        whole = bytes(wire) + NEXT * data.draw(st.integers(0, 1))
        self.assertEqual(read(split(whole, data)), read([whole]))

    @given(
        st.lists(
            st.one_of(
                st.sampled_from(
                    (
                        *(
                            b"\r\n",
                            b"\r",
                            b"\n",
                            b" ",
                            b"\t",
                            b":",
                            b";",
                            b"0",
                            b"3",
                            b"\0",
                            b"abc",
                        ),
                        *(b"GET ", b"/ ", b"HTTP/1.1", b"HTTP/1.0", b"http://", b"\r\n\r\n", NEXT),
                        *(b"Host: x\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
                        *(
                            b"Connection: upgrade\r\n",
                            b"Upgrade: h2c\r\n",
                            b"Expect: 100-continue\r\n",
                        ),
                        *(CHUNKED, UPGRADES[1][0], UPGRADES[2][0], b"0\r\n\r\n"),
                    )
                ),
                st.binary(max_size=20),
            ),
            max_size=20,
        ),
        st.data(),
    )
    def test_anything(self, pieces: list[bytes], data: st.DataObject) -> None:
        """So is any sequence of what HTTP consists of."""
        whole = b"".join(pieces)
        self.assertEqual(read(pieces), read([whole]))
        self.assertEqual(read(bytewise(whole)), read([whole]))


class BoundTests(SynchronousTestCase):
    """What never ends."""

    def endless(self, start: bytes, piece: bytes, limit: int = LIMIT) -> tuple[str, int]:
        """Send a piece again and again; return what ends it, and after how many bytes."""
        reader = RequestReader(limit)
        reader.feed(start)
        fed = 0
        while reader.refusal is None:
            self.assertEqual(reader.ready, [])
            self.assertLess(fed, 1_000_000)
            reader.feed(piece)
            fed += len(piece)
        return f"{reader.refusal.status} {reader.refusal.code}", fed

    def test_heads(self) -> None:
        """A head is refused when it is too long, wherever it is; so are empty lines before it."""
        head = b"GET / HTTP/1.1\r\nHost: x\r\n"
        for start, piece, most in (
            (b"", b"\r\n", MAX_LINE_BYTES + 2),
            (b"GET /", b"x", MAX_LINE_BYTES + 2),
            (head, b"x", MAX_LINE_BYTES + 2),
            (head + b"x:", b" ", MAX_LINE_BYTES + 2),
            (head + b"x: ", b"y", MAX_LINE_BYTES + 2),
            (head, b"x: " + b"y" * 995 + b"\r\n", MAX_HEAD_BYTES + 2000),
            (head, b"x: y\r\n", 6 * (MAX_HEADERS + 1)),
        ):
            why, fed = self.endless(start, piece)
            self.assertEqual(why, "431 request_header_fields_too_large", (start, piece[:9]))
            self.assertLessEqual(fed, most, (start, piece[:9]))

    def test_chunks(self) -> None:
        """So are chunk extensions, chunk sizes and trailers that never end."""
        for start, piece, most in (
            (b"3;", b"a", 20_000),
            (b"3;a=", b"b" * 4000, 24_000),
            (b'3;a="', b"b" * 4000, 24_000),
            (b"", b"0", 20_000),
            (b"0\r\n", b"x: y\r\n", MAX_HEAD_BYTES),
            (b"0\r\nx: ", b"y", MAX_LINE_BYTES),
        ):
            why, fed = self.endless(CHUNKED + start, piece)
            self.assertEqual(why, "400 bad_request", start)
            self.assertLessEqual(fed, most, start)

    def test_chunk_size(self) -> None:
        """A chunk size of more than 64 bits is none."""
        self.assertEqual(read([CHUNKED + b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n"]).bodies, [b"abc"])
        self.assertEqual(read([CHUNKED + b"1" + b"0" * 16 + b"\r\n"]).refusal, "400 bad_request")

    def test_body(self) -> None:
        """A body is refused when it is longer than its bound, not when it is as long."""
        for number in (LIMIT, LIMIT + 1):
            length = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % number
            chunk = CHUNKED + b"%x\r\n" % number
            for start, end in ((length, b""), (chunk, b"\r\n0\r\n\r\n")):
                seen = read([start, b"x" * number, end])
                refusal = None if number == LIMIT else "413 request_too_large"
                self.assertEqual(seen.refusal, refusal)
                self.assertEqual(seen.bodies, [b"x" * number] if number == LIMIT else [])

    def peak_bytes(self, start: bytes, piece: bytes, times: int) -> int:
        """Return how much memory it takes to read a piece so many times."""
        reader = RequestReader(2**20)
        reader.feed(start)
        gc.collect()
        tracemalloc.start()
        try:
            for _ in range(times):
                reader.feed(piece)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_memory_of_a_body(self) -> None:
        """A body that comes in small pieces takes little more memory than one in large ones."""
        for start, piece, length in (
            (CHUNKED, b"2\r\nxx\r\n", 2),
            (CHUNKED, b"2\r\nxx\r\n" * 500, 1000),
            (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n", b"xxx", 3),
        ):
            times = 150_000 // length
            self.assertLess(self.peak_bytes(start, piece, times), 3 * 150_000, piece[:9])

    def test_memory_of_a_head(self) -> None:
        """A head takes no more than a few times its bound."""
        for start, piece in ((b"GET /", b"x" * 100), (b"GET / HTTP/1.1\r\n", b"x: y\r\n")):
            self.assertLess(self.peak_bytes(start, piece, 1000), 4 * MAX_HEAD_BYTES)

    def test_memory_of_a_connection(self) -> None:
        """A connection does not grow with the requests that it has brought."""
        reader = RequestReader(LIMIT)
        wire = NEXT + b"".join(wire for wire, _ in UPGRADES)

        def work() -> int:
            for _ in range(300):
                rest = wire
                while rest or reader.ready:
                    rest = reader.feed(rest)
                    reader.ready.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = work()
            self.assertLess(work() - before, 10_000)
        finally:
            tracemalloc.stop()
