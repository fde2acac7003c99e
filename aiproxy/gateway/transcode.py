"""Between the two: a provider's stream in, the client's stream or answer out."""

from __future__ import annotations

from aiproxy.config.schema import Timeouts
from aiproxy.dialects.answers import misshapen
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.face import StreamWriter
from aiproxy.dialects.fold import ChatFold
from aiproxy.dialects.openai_face import OpenAIStreamWriter
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk
from aiproxy.errors import AIProxyError, AnswerTooLarge
from aiproxy.gateway.delivered import DeliveredChoice
from aiproxy.gateway.lane import Lane
from aiproxy.gateway.phases import Phases
from aiproxy.gateway.takeover import Takeover

__all__ = ["FoldingTranscoder", "StreamTranscoder"]


class StreamTranscoder:
    """
    See :class:`aiproxy.transport.relay.Transcoder`.

    :param reasoning: the model may think for long before each word.
    :param takeover: what has to know of each chunk, and may hold some back.
    :param quick: let text after text in one frame pass by a :class:`Lane`.
    """

    __slots__ = (
        "_call_idle",
        "_idle",
        "_lane",
        "_reader",
        "_reasoning",
        "_takeover",
        "_writer",
        "ended",
        "error",
        "started",
    )

    def __init__(
        self,
        reader: StreamReader,
        writer: StreamWriter,
        timeouts: Timeouts,
        *,
        reasoning: bool,
        takeover: Takeover | None = None,
        quick: bool = True,
    ) -> None:
        self.started = False
        self.ended = False
        self.error: AIProxyError | None = None
        self._reader = reader
        self._writer = writer
        self._takeover = takeover
        self._reasoning = reasoning
        self._idle = timeouts.reasoning if reasoning else timeouts.idle
        self._call_idle = timeouts.reasoning
        self._lane: Lane | None = None
        if (
            quick
            and isinstance(reader, OpenAIStreamReader)
            and reader.followable
            and isinstance(writer, OpenAIStreamWriter)
        ):
            self._lane = Lane(reader, takeover)

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
        if self._lane is not None:
            return self._lane.feed(data, self._take)
        return self._take(self._reader.feed(data))

    def close(self) -> bytes:
        """No more bytes come."""
        rest = b"" if self._lane is None else self._lane.close(self._take)
        return rest if self.ended else rest + self._take(self._reader.close())

    def _take(self, chunks: list[ChatChunk]) -> bytes:
        reader, takeover = self._reader, self._takeover
        if takeover is not None:
            chunks = takeover.feed(chunks)
        written = self._write(chunks)
        if reader.said:
            self.started = True
        if takeover is not None and takeover.failed is not None:
            self._fail(takeover.failed)
        elif reader.ended:
            written += self._end()
        return written

    def _end(self) -> bytes:
        error = self._reader.error
        if error is not None:
            self._fail(error)
            return b""
        self.ended = True
        written = b""
        if self._takeover is not None:
            written = self._write(self._takeover.end(self._reader.usage))
            if self._takeover.failed is not None:
                self._fail(self._takeover.failed)
                return written
        return written + self._writer.end()

    def _write(self, chunks: list[ChatChunk]) -> bytes:
        write = self._writer.write
        return b"".join([write(chunk) for chunk in chunks])

    def _fail(self, error: AIProxyError) -> None:
        self.ended = True
        self.error = error


class FoldingTranscoder:
    """
    Folds a stream into one answer; see :class:`aiproxy.transport.relay.Transcoder`.

    It gives nothing before its end, so that any failure may go elsewhere.

    :param phases: hears of each sign of life.
    :param limit_bytes: of the stream.
    :ivar characters: what came of the answer so far.
    """

    #: Nobody is told anything before the end.
    started = False

    def __init__(
        self,
        reader: StreamReader,
        timeouts: Timeouts,
        phases: Phases,
        *,
        limit_bytes: int,
        reasoning: bool,
    ) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.patience: float | None = None
        self.characters = 0
        self._reader = reader
        self._phases = phases
        self._idle = timeouts.reasoning if reasoning else timeouts.idle
        self._call_idle = timeouts.reasoning
        self._left = limit_bytes
        self._fold = ChatFold()

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason."""
        return self._reader.finished

    def feed(self, data: bytes) -> bytes:
        """Take some bytes of the upstream's body."""
        self._left -= len(data)
        if self._left < 0:
            self.ended, self.error = True, AnswerTooLarge("the upstream's answer is too long")
            return b""
        return self._take(self._reader.feed(data))

    def close(self) -> bytes:
        """No more bytes come."""
        return self._take(self._reader.close())

    def answer(self) -> ChatAnswer:
        """
        Return the answer, once it is whole.

        :raises UpstreamFailed: it is nested too deep to be one.
        """
        try:
            return self._fold.answer(self._reader.usage)
        except RecursionError as mistake:
            raise misshapen(mistake) from None

    def _take(self, chunks: list[ChatChunk]) -> bytes:
        try:
            for chunk in chunks:
                self._fold.add(chunk)
                for choice in chunk["choices"]:
                    self.characters += len(DeliveredChoice().take(choice["delta"]))
        except RecursionError as mistake:
            self.ended, self.error = True, misshapen(mistake)
            return b""
        if self._reader.said:
            self._phases.heard(self._call_idle if self._reader.tool_call_open else self._idle)
        self.ended, self.error = self._reader.ended, self._reader.error
        return b""
