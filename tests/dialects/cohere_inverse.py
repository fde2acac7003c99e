"""
From a recorded request of Cohere's back to OpenAI's: as naive as can be, for tests.

What is written here shares nothing with the dialect, so that both are wrong
alike only if both were thought wrong alike.
"""

from __future__ import annotations

import copy
from typing import Any

_FIELDS = {
    "temperature": "temperature",
    "p": "top_p",
    "k": "top_k",
    "seed": "seed",
    "max_tokens": "max_completion_tokens",
    "stop_sequences": "stop",
}


def openai_request(body: dict[str, Any]) -> dict[str, Any]:
    """Return the request of OpenAI's that means what this one of Cohere's does."""
    body = copy.deepcopy(body)
    request: dict[str, Any] = {"messages": [_message(one) for one in body.pop("messages")]}
    for theirs, name in _FIELDS.items():
        if theirs in body:
            request[name] = body.pop(theirs)
    told = body.pop("response_format", None)
    if told:
        named = {"name": "answer", "schema": told["json_schema"]}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    thinking = body.pop("thinking", None)
    if thinking:
        assert thinking == {"type": "enabled"}, thinking
        request["reasoning_effort"] = "high"
    choice = body.pop("tool_choice", None)
    if choice:
        request["tool_choice"] = choice.lower()
    # The rest has OpenAI's names, or is Cohere's own.
    return {**body, **request}


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if "tool_plan" in message:
        message["reasoning_content"] = message.pop("tool_plan")
    return message
