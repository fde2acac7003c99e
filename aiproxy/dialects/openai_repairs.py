"""
Every change that is made to an OpenAI-shaped answer, each with its reason.

A client of OpenAI's branches on a few values and requires a few fields.  Only
these are put right; everything else stays as the provider sent it.

====================  =========================================================
repair                reason
====================  =========================================================
``object``            clients branch on it; Z.ai leaves it out, TGI and others
                      write their own
``id``, ``created``   required; one and the same through a stream (Groq's
                      compound changes the id in each chunk, Azure's first is "")
``model``             the configured name: what the caller asked for or may ask for
``index``             required; missing in some answers
``role``              ``assistant``, in the first delta of each choice and in none
                      after it (OpenRouter repeats it in every chunk)
``content``           required in a message; Groq leaves it out beside tool calls.
                      A string or null: Cloudflare writes an object where a schema
                      was asked for, which becomes its JSON; Mistral a list of
                      parts, whose texts are joined
``content_parts``     the parts of such a list that hold no text
``reasoning_content`` where clients look for thoughts; Mistral's stand in the list
                      of parts, in ``reasoning`` only they do at Cerebras, Groq,
                      Ollama, OpenRouter and Together: added, the original stays
``delta``             required, may be missing beside a finish reason; a
                      ``message`` in its place is one
``finish_reason``     clients branch on it: one of OpenAI's five words, once, last;
                      what the provider wrote stays as ``native_finish_reason``
tool call ``type``    required; missing in some answers
tool call ``id``      required and a string, in the first delta only; made where it
                      is missing, ``""`` or another call's; TGI's are numbers
tool call ``index``   required; some write 0 for each of several calls: counted
                      by id instead
tool call arguments   a string by contract, and clients parse it; some send an
                      object, null or "" for nothing
tool call pieces      a first delta holds ``id``, ``type`` and ``name``: held
                      back until the name is known
``tool_calls``        left out where there are none
usage                 in one last chunk of its own, and only for who asked;
                      Groq's may stand in ``x_groq`` only, Moonshot's in a choice
usage's sums          callers count by them: ``completion_tokens`` lack the thoughts
                      at xAI and at Google's compatible endpoint, ``prompt_tokens``
                      the sound at Mistral: what only the total counts is added
usage's details       no part is more than the whole: Azure's Grok tells more
                      ``cached_tokens`` than prompt, OpenRouter more
                      ``reasoning_tokens`` than completion; cut to it
====================  =========================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.shapes import Usage
from aiproxy.wire.json import dumps

__all__ = [
    "FINISH_REASONS",
    "find_payload",
    "find_told_usage",
    "find_usage",
    "is_plain",
    "made_call_id",
    "repair_arguments",
    "repair_choice",
    "repair_finish",
    "repair_said",
    "repair_usage",
]

#: OpenAI's own words.
FINISH_REASONS: Final = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "function_call"}
)

#: Other words for them, in lower case.
_FOREIGN_REASONS: Final = {
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}

#: The two types of tool call: where their text stands (OpenAI API reference).
_PAYLOADS: Final = {"function": "arguments", "custom": "input"}


def repair_finish(choice: dict[str, Any], *, called: str = "") -> None:
    """
    Put a choice's finish reason right, in place.

    :param called: the reason that stands for the calls in this choice, if it
        has any: a plain ``stop`` is then wrong.
    """
    told = choice.get("finish_reason")
    reason = "stop"
    if isinstance(told, str):
        reason = told if told in FINISH_REASONS else _FOREIGN_REASONS.get(told.lower(), "stop")
    if reason == "stop" and called:
        reason = called
    if reason != told:
        choice["finish_reason"] = reason
        if told and choice.get("native_finish_reason") is None:
            choice["native_finish_reason"] = told


def find_payload(call: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Find the object with a tool call's name and text, and the name of the text's field."""
    for kind, field in _PAYLOADS.items():
        payload = call.get(kind)
        if isinstance(payload, dict):
            return payload, field
    return None, ""


def repair_arguments(arguments: object) -> str:
    """Write a tool call's arguments as the string that they are by contract."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else dumps(arguments).decode()


def repair_choice(choice: dict[str, Any], place: int, answer: Mapping[str, Any]) -> None:
    """
    Put a whole answer's choice right, in place.

    :param place: its place in the list of choices.
    :param answer: the answer that it stands in.
    """
    index = choice.get("index")
    if not isinstance(index, int) or isinstance(index, bool):
        choice["index"] = index = place
    message = choice["message"]
    message["role"] = "assistant"
    message.setdefault("content", None)
    repair_said(message)
    told = message.get("tool_calls")
    calls = [call for call in told if isinstance(call, dict)] if isinstance(told, list) else []
    ids = {""}
    for number, call in enumerate(calls):
        _repair_call(call, ids, made_call_id(answer, index, number))
    if calls:
        message["tool_calls"] = calls
        repair_finish(choice, called="tool_calls")
    else:
        message.pop("tool_calls", None)
        repair_finish(choice, called="function_call" if message.get("function_call") else "")


def is_plain(choice: object) -> bool:
    """Whether a choice is a text as OpenAI would write it, and nothing else."""
    return (
        isinstance(choice, dict)
        and isinstance(message := choice.get("message"), dict)
        and not choice.get("error")
        and type(choice.get("index")) is int
        and message.get("role") == "assistant"
        and type(message.get("content")) is str
        and type(reason := choice.get("finish_reason")) is str
        and reason in FINISH_REASONS
        and "tool_calls" not in message
        and not message.get("function_call")
        and not message.get("reasoning")
    )


def repair_said(message: dict[str, Any]) -> None:
    """Put the content and the thoughts of a message or a delta right, in place."""
    content = message.get("content")
    if isinstance(content, list):
        _join_parts(content, message)
    elif content is not None and not isinstance(content, str):
        message["content"] = dumps(content).decode()
    thoughts = message.get("reasoning")
    if isinstance(thoughts, str) and thoughts and message.get("reasoning_content") is None:
        message["reasoning_content"] = thoughts


def _join_parts(parts: list[Any], message: dict[str, Any]) -> None:
    """Put a content of parts in its places in a message or a delta."""
    texts: list[str] = []
    thoughts: list[str] = []
    others: list[Any] = []
    for part in parts:
        told, pieces = texts, part
        if isinstance(part, dict) and part.get("type") == "thinking":
            told, pieces = thoughts, part.get("thinking")
        for piece in pieces if isinstance(pieces, list) else [pieces]:
            text = piece.get("text") if isinstance(piece, dict) else piece
            if isinstance(text, str):
                told.append(text)
            elif piece is not None:
                others.append(piece)
    message["content"] = "".join(texts)
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if others:
        message["content_parts"] = others


def _repair_call(call: dict[str, Any], ids: set[str], made_id: str) -> None:
    """
    Put a whole tool call right, in place.

    :param ids: those that name no call, or another one; this one's is added.
    """
    if not isinstance(call.get("type"), str) or not call["type"]:
        call["type"] = "custom" if "custom" in call else "function"
    told_id = call.get("id")
    identity = str(told_id) if isinstance(told_id, str | int) else ""
    call["id"] = made_id if identity in ids else identity
    ids.add(identity)
    payload, field = find_payload(call)
    if field == "arguments" and payload is not None:
        payload[field] = repair_arguments(payload.get(field)) or "{}"


def made_call_id(answer: Mapping[str, Any], index: int, number: int) -> str:
    """
    Make an id for a tool call that came without.

    From the answer's own identity, for a conversation may hold several such
    answers, and the same for any split of the bytes.

    :param answer: the answer, or a chunk of it.
    :param index: the choice's.
    :param number: the call's place in the choice.
    """
    seed = f"{answer.get('id')} {answer.get('created')} {index} {number}"
    return "call_" + hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:24]


def find_usage(document: Mapping[str, Any]) -> Usage | None:
    """Find the usage in an answer or a chunk, wherever it stands, and put it right."""
    usage = document.get("usage")
    if not (usage and isinstance(usage, dict)):
        usage = find_told_usage(document)
    return None if usage is None else repair_usage(usage)


def find_told_usage(document: Mapping[str, Any]) -> Usage | None:
    """Find the usage as it was told: in a stream that tells it often only the last one counts."""
    usage = document.get("usage")
    if usage and isinstance(usage, dict):
        return usage
    choices = document.get("choices")
    for holder in (document.get("x_groq"), *(choices if isinstance(choices, list) else ())):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if usage and isinstance(usage, dict):
            return usage
    return None


def repair_usage(usage: Usage) -> Usage:
    """Return a usage whose sums and parts are right; itself, where they are."""
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or type(completion) is not int:
        return usage
    repaired: Usage | None = None
    total = usage.get("total_tokens")
    heard: Any = usage.get("prompt_tokens_details")
    uncounted = (total if type(total) is int else 0) - prompt - completion
    if uncounted > 0:
        repaired = dict(usage)
        if isinstance(heard, dict) and heard.get("audio_tokens") == uncounted:
            repaired["prompt_tokens"] = prompt = prompt + uncounted
        else:
            repaired["completion_tokens"] = completion = completion + uncounted
    cached = heard.get("cached_tokens") if isinstance(heard, dict) else None
    if type(cached) is int and cached > prompt:
        repaired = dict(usage) if repaired is None else repaired
        repaired["prompt_tokens_details"] = {**heard, "cached_tokens": prompt}
    thought: Any = usage.get("completion_tokens_details")
    reasoning = thought.get("reasoning_tokens") if isinstance(thought, dict) else None
    if type(reasoning) is int and reasoning > completion:
        repaired = dict(usage) if repaired is None else repaired
        repaired["completion_tokens_details"] = {**thought, "reasoning_tokens": completion}
    return usage if repaired is None else repaired
