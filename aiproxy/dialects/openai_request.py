"""
Makes of a request what one of OpenAI's family of providers takes.

What there is to do is told by the provider's row in
:mod:`aiproxy.dialects.quirks`.  What the provider cannot take is done in
another way, refused, or named as dropped.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.quirks import Quirks
from aiproxy.dialects.request_fields import asks
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

__all__ = ["fit_request"]

#: Of messages that are taken everywhere as they are.
_BARE: Final = frozenset(("role", "content"))
_ROLES: Final = ("system", "user", "assistant")
_SHORT_ID: Final = re.compile(r"[A-Za-z0-9]{9}")


def fit_request(body: dict[str, Any], quirks: Quirks, model: str) -> tuple[str, ...]:
    """
    Make of a request what the provider takes, in place.

    What stands in it is not changed, but replaced: it is the caller's.

    :param model: the upstream's name of the model.
    :return: the names of what had to be left out, each once.
    :raises InvalidRequest: the caller asked for several choices of a provider
        that gives one.
    """
    messages = body.get("messages")
    if (
        quirks.request_fields.isdisjoint(body)
        and not quirks.renames_any(body, model)
        and isinstance(messages, list)
        and all(map(_is_bare, messages))
    ):
        return ()  # Nearly all are so.
    n = body.get("n")
    if quirks.one_choice and isinstance(n, int) and n != 1:
        raise InvalidRequest("this model's provider gives one choice only: n must be 1", param="n")
    dropped = _drop(body, quirks.drops)
    for models, names in quirks.drops_for:
        if models.match(model):
            dropped += _drop(body, names)
    for kept, other in quirks.excludes:
        if body.get(kept) is not None and body.pop(other, None) is not None:
            dropped.append(other)
    if quirks.renames_for is None or quirks.renames_for.match(model):
        dropped += _rename(body, quirks.renames)
    if quirks.old_limit:
        dropped += _write_limit(body)
    _write_effort(body, quirks, model)
    dropped += _write_tier(body, quirks)
    dropped += _write_choice(body, quirks, model)
    words = _write_schema(body, quirks)
    if isinstance(messages, list):
        fitted = [_fit_message(message, quirks, model, dropped) for message in messages]
        if words:
            fitted.insert(_end_of_instructions(fitted), {"role": "system", "content": words})
        body["messages"] = fitted
    return tuple(dict.fromkeys(dropped))


# --- fields -----------------------------------------------------------------------


def _drop(target: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Leave fields out, in place; give those that ask for anything."""
    return [name for name in names if asks(name, target.pop(name, None))]


def _rename(target: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """Rename fields, in place; give those whose new name already says something else."""
    lost = []
    for old, new in names.items():
        value = target.pop(old, None)
        if value is None:
            continue
        if target.get(new) is None:
            target[new] = value
        elif target[new] != value:
            lost.append(old)
    return lost


def _write_limit(body: dict[str, Any]) -> list[str]:
    """Write the limit under its older name, in place."""
    newer = body.pop("max_completion_tokens", None)
    if newer is None:
        return []
    older = body.get("max_tokens")
    body["max_tokens"] = newer
    return [] if older in (None, newer) else ["max_tokens"]


def _write_effort(body: dict[str, Any], quirks: Quirks, model: str) -> None:
    """Write how much shall be thought, and where thoughts shall stand, in place."""
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    if quirks.nests_effort:
        del body["reasoning_effort"]
        body["reasoning"] = {"effort": effort}
    for models, words in quirks.efforts_for:
        if isinstance(effort, str) and models.match(model):
            body["reasoning_effort"] = words.get(effort, effort)
            break
    if quirks.parses_for is not None and quirks.parses_for.match(model):
        told = (body.get(name) for name in ("reasoning_format", "include_reasoning"))
        if all(value is None for value in told):
            body["reasoning_format"] = "parsed"


def _write_tier(body: dict[str, Any], quirks: Quirks) -> list[str]:
    """Write the tier of service by the provider's word for it, in place."""
    told = body.get("service_tier")
    if quirks.tiers is None or told is None:
        return []
    word = quirks.tiers.get(told) if isinstance(told, str) else None
    if word is None:
        del body["service_tier"]
        return ["service_tier"]
    body["service_tier"] = word
    return []


def _write_choice(body: dict[str, Any], quirks: Quirks, model: str) -> list[str]:
    """Write which tools may or must be called, in place."""
    choice = body.get("tool_choice")
    if choice is None and not quirks.ignores_choice:
        return []
    if quirks.ignores_choice:
        body.pop("tool_choice", None)
        if choice == "none":
            body.pop("tools", None)
        return ["tool_choice"] if choice not in (None, "auto", "none") else []
    name = _named(choice)
    if name and quirks.names_no_tool_for is not None and quirks.names_no_tool_for.match(model):
        tools = body.get("tools")
        left = [tool for tool in tools if _named(tool) == name] if isinstance(tools, list) else []
        if left:
            body["tools"] = left
            choice = body["tool_choice"] = "required"
    if choice == "required":
        body["tool_choice"] = quirks.requires
    return []


def _named(holder: object) -> object:
    """Give the name of the function that a tool, or a choice of one, is about."""
    function = holder.get("function") if isinstance(holder, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def _write_schema(body: dict[str, Any], quirks: Quirks) -> str:
    """Write the form of the answer, in place; give what the model has to be told in words."""
    told = body.get("response_format")
    if quirks.schemas == "named" or not isinstance(told, dict):
        return ""
    named = told.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if quirks.schemas == "value":
        # JSON mode has no other way than a schema: "missing field `value`" (published).
        if told.get("type") == "json_schema" or (
            told.get("type") == "json_object" and "value" not in told
        ):
            body["response_format"] = {"type": "json_object", "value": schema or {"type": "object"}}
        return ""
    if told.get("type") != "json_schema":
        return ""
    body["response_format"] = {"type": "json_object"}
    words = "Answer with a JSON object only."
    if schema is not None:
        words += f" It must match this JSON schema: {dumps(schema).decode()}"
    return words


# --- messages ---------------------------------------------------------------------


def _fit_message(message: Any, quirks: Quirks, model: str, dropped: list[str]) -> Any:
    """
    Make of a message what the provider takes.

    :param dropped: the names of what is left out are added.
    """
    if not isinstance(message, dict):
        return message
    message = _strip(message, quirks)
    if quirks.system_only and message.get("role") == "developer":
        message["role"] = "system"
    lost = _drop(message, quirks.message_drops) + _rename(message, quirks.message_renames)
    dropped += (f"messages[].{name}" for name in lost)
    content = message.get("content")
    if quirks.links_documents and isinstance(content, list):
        message["content"] = [_link_document(part) for part in content]
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = calls = [_strip(call, quirks) for call in calls]
        if quirks.call_drops:
            calls[:] = [_purge(call, quirks.call_drops) for call in calls]
        wants_thoughts = quirks.thoughts_for is not None and quirks.thoughts_for.match(model)
        if calls and wants_thoughts and message.get("reasoning_content") is None:
            message["reasoning_content"] = ""
    if quirks.short_ids:
        for call in calls if isinstance(calls, list) else ():
            _shorten(call, "id")
        _shorten(message, "tool_call_id")
    return message


def _is_bare(message: Any) -> bool:
    """Whether a message is taken by every provider as it is."""
    return (
        type(message) is dict
        and message.keys() == _BARE
        and message["role"] in _ROLES
        and type(message["content"]) is str
    )


def _strip(source: Any, quirks: Quirks) -> Any:
    """Copy a message or a call, without what other providers have left in it for themselves."""
    if not isinstance(source, dict):
        return source
    copy = dict(source)
    extra = copy.pop("extra_content", None)
    if quirks.keeps_extra is not None and isinstance(extra, Mapping):
        extra = {name: extra[name] for name in quirks.keeps_extra if name in extra}
    if extra or (quirks.keeps_extra is None and "extra_content" in source):
        copy["extra_content"] = extra
    return copy


def _purge(call: Any, names: tuple[str, ...]) -> Any:
    """Copy a call without some fields of it, and of its function."""
    if not isinstance(call, dict):
        return call
    copy = {name: value for name, value in call.items() if name not in names}
    if isinstance(copy.get("function"), dict):
        copy["function"] = _purge(copy["function"], names)
    return copy


def _link_document(part: Any) -> Any:
    """Write a part with the data of a file as a link that holds it; other parts stay."""
    told = part.get("file") if isinstance(part, dict) and part.get("type") == "file" else None
    if not isinstance(told, Mapping):
        return part
    data, name, file_id = (told.get(key) for key in ("file_data", "filename", "file_id"))
    if not isinstance(data, str):
        return {"type": "file", "file_id": file_id}
    if data[:5].lower() != "data:":
        data = f"data:application/pdf;base64,{data}"
    return {
        "type": "document_url",
        "document_url": data,
        **({"document_name": name} if isinstance(name, str) else {}),
    }


def _shorten(holder: Any, name: str) -> None:
    """Replace the id of a tool call by a short one, in place, where it has another form."""
    told = holder.get(name) if isinstance(holder, dict) else None
    if isinstance(told, str) and not _SHORT_ID.fullmatch(told):
        holder[name] = hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:9]


def _end_of_instructions(messages: list[Any]) -> int:
    """Say where the system messages end that a conversation begins with."""
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("system", "developer"):
            return place
    return len(messages)
