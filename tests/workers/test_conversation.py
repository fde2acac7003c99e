"""What a supervisor and a worker say to each other."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConfigurationError, Problem
from aiproxy.workers.conversation import Conversation, ConversationOver


class Pair:
    """Two who talk, each byte as soon as :meth:`carry` is called."""

    def __init__(self, **answers: Any) -> None:
        self.heard: list[object] = []
        self._sent: tuple[list[bytes], list[bytes]] = ([], [])
        self.asking = Conversation(self._sent[0].append, {}, {})
        self.answering = Conversation(
            self._sent[1].append, {"news": self.heard.append}, dict(answers)
        )

    def carry(self, size: int = 1_000) -> None:
        """Bring all that was said to the other side, so many bytes at a time."""
        for sent, to in zip(self._sent, (self.answering, self.asking), strict=True):
            data = b"".join(sent)
            sent.clear()
            for start in range(0, len(data), size):
                to.received(data[start : start + size])


class ConversationTests(SynchronousTestCase):
    """One side, and the other."""

    def test_tell(self) -> None:
        """What is told is heard, in order; what is not known is ignored."""
        pair = Pair()
        pair.asking.tell("news", {"a": 1})
        pair.asking.tell("gossip")
        pair.asking.tell("news", "\u2028 ü\n")
        pair.carry()
        self.assertEqual(pair.heard, [{"a": 1}, "\u2028 ü\n"])

    def test_ask(self) -> None:
        """Each question has its own answer, whichever comes first."""
        waiting: list[Deferred[str]] = [Deferred(), Deferred()]

        async def wait(place: int) -> str:
            return await waiting[place]

        pair = Pair(wait=wait)
        first, second = pair.asking.ask("wait", 0), pair.asking.ask("wait", 1)
        pair.carry()
        waiting[1].callback("b")
        pair.carry()
        self.assertNoResult(first)
        self.assertEqual(self.successResultOf(second), "b")
        waiting[0].callback("a")
        pair.carry()
        self.assertEqual(self.successResultOf(first), "a")

    def test_problems(self) -> None:
        """A configuration's mistakes arrive as they are."""
        problem = Problem("is odd", "c.yaml", 7)

        async def load(_: object) -> None:
            raise ConfigurationError([problem])

        pair = Pair(load=load)
        asked = pair.asking.ask("load")
        pair.carry()
        failure = self.failureResultOf(asked, ConfigurationError)
        self.assertEqual(failure.value.problems, (problem,))

    def test_no_answer(self) -> None:
        """A defect, and a question that is not known, are the end of a question only."""

        async def fail(_: object) -> None:
            raise ZeroDivisionError

        pair = Pair(fail=fail)
        for what in ("fail", "unknown"):
            asked = pair.asking.ask(what)
            pair.carry()
            self.failureResultOf(asked, ConversationOver)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_end(self) -> None:
        """Who waits for an answer is told that there will be none; so is who asks later."""
        pair = Pair()
        asked = pair.asking.ask("anything")
        pair.asking.end()
        self.failureResultOf(asked, ConversationOver)
        pair.asking.tell("news")
        pair.carry()
        with self.assertRaises(ConversationOver):
            pair.asking.ask("anything")
        self.assertEqual(pair.heard, [])

    def test_cancelled(self) -> None:
        """An answer that nobody waits for any more is dropped."""

        async def echo(data: object) -> object:
            return data

        pair = Pair(echo=echo)
        asked = pair.asking.ask("echo", 1)
        asked.addErrback(lambda _: None)
        asked.cancel()
        pair.carry()
        self.assertIsNone(self.successResultOf(asked))

    @given(st.lists(st.text() | st.integers() | st.none()), st.integers(1, 50))
    def test_splits(self, told: list[object], size: int) -> None:
        """However the bytes are split, the same is heard."""
        pair = Pair()
        for one in told:
            pair.asking.tell("news", one)
        pair.carry(size)
        self.assertEqual(pair.heard, told)
