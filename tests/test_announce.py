"""What a server says of itself."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher

from aiproxy.announce import announce
from aiproxy.config.secret import Secret
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"


class AnnounceTests(LoadingTestCase):
    """What is said at the start."""

    def announce(self, text: str, *where: str, token: str | None = None) -> list[str]:
        """Return what is said."""
        loaded = self.load(text)
        said: list[LogEvent] = []
        observer = cast(ILogObserver, said.append)
        globalLogPublisher.addObserver(observer)
        try:
            announce(loaded, where, None if token is None else Secret(token))
        finally:
            globalLogPublisher.removeObserver(observer)
        return [str(event["log_format"]).format(**event) for event in said]

    def test_first_run(self) -> None:
        """The token and a line to try it are shown where nobody set one."""
        where, token, line = self.announce(DEMO, "http://127.0.0.1:7", token="sk-made-up")
        self.assertIn("http://127.0.0.1:7", where)
        self.assertTrue(token.endswith(" sk-made-up"))
        self.assertIn("Bearer sk-made-up", line)
        self.assertIn("curl -N http://127.0.0.1:7/v1/chat/completions", line)

    def test_token(self) -> None:
        """A token that was set is not shown."""
        [said] = self.announce(DEMO, "http://127.0.0.1:7", "/run/x")
        self.assertIn("http://127.0.0.1:7, /run/x;", said)

    def test_off(self) -> None:
        """Models that are off are not served, and counted by themselves."""
        entries = [f"{{name: {name}, provider: openai}}" for name in ("a", "b")]
        for count, told in enumerate((";", "; 1 more is off;", "; 2 more are off;")):
            models = ", ".join(["{name: demo/echo, provider: demo}", *entries[:count]])
            *_, said = self.announce(f"models: [{models}]\n", "http://127.0.0.1:7")
            self.assertIn(f" serves 1 model on http://127.0.0.1:7{told} ", said)

    def test_nothing_to_try(self) -> None:
        """There is no line where there is no model, or only a path."""
        self.assertEqual(len(self.announce(DEMO, "/run/x", token="sk-made-up")), 2)

    def test_warnings(self) -> None:
        """What is wrong but no obstacle is said."""
        text = """
            providers: {openai: {token: "${NOBODY_SET_IT}"}}
            models: [{name: openai/one, provider: openai}]
            """
        said = self.announce(text, "http://127.0.0.1:7")
        self.assertIn("NOBODY_SET_IT", said[0])
