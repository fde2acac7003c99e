"""
From OpenAI's messages to GigaChat's (v1).

One system message stands first.  A message has one call, so that several of a
turn become several messages, each with its result behind it; arguments are an
object, and a result is one as text.  An image is an uploaded file that its
message names: who has uploaded it calls :func:`with_attachments` before.

Source: GigaChat API reference, "POST /chat/completions" and "POST /files".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from aiproxy.dialects.earlier_turns import find_extra
from aiproxy.dialects.openai_repairs import find_payload
from aiproxy.dialects.parts import image_url
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["find_images", "with_attachments", "write_messages"]

#: Images in a request; a message has one.
_MOST_IMAGES: Final = 10

#: Ids of function states are UUIDs; ids of other providers' calls hardly ever are.
_STATE_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

#: Fields of messages that are written in their own way, or are an answer's only.
_TAKEN: Final = frozenset(
    {
        *("annotations", "audio", "content", "extra_content", "function_call", "name"),
        *("parsed", "refusal", "role", "tool_call_id", "tool_calls"),
    }
)


def write_messages(
    request: ChatRequest, *, instruction: str, renamed: Mapping[str, str], dropped: dict[str, None]
) -> list[dict[str, Any]]:
    """
    Write all messages of a request.

    :param instruction: what the system's message says at its end.
    :param renamed: functions that go by another name.
    :param dropped: takes the names of what is left out.
    :raises InvalidRequest: with the place that GigaChat has no words for.
    """
    system: list[str] = []
    #: A message and, if it calls, what the function gave back.
    turns: list[list[dict[str, Any]]] = []
    by_call: dict[str, list[dict[str, Any]]] = {}
    for place, message in enumerate(request["messages"]):
        role, text = message["role"], _read_text(message, place)
        for field in ("name", "audio"):
            if message.get(field) and (field, role) != ("name", "function"):
                dropped[f"messages[].{field}"] = None
        if any(_detail(part) not in (None, "auto") for part in _parts(message)):
            dropped["messages[].content[].image_url.detail"] = None
        if role in ("system", "developer"):
            system.append(text)
        elif role == "tool":
            turn = by_call.get(str(message.get("tool_call_id")))
            if turn is None:
                param = f"messages[{place}].tool_call_id"
                raise InvalidRequest(f"{param} names no call before it", param=param)
            turn.append(_write_result(turn[0]["function_call"]["name"], text))
        elif role == "assistant" and message.get("tool_calls"):
            calls, said = message["tool_calls"], _write_message(message, text)
            for number, call in enumerate(calls if isinstance(calls, list) else [calls]):
                called = _read_call(call, renamed, f"messages[{place}].tool_calls[{number}]")
                turn = by_call[str(call.get("id"))] = [{**said, **called}]
                turns.append(turn)
                said = {"role": role, "content": ""}
        else:
            turns.append([_write_message(message, text)])
    system = [text for text in (*system, instruction) if text]
    first = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    return first + [message for turn in turns for message in turn]


def find_images(request: ChatRequest) -> tuple[str, ...]:
    """
    Give the URLs of all images of the users' messages, each once.

    :raises InvalidRequest: there are more than GigaChat takes.
    """
    found: list[str] = []
    for place, message in enumerate(request["messages"]):
        images = _images(message)
        if len(images) > 1:
            raise InvalidRequest(
                "the provider takes one image a message", param=f"messages[{place}].content"
            )
        found += images
    if len(found) > _MOST_IMAGES:
        raise InvalidRequest(
            f"the provider takes {_MOST_IMAGES} images a request", param="messages"
        )
    return tuple(dict.fromkeys(found))


def with_attachments(request: ChatRequest, files: Mapping[str, str]) -> ChatRequest:
    """
    Return the request with uploaded files in the place of its images.

    :param request: it is not changed.
    :param files: the file's id for each of :func:`find_images`.
    """

    def attached(message: dict[str, Any]) -> dict[str, Any]:
        images = _images(message)
        if not images:
            return message
        content = [_without_url(part) for part in message["content"]]
        told = message.get("attachments")
        ids = [*(told if isinstance(told, list) else ()), *(files[url] for url in images)]
        return {**message, "content": content, "attachments": ids}

    return {**request, "messages": [attached(message) for message in request["messages"]]}


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _images(message: Mapping[str, Any]) -> list[str]:
    if message["role"] != "user":
        return []
    return [url for part in _parts(message) if (url := image_url(part)) is not None]


def _without_url(part: Any) -> Any:
    """Leave of an image only what else was asked for, to be named as dropped."""
    if image_url(part) is None:
        return part
    told = part["image_url"]
    detail = told.get("detail") if isinstance(told, dict) else None
    return {"type": "image_url", "image_url": {"detail": detail or "auto"}}


def _detail(part: object) -> str | None:
    """Return how closely an image that is a file by now was to be looked at."""
    told = part.get("image_url") if isinstance(part, dict) else None
    detail = told.get("detail") if isinstance(told, dict) and "url" not in told else None
    return detail if isinstance(detail, str) else None


def _read_text(message: Mapping[str, Any], place: int) -> str:
    """Join what a message says; an assistant's refusal is said too."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, str):
        return content
    texts = []
    for number, part in enumerate(content if isinstance(content, list) else [content]):
        if _detail(part) is not None:
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if isinstance(part, dict) and kind in ("text", "refusal") else None
        if not isinstance(text, str):
            raise InvalidRequest(
                "the provider takes text, and images of the user",
                param=f"messages[{place}].content[{number}]",
            )
        texts.append(text)
    return "\n".join(texts)


def _write_message(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Write a message, maybe with a call in OpenAI's old way, which is GigaChat's but for text."""
    role, call = message["role"], message.get("function_call")
    if role == "function":
        return _write_result(message.get("name"), text)
    rest = {name: value for name, value in message.items() if name not in _TAKEN}
    if isinstance(call, dict):
        rest["function_call"] = {**call, "arguments": _read_arguments(call.get("arguments"))}
    return {"role": role, "content": text, **rest}


def _read_call(call: object, renamed: Mapping[str, str], param: str) -> dict[str, Any]:
    """Read a tool call: the fields that make a message one."""
    payload, field = find_payload(call) if isinstance(call, dict) else (None, "")
    name = payload.get("name") if payload is not None else None
    if not isinstance(call, dict) or payload is None or field != "arguments":
        raise InvalidRequest("the provider takes calls of functions only", param=param)
    if not isinstance(name, str):
        raise InvalidRequest("the function has no name", param=f"{param}.function.name")
    arguments = _read_arguments(payload.get(field))
    message = {"function_call": {"name": renamed.get(name, name), "arguments": arguments}}
    state = _find_state(call)
    return message if state is None else {**message, "functions_state_id": state}


def _find_state(call: Mapping[str, Any]) -> str | None:
    """Find the function state that a call began: our answer told it twice."""
    state = find_extra(call, "gigachat").get("functions_state_id")
    if isinstance(state, str):
        return state
    identity = call.get("id")
    return identity if isinstance(identity, str) and _STATE_ID.fullmatch(identity) else None


def _read_arguments(told: object) -> dict[str, Any]:
    """Read a call's arguments; what a model has written wrongly stays to be seen."""
    value = told
    if isinstance(told, str):
        with suppress(JSONError):
            value = loads(told) if told.strip() else {}
    if value is None:
        return {}
    return value if isinstance(value, dict) else {"arguments": value}


def _write_result(name: object, text: str) -> dict[str, Any]:
    """Write what a function gave back: an object, as text."""
    result: object = text
    with suppress(JSONError):
        result = loads(text)
    content = text if isinstance(result, dict) else dumps({"result": result}).decode()
    return {"role": "function", "name": name, "content": content}
