"""Between the two: a provider's stream in, the client's stream out."""

from __future__ import annotations

from aiproxy.config.schema import Timeouts
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.face import StreamWriter
from aiproxy.errors import AIProxyError

__all__ = ["StreamTranscoder"]


class StreamTranscoder:
    """
    See :class:`aiproxy.transport.relay.Transcoder`.

    :param reasoning: the model may think for long before each word.
    """

    def __init__(
        self, reader: StreamReader, writer: StreamWriter, timeouts: Timeouts, *, reasoning: bool
    ) -> None:
        self.started = False
        self.ended = False
        self.error: AIProxyError | None = None
        self._reader = reader
        self._writer = writer
        self._reasoning = reasoning
        self._idle = timeouts.reasoning if reasoning else timeouts.idle
        self._call_idle = timeouts.reasoning

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason."""
        return self._reader.finished

    @property
    def patience(self) -> float:
        """A tool call's arguments may take their time."""
        return self._call_idle if self._reader.tool_call_open else self._idle

    def feed(self, data: bytes) -> bytes:
        """Take some bytes of the upstream's body."""
        return self._write(self._reader.feed(data))

    def close(self) -> bytes:
        """No more bytes come."""
        return self._write(self._reader.close())

    def _write(self, chunks: list[dict[str, object]]) -> bytes:
        reader = self._reader
        write = self._writer.write
        written = b"".join([write(chunk) for chunk in chunks])
        if reader.said:
            self.started = True
        if reader.ended:
            self.ended = True
            self.error = reader.error
            if reader.error is None:
                written += self._writer.end()
        return written
