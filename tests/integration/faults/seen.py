"""What a caller sees of a streamed answer."""

from __future__ import annotations

from typing import Any

from attrs import define

from aiproxy.wire.json import loads


@define
class Seen:
    """
    What the caller has seen.

    :ivar chunks: the events, decoded, but for errors and ``[DONE]``.
    :ivar done: it ended with ``[DONE]``.
    :ivar comments: beside the events.
    """

    chunks: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    done: bool
    comments: list[bytes]

    @classmethod
    def read(cls, stream: bytes) -> Seen:
        """Read the body of a stream, as a client does."""
        parts = stream.split(b"\n\n")
        assert parts.pop() == b"", "the last event is not whole"
        data = [part[6:] for part in parts if part.startswith(b"data: ")]
        comments = [part for part in parts if part.startswith(b":")]
        assert len(data) + len(comments) == len(parts), parts
        events = [loads(part) for part in data if part != b"[DONE]"]
        errors = [event["error"] for event in events if "error" in event]
        chunks = [event for event in events if "error" not in event]
        assert len(events) == len(data) - data.count(b"[DONE]")
        return cls(chunks, errors, data[-1:] == [b"[DONE]"], comments)

    @classmethod
    def read_http(cls, answer: bytes) -> Seen:
        """Read an answer as it came from the socket, in chunks."""
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head.lower(), head
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return cls.read(body)

    @property
    def choices(self) -> list[dict[str, Any]]:
        """All choices of all chunks."""
        return [choice for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def text(self) -> str:
        """All content, or all arguments of the one call."""
        told = []
        for choice in self.choices:
            told.append(choice["delta"].get("content") or "")
            for call in choice["delta"].get("tool_calls") or ():
                assert call["index"] == 0
                told.append(call["function"].get("arguments") or "")
        # An emoji may come in two halves.
        return "".join(told).encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    @property
    def reasons(self) -> list[str]:
        """All finish reasons."""
        return [one["finish_reason"] for one in self.choices if one.get("finish_reason")]

    @property
    def usages(self) -> list[dict[str, Any]]:
        """All usages."""
        return [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]

    def problem(self, text: str, reason: str = "stop", *, usage: bool = True) -> str | None:
        """
        Say what is wrong with it as one whole answer; ``None``: nothing.

        :param usage: it has to tell its usage.
        """
        if self.errors:
            return f"{self.errors}"
        if self.text != text:
            return f"other text: {self.text!r}"
        identities = {(one["id"], one["created"], one["model"]) for one in self.chunks}
        roles = sum("role" in choice["delta"] for choice in self.choices)
        shape = (self.reasons, len(identities), roles, self.done)
        if shape != ([reason], 1, 1, True):
            return f"other shape: {shape}"
        told = len(self.usages)
        return None if told == 1 or (not told and not usage) else f"{told} usages"

    def broken_off(self, text: str) -> dict[str, Any]:
        """Return the one error of an answer that ends within this text."""
        assert text.startswith(self.text.rstrip("\ufffd")), self.text
        assert (self.reasons, self.usages, self.done) == ([], [], False), self
        [error] = self.errors
        return error
