"""
From a request of Anthropic's back to OpenAI's, and from an answer to a request: naive, for tests.

What is written here shares nothing with the dialect, so that both are wrong
alike only if both were thought wrong alike.
"""

from __future__ import annotations

import json
from typing import Any

#: Blocks that a caller writes as they are.
_NATIVE = {"search_result", "tool_reference"}


def openai_request(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the OpenAI request that means the same."""
    body = json.loads(json.dumps(body))
    request: dict[str, Any] = {"model": model, "messages": []}
    system = body.pop("system", None)
    if system:
        request["messages"].append({"role": "system", "content": system})
    for message in body.pop("messages"):
        request["messages"] += _messages(message)
    request["max_completion_tokens"] = body.pop("max_tokens")
    for name in ("model", "stream"):
        body.pop(name, None)
    stops = body.pop("stop_sequences", None)
    if stops:
        request["stop"] = stops
    output = body.pop("output_config", {})
    wanted = output.pop("format", None) or body.pop("output_format", None)
    if wanted:
        named = {"name": "answer", "schema": wanted["schema"]}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    if output:
        request["output_config"] = output
    thinking = body.pop("thinking", None)
    if thinking:
        budget = thinking.get("budget_tokens")
        request["reasoning"] = {"max_tokens": budget} if budget else {"enabled": True}
    tools = body.pop("tools", None)
    if tools:
        request["tools"] = [_tool(tool) for tool in tools]
    choice = body.pop("tool_choice", None)
    if choice:
        if choice.pop("disable_parallel_tool_use", None):
            request["parallel_tool_calls"] = False
        modes = {"any": "required", "auto": "auto", "none": "none"}
        named = {"type": "function", "function": {"name": choice.get("name")}}
        request["tool_choice"] = modes.get(choice["type"], named)
    return {**request, **body}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool:
        return tool
    function = {"name": tool.pop("name"), "parameters": tool.pop("input_schema")}
    return {"type": "function", "function": {**function, **tool}}


def _messages(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that one of Anthropic's stands for."""
    content = message["content"]
    if isinstance(content, str):
        return [message]
    messages: list[dict[str, Any]] = []
    said: dict[str, Any] = {"role": message["role"]}
    parts: list[dict[str, Any]] = []
    for block in content:
        kind = block.pop("type")
        if kind == "tool_use":
            function = {"name": block["name"], "arguments": json.dumps(block["input"])}
            call = {"id": block["id"], "type": "function", "function": function}
            said.setdefault("tool_calls", []).append(call)
        elif kind == "tool_result":
            result = {"role": "tool", "tool_call_id": block.pop("tool_use_id")}
            messages.append({**result, **block})
        elif kind == "text":
            parts.append({"type": "text", **block})
        elif kind in ("image", "document"):
            source = block["source"]
            url = source.get("url") or f"data:{source['media_type']};base64,{source['data']}"
            image = {"type": "image_url", "image_url": {"url": url}}
            parts.append(image if kind == "image" else {"type": "file", "file": {"file_data": url}})
        else:
            assert kind in _NATIVE, kind
            parts.append({"type": kind, **block})
    if parts or "tool_calls" in said:
        messages.append({**said, "content": parts or None})
    return messages


def sent_back(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an answer's blocks as Anthropic takes them back: no blanks, no unsigned thoughts."""
    blocks = []
    for block in content:
        copy = {name: value for name, value in block.items() if value is not None}
        if not copy.get("citations"):
            copy.pop("citations", None)
        if copy["type"] == "tool_use" and copy.get("caller") == {"type": "direct"}:
            del copy["caller"]
        blank = copy["type"] == "text" and not copy["text"].strip()
        if not blank and copy.get("signature") != "":
            blocks.append(copy)
    return blocks
