"""Tests of :mod:`aiproxy.transport.http.response_reader`."""

from __future__ import annotations

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed
from aiproxy.transport.http.response_reader import ResponseReader

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@frozen
class Seen:
    """What a reader made of some bytes."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    ended: bool
    in_step: bool
    error: type[Exception] | None


def read(*pieces: bytes, bodiless: bool = False) -> Seen:
    """Feed an answer piece by piece."""
    reader = ResponseReader("api.example.com")
    reader.expect(bodiless=bodiless)
    error = None
    body = b""
    for piece in pieces:
        try:
            reader.feed(piece)
        except AIProxyError as refused:
            error = type(refused)
        body += b"".join(reader.pieces)
        reader.pieces.clear()
        if reader.ended or error is not None:
            break
    return Seen(reader.status, reader.fields, body, reader.ended, reader.in_step, error)


WHOLE = (
    HEAD + b"Content-Length: 5\r\nX-A: \r\nx-b: b \r\n\r\nhello",
    CHUNKED + b"3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    + CHUNKED
    + b"5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
)


class FramingTests(SynchronousTestCase):
    """Where an answer begins and ends."""

    @given(st.sampled_from(WHOLE), st.data())
    def test_any_split(self, answer: bytes, data: st.DataObject) -> None:
        """The same is read, however the bytes are split."""
        cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
        pieces = [
            answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)
        ]
        self.assertEqual(read(*pieces), read(answer))
        self.assertEqual((read(answer).status, read(answer).body), (200, b"hello"))
        self.assertTrue(read(answer).ended and read(answer).in_step)

    def test_next(self) -> None:
        """A reader reads one answer after the other."""
        reader = ResponseReader("api.example.com")
        for answer in WHOLE * 2:
            reader.expect(bodiless=False)
            reader.feed(answer)
            self.assertTrue(reader.ended and reader.in_step)
            self.assertEqual(b"".join(reader.pieces), b"hello")
            reader.pieces.clear()

    def test_fields(self) -> None:
        """Names are lower-case, values without the space around them, all of them in order."""
        seen = read(HEAD + b"X-A:  1 \r\nx-a:\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(seen.fields, [(b"x-a", b"1"), (b"x-a", b""), (b"content-length", b"0")])

    def test_reason(self) -> None:
        """The reason phrase is known, also in pieces, and not that of what came before."""
        reader = ResponseReader("api.example.com")
        for piece in (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 Not", b" here\r\n\r\n"):
            reader.feed(piece)
        self.assertEqual((reader.status, reader.reason, reader.version), (404, b"Not here", "1.1"))

    def test_trailers(self) -> None:
        """Trailers are no headers."""
        seen = read(CHUNKED + b"0\r\nSet-Cookie: x\r\n\r\n")
        self.assertEqual(seen.fields, [(b"transfer-encoding", b"chunked")])

    def test_bodiless(self) -> None:
        """After HEAD the head is all, whatever length it tells."""
        seen = read(HEAD + b"Content-Length: 9\r\n\r\n", bodiless=True)
        self.assertTrue(seen.ended)
        self.assertEqual(seen.error, None)

    def test_no_content(self) -> None:
        """204 and 304 have no body; one that tells of one may send it: it is not kept."""
        for head, in_step in (
            (b"HTTP/1.1 204 No\r\n", True),
            (b"HTTP/1.1 304 No\r\n", True),
            (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n", True),
            (b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n", True),
            (b"HTTP/1.1 204 No\r\nContent-Length: 9\r\n", False),
            (b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n", False),
            (b"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n", False),
        ):
            seen = read(head + b"\r\n")
            self.assertTrue(seen.ended, head)
            self.assertEqual(seen.in_step, in_step, head)

    def test_until_close(self) -> None:
        """Without a length the body never ends here."""
        reader = ResponseReader("api.example.com")
        reader.feed(HEAD + b"\r\nabc")
        self.assertTrue(reader.until_close)
        self.assertFalse(reader.ended)

    def test_asked_to_close(self) -> None:
        """``Connection: close`` and HTTP/1.0 are the last of their connections."""
        for answer in (
            HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.0 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n"
            b"Content-Length: 1\r\n\r\na",
        ):
            seen = read(answer)
            self.assertTrue(seen.ended)
            self.assertFalse(seen.in_step)

    def test_more(self) -> None:
        """Anything after the end puts the connection out of step, and is no part of the body."""
        for answer in WHOLE:
            for more in (b"x", HEAD, answer):
                seen = read(answer + more)
                self.assertEqual((seen.body, seen.error), (b"hello", None))
                self.assertTrue(seen.ended)
                self.assertFalse(seen.in_step)

    def test_upgrade_offered(self) -> None:
        """An upstream may offer another protocol (Apache does); we stay with this one."""
        seen = read(HEAD + b"Upgrade: h2\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\na")
        self.assertEqual((seen.body, seen.ended, seen.error), (b"a", True, None))


class RefusalTests(SynchronousTestCase):
    """What is not HTTP, or not the same to everybody."""

    def test_heads(self) -> None:
        """A head that two parsers could read in two ways is refused."""
        for head in (
            b"220 smtp.example.com ESMTP\r\n",
            b"\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"ICE/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 103 x\r\n\r\nRTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/0.9 200 OK\r\n\r\n",
            b"HTTP/1.2 200 OK\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 103 Early\r\nContent-Length: 1\r\n\r\na",
            b"HTTP/1.0 100 Continue\r\n\r\n",
            HEAD + b"A : b\r\n\r\n",
            HEAD + b"A: b\r\n c\r\n\r\n",
            HEAD + b"A: b\nB: c\r\n\r\n",
            HEAD + b"A: b\rB: c\r\n\r\n",
            HEAD + b"A: \0\r\n\r\n",
            HEAD + b"\xe9: b\r\n\r\n",
            HEAD + b"no colon\r\n\r\n",
            HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
            HEAD + b"Content-Length: 1, 1\r\n\r\na",
            HEAD + b"Content-Length: +1\r\n\r\na",
            HEAD + b"Content-Length: 0x1\r\n\r\na",
            HEAD + b"Content-Length: \r\n\r\n",
            HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
            HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            *(
                HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n"
                for coding in (
                    *(b"", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip", b"xchunked"),
                    *(b"chunked, chunked", b"chunked\r\nTransfer-Encoding: chunked", b"chunked,"),
                    *(b"chunked\t", b"chunked \t", b"chunked\t "),
                )
            ),
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ):
            seen = read(head)
            self.assertIs(seen.error, UpstreamFailed, head)
            self.assertEqual(seen.status, 0, head)
            self.assertEqual(seen.body, b"", head)

    def test_chunks(self) -> None:
        """Chunks that two parsers could read in two ways cut the body; what came before stays."""
        for chunk in (
            *(b" 1\r\na\r\n", b"1\na\r\n", b"1\r\na\n0\r\n\r\n", b"1\r\nab\r\n", b"0x1\r\na\r\n"),
            *(b"-1\r\na\r\n", b"fffffffffffffffff\r\n", b"\r\n", b"zzz\r\n", b"1 \r\na\r\n"),
        ):
            seen = read(CHUNKED + b"3\r\none\r\n" + chunk)
            self.assertIs(seen.error, StreamCut, chunk)
            self.assertTrue(seen.body.startswith(b"one"), chunk)
            self.assertFalse(seen.ended)

    @given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from((b"", HEAD, CHUNKED)))
    def test_hostile(self, pieces: list[bytes], start: bytes) -> None:
        """Whatever comes, nothing but our own errors does."""
        seen = read(start, *pieces) if start else read(*pieces)
        self.assertIn(seen.error, (None, UpstreamFailed, StreamCut, AnswerTooLarge))

    @given(st.sampled_from(WHOLE), st.integers(0, 400), st.integers(0, 255))
    def test_one_byte_wrong(self, answer: bytes, place: int, byte: int) -> None:
        """One wrong byte somewhere gives an answer or one of our errors."""
        changed = bytearray(answer)
        changed[place % len(answer)] = byte
        seen = read(bytes(changed))
        self.assertIn(seen.error, (None, UpstreamFailed, StreamCut))

    def test_closed(self) -> None:
        """After the connection is gone nothing is read."""
        reader = ResponseReader("api.example.com")
        reader.close()
        self.assertRaises(UpstreamFailed, reader.feed, HEAD)


class BoundTests(SynchronousTestCase):
    """What never ends."""

    def endless(self, start: bytes, piece: bytes, limit: int) -> type[Exception]:
        """Send a piece again and again; return what ends it, within so many bytes."""
        reader = ResponseReader("api.example.com")
        fed = 0
        try:
            reader.feed(start)
            while fed <= limit:
                fed += len(piece)
                reader.feed(piece)
                reader.pieces.clear()
        except AIProxyError as error:
            return type(error)
        self.fail(f"{fed} bytes were taken")

    def test_head(self) -> None:
        """Many headers, a long header, a long name, a long reason, many preliminary answers."""
        for start, piece in (
            (HEAD, b"x: y\r\n"),
            (HEAD, b"x: " + b"y" * 1000 + b"\r\n"),
            (HEAD + b"x: ", b"y" * 999),
            (HEAD, b"z" * 999),
            (b"HTTP/1.1 200 O", b"K" * 999),
            (b"", b"HTTP/1.1 103 Early\r\n\r\n"),
        ):
            self.assertIs(
                self.endless(start or b"H", piece if start else piece[1:] + b"H", 70_000),
                AnswerTooLarge,
            )

    def test_many(self) -> None:
        """However few bytes they take: 200 headers, and 20 preliminary answers."""
        end = b"Content-Length: 0\r\n\r\n"
        for piece, most, start in ((b"x: y\r\n", 199, HEAD), (b"HTTP/1.1 103 x\r\n\r\n", 20, b"")):
            last = end if start else HEAD + end
            self.assertIs(read(start + piece * most + last).error, None)
            self.assertIs(read(start + piece * (most + 1) + last).error, AnswerTooLarge)

    def test_body(self) -> None:
        """Chunk extensions, and trailers, that bring nothing."""
        for start in (b"1;", b"0\r\nx: ", b"0\r\n"):
            piece = b"x: y\r\n" if start.endswith(b"\n") else b"y" * 999
            self.assertIs(self.endless(CHUNKED + start, piece, 20_000), StreamCut)

    def test_long_body(self) -> None:
        """A body itself has no bound here."""
        reader = ResponseReader("api.example.com")
        reader.feed(CHUNKED)
        for _ in range(100):
            reader.feed(b"3e8;" + b"e" * 300 + b"\r\n" + b"a" * 1000 + b"\r\n")
            self.assertEqual(b"".join(reader.pieces), b"a" * 1000)
            reader.pieces.clear()
