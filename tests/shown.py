"""
What the tests have shown of each provider: the table of ``docs/providers.md`` is made of it.

A test says ``show(provider, feature)`` when it has seen it work; it counts only
if the test then passes.  ``make providers`` writes the table anew, and a run of
the whole suite fails if the table says anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"
_PLACE = re.compile(
    r"<!-- table: begin, recordings (\w*) -->\n(.*?)<!-- table: end -->\n", re.DOTALL
)

#: Columns of the table.
PROVIDERS = (
    *("openai", "openrouter", "groq", "google", "gigachat", "cloudflare", "cloudflare native"),
    *("github", "huggingface", "together", "anthropic", "cohere"),
)
#: Rows of the table: what a request may hold, and what an answer may say.
REQUESTS = (
    *("system and developer messages", "conversations", "tool results", "images, data URL"),
    *("images, http URL", "files and sound", "tools", "tool choice", "parallel calls off"),
    *("JSON mode", "JSON schema", "sampling parameters", "stop", "seed", "n"),
    *("reasoning effort", "signatures of thoughts"),
)
ANSWERS = (
    *("text", "tool calls", "several calls at once", "thoughts", "usage", "cached tokens"),
    *("reasoning tokens", "end by length", "refusals and safety", "citations and extras"),
    *("log probabilities", "pictures"),
)
ERRORS = ("errors by status", "errors inside a 200", "errors inside a stream", "retry delay")
#: A feature of an answer that is shown in one way only.
PLAIN, STREAMED = "plain", "streamed"

Shown = tuple[str, str, str]

#: Of the test that runs, and of all that have passed.
current: set[Shown] = set()
shown: set[Shown] = set()


def show(provider: str, *features: str, way: str = "") -> None:
    """
    Note what a test has seen work.

    :param way: :data:`PLAIN` or :data:`STREAMED`, where it is an answer's.
    """
    if provider not in PROVIDERS:
        return
    for feature in features:
        assert feature in (*REQUESTS, *ANSWERS, *ERRORS), feature
        assert bool(way) == (feature in ANSWERS), feature
        current.add((provider, feature, way))


def show_request(provider: str, request: Mapping[str, Any]) -> None:
    """Note what an OpenAI request holds that was written rightly."""
    show(provider, *_requested(request))


def show_answer(
    provider: str,
    message: Mapping[str, Any],
    reason: str,
    usage: Mapping[str, Any] | None,
    way: str,
) -> None:
    """Note what an answer says that was read rightly; deltas put together are a message too."""
    show(provider, *_said(message, reason, usage or {}), way=way)


def _requested(request: Mapping[str, Any]) -> Iterator[str]:
    roles = [message["role"] for message in request["messages"]]
    if {"system", "developer"} & set(roles):
        yield "system and developer messages"
    if "assistant" in roles:
        yield "conversations"
    if "tool" in roles:
        yield "tool results"
    for message in request["messages"]:
        if "thought_signature" in json.dumps(message):
            yield "signatures of thoughts"
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                url = part["image_url"]["url"]
                yield "images, data URL" if url.startswith("data:") else "images, http URL"
            elif part["type"] in ("file", "input_audio"):
                yield "files and sound"
    kind = (request.get("response_format") or {}).get("type")
    if kind in ("json_object", "json_schema"):
        yield "JSON mode" if kind == "json_object" else "JSON schema"
    for feature, names in (
        ("tools", ("tools",)),
        ("tool choice", ("tool_choice",)),
        ("stop", ("stop",)),
        ("seed", ("seed",)),
        ("sampling parameters", ("temperature", "top_p")),
        ("reasoning effort", ("reasoning_effort", "reasoning")),
    ):
        if any(request.get(name) is not None for name in names):
            yield feature
    if request.get("n", 1) != 1:
        yield "n"
    if request.get("parallel_tool_calls") is False:
        yield "parallel calls off"


def _said(message: Mapping[str, Any], reason: str, usage: Mapping[str, Any]) -> Iterator[str]:
    calls = message.get("tool_calls") or ()
    for feature, seen in (
        ("text", message.get("content")),
        ("thoughts", message.get("reasoning_content")),
        ("tool calls", calls),
        ("several calls at once", len(calls) > 1),
        ("pictures", message.get("images")),
        ("refusals and safety", message.get("refusal") or reason == "content_filter"),
        ("citations and extras", message.get("annotations") or message.get("extra_content")),
        ("end by length", reason == "length"),
        ("usage", usage.get("prompt_tokens")),
        ("cached tokens", _detail(usage, "prompt_tokens_details", "cached_tokens")),
        ("reasoning tokens", _detail(usage, "completion_tokens_details", "reasoning_tokens")),
    ):
        if seen:
            yield feature


def _detail(usage: Mapping[str, Any], group: str, name: str) -> Any:
    return (usage.get(group) or {}).get(name)


def passed() -> None:
    """The test that runs has passed: what it saw counts."""
    shown.update(current)


def write_table(seen: Iterable[Shown]) -> str:
    """Write the table."""
    ways: dict[tuple[str, str], set[str]] = {}
    for provider, feature, way in seen:
        ways.setdefault((provider, feature), set()).add(way)
    lines = [f"| | {' | '.join(PROVIDERS)} |", "|---" * (len(PROVIDERS) + 1) + "|"]
    for title, features in (("Requests", REQUESTS), ("Answers", ANSWERS), ("Errors", ERRORS)):
        lines.append(f"| **{title}** |" + " |" * len(PROVIDERS))
        for feature in features:
            cells = [_cell(ways.get((provider, feature), set())) for provider in PROVIDERS]
            lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(ways: set[str]) -> str:
    if not ways:
        return "unknown"
    (one, *others) = sorted(ways)
    return "yes" if others or not one else one


def read_page() -> tuple[str, str]:
    """Return the table as it stands in the page, and the digest of the recordings it is from."""
    found = _PLACE.search(PAGE.read_text("utf-8"))
    assert found, f"{PAGE} has no place for the table"
    return found[2], found[1]


def write_page(table: str, digest: str) -> None:
    """Put a table into the page."""
    place = f"<!-- table: begin, recordings {digest} -->\n{table}<!-- table: end -->\n"
    page = _PLACE.sub(lambda _: place, PAGE.read_text("utf-8"))
    PAGE.write_text(page, encoding="utf-8")
