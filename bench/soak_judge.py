"""What is a legal answer to a request of the mixed soak."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Final

from attrs import frozen

from bench.soak_http import Answer

__all__ = ["Expected", "find_problem"]

_ERROR_TYPES: Final = frozenset(
    {
        *("validation_error", "authentication_error", "model_selection_error"),
        *("rate_limit_error", "provider_error", "network_error", "configuration_error"),
    }
)
_WORDS_SHOWN: Final = 200


@frozen
class Expected:
    """
    What may come.

    :param id: of the request, which the answer must tell; ``None``: it told none.
    :param text: what a completion says, to the last character; ``None``: it is none.
    :param may_break: a stream that has begun may end in an error.
    """

    id: str | None
    statuses: Collection[int] = (200,)
    text: str | None = None
    stream: bool = False
    may_break: bool = False


def find_problem(answer: Answer | None, expected: Expected) -> str | None:
    """Say what is wrong with an answer, ``None`` if nothing is."""
    if answer is None:
        return "no answer"
    told = answer.headers.get("x-request-id")
    if told is None or expected.id not in (None, told):
        return f"the answer is to {told}"
    if answer.status not in expected.statuses:
        return f"status {answer.status}: {answer.body.decode(errors='replace')[:_WORDS_SHOWN]}"
    if answer.status >= 400:
        return _judge_error(answer)
    if expected.text is None:
        return None if answer.whole else "the answer is not whole"
    if expected.stream:
        return _judge_stream(answer, expected.text, expected.may_break)
    return _judge_completion(answer, expected.text)


def _judge_error(answer: Answer) -> str | None:
    try:
        error = answer.document()["error"]
        known = error["type"] in _ERROR_TYPES and {"message", "param", "code"} <= error.keys()
    except (ValueError, KeyError, TypeError):
        known = False
    if not (known and answer.whole):
        return f"no error's envelope: {answer.body[:_WORDS_SHOWN]!r}"
    if answer.status == 429 and not answer.headers.get("retry-after", "").isdigit():
        return "a 429 without Retry-After"
    return None


def _judge_completion(answer: Answer, text: str) -> str | None:
    try:
        choice = answer.document()["choices"][0]
    except (ValueError, KeyError, IndexError):
        return f"no completion: {answer.body[:_WORDS_SHOWN]!r}"
    if choice["message"]["content"] != text or choice["finish_reason"] != "stop":
        return f"another text: {choice['message']['content'][:_WORDS_SHOWN]!r}"
    return None if answer.headers.get("x-aiproxy-model") else "no x-aiproxy-model"


def _judge_stream(answer: Answer, text: str, may_break: bool) -> str | None:
    if not answer.is_stream:
        return "no stream"
    try:
        *events, last = answer.events()
        chunks = [json.loads(event) for event in events]
        end = None if last == "[DONE]" else json.loads(last)
    except ValueError as error:
        return f"no events: {error}: {answer.body[-_WORDS_SHOWN:]!r}"
    if end is not None and "error" not in end:
        chunks.append(end)
    said = "".join(map(_read_delta, chunks))
    finishes = sum(bool(_read_choice(chunk).get("finish_reason")) for chunk in chunks)
    if len({chunk.get("id") for chunk in chunks}) > 1:
        return "more than one id"
    if end is None:
        if said != text or finishes != 1 or not answer.whole:
            return f"a wrong whole: {finishes} finishes, {_find_difference(said, text)}"
        return None
    if not may_break:
        return f"an end without [DONE]: {last[:_WORDS_SHOWN]}"
    if "error" not in end and answer.whole:
        return "an end without [DONE] and error"
    if finishes or not text.startswith(said):
        return f"a wrong beginning: {finishes} finishes, {_find_difference(said, text)}"
    return None


def _read_choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk.get("choices") or [{}]
    choice: dict[str, Any] = choices[0]
    return choice


def _read_delta(chunk: dict[str, Any]) -> str:
    return (_read_choice(chunk).get("delta") or {}).get("content") or ""


def _find_difference(said: str, text: str) -> str:
    same = next((i for i, (a, b) in enumerate(zip(said, text, strict=False)) if a != b), None)
    if same is None:
        return f"{len(said)} of {len(text)} characters"
    return f"from {same} on {said[same : same + 40]!r} for {text[same : same + 40]!r}"
