"""
The dialect of what passes through: a provider is told what the client has said.

Only the model's name is another, for the client knows the configured one; and
what the configuration lays over each request's body is laid over it, which a
form in parts has no room for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import Factory, field, frozen

from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.json_splice import replace_string
from aiproxy.dialects.multipart import MultipartForm
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, MESSAGES, RESPONSES
from aiproxy.dialects.raw_stream import RawStreamReader, check_whole
from aiproxy.dialects.raw_taps import AudioTap, CompletionsTap, MessagesTap, ResponsesTap, Tap
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import InvalidRequest, UpstreamError
from aiproxy.wire.json import dumps
from aiproxy.wire.urls import join_url

__all__ = ["RAW_REQUEST", "RawDialect", "RawReader", "RawRequest"]

#: Where in the hub's request the client's own stands; no field of an API is called so.
RAW_REQUEST: Final = "x_aiproxy_raw"


@frozen
class RawRequest:
    """
    A request as it came.

    :param route: what is appended to the provider's base URL.
    :param headers: of the client's those that are for the provider.
    :param document: the body, where it is JSON.
    :param form: the body, where it is a form in parts.
    """

    route: str
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    headers: Mapping[str, str] = Factory(dict)
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    form: MultipartForm | None = field(default=None, repr=False)

    @property
    def only_counts(self) -> bool:
        """Whether it asks for a number of tokens, and uses none."""
        return self.route.partition("?")[0].endswith("/count_tokens")

    def write(self, model: str, request: Mapping[str, Any]) -> bytes:
        """
        Write the body for a provider.

        :param model: the upstream's name of the model.
        :param request: the hub's, with what the configuration has laid over it.
        """
        if self.form is not None:
            return self.form.replace("model", model.encode())
        told = self.document or {}
        laid_over = {
            name: value
            for name, value in request.items()
            if name not in (RAW_REQUEST, "model", "stream")
            and (name not in told or told[name] != value)
        }
        if laid_over:
            return dumps({**told, **laid_over, "model": model})
        # Also where it is the same: the key may be there twice.
        return replace_string(self.body, model, "model")


@frozen
class RawReader:
    """
    See :class:`aiproxy.dialects.dialect.AnswerReader`.

    :param operation: one of :data:`aiproxy.dialects.operations.PASSED`.
    :param request: the hub's, which says what will come.
    """

    operation: str
    request: Mapping[str, Any] = field(factory=dict, repr=False)

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer: ``raw``, and ``usage`` if it tells any."""
        return {"raw": body, "usage": check_whole(body, self._make_tap())}

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        return RawStreamReader(self._make_tap(), max_event_bytes=max_event_bytes)

    def _make_tap(self) -> Tap:
        if self.operation == MESSAGES:
            return MessagesTap()
        if self.operation == RESPONSES:
            return ResponsesTap()
        if self.operation == COMPLETIONS:
            return CompletionsTap(_count_choices(self.request))
        if self.operation == AUDIO:
            raw = self.request.get(RAW_REQUEST)
            speaks = isinstance(raw, RawRequest) and raw.route.endswith("/speech")
            return AudioTap(only_bytes=speaks and self.request.get("stream_format") != "sse")
        return Tap()


@frozen
class RawDialect(RawReader):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param headers: what a request needs beside what the client has told.
    """

    headers: Mapping[str, str] = field(factory=dict, kw_only=True)

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write what the client has said."""
        raw: RawRequest = request[RAW_REQUEST]
        headers = {"content-type": raw.content_type, **self.headers, **raw.headers}
        reader = RawReader(self.operation, request)
        return WireRequest(raw.route, raw.write(model, request), headers, reader=reader)

    def locate(self, url: str, wire: WireRequest) -> str:
        """
        Put the route in the place of the chat's.

        :raises InvalidRequest: the URL has no such place.
        """
        parts = urlsplit(url)
        path = parts.path.rstrip("/")
        chat = "/messages" if self.operation == MESSAGES else "/chat/completions"
        if not path.endswith(chat) and self.operation != MESSAGES:
            raise InvalidRequest(
                f"the configured URL of this model is for chat completions, not for"
                f" {self.operation}",
                param="model",
                code="model_not_supported",
            )
        return join_url(parts._replace(path=path.removesuffix(chat)).geturl(), wire.route)

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Nothing is put into a request that passes."""
        return False


def _count_choices(request: Mapping[str, Any]) -> int:
    """Count the choices of completions: ``n`` for each prompt; a list of tokens is one."""
    n, prompt = request.get("n"), request.get("prompt")
    many = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
    return (n if isinstance(n, int) and n > 0 else 1) * (len(prompt) if many and prompt else 1)
