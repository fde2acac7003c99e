"""Tests of :mod:`aiproxy.gateway.continuation`: the request that asks to go on."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.gateway.continuation import (
    Capabilities,
    Continuation,
    Target,
    choose_way,
    write_continuation,
)
from aiproxy.gateway.delivered import Delivered, DeliveredChoice

REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "stream": True,
}
TEXT = "Once upon a time there was a king who had three daughters "


def target(provider_type: str, model: str = "m", base_url: str = "") -> Target:
    """Make a target."""
    return Target(model, provider_type, provider_type, model, base_url)


CLAUDE = target("anthropic", "claude-sonnet-4-5")
OPENAI = target("openai", "gpt-4o")


def delivered(*deltas: dict[str, Any]) -> DeliveredChoice:
    """Make what was delivered."""
    taken = Delivered()
    for delta in deltas:
        taken.take({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    return taken.choices[0]


def write(request: dict[str, Any], to: Target, text: str = TEXT) -> Continuation:
    """Write a request in the way that is chosen; the caller's stays as it was."""
    before = deepcopy(request)
    choice, capabilities = delivered({"content": text}), Capabilities()
    written = write_continuation(
        request,
        choice,
        way=choose_way(request, choice, to, capabilities),
        target=to,
        prefill=capabilities.prefill(to),
    )
    assert request == before
    return written


class WayTests(SynchronousTestCase):
    """The way that is chosen."""

    def choose(self, to: Target, *deltas: dict[str, Any], **request: Any) -> str:
        """Choose it."""
        return choose_way({**REQUEST, **request}, delivered(*deltas), to, Capabilities())

    def test_by_target(self) -> None:
        """Who takes a prefill gets one; everybody else is instructed."""
        self.assertEqual(self.choose(CLAUDE, {"content": TEXT}), "prefill")
        self.assertEqual(self.choose(OPENAI, {"content": TEXT}), "instruct")

    def test_starts_over(self) -> None:
        """Calls, refusals, thoughts and blanks are started over."""
        call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}
        for delta in (
            {"tool_calls": [call]},
            {"refusal": "I can"},
            {"reasoning_content": "Well"},
            {"content": " \n"},
        ):
            for to in (CLAUDE, OPENAI):
                self.assertEqual(self.choose(to, delta), "restart", delta)
        self.assertEqual(self.choose(CLAUDE, {"content": TEXT, "tool_calls": [call]}), "restart")

    def test_starts_over_by_request(self) -> None:
        """JSON is of one piece, and a call that is demanded would come at once."""
        for request in (
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            {"tool_choice": "required"},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ):
            self.assertEqual(self.choose(CLAUDE, {"content": TEXT}, **request), "restart")
        for request in ({"response_format": {"type": "text"}}, {"tool_choice": "auto"}):
            self.assertEqual(self.choose(CLAUDE, {"content": TEXT}, **request), "prefill")

    def test_no_prefill(self) -> None:
        """Not for little text, and not where thoughts come first."""
        self.assertEqual(self.choose(CLAUDE, {"content": "Once upon a "}), "instruct")
        self.assertEqual(
            self.choose(CLAUDE, {"content": TEXT, "reasoning_content": "Hm"}), "instruct"
        )
        for request in ({"reasoning_effort": "low"}, {"thinking": {"type": "enabled"}}):
            self.assertEqual(self.choose(CLAUDE, {"content": TEXT}, **request), "instruct")
        self.assertEqual(self.choose(CLAUDE, {"content": TEXT}, reasoning_effort="none"), "prefill")


class CapabilityTests(SynchronousTestCase):
    """Who takes a prefill."""

    def test_table(self) -> None:
        """By type, model and base URL."""
        takes = Capabilities().prefill
        for to in (
            target("anthropic", "claude-3-5-haiku-20241022"),
            target("anthropic", "claude-3-haiku-20240307"),
            target("anthropic", "claude-sonnet-4-20250514"),
            target("anthropic", "claude-opus-4-1"),
            target("anthropic", "claude-haiku-4-5-20251001"),
            target("openrouter", "anthropic/claude-3.7-sonnet"),
            target("openrouter", "anthropic/claude-sonnet-4.5"),
            target("openrouter", "mistralai/mistral-large"),
            target("mistral", "mistral-small-latest"),
            target("deepseek", "deepseek-chat", "https://api.deepseek.com/beta"),
            target("moonshot", "kimi-k2"),
            target("groq", "llama-3.3-70b-versatile"),
            target("vllm", "whatever"),
        ):
            self.assertIsNotNone(takes(to), to)
        for to in (
            target("anthropic", "claude-opus-4-6"),
            target("anthropic", "claude-sonnet-4-6-20260101"),
            target("anthropic", "claude-opus-4-7"),
            target("anthropic", "claude-sonnet-5"),
            target("openrouter", "anthropic/claude-opus-4.6"),
            target("openrouter", "openai/gpt-4o"),
            target("deepseek", "deepseek-chat", "https://api.deepseek.com"),
            target("groq", "openai/gpt-oss-120b"),
            target("openai", "gpt-4o"),
            target("azure", "gpt-4o"),
        ):
            self.assertIsNone(takes(to), to)

    def test_learns(self) -> None:
        """A model that refused is not asked so again; others of the provider are."""
        capabilities = Capabilities()
        capabilities.note_refusal(CLAUDE)
        self.assertIsNone(capabilities.prefill(CLAUDE))
        other = target("anthropic", "claude-opus-4-5")
        self.assertIsNotNone(capabilities.prefill(other))
        for number in range(1_000):
            capabilities.note_refusal(target("x", str(number)))
        self.assertIsNotNone(capabilities.prefill(CLAUDE), "the oldest is forgotten")

    def test_what_is_a_refusal(self) -> None:
        """A refused request with a prefill is about the prefill; too much or too bad is not."""
        refusal = Capabilities.is_refusal
        self.assertTrue(refusal(errors.UpstreamRefused("no prefill"), "prefill"))
        self.assertFalse(refusal(errors.UpstreamRefused("no"), "instruct"))
        for error in (
            errors.ContextTooLong("long"),
            errors.ContentRefused("bad"),
            errors.UpstreamFailed("broken"),
        ):
            self.assertFalse(refusal(error, "prefill"))


class WriteTests(SynchronousTestCase):
    """What is written."""

    def test_prefill(self) -> None:
        """The answer so far is the last message, without the blank that Claude refuses."""
        written = write(REQUEST, CLAUDE)
        self.assertEqual(
            written.request["messages"],
            [*REQUEST["messages"], {"role": "assistant", "content": TEXT[:-1]}],
        )
        self.assertEqual((written.way, written.unseen), ("prefill", " "))

    def test_marks(self) -> None:
        """Some need a mark at the message, or fields in the request; the blank may stay."""
        written = write(REQUEST, target("mistral"))
        self.assertEqual(
            written.request["messages"][-1],
            {"role": "assistant", "content": TEXT, "prefix": True},
        )
        self.assertEqual(written.unseen, "")
        request = write(REQUEST, target("vllm")).request
        self.assertIs(request["continue_final_message"], True)
        self.assertIs(request["add_generation_prompt"], False)

    def test_instruct(self) -> None:
        """The answer so far, then what to do, with the words to repeat."""
        written = write(REQUEST, OPENAI)
        question, answer, turn = written.request["messages"]
        self.assertEqual(question, REQUEST["messages"][0])
        self.assertEqual(answer, {"role": "assistant", "content": TEXT})
        self.assertEqual(turn["role"], "user")
        self.assertIn("eight words", turn["content"])
        self.assertTrue(turn["content"].endswith("\n\nthere was a king who had three daughters "))
        self.assertEqual(written.added_characters, len(TEXT) + len(turn["content"]))

    def test_restart(self) -> None:
        """The request as it was."""
        request = {**REQUEST, "response_format": {"type": "json_object"}}
        written = write(request, OPENAI)
        self.assertEqual(written.request, request)
        self.assertEqual(written.added_characters, 0)

    def test_caller_had_begun(self) -> None:
        """An answer that the caller himself began is one message with ours."""
        begun = {"role": "assistant", "content": "Well, "}
        request = {**REQUEST, "messages": [*REQUEST["messages"], begun]}
        messages = write(request, target("mistral")).request["messages"]
        self.assertEqual(len(messages), 2)
        self.assertEqual(messages[1]["content"], f"Well, {TEXT}")
        begun["content"] = [{"type": "text", "text": "Well, "}]  # type: ignore[assignment]
        messages = write(request, OPENAI).request["messages"]
        self.assertEqual(messages[1]["content"][1], {"type": "text", "text": TEXT})
        called = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
        request = {**REQUEST, "messages": [*REQUEST["messages"], called]}
        self.assertEqual(len(write(request, OPENAI).request["messages"]), 4)

    def test_limits(self) -> None:
        """Tokens that were delivered are no longer asked for, as far as that is certain."""
        text = "word " * 60
        for name in ("max_tokens", "max_completion_tokens"):
            request = {**REQUEST, name: 100}
            self.assertEqual(write(request, target("mistral"), text).request[name], 50)
            self.assertEqual(write(request, OPENAI, text).request[name], 90)
            request = {**REQUEST, name: 55}
            self.assertEqual(write(request, target("mistral"), text).request[name], 16)
            self.assertEqual(write({**REQUEST, name: 5}, OPENAI, text).request[name], 5)

    def test_half_a_character(self) -> None:
        """No request holds half of a character."""
        text = f"{TEXT}and a dog \ud83d"
        for to in (target("mistral"), OPENAI):
            written = write(REQUEST, to, text)
            for message in written.request["messages"]:
                message["content"].encode()
        self.assertEqual(write(REQUEST, CLAUDE, text).unseen, " \ud83d")
