"""
The client's side of OpenAI's embeddings: read its request, write its answer.

Vectors come from the dialects as the request wants them
(:mod:`aiproxy.dialects.embeddings`), so that those that a provider gives in
base64 already are passed on untouched.

Source: OpenAI API reference, "Create embeddings".
"""

from __future__ import annotations

from typing import Any

from aiproxy.dialects.embeddings import BASE64, FLOAT
from aiproxy.dialects.face import StreamWriter, WrittenAnswer, read_object
from aiproxy.dialects.operations import EMBEDDINGS
from aiproxy.dialects.refusals import missing, wrong_type
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

__all__ = ["EmbeddingsFace"]


class EmbeddingsFace:
    """See the module."""

    operation = EMBEDDINGS

    def read_request(self, body: bytes) -> ChatRequest:
        """
        Read a request for embeddings.  Only what the gateway itself relies on
        is checked; the rest is between the client and the provider.

        :raises InvalidRequest: with the field at fault in ``param``.
        """
        request = read_object(body)
        _check(request)
        return request

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> StreamWriter:
        """Refuse: there is no such stream."""
        raise _no_stream()

    def write_answer(
        self, answer: ChatAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """
        Write an answer; OpenAI's has neither id nor time.

        :param model: the configured name of the model that answers.
        """
        # Twice: first for the order of the fields, then for their values.
        frame = {"object": "list", "data": answer["data"], "model": model}
        return WrittenAnswer(dumps({**frame, **answer, **frame}))


def _check(request: ChatRequest) -> None:
    model = request.get("model")
    if model is None or model == "":
        raise missing("model", "a model is required")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    _check_input(request.get("input"))
    if request.get("encoding_format") not in (None, FLOAT, BASE64):
        raise InvalidRequest(
            f"encoding_format must be {FLOAT} or {BASE64}",
            param="encoding_format",
            code="invalid_value",
        )
    dimensions = request.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise wrong_type("dimensions", "a whole number from 1")
    stream = request.get("stream")
    if not isinstance(stream, bool | None):
        raise wrong_type("stream", "true or false")
    if stream:
        raise _no_stream()


def _check_input(told: Any) -> None:
    """Check that the input is a text or texts, or either in token ids, and none of them empty."""
    if told is None:
        raise missing("input", "an input is required")
    if not isinstance(told, str | list):
        raise wrong_type("input", "a text, a list of texts, or either in token ids")
    _check_filled("input", told)
    if isinstance(told, str) or _are_tokens(told):
        return
    kind = type(told[0])
    for place, one in enumerate(told):
        param = f"input[{place}]"
        if type(one) is not kind or not (isinstance(one, str) or _are_tokens(one)):
            raise wrong_type(param, "a text or a list of token ids, as all of them")
        _check_filled(param, one)


def _check_filled(param: str, told: str | list[Any]) -> None:
    if not told:
        raise InvalidRequest(f"{param} must not be empty", param=param, code="empty_input")


def _are_tokens(told: object) -> bool:
    """Whether something is a list of token ids; it may be empty."""
    return isinstance(told, list) and all(type(token) is int and token >= 0 for token in told)


def _no_stream() -> InvalidRequest:
    return InvalidRequest("embeddings are not streamed", param="stream")
