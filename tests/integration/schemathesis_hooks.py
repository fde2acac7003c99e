"""What schemathesis does to requests before it sends them, and to answers; it loads this file."""

from __future__ import annotations

import os
from itertools import count, cycle
from typing import Any

import schemathesis

#: Who answers chats, one after the other.
_CHAT = cycle(("demo/echo", "my-gpt", "my-claude", "team"))
_numbers = count(1)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """
    Ask for a model that there is, where one is asked for in order.

    Each request is from an address of its own: one with many wrong tokens is held back.
    """
    number = next(_numbers)
    case.headers["X-Forwarded-For"] = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str) and body["model"]:
        case.body = {**body, "model": _choose(case.operation)}
    if case.path_parameters and number % 2:
        case.path_parameters["model"] = "demo/echo"


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Write down what was answered with which status."""
    with open(os.environ["ANSWERS"], "a", encoding="utf-8") as file:
        file.write(f"{case.operation.label} {response.status_code}\n")


def _choose(operation: Any) -> str:
    [tag] = operation.tags
    if tag == "images":
        return "my-painter"
    if tag in ("chat", "operation"):
        return next(_CHAT)
    return "my-claude" if "messages" in operation.path else "my-gpt"
