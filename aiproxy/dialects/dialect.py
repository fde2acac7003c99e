"""
What a dialect is: how one family of providers writes requests, answers, errors and streams.

A dialect is pure.  It turns the hub's JSON (:mod:`aiproxy.dialects.shapes`)
into a wire request and what comes back into the hub's JSON.  Whatever state a
stream needs lives in the :class:`StreamReader` made for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from attrs import Factory, define

from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest, Usage
from aiproxy.errors import AIProxyError

__all__ = ["AnswerReader", "Dialect", "StreamReader", "WireRequest"]


@define
class WireRequest:
    """
    One request, ready for the wire.

    :param route: what is appended to the provider's base URL.
    :param body: the request body.
    :param headers: headers of the dialect's own (content type, API version);
        credentials are not among them.
    :param method: GET where the route says it all.
    :param dropped: what of the caller's request is not in it, for the provider
        has no such thing: names of fields, as in ``logit_bias`` or
        ``messages[].name``.  The caller is told.
    :param reader: who reads the answer, where that depends on the request;
        ``None``: the dialect itself.
    """

    route: str
    body: bytes
    headers: Mapping[str, str] = Factory(dict)
    dropped: tuple[str, ...] = ()
    reader: AnswerReader | None = None
    method: str = "POST"


class StreamReader(Protocol):
    """
    Reads one streamed answer, whatever way its bytes were split.

    What it gives keeps to the hub's rules: the first delta of a choice has the
    role, a tool call's first delta has ``index``, ``id``, ``type`` and
    ``name``, a choice has one finish reason and nothing after it.  Finish
    reasons and usage are held back until the end is certain, so that an error
    that follows a finish reason is still an error.
    """

    #: Every choice has its finish reason: only usage may follow.
    @property
    def finished(self) -> bool: ...

    #: The answer is over, with or without ``error``: nothing that follows counts.
    ended: bool
    #: Why the answer is over without being whole.
    error: AIProxyError | None

    #: A call of a tool or function has begun whose choice has no finish reason yet.
    @property
    def tool_call_open(self) -> bool: ...

    #: Content, reasoning, a refusal or a call was given; a role or an empty delta is none.
    said: bool
    #: Events that could not be decoded and were passed over.
    skipped: int

    #: The last usage that the upstream told.
    @property
    def usage(self) -> Usage | None: ...

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Take some bytes of the body; give the chunks that they complete."""

    def close(self) -> list[ChatChunk]:
        """
        No more bytes come: the body ended, or the wait for usage is over.
        Give what was held back, or set ``error``.
        """


class AnswerReader(Protocol):
    """Reads what a provider answers."""

    def read_reply(self, body: bytes) -> ChatAnswer:
        """
        Read a whole answer; each choice has a message with a role.

        :raises AIProxyError: the body is an error, or no answer at all.
        """

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AIProxyError:
        """
        Read an answer with an error status.

        :param headers: names in lower case.
        :param body: as much of it as was collected.
        """

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """
        Make a reader for one streamed answer.

        :param choices: how many the caller asked for (``n``).
        :param max_event_bytes: a longer event is an error.
        """


class Dialect(AnswerReader, Protocol):
    """How a family of providers speaks."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """
        Write a chat request.

        :param request: the caller's; it is not changed.
        :param model: the upstream's name of the model.
        :param stream: whether the answer shall come as a stream.
        :raises InvalidRequest: the provider can do nothing of the kind, and to
            leave it out would be another request.
        """

    def locate(self, url: str, wire: WireRequest) -> str:
        """
        Say where a request goes if its model has a whole URL of its own.

        :param url: as it is configured; most dialects return it as it is.
        """

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """
        Whether images that the request only names by an ``http`` URL have to be
        in it: the provider does not fetch them.
        """
