"""
What the tests have shown of each provider: the tables of ``docs/providers.md`` are made of it.

A test says ``show(provider, feature)`` when it has seen it work; it counts only
if the test then passes.  ``make providers`` writes the tables anew, and a run of
the whole suite fails if they say anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiproxy.dialects.operations import (
    AUDIO,
    COMPLETIONS,
    EMBEDDINGS,
    IMAGES,
    MESSAGES,
    MODERATIONS,
    RERANK,
    RESPONSES,
)
from aiproxy.providers.operations import NATIVE, compatible_operations

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"
_PLACE = re.compile(
    r"<!-- table: begin, recordings (\w*) -->\n(.*?)<!-- table: end -->\n", re.DOTALL
)

#: The tables of chat: their titles, and their columns.
CHAT = {
    "Chat, in languages of their own": (
        *("google", "anthropic", "gigachat", "cohere", "cloudflare native"),
    ),
    "Chat, in OpenAI's: OpenAI, and who serves models of others": (
        *("openai", "azure", "github", "openrouter", "groq", "together", "huggingface"),
        "cloudflare",
    ),
    "Chat, in OpenAI's: makers of models, and servers of one's own": (
        *("mistral", "xai", "deepseek", "cerebras", "perplexity", "zai", "ollama"),
    ),
}
#: Rows of the table of what else they do.
OTHERS = (
    *("openai", "azure", "openrouter", "mistral", "xai", "together", "huggingface", "google"),
    *("gigachat", "cohere", "cloudflare", "cloudflare native", "aimlapi", "airforce", "anthropic"),
)
PROVIDERS = frozenset({*OTHERS, *(name for names in CHAT.values() for name in names)})
#: Rows of the tables of chat: what a request may hold, and what an answer may say.
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
#: Columns of the other table, and what the gateway calls them.
OPERATIONS = {
    "images": IMAGES,
    "embeddings": EMBEDDINGS,
    "dimensions": EMBEDDINGS,
    "completions": COMPLETIONS,
    "moderations": MODERATIONS,
    "transcriptions": AUDIO,
    "speech": AUDIO,
    "rerank": RERANK,
    "messages": MESSAGES,
    "count_tokens": MESSAGES,
    "responses": RESPONSES,
}
#: What is plain or streamed: all that answers say, and these operations.
WAYS = frozenset({*ANSWERS, "completions", "transcriptions", "messages", "responses"})
#: It has no dialect of its own: the adapter makes a chat of it, and fetches the file.
_DRAWN_IN_CHAT = ("gigachat", "images")
#: What recordings call an operation, where it is no column's title.
_RECORDED = {
    "moderation": "moderations",
    "tokens-count": "count_tokens",
    "transcription": "transcriptions",
}
#: What is shown in one way only.
PLAIN, STREAMED = "plain", "streamed"

Shown = tuple[str, str, str]
#: By provider and feature: how it was shown.
Ways = Mapping[tuple[str, str], set[str]]

#: Of the test that runs, and of all that have passed.
current: set[Shown] = set()
shown: set[Shown] = set()


def show(provider: str, *features: str, way: str = "") -> None:
    """
    Note what a test has seen work.

    It does not count where no table has the provider, or the gateway does not
    let such a provider do it.

    :param way: :data:`PLAIN` or :data:`STREAMED`, for what is one of :data:`WAYS`.
    """
    for feature in features:
        assert feature in (*REQUESTS, *ANSWERS, *ERRORS, *OPERATIONS), feature
        assert bool(way) == (feature in WAYS), feature
        if provider in PROVIDERS and (feature not in OPERATIONS or _has(provider, feature)):
            current.add((provider, feature, way))


def show_passed(provider: str, api: str, way: str) -> None:
    """Note what has passed unchanged, by what recordings call it."""
    feature = _RECORDED.get(api, api)
    show(provider, feature, way=way if feature in WAYS else "")


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
    """Write the tables."""
    ways: dict[tuple[str, str], set[str]] = {}
    for provider, feature, way in seen:
        ways.setdefault((provider, feature), set()).add(way)
    tables = [f"**{title}**\n\n{_write_chat(providers, ways)}" for title, providers in CHAT.items()]
    return "\n".join((*tables, f"**Beside chat**\n\n{_write_others(ways)}"))


def _write_chat(providers: Sequence[str], ways: Ways) -> str:
    rows: list[tuple[str, ...]] = []
    for title, features in (("Requests", REQUESTS), ("Answers", ANSWERS), ("Errors", ERRORS)):
        rows.append((f"**{title}**", *[""] * len(providers)))
        for feature in features:
            rows.append((feature, *(_cell(ways.get((name, feature))) for name in providers)))
    return _write_rows(providers, rows)


def _write_others(ways: Ways) -> str:
    rows = [
        (
            provider,
            *(
                _cell(ways.get((provider, feature))) if _has(provider, feature) else "no"
                for feature in OPERATIONS
            ),
        )
        for provider in OTHERS
    ]
    return _write_rows(tuple(OPERATIONS), rows)


def _write_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [("", *columns), ("---",) * (len(columns) + 1), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _has(provider: str, feature: str) -> bool:
    """Whether the gateway lets such a provider do it."""
    kind = provider.removesuffix(" native")
    native = kind in NATIVE and provider != "cloudflare"
    operations = NATIVE[kind] if native else compatible_operations(kind)
    return OPERATIONS[feature] in operations.dialects or (provider, feature) == _DRAWN_IN_CHAT


def _cell(ways: set[str] | None) -> str:
    if not ways:
        return "unknown"
    (one, *others) = sorted(ways)
    return "yes" if others or not one else one


def read_page() -> tuple[str, str]:
    """Return the tables as they stand in the page, and the digest of the recordings."""
    found = _PLACE.search(PAGE.read_text("utf-8"))
    assert found, f"{PAGE} has no place for the tables"
    return found[2], found[1]


def write_page(table: str, digest: str) -> None:
    """Put the tables into the page."""
    place = f"<!-- table: begin, recordings {digest} -->\n{table}<!-- table: end -->\n"
    page = _PLACE.sub(lambda _: place, PAGE.read_text("utf-8"))
    PAGE.write_text(page, encoding="utf-8")
