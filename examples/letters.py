"""
An adapter for an upstream with an API of its own, in a package of one's own.

The upstream takes ``POST /complete {"model", "prompt", "stream"}`` and answers
``{"text"}``, or events ``{"piece"}`` and at the end ``{"end": true}``.
"""

from typing import Any

from aiproxy import register_provider
from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.interfaces import IProvider
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.registry import ProviderParts
from aiproxy.wire.json import dumps


class LettersDialect(OpenAIDialect):
    def write_request(self, request: Any, *, model: str, stream: bool) -> WireRequest:
        prompt = "\n".join(str(message.get("content")) for message in request["messages"])
        body = {"model": model, "prompt": prompt, "stream": stream}
        return WireRequest("/complete", dumps(body), {"content-type": "application/json"})

    def read_reply(self, body: bytes) -> Any:
        message = {"content": load_answer(body)["text"]}
        return settle_answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        return OpenAIStreamReader(
            choices=choices, max_event_bytes=max_event_bytes, translate=read_event
        )


def read_event(event: dict[str, Any]) -> dict[str, Any]:
    delta = {"content": event.get("piece", "")}
    return {"choices": [{"delta": delta, "finish_reason": "stop" if event.get("end") else None}]}


def make_provider(parts: ProviderParts) -> IProvider:
    return HTTPProvider(parts.client, LettersDialect())


register_provider("letters", make_provider)  # or by an entry point, without this line
