"""An adapter from elsewhere, in whole servers: the example of the documentation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.integration.servers import ServersTestCase, write_request
from tests.transport.upstreams import SocketConnection

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "letters.py"
CONFIG = """
providers:
  mine: {{type: letters, base_url: "http://127.0.0.1:{port}/v1", token: sk-letters}}
models:
  - {{name: mine/a, provider: mine}}
"""
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\n\r\n"


def respond(connection: SocketConnection) -> None:
    """Answer as the upstream of the example does."""
    body = json.loads(connection.upstream.requests[-1].partition(b"\r\n\r\n")[2])
    if body["stream"]:
        events: list[dict[str, object]] = [{"piece": "b"}, {"piece": "c"}, {"end": True}]
        stream = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
        connection.write(HEAD % b"text/event-stream" + stream)
    else:
        connection.write(HEAD % b"application/json" + json.dumps({"text": "bc"}).encode())
    connection.close()


def write_chat(*, stream: bool) -> bytes:
    """Write a request for the example's model."""
    messages = [{"role": "user", "content": "a"}]
    body = {"model": "mine/a", "messages": messages, "stream": stream}
    return write_request("POST", "/v1/chat/completions", body)


class AdapterTests(ServersTestCase):
    """A package that brings a type of provider."""

    def install(self, point: str = "letters:make_provider") -> dict[str, str]:
        """Put the example where a server finds it, as an installed package is found."""
        packages = self.folder / "packages"
        metadata = packages / "letters-1.dist-info"
        metadata.mkdir(parents=True)
        shutil.copy(EXAMPLE, packages)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(f"[aiproxy.providers]\nletters = {point}\n")
        return {"PYTHONPATH": str(packages)}

    async def test_entry_point(self) -> None:
        """The configuration names its type; plain and streamed answers are OpenAI's."""
        upstream, port = self.upstream(respond)
        self.write(CONFIG.format(port=port))
        server = await self.serve(env=self.install())
        answer = await self.ask(server.port, write_chat(stream=False))
        choice = json.loads(answer.received.partition(b"\r\n\r\n")[2])["choices"][0]
        self.assertEqual(choice["message"], {"role": "assistant", "content": "bc"})
        self.assertEqual(choice["finish_reason"], "stop")
        stream = await self.ask(server.port, write_chat(stream=True))
        self.assertIn(b'"delta":{"role":"assistant","content":"b"}', stream.received)
        self.assertIn(b"data: [DONE]", stream.received)
        sent = upstream.requests[0]
        self.assertTrue(sent.startswith(b"POST /v1/complete "), sent)
        self.assertIn(b"bearer sk-letters", sent.lower())
        self.assertIn(b'"prompt":"a"', sent)

    async def test_broken_entry_point(self) -> None:
        """An adapter that cannot be loaded is an error at the start, which names it."""
        self.write(CONFIG.format(port=1))
        server = self.twistd(env={**self.install("letters:missing"), "AUTH_TOKEN": "t"})
        self.assertEqual(await server.ended(), 1)
        self.assertIn("the adapter for providers of type letters cannot be loaded", server.output)
        self.assertNotIn("Traceback", server.output)
