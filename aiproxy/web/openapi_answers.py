"""
The answers of our HTTP face, for its description: statuses, headers and bodies.

What the HTTP server refuses before a route is known is in OpenAI's envelope,
also where a route has another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from aiproxy.web.openapi_schemas import Schema, refer

__all__ = ["HEADERS", "RESPONSES", "answer", "call_errors", "key_errors", "server_errors"]

_TEXT: Final[Schema] = {"type": "string"}


def _header(description: str, schema: Schema = _TEXT, *, always: bool = False) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": schema}


#: By their names in ``components``, which are those of the wire.
HEADERS: Final[dict[str, Any]] = {
    "x-request-id": _header(
        "The caller's, or one made up.",
        {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,128}$"},
        always=True,
    ),
    "request-id": _header("The same, by Anthropic's name for it."),
    "cache-control": _header(
        "`no-cache` for streams.", {"enum": ["no-store", "no-cache"]}, always=True
    ),
    "x-content-type-options": _header("No guesses.", {"const": "nosniff"}, always=True),
    "x-aiproxy-model": _header("The model that has answered; none if a stream began before."),
    "x-aiproxy-provider": _header("Its provider."),
    "x-aiproxy-attempts": _header("How many were asked.", {"type": "integer", "minimum": 1}),
    "x-aiproxy-dropped": _header("Fields of the request that the provider was not told."),
    "x-should-retry": _header("To ask again would not help the provider.", {"const": "false"}),
    "accept-encoding": _header("No encoding is read.", {"const": "identity"}),
    "retry-after": _header("Seconds.", {"type": "integer", "minimum": 0}),
    "www-authenticate": _header(
        "How to show a token.", {"const": 'Bearer realm="aiproxy"'}, always=True
    ),
}
_COMMON: Final = ("x-request-id", "cache-control", "x-content-type-options")
_SERVED: Final = (
    *("x-aiproxy-model", "x-aiproxy-provider", "x-aiproxy-attempts", "x-aiproxy-dropped"),
)


def _response(description: str, content: Schema, *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: refer(name, "headers") for name in (*_COMMON, *headers)},
        "content": content,
    }


def answer(
    description: str,
    *names: str,
    served: bool = False,
    more: Mapping[str, Schema] = MappingProxyType({}),
    headers: Sequence[str] = (),
) -> dict[str, Any]:
    """
    Describe a good answer.

    :param names: of schemas: ``Events`` is a stream, all others are JSON.
    :param served: a provider has given it.
    :param more: further schemas, by content type.
    :param headers: further ones.
    """
    bodies = {
        "text/event-stream" if name == "Events" else "application/json": {"schema": refer(name)}
        for name in names
    }
    bodies |= {kind: {"schema": schema} for kind, schema in more.items()}
    return _response(description, bodies, *(_SERVED if served else ()), *headers)


_OPENAI: Final = refer("Error")
_ANTHROPIC: Final = refer("AnthropicError")

#: By status, what went wrong and the headers beside the common ones.
_ERRORS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "400": ("The request is wrong.", ()),
    "401": ("The token is missing or wrong.", ("www-authenticate",)),
    "404": ("There is no such model, or nothing at this path.", ()),
    "408": ("The request did not arrive in time.", ()),
    "413": ("The body is longer than `server.max_request_bytes`.", ()),
    "415": ("The body has a content encoding.", ("accept-encoding",)),
    "429": ("Too many requests, or too many wrong tokens.", ("retry-after", "x-should-retry")),
    "431": ("The request line or the headers are too long.", ()),
    "4XX": ("The provider refuses the request, by its own status.", ("retry-after",)),
    "500": ("The operator must act; the log says what.", ()),
    "501": ("This server does not know where its configuration comes from.", ()),
    "502": ("The provider has failed.", ("retry-after", "x-should-retry")),
    "503": ("Nothing can serve the model now.", ("retry-after", "x-should-retry")),
    "504": ("The provider did not answer in time.", ("retry-after", "x-should-retry")),
}
#: What the HTTP server itself may answer, whatever is asked.
_SERVER: Final = ("400", "408", "413", "431", "500")
_KEY: Final = ("401", "429")
_CALL: Final = ("404", "415", "4XX", "502", "503", "504")


def _error(status: str, schema: Schema) -> dict[str, Any]:
    description, headers = _ERRORS[status]
    if schema is not _OPENAI:
        headers = (*headers, "request-id")
    response = _response(description, {"application/json": {"schema": schema}}, *headers)
    if status == "429":
        response["headers"]["retry-after"] = {**HEADERS["retry-after"], "required": True}
    return response


def _anthropic_schema(status: str) -> Schema:
    if status in ("400", "500"):
        return {"anyOf": [_ANTHROPIC, _OPENAI]}
    return _OPENAI if status in _SERVER else _ANTHROPIC


#: By name: a status, or ``Anthropic`` and one.
RESPONSES: Final[dict[str, Any]] = {
    **{f"Error{status}": _error(status, _OPENAI) for status in _ERRORS},
    **{
        f"AnthropicError{status}": _error(status, _anthropic_schema(status))
        for status in (*_SERVER, *_KEY, *_CALL)
    },
    "NotReady": _response(
        "No new client should come here.",
        {"application/json": {"schema": refer("NotReady")}},
    ),
}


def server_errors(*more: str, envelope: str = "Error") -> dict[str, Any]:
    """Return what every route may answer, and some further errors."""
    return {status: refer(f"{envelope}{status}", "responses") for status in (*_SERVER, *more)}


def key_errors(*more: str, envelope: str = "Error") -> dict[str, Any]:
    """Return what a route that needs a token may answer, and some further errors."""
    return server_errors(*_KEY, *more, envelope=envelope)


def call_errors(envelope: str = "Error") -> dict[str, Any]:
    """Return what a route may answer that asks a provider."""
    return key_errors(*_CALL, envelope=envelope)
