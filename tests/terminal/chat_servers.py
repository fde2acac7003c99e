"""Servers for the commands: one of ours in this process, and one that says what it is told."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from types import ModuleType
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aiproxy import Proxy, load_config
from tests.sites import make_site

TOKEN = "sk-client"
CONFIG = """
models:
  - {name: demo/echo, provider: demo, context_window: 8000}
  - {name: demo/other, provider: demo}
groups:
  both: {models: [demo/echo, demo/other]}
"""
MODELS = b'{"data": [{"id": "one", "owned_by": "up"}, {"id": "two", "owned_by": "aiproxy"}]}'
DONE = b"data: [DONE]\n\n"


def answer(status: int, body: bytes, *headers: str) -> bytes:
    """Write an answer that ends where the connection does."""
    return "\r\n".join([f"HTTP/1.1 {status} It", *headers, "", ""]).encode() + body


def stream(*events: object, headers: Sequence[str] = ()) -> bytes:
    """Write the events of a stream, without its end."""
    body = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    return answer(200, body, "Content-Type: text/event-stream", *headers)


def delta(**fields: object) -> dict[str, Any]:
    """Make a chunk."""
    return {"choices": [{"index": 0, "delta": fields}]}


def finish(reason: str, prompt: int, completion: int) -> dict[str, Any]:
    """Make the last chunk."""
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}


class CannedServer:
    """
    Gives one answer after the other, on a connection each.

    :ivar requests: the head and the body of each.
    :ivar gone: set once a client has hung up, after an answer with *stay*.
    """

    def __init__(
        self, *answers: bytes, stay: bool = False, context: Any = None, host: str = "127.0.0.1"
    ) -> None:
        self.requests: list[tuple[str, bytes]] = []
        self.gone = Event()
        left = list(answers)
        server = self

        class Exchange(StreamRequestHandler):
            def setup(self) -> None:
                if context is not None:
                    self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                head = b"".join(iter(self.rfile.readline, b"\r\n")).decode()
                length = next(
                    (line[15:] for line in head.split("\r\n") if line[:15] == "Content-Length:"),
                    "0",
                )
                server.requests.append((head, self.rfile.read(int(length))))
                self.wfile.write(left.pop(0))
                if stay and not self.rfile.read(1):
                    server.gone.set()

            def finish(self) -> None:
                super().finish()
                self.request.close()

        class Server(ThreadingTCPServer):
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self._server = Server((host, 0), Exchange)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Listen no longer; wait for what is under way."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Output(StringIO):
    """What a command writes to, as if to a terminal or not."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class Input(StringIO):
    """What a command reads from, as if from a terminal or not."""

    def __init__(self, text: str | None) -> None:
        super().__init__(text or "")
        self._terminal = text is None

    def isatty(self) -> bool:
        return self._terminal


def run_command(
    module: ModuleType,
    *arguments: str,
    folder: Path | str = ".",
    given: str | None = "",
    terminal: bool = False,
) -> tuple[int, str, str]:
    """
    Run a command; return its exit status and what it wrote.

    :param given: what is on its standard input; None for a terminal.
    :param terminal: whether its output is one.
    """
    parser = ArgumentParser()
    module.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    out, err = Output(terminal), Output(terminal)
    before = sys.stdin
    sys.stdin = Input(given)
    try:
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            status: int = parsed.run(parsed)
    finally:
        sys.stdin = before
    return status, out.getvalue(), err.getvalue()


@contextmanager
def variables(**values: str | None) -> Iterator[None]:
    """Change the environment; None takes a variable away."""
    before = {name: os.environ.pop(name, None) for name in values}
    os.environ.update({name: value for name, value in values.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def missing(*names: str) -> Iterator[None]:
    """Let modules not be installed."""
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


def _clean_environment(case: SynchronousTestCase) -> ExitStack:
    """Take away what says where a server is, until the end of the test."""
    stack = ExitStack()
    case.addCleanup(stack.close)
    names = ("AIPROXY_KEY", "AUTH_TOKEN", "PORT", "AIPROXY_CONFIG", "XDG_STATE_HOME")
    stack.enter_context(variables(**dict.fromkeys(names), TERM="dumb"))  # no colors
    return stack


class CannedTestCase(SynchronousTestCase):
    """A folder, and canned servers."""

    def setUp(self) -> None:
        self.stack = _clean_environment(self)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.stack.enter_context(variables(XDG_STATE_HOME=str(self.folder.absolute())))

    def serve(self, *answers: bytes, **more: Any) -> CannedServer:
        """Start a server."""
        server = CannedServer(*answers, **more)
        self.addCleanup(server.stop)
        return server


class ServedTestCase(TestCase):
    """A server of ours, and commands in a thread."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        _clean_environment(self)
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        file = self.folder / "provider_config.yaml"
        file.write_text(CONFIG)
        with variables(AUTH_TOKEN=TOKEN):
            config = load_config(str(file))
        running: Any = reactor
        proxy = Proxy(config, running)
        proxy.service.startService()
        self.addCleanup(proxy.service.stopService)
        site: Any = make_site(proxy.resource(), running, max_request_bytes=100_000)
        listening = running.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        self.url = f"http://127.0.0.1:{listening.getHost().port}"

    async def call(self, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """Call what blocks in a thread."""
        return await deferToThread(function, *arguments, **more)
