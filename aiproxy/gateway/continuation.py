"""
The request that asks another upstream to go on with an answer.

There are three ways.  *prefill*: what was delivered is the last message, an
assistant's, and the model writes on; *instruct*: a user's message behind it
asks to repeat the last words and go on; *restart*: the request as it was, for
answers that are more than text, or that must be of one piece (JSON).  The seam
(:mod:`aiproxy.gateway.seam`) makes one answer of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, frozen

from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError, ContentRefused, ContextTooLong, UpstreamRefused
from aiproxy.gateway.delivered import DeliveredChoice, without_half
from aiproxy.gateway.seam import Way
from aiproxy.gateway.seam_text import LEAST_OVERLAP, last_words

__all__ = [
    "Capabilities",
    "Continuation",
    "Prefill",
    "Target",
    "choose_way",
    "wants_json",
    "write_continuation",
]

#: So many models' refusals are remembered.
_MOST_LEARNED: Final = 1_000
#: Fewer tokens are not asked for: some providers refuse less.
_LEAST_TOKENS: Final = 16
#: More characters than these hardly any token has.
_CHARACTERS_PER_TOKEN: Final = 6

_LIMITS: Final = ("max_tokens", "max_completion_tokens")

_INSTRUCTION: Final = (
    "Your last message was cut off by a technical fault. Go on with it from the exact place"
    " where it ends, in the same language and format. Begin by repeating exactly its last eight"
    " words, which stand below, and then go on at once with what comes after them. Make no"
    " remark, do not apologize, and repeat nothing else."
)


@frozen
class Target:
    """
    Who may be asked to go on.

    :param name: the configured name of the model.
    :param provider: the configured name of its provider.
    :param provider_type: that provider's type.
    :param model: what the provider calls the model.
    :param base_url: where the provider is, which for some decides what it can.
    :param key: the fingerprint of its credential: each of a model's is asked by itself.
    """

    name: str
    provider: str
    provider_type: str
    model: str
    base_url: str = ""
    key: str = ""


@frozen
class Prefill:
    """
    How a prefill is written.

    :param mark: fields of the assistant's message that make it one.
    :param fields: fields of the request that do.
    :param bare_end: it must not end in a blank.
    """

    mark: Mapping[str, Any] = Factory(dict)
    fields: Mapping[str, Any] = Factory(dict)
    bare_end: bool = False


#: Claude up to 4.5; later models refuse a prefill (Anthropic, "Migrating to Claude 4.6").
_CLAUDE: Final = (
    r"claude-(?:instant|[23](?!\d)|(?:opus|sonnet|haiku)-4(?:[-.][015](?!\d)|-2\d{7}|$|[:@]))"
)

#: Provider type, a pattern in the model's name, a pattern in the base URL, how.
#: Who is not here is instructed: most answer a prefill as if it were history.
_PREFILLS: Final = tuple(
    (provider_type, re.compile(model), re.compile(url), prefill)
    for provider_type, model, url, prefill in (
        # "final assistant content cannot end with trailing whitespace" (Messages API).
        ("anthropic", _CLAUDE, "", Prefill(bare_end=True)),
        ("openrouter", rf"^anthropic/{_CLAUDE}", "", Prefill(bare_end=True)),
        # Mistral API reference, AssistantMessage.prefix.
        ("mistral", "", "", Prefill(mark={"prefix": True})),
        ("openrouter", "^mistralai/", "", Prefill(mark={"prefix": True})),
        # DeepSeek API guides, "Chat Prefix Completion (Beta)": only below /beta.
        ("deepseek", "", "/beta/?$", Prefill(mark={"prefix": True})),
        # Moonshot API reference, "Partial Mode".
        ("moonshot", "", "", Prefill(mark={"partial": True})),
        # Groq, "Assistant Message Prefilling": reasoning models do otherwise.
        ("groq", "llama", "", Prefill()),
        # vLLM, OpenAI-compatible server, "Extra parameters".
        (
            "vllm",
            "",
            "",
            Prefill(fields={"continue_final_message": True, "add_generation_prompt": False}),
        ),
    )
)


class Capabilities:
    """Which models go on with an assistant's message: by a table, and by what they refused."""

    def __init__(self) -> None:
        self._refused: dict[tuple[str, str, str], None] = {}

    def prefill(self, target: Target) -> Prefill | None:
        """Say how a target takes a prefill; ``None``: it does not."""
        if _key(target) in self._refused:
            return None
        for provider_type, model, url, prefill in _PREFILLS:
            if (
                provider_type == target.provider_type
                and model.search(target.model)
                and url.search(target.base_url)
            ):
                return prefill
        return None

    def note_refusal(self, target: Target) -> None:
        """Remember that a target refused a prefill; the oldest are forgotten."""
        self._refused[_key(target)] = None
        if len(self._refused) > _MOST_LEARNED:
            del self._refused[next(iter(self._refused))]

    @staticmethod
    def is_refusal(error: AIProxyError, way: Way) -> bool:
        """
        Whether an error is about the prefill, and so never the caller's.

        The caller's part of the request had been accepted before: what is
        refused now is what we have added to it.
        """
        return (
            way == "prefill"
            and isinstance(error, UpstreamRefused)
            and not isinstance(error, ContextTooLong | ContentRefused)
        )


@frozen
class Continuation:
    """
    A request that asks to go on.

    :param unseen: the end of the delivered text that the target is not shown.
    :param added_characters: how much longer than the caller's it is.
    """

    target: Target
    request: ChatRequest
    way: Way
    unseen: str = ""
    added_characters: int = 0


def choose_way(
    request: ChatRequest, delivered: DeliveredChoice, target: Target, capabilities: Capabilities
) -> Way:
    """Choose how a target is asked to go on."""
    content = delivered.content
    if delivered.calls or delivered.refusal or not content.strip():
        return "restart"
    if wants_json(request):
        return "restart"  # It has to be JSON from its first character.
    if request.get("tool_choice") not in (None, "auto", "none"):
        return "restart"  # It has to call, whatever it is told.
    thinks = bool(delivered.reasoning) or _asks_for_thought(request)
    # What is shorter proves nothing if it comes again; and thoughts come before a prefill.
    if len(content.strip()) >= LEAST_OVERLAP and not thinks and capabilities.prefill(target):
        return "prefill"
    return "instruct"


def write_continuation(
    request: ChatRequest,
    delivered: DeliveredChoice,
    *,
    way: Way,
    target: Target,
    prefill: Prefill | None = None,
) -> Continuation:
    """
    Write the request that asks to go on.

    :param request: the caller's; it is not changed.
    :param prefill: how the target takes one.
    """
    if way == "restart":
        return Continuation(target, dict(request), way)
    content = delivered.content
    shown = without_half(content)
    extra = 0
    fields: Mapping[str, Any] = {}
    mark: Mapping[str, Any] = {}
    turn: list[dict[str, Any]] = []
    if way == "prefill":
        prefill = prefill or Prefill()
        mark, fields = prefill.mark, prefill.fields
        if prefill.bare_end:
            shown = shown.rstrip()
    else:
        words = last_words(shown)
        extra = len(words)
        turn = [{"role": "user", "content": f"{_INSTRUCTION}\n\n{words}"}]
    messages = _with_answer(request["messages"], shown, mark)
    written = {**request, **fields, "messages": messages + turn}
    for name in _LIMITS:
        limit = written.get(name)
        if isinstance(limit, int) and not isinstance(limit, bool):
            left = limit - len(shown) // _CHARACTERS_PER_TOKEN
            written[name] = min(limit, max(left, _LEAST_TOKENS) + extra)
    added = len(shown) + sum(len(message["content"]) for message in turn)
    unseen = content[len(shown) :] if way == "prefill" else ""
    return Continuation(target, written, way, unseen, added)


def _with_answer(
    messages: list[dict[str, Any]], shown: str, mark: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Append the assistant's message, or lengthen the one that the caller began."""
    if messages[-1].get("role") != "assistant" or messages[-1].get("tool_calls"):
        return [*messages, {"role": "assistant", "content": shown, **mark}]
    begun = messages[-1]
    content = begun.get("content")
    if isinstance(content, list):
        longer: object = [*content, {"type": "text", "text": shown}]
    else:
        longer = f"{content or ''}{shown}"
    return [*messages[:-1], {**begun, "content": longer, **mark}]


def wants_json(request: ChatRequest) -> bool:
    """Whether the answer has to be JSON."""
    shape = request.get("response_format")
    return isinstance(shape, dict) and shape.get("type") in ("json_object", "json_schema")


def _asks_for_thought(request: ChatRequest) -> bool:
    effort = request.get("reasoning_effort")
    return bool(
        (effort and effort != "none") or request.get("reasoning") or request.get("thinking")
    )


def _key(target: Target) -> tuple[str, str, str]:
    return target.provider, target.base_url, target.model
