"""
What the error of an OpenAI-compatible provider says, whatever its shape.

The providers agree on little (all recorded): the error object may be OpenAI's,
flat, a list, a bare text or missing, its code a word, a number or a status,
its explanation a JSON text inside of another's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, frozen

from aiproxy.dialects.delays import read_delay
from aiproxy.dialects.words import WORDS_LIMIT, fit_words, read_words
from aiproxy.wire.json import JSONError, loads

__all__ = ["Facts", "holds_error", "read_facts"]

#: Characters of a code, a type or a field's name that are passed on.
_NAME_LIMIT: Final = 120

#: The status that an error's code or type stands for when it comes inside a 200.
_NAMED_STATUS: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "tokens": 429,
    "requests": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "api_error": 500,
    "billing_error": 402,
    "request_too_large": 413,
    "timeout_error": 504,
    # The Text Generation Inference server's (HuggingFace).
    "overloaded": 429,
    "validation": 422,
    # Google's names (google.rpc.Code).
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INTERNAL": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_STATUS: Final = re.compile(r"[45][0-9][0-9]")

#: Fields that hold a delay: HuggingFace's model that is loading (recorded), Google's, and others.
_DELAY_FIELDS: Final = ("retryDelay", "retry_after", "retry_after_seconds", "estimated_time")


@frozen
class Facts:
    """
    What an error body says.

    :param message: the provider's words, fit to be shown.
    :param code: the provider's own.
    :param names: every code and type in it, for the tables.
    :param param: the request's field at fault.
    :param status: the HTTP status that it stands for, if it says so.
    :param raw: an upstream's words behind an aggregator (OpenRouter's
        ``metadata.raw``, recorded).
    :param delay: seconds until a repeat makes sense.
    :param headers: an upstream's headers that an aggregator tells in the body.
    :param flagged: it names the content that was refused (OpenRouter).
    :param spoken: it is JSON: the provider itself speaks, not something before it.
    """

    message: str = ""
    code: str | int | None = None
    names: frozenset[str] = frozenset()
    param: str | None = None
    status: int | None = None
    raw: str = ""
    delay: float | None = None
    headers: Mapping[str, str] = Factory(dict)
    flagged: bool = False
    spoken: bool = True

    @property
    def words(self) -> str:
        """All that is said, for a caller."""
        if not self.raw or self.raw in self.message:
            return self.message
        return fit_words(f"{self.message}: {self.raw}" if self.message else self.raw)


def holds_error(document: object) -> bool:
    """Whether a decoded body or event is an error: in OpenAI's way, Mistral's, Google's, …"""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return False
    if document.get("error"):
        return True
    groq = document.get("x_groq")
    if isinstance(groq, dict) and groq.get("error"):
        return True
    if "choices" in document:
        return False
    return bool(
        document.get("object") == "error"
        or document.get("type") == "error"
        or document.get("detail")
        or document.get("errors")
        or (document.get("message") and (document.get("code") or document.get("status")))
    )


def read_facts(body: bytes | Mapping[str, Any] | list[Any]) -> Facts:
    """Find the error in a body, or in a decoded document that holds one."""
    document: Any = body
    if isinstance(body, bytes):
        try:
            document = loads(body)
        except JSONError:
            return Facts(_read_text(body), spoken=False)
    return _read_document(document)


def _read_document(document: Any, *, nested: bool = False) -> Facts:
    """
    Read a decoded body.

    :param nested: it is an upstream's behind an aggregator: there is no further one.
    """
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping):
        return Facts(read_words(document), spoken=False)
    groq = document.get("x_groq")
    error = document.get("error") or (groq.get("error") if isinstance(groq, Mapping) else None)
    error = error or document.get("errors")
    if isinstance(error, list):
        error = error[0] if error else None
    # What may be in either: the error, or the document around it.
    sources = [error, document] if isinstance(error, Mapping) else [document]
    details = _details(sources)
    code, kind, inner = (_find(sources, name) for name in ("code", "type", "innererror"))
    # Cohere's and HuggingFace's (recorded).
    other_kind = _find(sources, "error_type")
    named = [code, kind, other_kind, *(detail.get("reason") for detail in details)]
    if isinstance(inner, Mapping):
        named.append(inner.get("code"))
    metadata = _find(sources, "metadata")
    if nested or not isinstance(metadata, Mapping):
        metadata = {}
    raw = _read_raw(metadata.get("raw"))
    headers = metadata.get("headers")
    if not isinstance(headers, Mapping):
        headers = {}
    delays = (read_delay(_find([*sources, *details], name)) for name in _DELAY_FIELDS)
    return Facts(
        message=read_words(error or document),
        code=code if isinstance(code, int) and not isinstance(code, bool) else _name(code),
        names=frozenset(name for name in named if isinstance(name, str)) | raw.names,
        param=_name(_find(sources, "param")) or _location(details),
        status=_read_status(
            *(_find(sources, "status_code"), _find(sources, "status"), code, kind, other_kind)
        ),
        raw=raw.message,
        delay=next((delay for delay in delays if delay is not None), raw.delay),
        headers={name.lower(): value for name, value in headers.items() if isinstance(value, str)},
        flagged=bool(metadata.get("flagged_input") or metadata.get("reasons")),
    )


def _read_raw(raw: object) -> Facts:
    """Read an upstream's own error: JSON inside of a text, or plain words."""
    if isinstance(raw, str) and raw.lstrip().startswith(("{", "[")):
        try:
            return _read_document(loads(raw), nested=True)
        except JSONError:
            pass
    return Facts(read_words(raw))


def _find(sources: list[Mapping[str, Any]], name: str) -> Any:
    return next((source[name] for source in sources if source.get(name) is not None), None)


def _details(sources: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Give the objects of a list of details (Google's; FastAPI's, as Mistral's and Azure's)."""
    for source in sources:
        for name in ("details", "detail"):
            value = source.get(name)
            if isinstance(value, list):
                return [detail for detail in value[:20] if isinstance(detail, Mapping)]
    return []


def _location(details: list[Mapping[str, Any]]) -> str | None:
    """Name the field at fault, from the path of FastAPI's first mistake."""
    path = details[0].get("loc") if details else None
    if not isinstance(path, list):
        return None
    return _name(".".join(str(part) for part in path if isinstance(part, str | int))[:_NAME_LIMIT])


def _read_status(*candidates: object) -> int | None:
    """Find the HTTP status that an error object stands for."""
    for value in candidates:
        if isinstance(value, str):
            if value in _NAMED_STATUS:
                return _NAMED_STATUS[value]
            if _STATUS.fullmatch(value):
                return int(value)
        elif isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
            return value
    return None


def _name(value: object) -> str | None:
    """Take a code or a field's name, if it can be one."""
    if isinstance(value, str) and 0 < len(value) <= _NAME_LIMIT and value.isprintable():
        return fit_words(value)
    return None


def _read_text(body: bytes) -> str:
    """Take a text that is no JSON (a load balancer's, recorded), but never a page."""
    text = body[: 8 * WORDS_LIMIT].decode("utf-8", "replace")
    if text.lstrip().startswith("<"):
        return "the upstream answered with an HTML page"
    return fit_words(" ".join(text.split()))
