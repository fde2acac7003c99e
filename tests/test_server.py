"""One process that serves, and its next configuration."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock

from aiproxy.errors import ConfigurationError
from aiproxy.listening import Place
from aiproxy.server import Server
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"
TOKENS = {"AUTH_TOKEN": "sk-client"}


class ServerTests(LoadingTestCase):
    """A server in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.folder.absolute()
        self.reactor = MemoryReactorClock()
        self.server = self.make("tcp:1")

    def make(self, *descriptions: str) -> Server:
        """Make one that listens at these places."""
        places = [Place(text, text) for text in descriptions]
        return Server(self.load(DEMO, TOKENS), self.reactor, places, self.listen)

    def listen(self, place: Place) -> Any:
        """Make an endpoint."""
        return serverFromString(self.reactor, place.description)

    def change(self, text: str, env: dict[str, str] = TOKENS) -> list[str]:
        """Go on by another configuration."""
        return self.server.change(self.load(text, env))

    def served(self) -> list[str]:
        """Return the names of the models."""
        return [model.name for model in self.server.proxy.config.models]

    def test_listens(self) -> None:
        """Nothing is open before the service starts; then all places are."""
        server = self.make("tcp:1", "tcp:2")
        self.assertEqual(self.reactor.tcpServers, [])
        server.service.privilegedStartService()
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [1, 2])

    def test_change(self) -> None:
        """The models, the access log, and the bounds of requests are the new ones."""
        where = self.folder / "log"
        later = self.change(
            f"models: [{{name: demo/two, provider: demo}}]\n"
            f"server: {{access_log: {where}, max_request_bytes: 7KiB}}\n"
        )
        self.assertEqual(later, [])
        self.assertEqual(self.served(), ["demo/two"])
        self.assertTrue(where.exists())
        self.assertEqual(self.server.proxy.site().max_request_bytes, 7 * 1024)

    def test_later(self) -> None:
        """It says what takes a restart."""
        text = DEMO + f"server: {{http: stock, state: {self.folder}/state}}\n"
        self.assertEqual(self.change(text), ["server.http", "server.state"])

    def refused(self, text: str, env: dict[str, str] = TOKENS) -> str:
        """Return why it cannot be; the old one goes on."""
        before = self.server.loaded
        with self.assertRaises(ConfigurationError) as caught:
            self.change(text, env)
        self.assertEqual(self.served(), ["demo/echo"])
        self.assertIs(self.server.loaded, before)
        return str(caught.exception)

    def test_unguarded(self) -> None:
        """A place that the world reaches needs a token also later."""
        self.assertIn("AUTH_TOKEN", self.refused(DEMO, {}))

    def test_refused(self) -> None:
        """What is found out late changes nothing either: not even the access log's place."""
        where = self.folder / "log"
        self.write("no certificate", "ca.pem")
        text = f"""
            server: {{access_log: {where}}}
            providers: {{up: {{base_url: "https://up.example", token: x, ca_bundle: ca.pem}}}}
            models: [{{name: up/one, provider: up}}]
            """
        self.assertIn("ca.pem", self.refused(text))
        self.assertIn("no place", self.refused(DEMO + "server: {access_log: /no/such/place}\n"))
        self.server.reopen()
        where.unlink(missing_ok=True)
        self.server.reopen()
        self.assertFalse(where.exists())
