"""Tests of :mod:`aiproxy.providers.chaos.answers`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.providers.chaos.answers import Answer, PrefillRefused, make_answer
from aiproxy.providers.chaos.script import ANSWER, Script, read_script
from aiproxy.wire.json import loads

QUESTION = {"role": "user", "content": "Why three words?"}


def answer(*messages: dict[str, Any], settings: Script | None = None, **more: Any) -> Answer:
    """Answer a conversation."""
    return make_answer(
        {"messages": [QUESTION, *messages], **more}, settings or Script(), "a-1", 9.5
    )


class AnswerTests(SynchronousTestCase):
    """Whole answers."""

    @given(st.text(max_size=200))
    def test_text(self, text: str) -> None:
        """The pieces are the text, to the last space."""
        self.assertEqual(answer(settings=Script(answer=text)).text, text)

    @given(st.integers(0, len(ANSWER) + 5))
    def test_split(self, characters: int) -> None:
        """A stream in two parts says the same, the first part so many characters."""
        first, second = answer().split(characters)
        for events, text in ((first, ANSWER[:characters]), (first + second, ANSWER)):
            reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=1_000_000)
            chunks = reader.feed(b"".join(events))
            deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
            self.assertEqual("".join(delta.get("content") or "" for delta in deltas), text)

    def test_usage(self) -> None:
        """Words are counted, and a stream tells them only to those who ask."""
        settings = Script(answer="One two")
        self.assertEqual(
            answer(settings=settings).usage,
            {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        )
        self.assertNotIn(b"usage", b"".join(answer(settings=settings).events()))
        asked = answer(settings=settings, stream_options={"include_usage": True})
        self.assertEqual(loads(asked.events()[-2][6:])["usage"], asked.usage)

    def test_tool_calls(self) -> None:
        """A tool is called where the script or the request wants it."""
        tools = [{"type": "function", "function": {"name": "weather"}}]
        chosen = {"type": "function", "function": {"name": "time"}}
        self.assertIsNone(answer(tools=tools).tool)
        self.assertEqual(answer(tools=tools, tool_choice="required").tool, "weather")
        self.assertEqual(answer(tools=tools, tool_choice=chosen).tool, "time")
        called = answer(settings=read_script({"tool": True, "arguments": {"a": [1, 2]}}))
        self.assertEqual((called.tool, loads(called.text)), ("forecast", {"a": [1, 2]}))
        choice = loads(called.whole())["choices"][0]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["message"]["tool_calls"][0]["function"]["name"], "forecast")


class ContinuationTests(SynchronousTestCase):
    """Who asks to go on."""

    def prefill(self, begun: str, continuation: str = "go_on") -> str:
        """Ask by an assistant's message."""
        settings = Script(continuation=continuation)
        return answer({"role": "assistant", "content": begun}, settings=settings).text

    def instruct(self, begun: str, continuation: str = "go_on") -> str:
        """Ask by an instruction that ends in the last words."""
        last = " ".join(begun.split()[-8:])
        return answer(
            {"role": "assistant", "content": begun},
            {"role": "user", "content": f"Go on, with the last eight words first.\n\n{last}"},
            settings=Script(continuation=continuation),
        ).text

    @given(st.integers(1, len(ANSWER)))
    def test_prefill(self, place: int) -> None:
        """A prefill gets the rest, and the two are the answer."""
        self.assertEqual(ANSWER[:place] + self.prefill(ANSWER[:place]), ANSWER)

    @given(st.integers(1, len(ANSWER)))
    def test_instruction(self, place: int) -> None:
        """An instruction gets the last eight words at most, and the rest."""
        begun, more = ANSWER[:place], self.instruct(ANSWER[:place])
        self.assertTrue(ANSWER.endswith(more))
        overlap = len(begun) + len(more) - len(ANSWER)
        self.assertEqual(begun[len(begun) - overlap :].split(), begun.split()[-8:])

    def test_other_ways(self) -> None:
        """The script can have it start over, overlap, say something else or refuse."""
        begun = ANSWER[:100]
        self.assertEqual(self.prefill(begun, "start_over"), ANSWER)
        self.assertEqual(self.prefill(begun, "overlap"), ANSWER[80:])
        self.assertNotIn(self.prefill(begun, "paraphrase")[:20], ANSWER)
        self.assertRaises(PrefillRefused, self.prefill, begun, "refuse")
        self.assertEqual(self.instruct(begun, "refuse"), self.instruct(begun))

    def test_other_conversations(self) -> None:
        """An earlier turn is none to go on with."""
        turn = {"role": "assistant", "content": [{"type": "text", "text": ANSWER[:50]}]}
        self.assertEqual(answer(turn, QUESTION).text, ANSWER)
        self.assertEqual(answer(turn).text, ANSWER[50:])
        self.assertEqual(self.prefill("Something else"), ANSWER)
