"""
What went wrong between us and an upstream, in words for the caller.

Every failure of the client becomes one of our errors here.  The texts name
the upstream's host and what happened; they hold no URL, no header and nothing
that the upstream said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from OpenSSL import SSL
from twisted.internet import error as network
from twisted.python.failure import Failure
from twisted.web._newclient import (
    RequestNotSent,
    ResponseFailed,
    ResponseNeverReceived,
    _WrapperException,
)

from aiproxy.errors import AIProxyError, ConnectFailed, InternalError, StreamCut, UpstreamFailed
from aiproxy.transport.http.fields import NO_CODING

__all__ = ["CertificateRefused", "read_cut", "read_failure", "read_loss", "read_refusal"]


class CertificateRefused(Exception):
    """
    An upstream's certificate did not pass.

    Its text is the rest of a sentence that begins with "its certificate".
    """


#: What follows the name of a host, where it is not the scheme's own.
_PORT: Final = re.compile(r":\d+$")

# The first row that fits counts, so an exception stands before its base class.
_BEFORE_THE_ANSWER: tuple[tuple[type[Exception], str], ...] = (
    (network.DNSLookupError, "the name {name} could not be resolved"),
    (network.ConnectionRefusedError, "{host} refused the connection"),
    (network.TimeoutError, "{host} did not accept the connection in time"),
    (network.TCPTimedOutError, "{host} did not accept the connection in time"),
    (network.NoRouteError, "there is no route to {host}"),
    (network.ConnectError, "{host} could not be reached"),
    (CertificateRefused, "the certificate of {host} {reason}"),
    (SSL.Error, "TLS with {host} failed: {alert}"),
    (network.ConnectionClosed, "{host} closed the connection before it answered"),
    (RequestNotSent, "{host} closed the connection before it was asked"),
    # From hyperlink and HostnameEndpoint.
    (ValueError, "{host} is not a name, or its URL not one, that can be asked"),
)

_IN_THE_HEAD: tuple[tuple[type[Exception], str], ...] = (
    (SSL.Error, "TLS with {host} failed within its answer: {alert}"),
    (network.ConnectionClosed, "{host} closed the connection within its answer"),
)


def read_failure(failure: Failure, host: str) -> AIProxyError:
    """
    Say why a request has no answer.

    :param failure: what Twisted, OpenSSL or a part of ours reported.
    :param host: the upstream's name, for the message.
    """
    heard = failure.check(ResponseFailed) and not failure.check(ResponseNeverReceived)
    return _explain(_first_reason(failure), host, heard=bool(heard))


def read_loss(failure: Failure, host: str, *, heard: bool) -> AIProxyError:
    """
    Say why a connection's end left a request without an answer.

    :param heard: a byte of the answer had come.
    """
    return _explain(_first_reason(failure), host, heard=heard)


def read_refusal(status: int, encodings: Iterable[bytes]) -> AIProxyError | None:
    """
    Say why nobody could read an answer with this head; ``None`` when it can be read.

    An error is one by its status and its headers, whatever its body is.

    :param encodings: the values of its ``Content-Encoding``.
    """
    coded = any(encoding.strip().lower() not in NO_CODING for encoding in encodings)
    if coded and 200 <= status <= 299:
        why = "the provider sent a compressed answer, which we did not ask for"
    elif not 200 <= status <= 599:
        why = "the provider answered with a status that HTTP does not have"
    else:
        return None
    refused = UpstreamFailed(why)
    refused.upstream_status = status
    return refused


def _explain(reason: BaseException | None, host: str, *, heard: bool) -> AIProxyError:
    if isinstance(reason, AIProxyError):
        return reason
    kind_of_error: type[AIProxyError] = UpstreamFailed if heard else ConnectFailed
    for kind, text in _IN_THE_HEAD if heard else _BEFORE_THE_ANSWER:
        if isinstance(reason, kind):
            words = {"host": host, "name": _PORT.sub("", host), "reason": reason}
            error = kind_of_error(text.format(**words, alert=_read_alert(reason)))
            error.__cause__ = reason
            return error
    unexpected = InternalError("the request to the provider failed for an unknown reason")
    unexpected.__cause__ = reason
    return unexpected


def read_cut(failure: Failure, host: str) -> AIProxyError:
    """Say why a body ended before its end."""
    reason = _first_reason(failure)
    if isinstance(reason, AIProxyError):
        return reason
    return StreamCut(f"{host} closed the connection before the end of its answer")


def _first_reason(failure: Failure) -> BaseException | None:
    """Look through the wrappers of Twisted's client: the first reason is the cause."""
    reason = failure.value
    while isinstance(reason, _WrapperException) and reason.reasons:
        reason = reason.reasons[0].value
    return reason


def _read_alert(reason: BaseException | None) -> str:
    """Return OpenSSL's own words: short, fixed, and without anything from the wire."""
    queue = reason.args[0] if isinstance(reason, SSL.Error) and reason.args else ()
    return str(queue[-1][2]) if isinstance(queue, list) and queue else "the handshake broke off"
