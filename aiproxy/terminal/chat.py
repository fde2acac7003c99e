"""``aiproxy chat``: one answer for a script, or a conversation at a terminal."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from aiproxy.terminal import INTERRUPTED
from aiproxy.terminal.api import Api, ApiError, Delta, ModelRow, add_server_arguments, connect
from aiproxy.terminal.chat_stream import printable
from aiproxy.terminal.conversation import Conversation

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options, and what runs."""
    parser.add_argument(
        "prompt",
        nargs="*",
        metavar="PROMPT",
        help="ask this, print the answer and end; `-` stands for standard input, which is also"
        " read when it is no terminal and there is no prompt",
    )
    parser.add_argument("-m", "--model", metavar="NAME", help="the model that answers")
    parser.add_argument("-s", "--system", default="", metavar="TEXT", help="the system message")
    add_server_arguments(parser)
    parser.set_defaults(run=run)


def run(parsed: Namespace) -> int:
    """Chat; return the exit status."""
    try:
        api = connect(parsed)
        if parsed.prompt or not sys.stdin.isatty():
            return _answer_once(api, parsed)
        return _talk(api, parsed)
    except ApiError as error:
        print(f"aiproxy chat: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _answer_once(api: Api, parsed: Namespace) -> int:
    """Print the answer as it comes, and nothing else."""
    prompt = _read_prompt(parsed.prompt)
    model = parsed.model or _only_model(_list_models(api))
    conversation = Conversation(model, parsed.system)
    messages = conversation.write(conversation.ask(prompt))
    text = "\n"
    try:
        try:
            with api.stream(model, messages) as stream:
                for piece in stream:
                    if isinstance(piece, Delta) and piece.text:
                        text = printable(piece.text) if sys.stdout.isatty() else piece.text
                        print(text, end="", flush=True)
        finally:
            if not text.endswith("\n"):
                print(flush=True)
    except BrokenPipeError:
        # Who read it has enough; Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _read_prompt(words: list[str]) -> str:
    """Join the words; a lone ``-`` stands for standard input, in a paragraph of its own."""
    paragraphs = (
        sys.stdin.read().strip() if is_input else " ".join(group)
        for is_input, group in groupby(words or ["-"], "-".__eq__)
    )
    try:
        text = "\n\n".join(paragraphs).strip()
    except UnicodeDecodeError:
        raise ApiError("standard input is not text") from None
    if not text:
        raise ApiError("the prompt is empty")
    return text


def _list_models(api: Api) -> list[ModelRow]:
    models = api.models()
    if not models:
        raise ApiError("the server offers no models")
    return models


def _only_model(models: Sequence[ModelRow]) -> str:
    if len(models) == 1:
        return models[0].name
    names = ", ".join(model.name for model in models[:10])
    raise ApiError(f"choose a model with -m: {names}{', …' if len(models) > 10 else ''}")


def _talk(api: Api, parsed: Namespace) -> int:
    """Talk until the person leaves."""
    if not sys.stdout.isatty():
        raise ApiError("give a prompt, for standard output is no terminal")
    try:
        from aiproxy.terminal.chat_screen import Screen, open_history
    except ImportError:
        raise ApiError(
            "a conversation needs the extra `terminal`: pip install rich prompt-toolkit"
        ) from None
    from aiproxy.terminal.chat_loop import Chat

    models = _list_models(api)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    screen = Screen(models, history=open_history(Path(state) / "aiproxy" / "chat_history"))
    model = parsed.model or (models[0].name if len(models) == 1 else screen.pick_model())
    if not model:
        return 0
    Chat(api, screen, Conversation(model, parsed.system), time.monotonic).run()
    return 0
