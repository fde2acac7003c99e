"""The HTTP client of the mixed soak: it also does what clients should not, and notes all."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from attrs import define, field

__all__ = ["Answer", "Client", "write_request"]

_LIMIT: Final = 2**20


def write_request(
    method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    """Write a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: soak"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


@define
class Answer:
    """
    What came back.

    :param headers: names in lower case.
    :ivar whole: its end has come, as its framing has it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    whole: bool = False

    @property
    def is_stream(self) -> bool:
        """Whether it consists of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")

    def document(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.body)

    def events(self) -> Sequence[str]:
        """Return the data of its events, comments left out."""
        blocks = self.body.decode().split("\n\n")
        return [block[6:] for block in blocks if block.startswith("data: ")]


@define
class Client:
    """
    One connection.

    :param address: where it comes from; ``None``: wherever.
    :param buffer: bytes that the kernel takes before the client reads.
    """

    port: int
    address: str | None = None
    buffer: int | None = None
    _reader: asyncio.StreamReader = field(init=False)
    _writer: asyncio.StreamWriter = field(init=False)
    #: What is left of the answer: bytes, ``None`` for chunks.
    _left: int | None = field(init=False, default=0)

    async def __aenter__(self) -> Client:
        peer = socket.socket()
        peer.setblocking(False)
        if self.buffer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.buffer)
        try:
            if self.address is not None:
                peer.bind((self.address, 0))
            await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", self.port))
            limit = _LIMIT if self.buffer is None else self.buffer
            self._reader, self._writer = await asyncio.open_connection(sock=peer, limit=limit)
        except BaseException:
            peer.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    async def send(self, data: bytes) -> None:
        """Send."""
        self._writer.write(data)
        await self._writer.drain()

    def finish(self) -> None:
        """Send the end, and still read."""
        self._writer.write_eof()

    async def read_head(self) -> Answer | None:
        """Read an answer's head; ``None``: the connection was closed before it."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return None
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = (line.split(": ", 1) for line in lines)
        answer = Answer(int(first.split(" ")[1]), {name.lower(): value for name, value in pairs})
        length = answer.headers.get("content-length")
        self._left = None if length is None else int(length)
        answer.whole = self._left == 0
        return answer

    async def read_part(self, answer: Answer, most: int = 65536) -> bool:
        """Read some of the body; whether there is more."""
        if answer.whole:
            return False
        try:
            part = await self._read_chunk() if self._left is None else await self._read_some(most)
        except (asyncio.IncompleteReadError, OSError, ValueError):
            return False  # broken off
        answer.body += part
        answer.whole = not part if self._left is None else self._left == 0
        return not answer.whole

    async def read(self) -> Answer | None:
        """Read a whole answer; ``None``: none came."""
        answer = await self.read_head()
        while answer is not None and await self.read_part(answer):
            pass
        return answer

    async def _read_some(self, most: int) -> bytes:
        assert self._left is not None
        part = await self._reader.read(min(most, self._left))
        if not part:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(part)
        return part

    async def _read_chunk(self) -> bytes:
        line = await self._reader.readuntil(b"\r\n")
        chunk = await self._reader.readexactly(int(line, 16) + 2)
        return chunk[:-2]
