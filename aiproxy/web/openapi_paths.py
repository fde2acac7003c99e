"""The routes of our HTTP face, for its description."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from aiproxy.web.openapi_answers import answer, call_errors, key_errors, server_errors
from aiproxy.web.openapi_schemas import Schema, refer

__all__ = ["PARAMETERS", "PATHS"]

Operation: TypeAlias = dict[str, Any]

#: Seconds, or a span as the configuration has it.
_SPAN: Final = r"^([0-9]{1,9}(\.[0-9]{1,9})?|([0-9]{1,15}(\.[0-9]{0,9})?(ms|us|ns|h|m|s))+)$"


def _parameter(name: str, place: str, description: str, **schema: object) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
        "description": description,
        "schema": {"type": "string", **schema},
    }


PARAMETERS: Final = {
    "RequestId": _parameter(
        "x-request-id", "header", "Comes back, if it has only letters, digits, `_`, `.` and `-`."
    ),
    "Timeout": _parameter(
        "x-aiproxy-timeout",
        "header",
        "How long to wait at most, such as `30s`; it shortens `timeouts.total`.",
        pattern=_SPAN,
        examples=["30s"],
    ),
    "OpenAIBeta": _parameter("openai-beta", "header", "For the provider."),
    "AnthropicVersion": _parameter("anthropic-version", "header", "For the provider."),
    "AnthropicBeta": _parameter("anthropic-beta", "header", "For the provider."),
    "Beta": _parameter("beta", "query", "For the provider."),
    "Model": _parameter(
        "model", "path", "A name from the list; it may hold `/`, escaped or not.", minLength=1
    ),
}

#: By their schemes, either of which will do.
_CLIENT: Final[list[Any]] = [{"token": []}, {"apiKey": []}]
_OPERATOR: Final[list[Any]] = [{"adminToken": []}, {"adminApiKey": []}]

_NOTHING: Final[Mapping[str, Schema]] = {}
_DOCUMENT: Final[Mapping[str, Schema]] = {"application/json": {"type": "object"}}
_WORD: Final = re.compile(r"\w+")


def _json(schema: str, example: Schema) -> Schema:
    return {"application/json": {"schema": refer(schema), "example": example}}


def _ask(
    tag: str,
    summary: str,
    body: Schema,
    good: dict[str, Any],
    *parameters: str,
    envelope: str = "Error",
) -> Operation:
    """Describe a route whose requests a provider answers."""
    return {
        "tags": [tag],
        "summary": summary,
        "security": _CLIENT,
        "parameters": [refer(name, "parameters") for name in ("Timeout", *parameters)],
        "requestBody": {"required": True, "content": body},
        "responses": {"200": good, **call_errors(envelope)},
    }


def _pass(
    summary: str, example: Schema, *, form: bool = False, more: Mapping[str, Schema] = _NOTHING
) -> Operation:
    """Describe a route whose bodies pass through, to providers that speak OpenAI's API."""
    body = _json("PassedRequest", example)
    if form:
        body = {"multipart/form-data": {"schema": refer("PassedForm")}, **body}
    good = answer("The provider's answer.", "PassedAnswer", "Events", served=True, more=more)
    return _ask("passed", summary, body, good, "OpenAIBeta")


def _pass_messages(summary: str, example: Schema) -> Operation:
    """Describe a route whose bodies pass through, to Anthropic."""
    names, headers = ("PassedAnswer", "Events"), ("request-id",)
    good = answer("The provider's answer.", *names, served=True, headers=headers)
    beta = ("AnthropicVersion", "AnthropicBeta", "Beta")
    body = _json("PassedRequest", example)
    return _ask("passed", summary, body, good, *beta, envelope="AnthropicError")


def _tell(
    tag: str, summary: str, good: dict[str, Any], errors: dict[str, Any], security: list[Any]
) -> Operation:
    """Describe a route that is answered without a provider."""
    return {
        "tags": [tag],
        "summary": summary,
        "security": security,
        "responses": {"200": good, **errors},
    }


def _tell_all(summary: str, good: dict[str, Any], **more: dict[str, Any]) -> Operation:
    """Describe a route that needs no token."""
    return _tell("operation", summary, good, {**server_errors(), **more}, [])


def _tell_operator(summary: str, good: dict[str, Any], *more: str) -> Operation:
    """Describe a route of the operator's; it is not there without ``ADMIN_TOKEN``."""
    return _tell("operation", summary, good, key_errors("404", *more), _OPERATOR)


_TEXT: Final[Schema] = {"type": "string"}
_BYTES: Final[Schema] = {"type": "string", "contentMediaType": "application/octet-stream"}
_HELLO: Final = [{"role": "user", "content": "hi"}]
_CHAT: Final = _json("ChatRequest", {"model": "demo/echo", "messages": _HELLO})
_MESSAGE: Final = {"model": "anthropic/claude-sonnet-4-5", "max_tokens": 99, "messages": _HELLO}
_SOUND: Final = {"model": "groq/whisper-large-v3"}

_LIVE: Final = _tell_all("Whether the process answers", answer("It does.", "Health"))

#: Method, paths and what is there; the first path is the one to use.
_ROUTES: Final[tuple[tuple[str, tuple[str, ...], Operation], ...]] = (
    (
        "post",
        ("/v1/chat/completions", "/chat/completions", "/"),
        _ask(
            "chat",
            "Answer a conversation",
            _CHAT,
            answer("The answer, whole or as a stream.", "ChatCompletion", "Events", served=True),
        ),
    ),
    (
        "post",
        ("/v1/images/generations", "/images/generations"),
        _ask(
            "images",
            "Make images",
            _json("ImagesRequest", {"model": "together/flux", "prompt": "a cat"}),
            answer("The images.", "Images", served=True),
        ),
    ),
    (
        "post",
        ("/image",),
        _ask(
            "images",
            "Make one image, and answer with its bytes",
            _json("ImageRequest", {"prompt": "a cat"}),
            answer(
                "The image.",
                served=True,
                more={"image/*": _BYTES, "application/octet-stream": _BYTES},
            ),
        ),
    ),
    (
        "post",
        ("/v1/embeddings", "/embeddings"),
        _ask(
            "embeddings",
            "Make vectors of texts",
            _json("EmbeddingsRequest", {"model": "mistral/mistral-embed", "input": ["one", "two"]}),
            answer("The vectors, in the order of the input.", "Embeddings", served=True),
        ),
    ),
    (
        "post",
        ("/v1/completions", "/completions"),
        _pass("Complete a text", {"model": "vllm/base", "prompt": "Once"}),
    ),
    (
        "post",
        ("/v1/moderations", "/moderations"),
        _pass("Judge a text", {"model": "openai/omni-moderation-latest", "input": "hi"}),
    ),
    (
        "post",
        ("/v1/audio/transcriptions", "/audio/transcriptions"),
        _pass("Write down what is said", _SOUND, form=True, more={"text/plain": _TEXT}),
    ),
    (
        "post",
        ("/v1/audio/translations", "/audio/translations"),
        _pass("Write it down in English", _SOUND, form=True, more={"text/plain": _TEXT}),
    ),
    (
        "post",
        ("/v1/audio/speech", "/audio/speech"),
        _pass(
            "Say a text",
            {"model": "openai/gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"},
            more={"audio/*": _BYTES},
        ),
    ),
    (
        "post",
        ("/v1/rerank", "/rerank"),
        _pass("Sort documents", {"model": "openrouter/rerank", "query": "a", "documents": ["b"]}),
    ),
    (
        "post",
        ("/v1/responses", "/responses"),
        _pass("Make a response", {"model": "openai/gpt-5-codex", "input": "hi"}),
    ),
    ("post", ("/v1/messages",), _pass_messages("Make a message", _MESSAGE)),
    ("post", ("/v1/messages/count_tokens",), _pass_messages("Count its tokens", _MESSAGE)),
    (
        "get",
        ("/v1/models", "/models"),
        _tell("models", "List them", answer("The list.", "ModelList"), key_errors(), _CLIENT),
    ),
    (
        "get",
        ("/v1/models/{model}", "/models/{model}"),
        {
            **_tell("models", "Show one", answer("It.", "Model"), key_errors("404"), _CLIENT),
            "parameters": [refer("Model", "parameters")],
        },
    ),
    (
        "post",
        ("/v1/route/explain",),
        {
            **_tell_operator("Say who would be asked", answer("The choice.", "Explanation"), "415"),
            "requestBody": {"required": True, "content": _CHAT},
        },
    ),
    (
        "post",
        ("/admin/reload",),
        _tell_operator("Load the configuration anew", answer("It is used.", "Reload"), "501"),
    ),
    (
        "get",
        ("/metrics",),
        _tell_operator(
            "Tell the metrics",
            answer("They.", more={"text/plain": _TEXT, "application/openmetrics-text": _TEXT}),
        ),
    ),
    ("get", ("/",), _tell_all("Say what this is", answer("It.", more={"text/plain": _TEXT}))),
    ("get", ("/ping",), _tell_all("Answer OK", answer("`OK`.", more={"text/plain": _TEXT}))),
    ("get", ("/health", "/health/live"), _LIVE),
    (
        "get",
        ("/health/ready",),
        _tell_all(
            "Whether clients may come",
            answer("They may.", "Health"),
            **{"503": refer("NotReady", "responses")},
        ),
    ),
    (
        "get",
        ("/openapi.json",),
        _tell_all("Describe all this", answer("This document.", more=_DOCUMENT)),
    ),
)


def _make_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for method, places, operation in _ROUTES:
        for path in places:
            name = "_".join((method, *_WORD.findall(path)))
            item = paths.setdefault(path, {"parameters": [refer("RequestId", "parameters")]})
            item[method] = {"operationId": name, **operation}
            if path != places[0]:
                item[method]["description"] = f"The same as `{places[0]}`."
    return paths


#: By path.
PATHS: Final = _make_paths()
