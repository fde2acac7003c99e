"""What is answered by a provider: chat completions, and the like."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from aiproxy.dialects.face import Face
from aiproxy.gateway.answer import PlainAnswer, Served
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.web.request import ClientRequest

__all__ = ["CallRoute"]


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
        call = ClientCall(request.id, self.face, request.principal, request.read_body())
        answer = await self.dispatcher.answer(call)
        headers = _write_headers(answer.served)
        if isinstance(answer, PlainAnswer):
            request.write_body(answer.body, answer.content_type, headers=headers)
        else:
            await answer.deliver(request.start_stream(headers, answer.writer.content_type))


def _write_headers(served: Served) -> Mapping[str, str]:
    return {
        **served.headers,
        "x-aiproxy-model": served.candidate.name,
        "x-aiproxy-provider": served.candidate.model.provider,
        "x-aiproxy-attempts": str(served.attempts),
    }
