"""
The seam for traces: who watches calls as they go on, if anybody does.

Nothing here knows of OpenTelemetry; ``aiproxy.telemetry`` does.  Where nobody
watches, the caller's trace context goes to the upstream as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from aiproxy.dialects.shapes import ChatChunk
from aiproxy.errors import AIProxyError
from aiproxy.gateway.transcode import StreamTranscoder
from aiproxy.gateway.usage import CallRecord, Spent
from aiproxy.policy.routing import Candidate

__all__ = [
    "AttemptTrace",
    "CallTrace",
    "PassedOn",
    "TracedTranscoder",
    "Tracer",
    "read_trace_context",
]

_IDS: Final = rb"(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
#: Later versions may append fields to those of version 00; ff is no version.
_PARENT: Final = re.compile(
    rb"00-" + _IDS + rb"|(?!00|ff)[0-9a-f]{2}-" + _IDS + rb"(?:-[\x21-\x7e]*)?"
)
_MEMBER: Final = re.compile(
    rb"[a-z0-9][a-z0-9_\-*/]{0,255}(?:@[a-z][a-z0-9_\-*/]{0,13})?"
    rb"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_MEMBERS: Final = 32
#: Of either header; so many of ``tracestate`` should be passed on.
_MOST_BYTES: Final = 512


class AttemptTrace(Protocol):
    """Watches one attempt."""

    #: These tell the upstream which span its own work belongs to.
    headers: Mapping[str, str]

    def read(self, said: Mapping[str, Any]) -> None:
        """Take a whole answer, or a chunk of a stream; chunks may be left out."""

    def end(self, spent: Spent, error: AIProxyError | None) -> None:
        """
        It is over.

        :param error: why it has failed, or was cut.
        """


class CallTrace(Protocol):
    """Watches one call."""

    def ask(self, candidate: Candidate) -> AttemptTrace:
        """A candidate is asked now."""

    def end(self, record: CallRecord) -> None:
        """It is over, and all its attempts are."""


class Tracer(Protocol):
    """Watches calls."""

    def begin(self, record: CallRecord, operation: str, headers: Mapping[str, str]) -> CallTrace:
        """
        A call begins.

        :param operation: of :mod:`aiproxy.dialects.operations`.
        :param headers: what the caller says that it belongs to, of :func:`read_trace_context`.
        """


class PassedOn:
    """
    Watches nothing, and tells the upstream what the caller has told.

    So does who takes no part in a trace (https://www.w3.org/TR/trace-context/, 1).
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def ask(self, candidate: Candidate) -> AttemptTrace:
        """See :class:`CallTrace`."""
        return _Unwatched(self.headers)

    def end(self, record: CallRecord) -> None:
        """See :class:`CallTrace`."""


class _Unwatched:
    """See :class:`PassedOn`."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.headers = headers

    def read(self, said: Mapping[str, Any]) -> None:
        """Nobody wants to know."""

    def end(self, spent: Spent, error: AIProxyError | None) -> None:
        """Nobody wants to know."""


class TracedTranscoder(StreamTranscoder):
    """
    Shows a stream's chunks to who watches its attempt.

    Plain text may pass by unseen; what tells the model or a finish reason does not.
    """

    __slots__ = ("_trace",)

    def __init__(self, trace: AttemptTrace, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._trace = trace

    def _write(self, chunks: list[ChatChunk]) -> bytes:
        for chunk in chunks:
            self._trace.read(chunk)
        return super()._write(chunks)


def read_trace_context(
    parents: Sequence[bytes], states: Sequence[bytes]
) -> Mapping[str, str] | None:
    """
    Read what a caller says that its call belongs to.

    :param parents: each ``traceparent``: two are none.
    :param states: each ``tracestate``; it falls alone where it is not valid.
    :return: the headers, as they may go on; ``None``: there is no valid parent.
    """
    if len(parents) != 1:
        return None
    parent = parents[0].strip(b" \t")
    if len(parent) > _MOST_BYTES or not _PARENT.fullmatch(parent):
        return None
    headers = {"traceparent": parent.decode("ascii")}
    state = b",".join(states)
    members = [one.strip(b" \t") for one in state.split(b",")]
    members = [one for one in members if one]
    if (
        0 < len(members) <= _MOST_MEMBERS
        and len(state) <= _MOST_BYTES
        and all(map(_MEMBER.fullmatch, members))
    ):
        headers["tracestate"] = b",".join(members).decode("ascii")
    return headers
