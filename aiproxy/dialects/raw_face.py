"""
The client's side of what passes through.

Only what the gateway itself relies on is read; the rest is between the client
and the provider.  A face stands for one request: some of its headers are a part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Self

from attrs import Factory, evolve, frozen

from aiproxy.dialects.face import WrittenAnswer, read_object
from aiproxy.dialects.json_splice import replace_string
from aiproxy.dialects.multipart import MultipartForm, is_multipart
from aiproxy.dialects.raw import RAW_REQUEST, RawRequest
from aiproxy.dialects.refusals import missing, wrong_type
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import write_event

__all__ = ["RawFace", "RawStreamWriter", "rename_event"]


class RawStreamWriter:
    """
    Writes one streamed answer: the bytes as they are.

    :param model: the configured name of the model that answers.
    :ivar broken: the answer is not whole, and there were no words for it: only
        an end without its framing tells the client.
    """

    #: Where there is no telling: the upstream's own goes before it.
    content_type = "text/event-stream"

    def __init__(self, model: str) -> None:
        self.model = model
        self.broken = False
        self._events = False

    def write(self, chunk: ChatChunk) -> bytes:
        """Write a chunk."""
        self._events = chunk["events"]
        data: bytes = chunk["raw"]
        return self.rename(data, events=self._events)

    def rename(self, data: bytes, *, events: bool) -> bytes:
        """Put the configured name of the model in; here nobody looks for it."""
        return data

    def end(self) -> bytes:
        """The upstream's own end has passed."""
        return b""

    def fail(self, error: AIProxyError) -> bytes:
        """Write the end of an answer that is not whole."""
        if not self._events:
            self.broken = True
            return b""
        return self.write_error(error)

    def write_error(self, error: AIProxyError) -> bytes:
        """Write an error among events: in OpenAI's way."""
        return write_event(dumps(error.envelope()))


@frozen
class RawFace:
    """
    See :class:`aiproxy.dialects.face.Face`.

    :param operation: one of :data:`aiproxy.dialects.operations.PASSED`.
    :param route: what providers have it under.
    :param as_it_comes: the answer passes as it comes, whether or not it is a stream.
    :param content_type: of the request.
    :param headers: of the request's those that are for the provider.
    """

    #: The headers and the parameters of the query that are for the provider.
    passed_headers: ClassVar[tuple[str, ...]] = ("openai-beta",)
    passed_query: ClassVar[tuple[str, ...]] = ()

    operation: str
    route: str
    as_it_comes: bool = False
    content_type: str = "application/json"
    headers: Mapping[str, str] = Factory(dict)

    def for_request(
        self, header: Callable[[str], str | None], query: Callable[[str], str | None]
    ) -> Self:
        """
        Make the face of one request.

        :param header: gives a header's value by its name in lower case.
        :param query: gives a parameter's value, as it is written in the URL.
        """
        asked = "&".join(
            f"{name}={value}" for name in self.passed_query if (value := query(name)) is not None
        )
        told = {name: header(name) for name in self.passed_headers}
        return evolve(
            self,
            route=f"{self.route}?{asked}" if asked else self.route,
            content_type=header("content-type") or self.content_type,
            headers={name: value for name, value in told.items() if value},
        )

    def read_request(self, body: bytes) -> ChatRequest:
        """
        Read a request, JSON or a form in parts.

        :raises InvalidRequest: with the field at fault in ``param``.
        """
        if is_multipart(self.content_type):
            request = self._read_form(body)
        else:
            document = read_object(body)
            raw = RawRequest(self.route, body, headers=self.headers, document=document)
            request = {**document, RAW_REQUEST: raw}
        model = request.get("model")
        if model is None or model == "":
            raise missing("model", "a model is required")
        if not isinstance(model, str):
            raise wrong_type("model", "a string")
        stream = request.get("stream")
        if not isinstance(stream, bool | None):
            raise wrong_type("stream", "true or false")
        if self.as_it_comes:
            request["stream"] = True
        return request

    def _read_form(self, body: bytes) -> ChatRequest:
        form = MultipartForm(body, self.content_type)
        raw = RawRequest(self.route, body, form.content_type, self.headers, form=form)
        request: ChatRequest = {RAW_REQUEST: raw}
        model, stream = form.field("model"), form.field("stream")
        if model is not None:
            try:
                request["model"] = model.decode()
            except UnicodeDecodeError:
                raise wrong_type("model", "text in UTF-8") from None
        if stream is not None:
            request["stream"] = stream.strip().lower() in (b"true", b"1")
        return request

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> RawStreamWriter:
        """Make the writer for one streamed answer."""
        return RawStreamWriter(model)

    def write_answer(
        self, answer: ChatAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """Write a whole answer."""
        return WrittenAnswer(self.rename_answer(answer["raw"], model))

    def rename_answer(self, body: bytes, model: str) -> bytes:
        """Put the configured name of the model in; here nobody looks for it."""
        return body


def rename_event(event: bytes, model: str, holder: str) -> bytes:
    """
    Put a model's name into an event.

    :param holder: the key of the object that has it.
    """
    if b'"model"' not in event or f'"{holder}"'.encode() not in event:
        return event
    return replace_string(event, model, holder, "model")
