"""``POST /v1/route/explain``: who would be asked, and why."""

from __future__ import annotations

from attrs import frozen

from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.web.request import ClientRequest

__all__ = ["ExplainRoute"]


@frozen
class ExplainRoute:
    """
    Takes a chat request, and answers with the choice that would be made; nobody is asked.

    :param dispatcher: whose choice it is.
    """

    dispatcher: Dispatcher

    async def explain(self, request: ClientRequest) -> None:
        """Answer."""
        body = request.read_body()
        asked = OpenAIFace().read_request(body)
        candidates = self.dispatcher.explain(asked, len(body))
        request.write_json({"object": "list", "model": asked["model"], "data": candidates})
