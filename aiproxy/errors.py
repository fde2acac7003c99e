"""
Every error that leaves aiproxy, in one tree, sorted by who must act.

- :class:`CallerError`: the client must change its request.
- :class:`PolicyError`: the client may come back later; we hold it back.
- :class:`UpstreamError`: a provider answered badly, or not at all.
- :class:`OurError`: the operator must act.

Each class carries what the edge needs to build an answer (``type``, ``code``,
``status``, ``retry_after``) and what a log line needs (``provider``,
``model``).  ``message`` is for humans: it never holds a key, URL credentials
or a traceback.  :meth:`AIProxyError.envelope` is OpenAI's error object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final

from attrs import frozen

__all__ = [
    "AIProxyError",
    "AnswerTooLarge",
    "AuthenticationFailed",
    "CallerError",
    "ConfigurationError",
    "ConnectFailed",
    "ContentRefused",
    "ContextTooLong",
    "InternalError",
    "InvalidRequest",
    "LimitReached",
    "MethodNotAllowed",
    "ModelNotFound",
    "ModelUnavailable",
    "NetworkError",
    "OurError",
    "PolicyError",
    "Problem",
    "RequestHeadTooLarge",
    "RequestTimedOut",
    "RequestTooLarge",
    "RouteNotFound",
    "ShuttingDown",
    "StreamCut",
    "UnsupportedEncoding",
    "UpstreamAuthFailed",
    "UpstreamError",
    "UpstreamFailed",
    "UpstreamModelNotFound",
    "UpstreamOutOfCredit",
    "UpstreamRateLimited",
    "UpstreamRefused",
    "UpstreamTimeout",
]


#: A code of an upstream is its own text: what is none of ours could be anything.
_CODE: Final = re.compile(r"[\w.-]{1,64}", re.ASCII)


class AIProxyError(Exception):
    """
    The base of the tree.

    :param message: what happened, for a human who can act on it.
    :param code: a stable machine-readable code; the upstream's own where it
        gave one.
    :param status: the HTTP status for the caller, where it differs from the
        class's own.
    :param param: the request field at fault, where there is one.
    :param retry_after: seconds after which a repeat makes sense.
    :param provider: the configured name of the provider concerned.
    :param model: the configured name of the model concerned.
    """

    type: str = "configuration_error"
    code: str | int | None = None
    status: int = 500

    def __init__(
        self,
        message: str,
        *,
        code: str | int | None = None,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.param = param
        self.retry_after = retry_after
        self.provider = provider
        self.model = model
        #: Our own plan is exhausted: a client that repeats multiplies the outage.
        self.exhausted = False

    @property
    def word(self) -> str:
        """What a log calls it: its code, or its type where that could be somebody's text."""
        code = str(self.code or "")
        return code if _CODE.fullmatch(code) else self.type

    def envelope(self) -> dict[str, Any]:
        """Return OpenAI's error object, with ``provider`` and ``model`` where known."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        if self.provider is not None:
            error["provider"] = self.provider
        if self.model is not None:
            error["model"] = self.model
        return {"error": error}


# --- the client must act -----------------------------------------------------


class CallerError(AIProxyError):
    """The request cannot be served as it is."""

    type = "validation_error"
    status = 400


class InvalidRequest(CallerError):
    """The body is not what the route takes."""

    code = "invalid_request"


class RequestTooLarge(CallerError):
    """The body is longer than ``server.max_request_bytes``."""

    code = "request_too_large"
    status = 413


class RequestHeadTooLarge(CallerError):
    """The request line or the headers are longer than we take (RFC 6585, 5)."""

    code = "request_header_fields_too_large"
    status = 431


class RequestTimedOut(CallerError):
    """The request did not arrive in time (RFC 9110, 15.5.9)."""

    code = "request_timeout"
    status = 408


class UnsupportedEncoding(CallerError):
    """The body is compressed, or encoded in another way (RFC 9110, 15.5.16)."""

    code = "unsupported_content_encoding"
    status = 415


class AuthenticationFailed(CallerError):
    """The key is missing or wrong; no detail says which."""

    type = "authentication_error"
    code = "invalid_api_key"
    status = 401


class RouteNotFound(CallerError):
    """There is nothing at this path."""

    code = "not_found"
    status = 404


class MethodNotAllowed(CallerError):
    """
    The path exists, the method does not.

    :param allowed: the methods that the path takes, for the ``Allow`` header.
    """

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, *, allowed: Iterable[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(sorted(allowed))


class ModelNotFound(CallerError):
    """No configured model, group or wildcard has this name."""

    type = "model_selection_error"
    code = "model_not_found"
    status = 404


# --- the client may come back --------------------------------------------------


class PolicyError(AIProxyError):
    """
    We hold the request back.

    ``limit`` is the name of the limit that does, where it is one.
    """

    limit: str | None = None


class ModelUnavailable(PolicyError):
    """The model is configured, but nothing can serve it."""

    type = "model_selection_error"
    code = "model_unavailable"
    status = 503


class LimitReached(PolicyError):
    """A limit of ours, or what a provider has asked for, holds the request back."""

    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    status = 429


class ShuttingDown(PolicyError):
    """The server is ending; another one will answer."""

    type = "model_selection_error"
    code = "shutting_down"
    status = 503


# --- a provider failed -----------------------------------------------------------


class UpstreamError(AIProxyError):
    """
    A provider's answer is an error, or no answer.

    ``upstream_status`` is the HTTP status (or the status that an error inside
    a 200 stands for), where there was one; ``rate_limits`` are the answer's
    ``x-ratelimit-*`` headers, for the caller, and ``headers`` all of them, names
    in lower case; ``should_retry`` is what its ``x-should-retry`` says of a
    repeat, if anything.
    """

    type = "provider_error"
    status = 502
    upstream_status: int | None = None
    rate_limits: Mapping[str, str] = MappingProxyType({})
    headers: Mapping[str, str] = MappingProxyType({})
    should_retry: bool | None = None


class UpstreamRefused(UpstreamError):
    """The provider says that the caller's request is wrong: its words, its status."""

    code = "upstream_refused"
    status = 400


class ContextTooLong(UpstreamRefused):
    """The conversation does not fit the model; one with more room may take it."""

    code = "context_length_exceeded"


class ContentRefused(UpstreamRefused):
    """The provider's content policy refused the request: not retried, not rerouted."""

    code = "content_filter"


class UpstreamFailed(UpstreamError):
    """The provider had an error of its own (5xx, HTML, an empty or truncated answer)."""

    code = "upstream_error"


class UpstreamRateLimited(UpstreamError):
    """The provider holds us back (429)."""

    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    status = 429


class UpstreamOutOfCredit(UpstreamError):
    """Our account with the provider has no money left (402, ``insufficient_quota``)."""

    code = "insufficient_quota"


class UpstreamAuthFailed(UpstreamError):
    """The provider refuses our key: the operator's fault, never the caller's."""

    code = "upstream_authentication_failed"


class UpstreamModelNotFound(UpstreamError):
    """The provider does not know the model, or the URL: our configuration's fault."""

    code = "upstream_model_not_found"


class AnswerTooLarge(UpstreamError):
    """A plain answer, one event or a header block went over its bound."""

    code = "upstream_answer_too_large"


class StreamCut(UpstreamError):
    """A stream ended before its end: no finish reason, no ``[DONE]``."""

    code = "stream_cut"


class NetworkError(UpstreamError):
    """The provider could not be talked to."""

    type = "network_error"
    code = "connection_failed"


class ConnectFailed(NetworkError):
    """DNS, TCP or TLS failed, or the connection was reset before any byte."""


class UpstreamTimeout(NetworkError):
    """The provider did not answer in the time of one of the ``timeouts``."""

    code = "upstream_timeout"
    status = 504


# --- the operator must act -------------------------------------------------------


class OurError(AIProxyError):
    """Something on our side is wrong."""


class InternalError(OurError):
    """A bug of ours: logged with its traceback, told without it."""

    code = "internal_error"


@frozen
class Problem:
    """One mistake in the configuration, with where it stands."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return f"{place}: {self.message}" if place else self.message


class ConfigurationError(OurError):
    """
    The configuration cannot be used.

    :param problems: every mistake found, not only the first.
    """

    code = "configuration_error"
    problems: Sequence[Problem]
    _joint: ClassVar[str] = "\n"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self._joint.join(str(problem) for problem in self.problems))
