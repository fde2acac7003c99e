"""``aiproxy chat``."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from typing import Any

from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from aiproxy.terminal import chat
from tests.terminal.chat_servers import (
    DONE,
    MODELS,
    TOKEN,
    CannedTestCase,
    ServedTestCase,
    answer,
    delta,
    missing,
    run_command,
    stream,
)

ONE = b'{"data": [{"id": "only", "owned_by": "up"}]}'
HALF = stream(delta(content="half"))


def typing(keys: str, run: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """Run something while these keys are typed."""
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        pipe.send_text(keys)
        return run(*arguments, **more)


class ServedTests(ServedTestCase):
    """With a server of ours."""

    async def run_chat(self, *arguments: str, **more: Any) -> tuple[int, str, str]:
        """Run it; return the exit status and what it wrote."""
        place = ("--url", self.url, "--key", TOKEN)
        told: tuple[int, str, str] = await self.call(
            run_command, chat, *place, *arguments, folder=self.folder, **more
        )
        return told

    async def test_prompt(self) -> None:
        """The answer to a prompt is all that is printed."""
        told = await self.run_chat("-m", "demo/echo", "hello", "there")
        self.assertEqual(told, (0, "hello there\n", ""))

    async def test_input(self) -> None:
        """Standard input is the prompt where there is none, or a part of it at a dash."""
        told = await self.run_chat("-m", "both", given="one\ntwo\n")
        self.assertEqual(told, (0, "one\ntwo\n", ""))
        told = await self.run_chat("-m", "both", "sum", "up:", "-", "now", given="one\ntwo\n")
        self.assertEqual(told, (0, "sum up:\n\none\ntwo\n\nnow\n", ""))

    async def test_unread_input(self) -> None:
        """Standard input is left to others where the prompt does not name it."""
        told = await self.run_chat("-m", "both", "one", given="two")
        self.assertEqual(told, (0, "one\n", ""))

    async def test_refused(self) -> None:
        """An error is one line on the error stream, with its code."""
        status, out, err = await self.run_chat("-m", "nope", "hello")
        self.assertEqual((status, out), (1, ""))
        self.assertTrue(err.startswith("aiproxy chat: there is no model 'nope'"))
        self.assertTrue(err.endswith("(model_not_found)\n"))

    async def test_which_model(self) -> None:
        """Of several models one must be chosen."""
        _, _, err = await self.run_chat("hello")
        self.assertEqual(err, "aiproxy chat: choose a model with -m: demo/echo, demo/other, both\n")

    async def test_conversation(self) -> None:
        """At a terminal a model is chosen, and answers."""
        keys = "other\rsay *this*\r/quit\r"
        status, out, err = await self.call(self.talk, keys)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("say this", out)
        self.assertIn("demo/other by demo · first token", out)

    def talk(self, keys: str) -> Any:
        """Talk."""
        place = ("--url", self.url, "--key", TOKEN)
        return typing(keys, run_command, chat, *place, given=None, terminal=True)


class CommandTests(CannedTestCase):
    """With servers of every kind."""

    def test_only_model(self) -> None:
        """An only model needs no choice, and the system message is sent."""
        server = self.serve(answer(200, ONE), stream(delta(content="fine\n")) + DONE)
        told = run_command(chat, "--url", server.url, "-s", "be brief", "hello")
        self.assertEqual(told, (0, "fine\n", ""))
        self.assertIn(b'"model":"only"', server.requests[1][1])
        self.assertIn(b'{"role":"system","content":"be brief"}', server.requests[1][1])

    def test_no_models(self) -> None:
        """A server without models is told of, also at a terminal."""
        expected = (1, "", "aiproxy chat: the server offers no models\n")
        place = ("--url", self.serve(*[answer(200, b'{"data": []}')] * 2).url)
        self.assertEqual(run_command(chat, *place, "hello"), expected)
        told = typing("", run_command, chat, *place, given=None, terminal=True)
        self.assertEqual(told, expected)

    def test_many_models(self) -> None:
        """Of many models the first ten are told."""
        rows = ",".join(f'{{"id": "m{number}"}}' for number in range(11))
        server = self.serve(answer(200, f'{{"data": [{rows}]}}'.encode()))
        _, _, err = run_command(chat, "--url", server.url, "hello")
        self.assertTrue(err.endswith("m8, m9, …\n"), err)

    def test_cut(self) -> None:
        """What came before an error is printed, and the exit status tells of the error."""
        server = self.serve(HALF)
        status, out, err = run_command(chat, "--url", server.url, "-m", "one", "hello")
        self.assertEqual((status, out), (1, "half\n"))
        self.assertIn("(stream_cut)", err)

    def test_controls(self) -> None:
        """A terminal gets no control characters; a file gets the answer as it is."""
        sent = stream(delta(reasoning="hm"), delta(content="a\x1b[2Jb")) + DONE
        for terminal, text in ((True, "a[2Jb\n"), (False, "a\x1b[2Jb\n")):
            arguments = ("--url", self.serve(sent).url, "-m", "one", "hello")
            self.assertEqual(run_command(chat, *arguments, terminal=terminal), (0, text, ""))

    def test_empty(self) -> None:
        """An empty prompt asks nobody."""
        told = run_command(chat, "-m", "one", given=" \n")
        self.assertEqual(told, (1, "", "aiproxy chat: the prompt is empty\n"))

    def test_no_terminal(self) -> None:
        """A conversation whose answers go to a file is refused."""
        _, _, err = run_command(chat, given=None)
        self.assertEqual(err, "aiproxy chat: give a prompt, for standard output is no terminal\n")

    def test_without_extra(self) -> None:
        """A conversation needs the extra, and says which."""
        modules = ("aiproxy.terminal.chat_screen", "prompt_toolkit")
        with missing(*modules):
            status, _, err = run_command(chat, given=None, terminal=True)
        self.assertEqual(status, 1)
        self.assertIn("needs the extra `terminal`: pip install rich prompt-toolkit", err)

    def test_answer_without_extra(self) -> None:
        """One answer needs nothing, and loads nothing."""
        server = self.serve(stream(delta(content="fine")) + DONE)
        with missing("rich", "prompt_toolkit"):
            told = run_command(chat, "--url", server.url, "-m", "one", "hello", terminal=True)
        self.assertEqual(told, (0, "fine\n", ""))

    def test_leave_picker(self) -> None:
        """Who chooses no model leaves."""
        url = self.serve(answer(200, MODELS)).url
        told = typing("\x04", run_command, chat, "--url", url, given=None, terminal=True)
        self.assertEqual(told, (0, "", ""))

    def test_history(self) -> None:
        """What was typed is kept where such things are kept."""
        url = self.serve(answer(200, ONE)).url
        typing("/help\r/quit\r", run_command, chat, "--url", url, given=None, terminal=True)
        history = self.folder / "aiproxy" / "chat_history"
        self.assertIn("+/help\n", history.read_text())

    def test_interrupted(self) -> None:
        """Ctrl-C ends it as shells expect."""

        self.assertEqual(self.run_reading(KeyboardInterrupt()), 130)

    def test_binary(self) -> None:
        """What is no text is refused."""
        with redirect_stderr(StringIO()) as err:
            self.assertEqual(self.run_reading(UnicodeDecodeError("utf-8", b"", 0, 1, "")), 1)
        self.assertEqual(err.getvalue(), "aiproxy chat: standard input is not text\n")

    def run_reading(self, error: BaseException) -> int:
        """Run it while standard input fails so; return the exit status."""

        class Failing(StringIO):
            def read(self, size: int | None = -1, /) -> str:
                raise error

        self.patch(sys, "stdin", Failing())
        parser = ArgumentParser()
        chat.add_arguments(parser)
        return chat.run(parser.parse_args([]))

    def test_closed_pipe(self) -> None:
        """Who reads no further ends it quietly."""
        server = self.serve(stream(*[delta(content="x" * 9000)] * 50) + DONE)
        code = (
            "import argparse; from aiproxy.terminal import chat;"
            "parser = argparse.ArgumentParser(); chat.add_arguments(parser);"
            "parsed = parser.parse_args(); raise SystemExit(parsed.run(parsed))"
        )
        command = [sys.executable, "-c", code, "--url", server.url, "-m", "one", "hello"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            process.stdout.read(1)
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(30), 0)
