"""Requests and answers for the tests of HTTP: well-formed ones, and what is none."""

from __future__ import annotations

import re
import string
from typing import Final

from attrs import frozen
from hypothesis import strategies as st

__all__ = [
    "AMBIGUOUS",
    "UPGRADES",
    "WrittenAnswer",
    "WrittenRequest",
    "answers",
    "mutated",
    "pipelines",
    "requests",
    "split",
]

#: RFC 9110, 5.6.2.
TOKEN: Final = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
#: What changes how a request is read: a test says it on purpose, or not at all.
READ_BY_SERVERS: Final = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "connection", "proxy-connection"),
        *("upgrade", "expect"),
    )
)
#: What a target may hold in one of our tests (RFC 3986, and what clients send unescaped).
_TARGET: Final = string.ascii_letters + string.digits + "-._~%!$&'()*+,;=:@/?[]|{}^"


@frozen
class WrittenRequest:
    """
    A request, and how it is written.

    :ivar target: in origin form, however it is written.
    :ivar headers: by name in lower case, the values in their order; without ``Host`` and framing.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, list[bytes]]
    body: bytes
    wire: bytes


_names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda x: x.lower() not in READ_BY_SERVERS)
_words = st.text([chr(code) for code in range(0x21, 0x100) if not 0x7F <= code < 0xA0], max_size=8)
_values = st.lists(_words, max_size=3).map(lambda words: " ".join(words).strip())
_spaces = st.text(" \t", max_size=2)
_targets = st.tuples(
    st.sampled_from(("", "http://x", "HTTPS://x.example:8080")),
    st.text(_TARGET, max_size=20).map("/{}".format),
)


@st.composite
def _chunked(draw: st.DrawFn, body: bytes) -> bytes:
    """Write a body in chunks."""
    written = b""
    while body:
        size = draw(st.integers(1, len(body)))
        digits = draw(st.sampled_from((b"%x", b"%X", b"0%x"))) % size
        written += digits + draw(_extensions) + b"\r\n" + body[:size] + b"\r\n"
        body = body[size:]
    trailers = draw(st.lists(st.tuples(_names, _values), max_size=2))
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in trailers]
    return written + b"0" + draw(_extensions) + b"\r\n" + b"".join(lines) + b"\r\n"


_extensions = st.lists(
    st.tuples(
        st.text(string.ascii_letters, min_size=1, max_size=4),
        st.sampled_from(("", "=b", '="b c"')),
    ),
    max_size=2,
).map(lambda pairs: "".join(f";{name}{value}" for name, value in pairs).encode())


@st.composite
def requests(draw: st.DrawFn) -> WrittenRequest:
    """Make a well-formed request that keeps its connection."""
    method = draw(st.sampled_from(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")))
    authority, target = draw(_targets)
    if method == "OPTIONS" and draw(st.booleans()):
        authority, target = "", "*"
    fields = draw(st.lists(st.tuples(_names, _values), max_size=4))
    lines = [f"{name}:{draw(_spaces)}{value}{draw(_spaces)}" for name, value in fields]
    body = draw(st.binary(max_size=60))
    framing, written = draw(
        st.one_of(
            st.just((None, b"")),
            st.just((f"Content-Length: {len(body)}", body)),
            _chunked(body).map(lambda chunks: ("transfer-encoding: Chunked", chunks)),
        )
    )
    lines.insert(draw(st.integers(0, len(lines))), "Host: x")
    if framing is None:
        body = b""
    else:
        lines.insert(draw(st.integers(0, len(lines))), framing)
    head = "\r\n".join([f"{method} {authority}{target} HTTP/1.1", *lines])
    headers: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        headers.setdefault(name.lower().encode(), []).append(value.encode("latin-1"))
    wire = head.encode("latin-1") + b"\r\n\r\n" + written
    return WrittenRequest(method.encode(), target.encode(), headers, body, wire)


@frozen
class WrittenAnswer:
    """
    An upstream's answer, and how it is written.

    :ivar method: what it answers.
    """

    method: bytes
    status: int
    body: bytes
    wire: bytes


@st.composite
def answers(draw: st.DrawFn) -> WrittenAnswer:
    """Make a well-formed answer whose end is told."""
    method = draw(st.sampled_from((b"GET", b"POST", b"HEAD")))
    status = draw(st.sampled_from((200, 201, 204, 206, 301, 304, 400, 404, 429, 500, 503, 599)))
    reason = draw(st.sampled_from((" OK", " Not so good", " ")))
    fields = draw(st.lists(st.tuples(_names, _values), max_size=4))
    lines = [f"{name}:{draw(_spaces)}{value}{draw(_spaces)}" for name, value in fields]
    body = b"" if method == b"HEAD" or status in (204, 304) else draw(st.binary(max_size=60))
    framing, written = f"content-length: {len(body)}", body
    if status == 204:
        framing = "x-none: 1"
    elif method != b"HEAD" and status != 304 and draw(st.booleans()):
        framing, written = "Transfer-Encoding: chunked", draw(_chunked(body))
    lines.insert(draw(st.integers(0, len(lines))), framing)
    head = "\r\n".join([f"HTTP/1.1 {status}{reason}", *lines])
    interim = draw(st.sampled_from((b"", b"HTTP/1.1 100 Continue\r\n\r\n")))
    wire = interim + head.encode("latin-1") + b"\r\n\r\n" + written
    return WrittenAnswer(method, status, body, wire)


#: What changes the meaning of a message where it is put.
_MEANT: Final = (
    *(b"\r\n", b"\n", b"\r", b"\r\n ", b" ", b"\t", b":", b";", b",", b'"', b"+", b"-", b"_"),
    *(b"\0", b"\x0b", b"\x1c", b"\x7f", b"\x85", b"\xa0", b"\xff", b"0", b"3", b"x", b"0\r\n\r\n"),
    *(b"/", b"?", b"#", b"*", b"//", b"http://h/", b"%00", b"1.0", b"204", b"304", b"101"),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(b"Host: y\r\n", b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: upgrade\r\n"),
    *(b"chunked", b"identity", b"GET /2 HTTP/1.1\r\nHost: y\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
)
_BETWEEN: Final = re.compile(rb"[\r\n:;, ]+")


@st.composite
def mutated(draw: st.DrawFn, wires: st.SearchStrategy[bytes]) -> bytes:
    """Take some bytes away from a message, and put others in."""
    wire = draw(wires)
    for _ in range(draw(st.integers(1, 3))):
        places = st.integers(0, len(wire))
        # Most of what matters happens between two words.
        edges = [place for found in _BETWEEN.finditer(wire) for place in found.span()]
        place = draw(st.one_of(places, st.sampled_from(edges)) if edges else places)
        lost = draw(st.sampled_from((0, 0, 0, 1, 1, 3, 8)))
        wire = wire[:place] + draw(st.sampled_from((b"", *_MEANT))) + wire[place + lost :]
    return wire


pipelines: Final = st.lists(requests(), min_size=1, max_size=4)


def split(data: bytes, draw: st.DataObject, most: int = 12) -> list[bytes]:
    """Cut some bytes into pieces."""
    last = max(len(data) - 1, 1)
    cuts = sorted(draw.draw(st.sets(st.integers(1, last), max_size=most), label="cuts"))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


_POST: Final = b"POST / HTTP/1.1\r\nHost: x\r\n"
_CHUNKED: Final = _POST + b"Transfer-Encoding: chunked\r\n\r\n"

#: What two parsers could read in two ways: RFC 9112, or one of its readers, refuses it.
AMBIGUOUS: Final = (
    *(_POST + lines + b"\r\n\r\n" + b"abc" for lines in (
        b"Content-Length: 3\r\nContent-Length: 3",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        b"Transfer-Encoding: identity\r\nContent-Length: 3",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked;q=1",
        b"Transfer-Encoding: \x0bchunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\x00: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"X: y\r\n Transfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"Content-Length: 3, 3",
        b"Content-Length: 3 3",
        b"Content-Length: +3",
        b"Content-Length: -3",
        b"Content-Length: 0x3",
        b"Content-Length: 3_0",
        b"Content-Length: \xb3",
        b"Content-Length:",
        b"Content-Length : 3",
        b"Content-Length\t: 3",
        b"Content-Length: 18446744073709551619",
        b"Host: y",
        b"host: x",
    )),
    *(_CHUNKED + chunks for chunks in (
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b";a\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
    )),
    b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.0\r\nHost: x\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc",
    b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc",
    b"POST / HTTP/1.1\r\n Host: x\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /\r\nHost: x\r\n\r\n",
    b"POST / HTTP/0.9\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.2\r\nHost: x\r\n\r\n",
    b"POST / HTTP/2.0\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1 \r\nHost: x\r\n\r\n",
    b"POST\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /\x0b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"post / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"SETUP / RTSP/1.0\r\nHost: x\r\n\r\n",
    b"POST / RTSP/1.0\r\nHost: x\r\n\r\n",
    b"POST / ICE/1.0\r\nHost: x\r\n\r\n",
    b"POST  / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /  HTTP/1.1\r\nHost: x\r\n\r\n",
    b" POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /#x HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /?x#y HTTP/1.1\r\nHost: x\r\n\r\n",
    *(b"POST %b HTTP/1.1\r\nHost: x\r\n\r\n" % target for target in (
        b"x",
        b"*x",
        b"*/x",
        b"http:///x",
        b"http://:80/x",
        b"http://[/x",
        b"http://u@x/x",
        b"http://x:y/x",
        b"http://x/#y",
    )),
    b"POST /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /\xe9 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\nPOST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\rPOST / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n\nPOST / HTTP/1.1\r\nHost: x\r\n\r\n",
    *(b"POST / HTTP/1.1\r\nHost: %b\r\n\r\n" % host for host in (
        b"x y",
        b"x, y",
        b"u@x",
        b"x/y",
        b"http://x",
        b"x:80:80",
        b"x:http",
        b"[::1",
        b"::1",
        b"\"x\"",
        b"x\xff",
    )),
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
)  # fmt: skip

_WISH: Final = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"

#: Requests that wish for another protocol, each with the body that it has.
UPGRADES: Final = (
    (b"GET /up HTTP/1.1\r\nHost: x\r\n" + _WISH + b"\r\n", b""),
    (b"POST /up HTTP/1.1\r\n" + _WISH + b"Host: x\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    (
        b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        + _WISH
        + b"\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"hello",
    ),
)
