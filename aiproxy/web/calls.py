"""What is answered by a provider: chat completions, and the like."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from attrs import frozen

from aiproxy.dialects.face import Face
from aiproxy.dialects.raw_face import RawFace, RawStreamWriter
from aiproxy.gateway.answer import PlainAnswer, Served
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.web.request import ClientRequest

__all__ = ["CallRoute", "PassedRoute"]


@frozen
class CallRoute:
    """
    ``POST /v1/chat/completions``, or the route of another face.

    :param face: what the client speaks.
    """

    dispatcher: Dispatcher
    face: Face

    async def answer(self, request: ClientRequest) -> None:
        """Answer, whole or as a stream."""
        await _answer(self.dispatcher, self.face, request)


@frozen
class PassedRoute:
    """
    A route whose bodies pass through.

    :param face: what the client speaks; of each request one is made.
    """

    dispatcher: Dispatcher
    face: RawFace

    async def answer(self, request: ClientRequest) -> None:
        """Answer, whole or as it comes."""

        def query(name: str) -> str | None:
            values = request.raw.args.get(name.encode())
            return quote(values[0], safe="") if values else None

        await _answer(self.dispatcher, self.face.for_request(request.header, query), request)


async def _answer(dispatcher: Dispatcher, face: Face, request: ClientRequest) -> None:
    caller = request.principal.key or request.address
    call = ClientCall(request.id, face, request.principal, request.read_body(), caller)
    answer = await dispatcher.answer(call)
    headers = _write_headers(answer.served)
    if isinstance(answer, PlainAnswer):
        request.write_body(answer.body, answer.content_type, headers=headers)
        return
    writer = answer.writer
    await answer.deliver(request.start_stream(headers, writer.content_type))
    if isinstance(writer, RawStreamWriter) and writer.broken:
        request.abort()


def _write_headers(served: Served) -> Mapping[str, str]:
    return {
        **served.headers,
        "x-aiproxy-model": served.candidate.name,
        "x-aiproxy-provider": served.candidate.model.provider,
        "x-aiproxy-attempts": str(served.attempts),
    }
