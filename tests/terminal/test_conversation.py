"""A conversation, without a terminal."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.terminal.conversation import COMMANDS, Command, Conversation, find_names, read_line


class ReadLineTests(SynchronousTestCase):
    """What a line means."""

    def test_questions(self) -> None:
        """What is no command is a question, also with a slash at its start."""
        for text in ("hello", " hello\n", "what is /etc?", "/etc/passwd is what?", "/Ab", "/2"):
            self.assertEqual(read_line(text), Command("ask", text.strip()))

    def test_nothing(self) -> None:
        """An empty line is nothing."""
        self.assertIsNone(read_line(" \n\t"))

    def test_commands(self) -> None:
        """A command may have an argument, of several lines too."""
        self.assertEqual(read_line("/model"), Command("model"))
        self.assertEqual(read_line(" /model  a/b "), Command("model", "a/b"))
        self.assertEqual(read_line("/system one\ntwo"), Command("system", "one\ntwo"))

    def test_unknown(self) -> None:
        """The nearest command is told for one that is none."""
        self.assertEqual(
            read_line("/modle"), Command("unknown", "there is no /modle; did you mean /model?")
        )
        self.assertEqual(read_line("/"), Command("unknown", "there is no /; did you mean /help?"))

    @given(st.text())
    def test_any(self, text: str) -> None:
        """Every line is nothing, a question, or a command, and no question is lost."""
        command = read_line(text)
        if command is None:
            self.assertEqual(text.strip(), "")
        elif command.name == "ask":
            self.assertEqual(command.argument, text.strip())
        else:
            self.assertTrue(text.strip().startswith("/"))
            self.assertIn(command.name, {*COMMANDS, "unknown"})


class FindNamesTests(SynchronousTestCase):
    """Models by a part of their name."""

    def test_find(self) -> None:
        """Every name that holds the text is found, in order, but an equal one is the first."""
        names = ["a/gpt-4o", "GPT", "b/llama"]
        self.assertEqual(find_names(names, " gpt "), ["GPT", "a/gpt-4o"])
        self.assertEqual(find_names(names, ""), names)
        self.assertEqual(find_names(names, "x"), [])


class ConversationTests(SynchronousTestCase):
    """Turns."""

    def talk(self, system: str = "") -> Conversation:
        """Return a conversation of two turns."""
        conversation = Conversation("one", system)
        conversation.keep(conversation.ask("q1"), "a1")
        conversation.keep(conversation.ask("q2"), "a2")
        return conversation

    def test_write(self) -> None:
        """What is sent: the system message, what was said, and the question."""
        conversation = self.talk(system="be brief")
        sent = conversation.write(conversation.ask("q3"))
        self.assertEqual([m["content"] for m in sent], ["be brief", "q1", "a1", "q2", "a2", "q3"])
        roles = ["system", "user", "assistant", "user", "assistant", "user"]
        self.assertEqual([m["role"] for m in sent], roles)

    def test_not_kept(self) -> None:
        """A question without an answer leaves no trace."""
        conversation = self.talk()
        before = list(conversation.messages)
        conversation.keep(conversation.ask("q3"), "")
        self.assertEqual(conversation.messages, before)

    def test_retry(self) -> None:
        """The last question is asked without its answer, which stays until there is another."""
        conversation = self.talk()
        turn = conversation.retry()
        assert turn is not None
        self.assertEqual([m["content"] for m in conversation.write(turn)], ["q1", "a1", "q2"])
        self.assertEqual(len(conversation.messages), 4)
        conversation.keep(turn, "better")
        self.assertEqual(conversation.messages[-1], {"role": "assistant", "content": "better"})
        self.assertEqual(len(conversation.messages), 4)

    def test_nothing_to_retry(self) -> None:
        """Before the first answer there is nothing to ask again."""
        self.assertIsNone(Conversation("one").retry())

    def test_dump(self) -> None:
        """All messages are written as JSON, letters as they are."""
        conversation = Conversation("one", "be brief")
        conversation.keep(conversation.ask("grüß dich"), "hallo")
        text = conversation.dump()
        self.assertIn("grüß dich", text)
        self.assertEqual(
            json.loads(text),
            [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "grüß dich"},
                {"role": "assistant", "content": "hallo"},
            ],
        )
