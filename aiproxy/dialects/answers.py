"""
The way of a whole answer that all dialects share: JSON, an error inside a 200, the repairs.

What a dialect of its own adds is the step between :func:`load_answer` and
:func:`settle_answer`: from the provider's shape to OpenAI's.
"""

from __future__ import annotations

from typing import Any

from aiproxy.dialects.openai_errors import judge, judge_choice
from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.openai_repairs import find_usage, is_plain, repair_choice
from aiproxy.dialects.shapes import ChatAnswer, says_something
from aiproxy.errors import UpstreamFailed
from aiproxy.wire.json import JSONError, loads

__all__ = ["load_answer", "misshapen", "settle_answer"]


def load_answer(body: bytes) -> Any:
    """
    Decode an answer's body.

    :raises UpstreamError: it is no JSON, or an error inside a 200, which is
        raised as what it stands for.
    """
    try:
        answer = loads(body)
    except JSONError as problem:
        what = "empty" if not body or body.isspace() else "not JSON"
        raise UpstreamFailed(f"the upstream's answer is {what}") from problem
    if holds_error(answer):
        raise judge(None, read_facts(answer))
    return answer


def settle_answer(answer: object) -> ChatAnswer:
    """
    Put an answer in OpenAI's shape right, in place.

    :raises UpstreamError: it is no answer: without choices, or with a choice
        that is an error (OpenRouter) or says nothing.
    """
    if not isinstance(answer, dict):
        raise UpstreamFailed("the upstream's answer is not a JSON object")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise UpstreamFailed("the upstream's answer has no choices")
    for place, choice in enumerate(choices):
        if not is_plain(choice):  # Nearly all are.
            _check(choice)
            repair_choice(choice, place, answer)
    usage = find_usage(answer)
    if usage is not None:
        answer["usage"] = usage
    answer["object"] = "chat.completion"
    return answer


def misshapen(mistake: Exception) -> UpstreamFailed:
    """
    Say that an answer is not as its provider has it: a number for a text, a text for a list.

    :param mistake: what a translator stumbled over it with.
    """
    kind = type(mistake).__name__
    error = UpstreamFailed(f"the upstream's answer has another shape than its API ({kind})")
    error.__cause__ = mistake
    return error


def _check(choice: object) -> None:
    """Refuse a choice that is none: an error of its own, no message, nothing said."""
    if not isinstance(choice, dict):
        raise UpstreamFailed("the upstream's answer has a choice that is not an object")
    error = judge_choice(choice)
    if error is not None:
        raise error
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamFailed("the upstream's answer has a choice without a message")
    if not choice.get("finish_reason") and not says_something(message):
        raise UpstreamFailed("the upstream's answer is empty")
