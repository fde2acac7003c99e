"""What is answered by a provider: chat completions, and the like."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from attrs import frozen

from aiproxy.dialects.face import Face
from aiproxy.dialects.raw_face import RawFace
from aiproxy.errors import AIProxyError, InvalidRequest
from aiproxy.gateway.answer import PlainAnswer, Served
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.gateway.tracing import read_trace_context
from aiproxy.web.edge import read_values
from aiproxy.web.request import ClientRequest, encode_headers
from aiproxy.wire.durations import read_duration

__all__ = ["CallRoute", "PassedRoute"]

_NUMBER: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@frozen
class CallRoute:
    """
    ``POST /v1/chat/completions``, or the route of another face.

    :param face: what the client speaks.
    """

    dispatcher: Dispatcher
    face: Face

    def answer(self, request: ClientRequest) -> Awaitable[None]:
        """Answer, whole or as a stream."""
        return _answer(self.dispatcher, self.face, request)


@frozen
class PassedRoute:
    """
    A route whose bodies pass through.

    :param face: what the client speaks; of each request one is made.
    """

    dispatcher: Dispatcher
    face: RawFace

    def answer(self, request: ClientRequest) -> Awaitable[None]:
        """Answer, whole or as it comes."""

        def query(name: str) -> str | None:
            values = request.raw.args.get(name.encode())
            return quote(values[0], safe="") if values else None

        return _answer(self.dispatcher, self.face.for_request(request.header, query), request)


async def _answer(dispatcher: Dispatcher, face: Face, request: ClientRequest) -> None:
    principal, address = request.principal, request.address
    assert principal is not None  # The route has a guard.
    timeout: float | None = None
    if request.find_header(b"x-aiproxy-timeout") is not None:
        timeout = _read_timeout(request.header("x-aiproxy-timeout"))
    call = ClientCall(
        request.id,
        face,
        principal,
        request.read_body(),
        principal.key or address,
        timeout,
        address,
        request.route,
    )
    if request.find_header(b"traceparent") is not None:
        told = [read_values(request.raw, name) for name in (b"traceparent", b"tracestate")]
        call.belongs_to = read_trace_context(*told)
    request.called = True
    copy = None if dispatcher.bodies is None else dispatcher.bodies.begin(call)
    try:
        answer = await dispatcher.answer(call)
        if isinstance(answer, PlainAnswer):
            await dispatcher.shared.stages.next()
            headers = _write_headers(answer.served)
            request.write_body(answer.body, answer.content_type, headers=headers)
            if copy is not None:
                copy.answered(answer)
            return
        client = request.start_stream(_write_headers(answer.served), answer.content_type)
        if copy is not None:
            client = copy.follow(client, answer.content_type)
        await answer.deliver(client)
        if answer.broken:
            request.abort()
    except AIProxyError as error:
        if copy is not None:
            copy.failed(error)
        raise
    finally:
        if copy is not None:
            copy.close()


def _read_timeout(told: str | None) -> float | None:
    """Read how long a caller is ready to wait: a span such as ``30s``, or seconds."""
    if told is None:
        return None
    try:
        seconds = read_duration(f"{told}s" if _NUMBER.fullmatch(told) else told)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InvalidRequest(
            "the header x-aiproxy-timeout must be a time, such as 30s", code="invalid_timeout"
        )
    return seconds


def _write_headers(served: Served | None) -> Mapping[bytes, bytes]:
    if served is None:
        return {}  # Nobody has answered yet.
    candidate = served.candidate
    who = _write_served(candidate.name, candidate.model.provider, served.attempts)
    return {**encode_headers(served.headers), **who} if served.headers else who


@lru_cache(maxsize=1024)
def _write_served(model: str, provider: str, attempts: int) -> Mapping[bytes, bytes]:
    """Write who has answered, once for many answers."""
    return encode_headers(
        {
            "x-aiproxy-model": model,
            "x-aiproxy-provider": provider,
            "x-aiproxy-attempts": str(attempts),
        }
    )
