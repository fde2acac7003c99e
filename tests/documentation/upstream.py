"""
An upstream that gives a legal answer on each of OpenAI's routes, and on Anthropic's for messages.

Shapes: the API references of OpenAI, Anthropic (``/messages``), Cohere (``/rerank``).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

__all__ = ["make_upstream", "write_config"]

#: One pixel.
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MP3: Final = b"ID3\x04\x00\x00\x00\x00\x00\x00" + b"\xff\xfb\x90\x00" * 100
_USAGE: Final = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
_DONE: Final = b"data: [DONE]\n\n"
_MODELS: Final = (
    *("together/flux", "mistral/mistral-embed", "groq/whisper-large-v3"),
    *("groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini-tts", "openai/gpt-4o-mini"),
    *("openai/gpt-5-codex", "openrouter/cohere/rerank-v3.5"),
    *("anthropic/claude-sonnet-4-5", "anthropic/claude-haiku-4-5"),
)


def write_config(port: int) -> str:
    """
    Write the configuration of a server that has all models of the pages.

    :param port: the upstream's.
    """
    providers = sorted({name.partition("/")[0] for name in _MODELS})
    models = [{"name": name, "provider": name.partition("/")[0]} for name in _MODELS]
    models[0]["kind"] = "image"
    config = {
        "providers": {
            name: {"base_url": f"http://127.0.0.1:{port}/v1", "token": "sk-upstream"}
            for name in providers
        },
        "models": [{"name": "demo/echo", "provider": "demo"}, *models],
        "groups": {"chat": {"models": ["groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini"]}},
    }
    return json.dumps(config, indent=1)


def make_upstream() -> Site:
    """Return the site."""
    return Site(_Upstream())


def _chat(asked: Mapping[str, Any]) -> object:
    message = {"role": "assistant", "content": "Here you are."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]}


def _completion(asked: Mapping[str, Any]) -> object:
    choice = {"index": 0, "text": "Here you are.", "finish_reason": "stop", "logprobs": None}
    return {"id": "c", "object": "text_completion", "created": 1, "choices": [choice]}


def _images(asked: Mapping[str, Any]) -> object:
    return {"created": 1, "data": [{"b64_json": base64.b64encode(PNG).decode()}]}


def _embeddings(asked: Mapping[str, Any]) -> object:
    texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    data = [
        {"object": "embedding", "index": index, "embedding": [0.6, 0.8]}
        for index in range(len(texts))
    ]
    return {"object": "list", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def _rerank(asked: Mapping[str, Any]) -> object:
    rows = range(len(asked["documents"]))
    return {"id": "r", "results": [{"index": row, "relevance_score": 0.5} for row in rows]}


def _messages(asked: Mapping[str, Any]) -> object:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Here you are."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


def _response(asked: Mapping[str, Any]) -> object:
    content = [{"type": "output_text", "text": "Here you are.", "annotations": []}]
    message = {"type": "message", "id": "m", "role": "assistant", "content": content}
    output = [{**message, "status": "completed"}]
    return {"id": "r", "object": "response", "status": "completed", "output": output}


#: What is answered, by the end of the path.
_ANSWERS: Final[Mapping[str, Callable[[Mapping[str, Any]], object]]] = {
    "/chat/completions": _chat,
    "/completions": _completion,
    "/images/generations": _images,
    "/embeddings": _embeddings,
    "/rerank": _rerank,
    "/messages/count_tokens": lambda asked: {"input_tokens": 3},
    "/messages": _messages,
    "/responses": _response,
    "/moderations": lambda asked: {"id": "m", "results": [{"flagged": False}]},
}


class _Upstream(Resource):
    """All routes."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """The list of models."""
        return _write(request, "application/json", {"object": "list", "data": []})

    def render_POST(self, request: Request) -> bytes:
        """Everything else."""
        path = request.path.decode()
        if path.endswith("/audio/transcriptions"):
            return _write(request, "application/json", {"text": "Here you are."})
        content = request.content
        assert content is not None
        asked = json.loads(content.read())
        if path.endswith("/audio/speech"):
            request.setHeader(b"content-type", b"audio/mpeg")
            return MP3
        answer: Any = next(make for end, make in _ANSWERS.items() if path.endswith(end))(asked)
        told = {"model": asked.get("model"), "usage": _USAGE, **answer}
        if asked.get("stream"):
            return _write_stream(request, told)
        return _write(request, "application/json", told)


def _write(request: Request, kind: str, answer: object) -> bytes:
    request.setHeader(b"content-type", kind.encode())
    return json.dumps(answer).encode()


def _write_stream(request: Request, answer: dict[str, Any]) -> bytes:
    """Write an answer to a chat or to Anthropic's messages as events; no page asks for others."""
    request.setHeader(b"content-type", b"text/event-stream")
    if answer.get("type") == "message":
        events = [(f"event: {event['type']}\n", event) for event in _message_events(answer)]
        return "".join(f"{name}data: {json.dumps(event)}\n\n" for name, event in events).encode()
    [choice] = answer.pop("choices")
    usage = answer.pop("usage")
    answer["object"] = "chat.completion.chunk"
    last = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
    chunks = (
        {**answer, "choices": [{"index": 0, "delta": choice["message"], "finish_reason": None}]},
        {**answer, "choices": [last], "usage": usage},
    )
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + _DONE


def _message_events(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    [block] = message["content"]
    start = {**message, "content": [], "stop_reason": None}
    delta = {"type": "text_delta", "text": block["text"]}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {**block, "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": end, "usage": message["usage"]},
        {"type": "message_stop"},
    ]
