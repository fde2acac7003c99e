"""Recorded traffic, replayed byte for byte by an upstream, through a proxy on real sockets."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from twisted.internet.task import deferLater

from aiproxy.config.load import load
from aiproxy.proxy import Proxy
from aiproxy.service import Listener
from tests.dialects.recordings import Recording, read_recordings
from tests.integration.servers import TOKEN, ServersTestCase, config_for, write_request
from tests.sites import make_site
from tests.transport.upstreams import SocketConnection

PROVIDERS = ("groq", "openai", "openrouter")
#: Longer bodies are cut into so many pieces at most.
PIECES = 150


def read_events(body: bytes) -> Iterator[dict[str, Any]]:
    """Read a stream's documents as naively as can be."""
    for line in body.decode().replace("\r\n", "\n").split("\n"):
        if line.startswith("data:") and line.strip() != "data: [DONE]":
            yield json.loads(line.removeprefix("data:"))


def read_chunked(body: bytes) -> bytes:
    """Put a chunked body together."""
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + rest[:length], rest[length + 2 :] if length else b""
    return whole


def told_by(choices: list[dict[str, Any]], told: dict[str, str], part: str) -> None:
    """Add what choices say to what was said: texts, arguments and reasons, by choice."""
    for choice in choices:
        index = choice.get("index") or 0
        said = choice.get(part) or {}
        said = {"reasoning_content": said.get("reasoning"), **said}
        for name in ("content", "reasoning", "reasoning_content", "refusal"):
            if isinstance(said.get(name), str) and said[name]:
                key = f"{index} {name}"
                told[key] = told.get(key, "") + said[name]
        for call in said.get("tool_calls") or ():
            for name in ("name", "arguments"):
                text = (call.get("function") or {}).get(name) or ""
                key = f"{index} {name}"
                told[key] = told.get(key, "") + text
        if choice.get("finish_reason"):
            told[f"{index} finish_reason"] = choice["finish_reason"]


def without_empty(told: dict[str, str]) -> dict[str, str]:
    """Leave out what says nothing: arguments that are missing are repaired to ``{}``."""
    said = {
        key: value.replace("{}", "") if key.endswith(" arguments") else value
        for key, value in told.items()
    }
    return {key: value for key, value in said.items() if value}


class RecordingTests(ServersTestCase):
    """What the client gets is what was recorded."""

    timeout = 100

    async def test_replayed(self) -> None:
        """All that was said arrives, whole and in small pieces; errors keep their status."""
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ServerEndpoint

        running: Any = reactor
        recordings = list(read_recordings("chat", *PROVIDERS))
        self.assertGreater(len(recordings), 20)
        current: list[tuple[Recording, int]] = []

        def respond(connection: SocketConnection) -> None:
            recording, largest = current[-1]
            kind = recording.headers.get("content-type", "application/json")
            head = f"HTTP/1.1 {recording.status} Told\r\nConnection: close\r\nContent-Type: {kind}"
            length = len(recording.body)
            data = f"{head}\r\nContent-Length: {length}\r\n\r\n".encode() + recording.body
            if not largest:
                connection.write(data)
                return
            chance = random.Random(length)

            def send(rest: bytes) -> None:
                size = max(chance.randint(1, largest), len(data) // PIECES)
                connection.write(rest[:size])
                if rest[size:]:
                    running.callLater(0, send, rest[size:])

            send(data)

        _, upstream_port = self.upstream(respond)
        # Each has a model of its own: one that names a delay is left alone until then.
        self.write(config_for(upstream_port).replace("up/one", '"up/*"'))
        proxy = Proxy(load(None, env={"AUTH_TOKEN": TOKEN}, folder=self.folder).config, running)
        site = make_site(proxy.resource(), running, max_request_bytes=32_000_000)
        endpoint = TCP4ServerEndpoint(running, 0, interface="127.0.0.1")
        proxy.service.site = site
        proxy.service.listeners = [Listener("here", endpoint, site)]
        proxy.service.privilegedStartService()
        proxy.service.startService()
        self.addCleanup(proxy.service.stopService)
        listening: Any = proxy.service.ports[0]
        port = listening.getHost().port
        for recording in recordings:
            for largest in (0, 50):
                current.append((recording, largest))
                name = f"up/{len(current)}"
                request = {
                    "model": name,
                    "messages": [{"role": "user", "content": "hi"}],
                    "stream": recording.streamed,
                }
                connection = await self.ask(
                    port, write_request("POST", "/v1/chat/completions", request)
                )
                head, _, body = bytes(connection.received).partition(b"\r\n\r\n")
                if b"chunked" in head.lower():
                    body = read_chunked(body)
                with self.subTest(recording.name, largest=largest):
                    self.compare(recording, connection.status, body, name)
        await deferLater(running, 0)
        self.assertEqual(len(current), 2 * len(recordings))

    def compare(self, recording: Recording, status: int, body: bytes, name: str) -> None:
        """What came is what was recorded."""
        if recording.status >= 400:
            # A key of ours, or no credit: 502; what no wait and no other key cures
            # is the caller's, whatever its number.
            words = (b"Request too large", b"Content violates")
            callers = any(word in recording.body for word in words)
            self.assertIn(status, (400,) if callers else (recording.status, 502))
            self.assertIn("error", json.loads(body))
            return
        expected: dict[str, str] = {}
        found: dict[str, str] = {}
        if recording.streamed:
            recorded = list(read_events(recording.body))
            failed = [document for document in recorded if document.get("error")]
            for document in recorded:
                told_by(document.get("choices") or [], expected, "delta")
            if status >= 400:
                self.assertTrue(failed, body)
                self.assertIn("error", json.loads(body))
                return
            got = list(read_events(body))
            for document in got:
                told_by(document.get("choices") or [], found, "delta")
                if "error" not in document:
                    self.assertEqual(document["model"], name)
                    self.assertFalse(document.get("usage"))
            self.assertEqual("error" in got[-1], bool(failed))
            self.assertEqual(body.endswith(b"data: [DONE]\n\n"), not failed)
            if failed:
                for told in (expected, found):
                    told.pop("0 finish_reason", None)
        else:
            document = json.loads(recording.body)
            if document.get("error"):
                self.assertGreaterEqual(status, 400)
                return
            self.assertEqual(status, 200)
            told_by(document["choices"], expected, "message")
            answer = json.loads(body)
            self.assertEqual(answer["model"], name)
            self.assertEqual(answer.get("usage"), document.get("usage"))
            told_by(answer["choices"], found, "message")
        for key in [key for key in found if key.endswith(" finish_reason")]:
            # Repaired: one that is missing, and a plain stop beside tool calls.
            called = key.replace("finish_reason", "name") in expected
            if expected.get(key, "stop") == "stop":
                expected[key] = "tool_calls" if called else "stop"
        self.assertEqual(without_empty(found), without_empty(expected))
