"""
From a recorded request of Gemini's back to OpenAI's: as naive as can be, for tests.

What is written here shares nothing with the dialect, so that both are wrong
alike only if both were thought wrong alike.
"""

from __future__ import annotations

import json
import re
from typing import Any

_CONFIG = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "seed": "seed",
    "maxOutputTokens": "max_completion_tokens",
    "stopSequences": "stop",
    "candidateCount": "n",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
#: Keys whose values are the caller's own and stay as they are.
_OPAQUE = {"args", "response", "toolResponse", "toolCall"}


def camel(value: Any) -> Any:
    """Spell the names of fields as Gemini's reference does: both spellings are understood."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    spelled = {}
    for name, held in value.items():
        name = re.sub("_([a-z])", lambda found: found[1].upper(), name)
        spelled[name] = held if name in _OPAQUE or name.endswith("Schema") else camel(held)
        if name == "parameters":
            spelled[name] = held
    return spelled


def lower_types(schema: Any) -> Any:
    """Spell a schema's types as JSON Schema does; Gemini understands both."""
    if isinstance(schema, list):
        return [lower_types(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else lower_types(value)
        for name, value in schema.items()
        if name != "propertyOrdering"
    }


def openai_request(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the OpenAI request that means the same."""
    body = camel(body)
    request: dict[str, Any] = {"model": model, "messages": []}
    instruction = body.pop("systemInstruction", None)
    if instruction:
        parts = instruction["parts"]
        for part in parts if isinstance(parts, list) else [parts]:
            if part["text"]:
                request["messages"].append({"role": "system", "content": part["text"]})
    ids: list[tuple[str, str]] = []
    for content in body.pop("contents"):
        request["messages"] += _messages(content, ids)
    config = body.pop("generationConfig", {})
    for theirs, name in _CONFIG.items():
        if theirs in config:
            request[name] = config.pop(theirs)
    schema = config.pop("responseSchema", None) or config.pop("responseJsonSchema", None)
    if config.pop("responseMimeType", None):
        named = {"name": "answer", "schema": lower_types(schema)}
        request["response_format"] = {"type": "json_schema", "json_schema": named}
    thinking = config.pop("thinkingConfig", None)
    if thinking:
        level = thinking.get("thinkingLevel")
        request["reasoning"] = {"effort": level} if level else {"enabled": True}
    modalities = config.pop("responseModalities", ["TEXT"])
    if len(modalities) > 1:
        request["modalities"] = [one.lower() for one in modalities]
    assert not config, config
    for tool in body.pop("tools", []):
        declared = tool.pop("functionDeclarations", [])
        request.setdefault("tools", [])
        request["tools"] += [_function(one) for one in declared] + ([tool] if tool else [])
    choice = body.get("toolConfig", {}).pop("functionCallingConfig", None)
    if choice:
        modes = {"ANY": "required", "AUTO": "auto", "NONE": "none"}
        request["tool_choice"] = modes[choice["mode"]]
    return {**request, **body}


def _function(declared: dict[str, Any]) -> dict[str, Any]:
    parameters = declared.get("parameters") or declared.get("parametersJsonSchema")
    function = {"name": declared["name"], "description": declared.get("description", "")}
    return {"type": "function", "function": {**function, "parameters": lower_types(parameters)}}


def _messages(content: dict[str, Any], ids: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the messages that a content stands for; ``ids`` are of the calls so far."""
    messages: list[dict[str, Any]] = []
    said: dict[str, Any] = {"role": "assistant" if content.get("role") == "model" else "user"}
    parts: list[dict[str, Any]] = []
    google: dict[str, Any] = {}
    for part in content["parts"]:
        signature = part.get("thoughtSignature")
        if "functionCall" in part:
            call = part["functionCall"]
            # None told: as long as those that are made up, and the same each time.
            call_id = call.get("id") or f"call_{len(ids):024x}"
            ids.append((call_id, call["name"]))
            arguments = json.dumps(call["args"])
            function = {"name": call["name"], "arguments": arguments}
            written: dict[str, Any] = {"id": call_id, "type": "function", "function": function}
            if signature:
                written["extra_content"] = {"google": {"thought_signature": signature}}
            said.setdefault("tool_calls", []).append(written)
        elif "functionResponse" in part:
            told = part["functionResponse"]
            call_id = told.get("id") or [key for key, name in ids if name == told["name"]][-1]
            response = json.dumps(told["response"])
            messages.append({"role": "tool", "tool_call_id": call_id, "content": response})
        elif "text" in part:
            parts.append({"type": "text", "text": part["text"]})
            if signature:
                google["thought_signature"] = signature
        elif "inlineData" in part:
            data = part["inlineData"]
            url = f"data:{data['mimeType']};base64,{data['data']}"
            file = {"type": "file", "file": {"file_data": url}}
            image = {"type": "image_url", "image_url": {"url": url}}
            parts.append(image if data["mimeType"].startswith("image/") else file)
        else:
            google.setdefault("parts", []).append(part)
    if google:
        said["extra_content"] = {"google": google}
    if parts or "tool_calls" in said or google:
        only_text = len(parts) == 1 and parts[0]["type"] == "text"
        said["content"] = (parts[0]["text"] if only_text else parts) or None
        messages.append(said)
    return messages
