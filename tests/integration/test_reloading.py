"""A server whose configuration is changed while it serves."""

from __future__ import annotations

import json
import signal

from twisted.internet.defer import gatherResults

from tests.integration.servers import (
    Connection,
    Server,
    ServersTestCase,
    write_chat,
    write_request,
)
from tests.transport.upstreams import SocketConnection

WORDS = "one two three four five six seven eight nine ten " * 3
ADMIN = "sk-admin"
ENV = {"ADMIN_TOKEN": ADMIN}


def config(*models: str, more: str = "") -> str:
    """Write a configuration of demo models."""
    listed = ", ".join(f"{{name: {name}, provider: demo{more}}}" for name in models)
    return f"models: [{listed}]\n"


class ReloadTests(ServersTestCase):
    """By a signal, and by a request."""

    async def begin(self, text: str) -> Server:
        """Start a server with a configuration."""
        self.write(text)
        return await self.serve(env=ENV)

    async def hang_up(self, server: Server, says: bytes = b"reloaded the configuration") -> None:
        """Send HUP, and wait until it says this again."""
        before = server.received.count(says)
        server.signal(signal.SIGHUP)
        await server.until(lambda: server.received.count(says) > before)

    async def status(self, server: Server, model: str) -> int:
        """Ask a model; return the status."""
        request = write_chat("hi", model=model)
        return (await self.ask(server.port, request)).status

    async def reload(self, server: Server) -> Connection:
        """Ask for a reload."""
        return await self.ask(server.port, write_request("POST", "/admin/reload", token=ADMIN))

    async def test_signal(self) -> None:
        """After HUP new requests have the new models, and the old ones are gone."""
        server = await self.begin(config("demo/old"))
        self.assertEqual(await self.status(server, "demo/old"), 200)
        self.write(config("demo/new"))
        await self.hang_up(server)
        self.assertEqual(await self.status(server, "demo/new"), 200)
        self.assertEqual(await self.status(server, "demo/old"), 404)

    async def test_request(self) -> None:
        """So it is after the admin's request, which says what is served now."""
        server = await self.begin(config("demo/old"))
        self.write(config("demo/new", "demo/newer"))
        answer = await self.reload(server)
        self.assertEqual(answer.status, 200)
        told = json.loads(bytes(answer.received).partition(b"\r\n\r\n")[2])
        self.assertEqual(told["models"], 2)
        self.assertEqual(await self.status(server, "demo/newer"), 200)

    async def test_broken(self) -> None:
        """A broken file changes nothing, and the log and the admin are told where it is broken."""
        server = await self.begin(config("demo/old"))
        self.write("models:\n  - {nam: x}\n")
        await self.hang_up(server, b"was not reloaded")
        self.assertIn("provider_config.yaml:2", server.output)
        answer = await self.reload(server)
        self.assertEqual(answer.status, 500)
        self.assertIn(b"provider_config.yaml:2", bytes(answer.received))
        self.assertEqual(await self.status(server, "demo/old"), 200)
        self.assertNotIn("Traceback", server.output)

    async def test_streams(self) -> None:
        """Two hundred running streams end whole, though their model is gone."""
        server = await self.begin(config("demo/echo"))
        streams = await gatherResults(
            [self.begin_stream(server) for _ in range(200)], consumeErrors=True
        )
        self.write(config("demo/other"))
        await self.hang_up(server)
        self.assertEqual(await self.status(server, "demo/echo"), 404)
        for stream in streams:
            whole = await stream.end(30)
            self.assertIn(b"data: [DONE]", whole)
            self.assertIn(b'"content":"ten ', whole)
            self.assertNotIn(b'"error"', whole)

    def begin_stream(self, server: Server):  # type: ignore[no-untyped-def]
        """Begin a stream; fire when it is on its way."""
        from twisted.internet.defer import Deferred

        async def begin() -> Connection:
            stream = await self.connect(server.port, write_chat(WORDS, stream=True))
            await stream.until_bytes(b"one ", 30)
            return stream

        return Deferred.fromCoroutine(begin())

    async def test_limits(self) -> None:
        """What was counted stays counted, also under another limit."""
        server = await self.begin(config("demo/x", more=", requests_per_minute: 3"))
        for _ in range(2):
            self.assertEqual(await self.status(server, "demo/x"), 200)
        self.write(config("demo/x", more=", requests_per_minute: 4"))
        await self.hang_up(server)
        statuses = [await self.status(server, "demo/x") for _ in range(3)]
        self.assertEqual(statuses, [200, 200, 429])

    async def test_mended_key(self) -> None:
        """A key that was refused is tried at once when the configuration was loaded anew."""
        good = [b"sk-good"]

        def respond(connection: SocketConnection) -> None:
            if good[0] in connection.upstream.requests[-1]:
                body = b'{"choices": [{"index": 0, "message": {"content": "hi"}}]}'
                status = b"200 OK"
            else:
                body, status = b'{"error": {"message": "no"}}', b"401 Unauthorized"
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            connection.write(head % (status, len(body)) + body)

        _, port = self.upstream(respond)

        def text(key: str) -> str:
            base = f"http://127.0.0.1:{port}/v1"
            return f"""
                retry: {{max_retries: 0}}
                providers: {{up: {{base_url: "{base}", token: {key}}}}}
                models: [{{name: up/one, provider: up}}]
                """

        server = await self.begin(text("sk-bad"))
        self.assertEqual(await self.status(server, "up/one"), 502)
        self.assertEqual(await self.status(server, "up/one"), 503)
        self.write(text("sk-good"))
        await self.hang_up(server)
        self.assertEqual(await self.status(server, "up/one"), 200)
        # The same key, mended on the other side.
        self.write(text("sk-later"))
        await self.hang_up(server)
        self.assertEqual(await self.status(server, "up/one"), 502)
        good[0] = b"sk-later"
        await self.hang_up(server)
        self.assertEqual(await self.status(server, "up/one"), 200)

    async def test_access_log(self) -> None:
        """The access log goes to its new place, in its new form."""
        server = await self.begin(config("demo/x"))
        self.write(config("demo/x") + "server: {access_log: log.jsonl, log_format: json}\n")
        await self.hang_up(server)
        await self.status(server, "demo/x")
        server.signal(signal.SIGTERM)
        await server.ended()
        [line] = (self.folder / "log.jsonl").read_text().splitlines()
        self.assertEqual(json.loads(line)["model"], "demo/x")

    async def test_needs_restart(self) -> None:
        """What only a restart can change is said, and the rest is done."""
        server = await self.begin(config("demo/x"))
        self.write(config("demo/y") + "server: {http: stock}\n")
        await self.hang_up(server)
        self.assertIn("server.http: takes effect with a restart", server.output)
        self.assertEqual(await self.status(server, "demo/y"), 200)

    async def test_unguarded(self) -> None:
        """Without a token any more, a place that reaches beyond this machine keeps the old one."""
        self.write(config("demo/x"))
        self.write("AUTH_TOKEN=sk-client\n", ".env")
        server = self.twistd("-a", ":0")
        await server.serves()
        self.write("", ".env")
        await self.hang_up(server, b"was not reloaded")
        self.assertIn("AUTH_TOKEN", server.output)
        self.assertEqual(await self.status(server, "demo/x"), 200)
