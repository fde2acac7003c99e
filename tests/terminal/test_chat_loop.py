"""The loop of a conversation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from itertools import count
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from aiproxy.terminal.api import Api, ModelRow
from aiproxy.terminal.chat_loop import Chat
from aiproxy.terminal.chat_screen import Screen
from aiproxy.terminal.conversation import Conversation
from tests.terminal.chat_servers import DONE, CannedServer, CannedTestCase, answer, delta, finish
from tests.terminal.chat_servers import stream as write_stream

MODELS = [ModelRow("a/one", "a"), ModelRow("a/two", "a")]
GOOD = write_stream(delta(content="fine"), finish("stop", 1000, 30)) + DONE
BAD = answer(503, b'{"error": {"message": "out of order", "code": "overloaded"}}')


def ticks(*interrupts: int) -> Callable[[], float]:
    """Make a clock that moves a quarter of a second at each look; Ctrl-C strikes at some."""
    looks: Iterator[int] = count()

    def look() -> float:
        number = next(looks)
        if number in interrupts:
            raise KeyboardInterrupt
        return number / 4

    return look


class LoopTestCase(CannedTestCase):
    """Types lines."""

    def talk(self, *lines: str, answers: tuple[bytes, ...] = (), **more: Any) -> str:
        """Type lines and leave by Ctrl-D; return what is shown, in one line."""
        self.server: CannedServer = self.serve(*answers)
        self.conversation = Conversation("a/one")
        shown = StringIO()
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            pipe.send_text("".join(f"{line}\r" for line in lines) + "\x04")
            screen = Screen(MODELS, console=Console(file=shown, width=200))
            clock = more.get("clock", ticks())
            Chat(Api(self.server.url), screen, self.conversation, clock).run()
        head, _, rest = shown.getvalue().partition("leaves\n")
        self.assertIn(self.server.url, head)
        return " ".join(rest.split())

    @property
    def said(self) -> list[str]:
        """The texts of the conversation."""
        return [message["content"] for message in self.conversation.messages]

    @property
    def asked(self) -> list[tuple[str, list[str]]]:
        """The model and the texts of each request."""
        bodies = [json.loads(body) for _, body in self.server.requests]
        return [(body["model"], [one["content"] for one in body["messages"]]) for body in bodies]


class AnswerTests(LoopTestCase):
    """Questions."""

    def test_conversation(self) -> None:
        """Each question is sent with all that was said before."""
        self.talk("one", "", "two", answers=(GOOD, GOOD))
        self.assertEqual(self.asked, [("a/one", ["one"]), ("a/one", ["one", "fine", "two"])])
        self.assertEqual(self.said, ["one", "fine", "two", "fine"])

    def test_line_about_answer(self) -> None:
        """A line tells who answered, and how fast."""
        headers = ["x-aiproxy-model: b/three", "x-aiproxy-provider: b", "x-aiproxy-attempts: 2"]
        events = [delta(reasoning="hm"), delta(content="a"), delta(content="b")]
        sent = write_stream(*events, finish("length", 1000, 30), headers=headers) + DONE
        shown = self.talk("one", answers=(sent,))
        # The clock is looked at when asked, at the first piece, and at each of the three.
        self.assertEqual(
            shown,
            "hm ab b/three by b · first token 250 ms · 1,000 + 30 tokens · 40 tokens/s"
            " · 2 attempts · ended by length",
        )
        self.assertEqual(self.said, ["one", "ab"])

    def test_slow(self) -> None:
        """A time of more than a second is told in seconds; what is not known is left out."""
        looks = iter([0.0, 2.5, 2.5])
        sent = write_stream({"model": "c"}, delta(content="a")) + DONE
        shown = self.talk("one", answers=(sent,), clock=lambda: next(looks))
        self.assertEqual(shown, "a c · first token 2.5 s")

    def test_nothing(self) -> None:
        """An answer of nothing is told like any other, and not kept."""
        shown = self.talk("one", answers=(write_stream({"model": "c"}) + DONE,))
        self.assertEqual((shown, self.said), ("c", []))

    def test_error(self) -> None:
        """A refusal is one line with its code, and the conversation is as before."""
        shown = self.talk("one", "two", answers=(GOOD, BAD))
        self.assertTrue(shown.endswith("out of order (overloaded)"), shown)
        self.assertEqual(self.said, ["one", "fine"])

    def test_error_later(self) -> None:
        """What came before an error stays on the screen, and not in the conversation."""
        sent = write_stream(delta(content="half"), {"error": {"message": "broken"}})
        self.assertEqual(self.talk("one", answers=(sent,)), "half broken")
        self.assertEqual(self.said, [])

    def test_stopped(self) -> None:
        """Ctrl-C stops an answer; what came is kept, and the chat goes on."""
        sent = write_stream(delta(content="half"), delta(content=" more")) + DONE
        shown = self.talk("one", "two", answers=(sent, GOOD), clock=ticks(3))
        self.assertTrue(shown.startswith("half stopped"), shown)
        self.assertEqual(self.asked[1], ("a/one", ["one", "half", "two"]))

    def test_interrupted_elsewhere(self) -> None:
        """Ctrl-C at any other time ends nothing either."""
        self.talk("one", "two", answers=(GOOD,), clock=ticks(0))
        self.assertEqual(self.said, ["two", "fine"])


class CommandTests(LoopTestCase):
    """What begins with a slash."""

    def test_model(self) -> None:
        """A model is chosen by name or from the list, and answers from then on."""
        shown = self.talk("/model b/x", "one", "/model", "two", "two", answers=(GOOD, GOOD))
        self.assertEqual([model for model, _ in self.asked], ["b/x", "a/two"])
        self.assertIn("b/x answers from now on", shown)

    def test_system(self) -> None:
        """The system message is set, shown and taken away."""
        shown = self.talk("/system", "/system be brief", "one", "/system -", answers=(GOOD,))
        self.assertEqual(self.asked, [("a/one", ["be brief", "one"])])
        self.assertTrue(shown.startswith("there is no system message system: be brief fine"))
        self.assertTrue(shown.endswith("there is no system message"))

    def test_retry(self) -> None:
        """The last question is asked again; a failure leaves the answer that was."""
        shown = self.talk("/retry", "one", "/retry", "/retry", answers=(GOOD, GOOD, BAD))
        self.assertTrue(shown.startswith("nothing was asked yet"))
        self.assertEqual([texts for _, texts in self.asked], [["one"]] * 3)
        self.assertEqual(self.said, ["one", "fine"])

    def test_clear(self) -> None:
        """A new conversation knows nothing of the old one."""
        self.talk("one", "/clear", "two", answers=(GOOD, GOOD))
        self.assertEqual(self.asked[1], ("a/one", ["two"]))

    def test_save(self) -> None:
        """The messages are written to a file; where they cannot be, it says so."""
        file = self.folder / "saved.json"
        shown = self.talk("one", f"/save {file}", "/save", "/save /nowhere/x", answers=(GOOD,))
        self.assertEqual(json.loads(file.read_text())[1]["content"], "fine")
        self.assertIn(f"2 messages are in {file}", shown)
        self.assertIn("/save needs the name of a file", shown)
        self.assertIn("/nowhere/x: No such file or directory", shown)

    def test_others(self) -> None:
        """Models and help are shown, and an unknown command is told of."""
        shown = self.talk("/models", "/help", "/halp")
        self.assertIn("a/two a model", shown)
        self.assertIn("/retry ask the last question again", shown)
        self.assertIn("there is no /halp; did you mean /help?", shown)

    def test_quit(self) -> None:
        """Nothing is read after it."""
        self.talk("/quit", "one")
        self.assertEqual(self.server.requests, [])
