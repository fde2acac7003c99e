"""Tests of :mod:`aiproxy.terminal.probe`, against upstreams on real sockets."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aiproxy.config import known_providers
from aiproxy.config.load import load
from aiproxy.config.schema import Config
from aiproxy.providers import registry
from aiproxy.providers.call import Call
from aiproxy.providers.registry import register_provider
from aiproxy.terminal.probe import probe
from aiproxy.terminal.probe_questions import find_questions
from aiproxy.terminal.probe_report import ProbeResult
from aiproxy.testing import ChaosUpstream, ScriptedProvider, chat_answer
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event
from tests.config.loading import LoadingTestCase
from tests.integration.servers import ServersTestCase
from tests.transport.upstreams import SocketConnection, answer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
MODELS = """
providers:
  up: {type: openai, base_url: "http://127.0.0.1:9/v1", tokens: [sk-first-key, sk-second-key]}
models:
  - {name: up/one, provider: up}
  - {name: up/*, provider: up}
  - {name: up/embed-small, provider: up, token: sk-third-key}
  - {name: up/painter, provider: up, kind: image}
  - {name: off/one, provider: groq}
"""


class QuestionTests(LoadingTestCase, SynchronousTestCase):
    """What there is to ask."""

    def ask(self, *only: str, images: bool = False) -> list[tuple[Any, ...]]:
        """Return what would be asked, shortened."""
        config = self.load(MODELS, {}).config  # with a warning, for what is off
        return [
            (one.candidate.name, one.operation, one.key, (one.skipped or "").partition(":")[0])
            for one in find_questions(config, only=only, images=images)
        ]

    def test_all(self) -> None:
        """Each model with each of its keys; of a wildcard the list; images cost money."""
        self.assertEqual(
            self.ask(),
            [
                ("up/one", "chat", 1, ""),
                ("up/one", "chat", 2, ""),
                ("up/*", "list", 1, ""),
                ("up/*", "list", 2, ""),
                ("up/embed-small", "embeddings", None, ""),
                ("up/painter", "images", None, "image"),
                ("off/one", "chat", None, "off"),
            ],
        )

    def test_some(self) -> None:
        """Names, those that a wildcard serves, and all that begin so; images if they are meant."""
        self.assertEqual(
            self.ask("up/other", "up/p*", images=True),
            [
                ("up/other", "chat", 1, ""),
                ("up/other", "chat", 2, ""),
                ("up/painter", "images", 1, ""),
                ("up/painter", "images", 2, ""),
            ],
        )
        for name in ("nobody/one", "nobody/*"):
            self.assertRaises(ValueError, self.ask, name)


class ProbeTests(LoadingTestCase, TestCase):
    """What comes of a question."""

    async def play(self, *faults: Any) -> str:
        """Start an upstream that plays these faults; return its base URL."""
        from twisted.internet import reactor

        upstream = ChaosUpstream(list(faults), clock=reactor, name="up")
        self.addCleanup(upstream.stop)
        return await upstream.listen(reactor)

    def configure(
        self, base_url: str, keys: str = "[sk-first-key]", model: str = "up/one"
    ) -> Config:
        """Return a configuration with one model."""
        return self.config(
            f"providers: {{up: {{type: openai, base_url: '{base_url}', tokens: {keys}}}}}\n"
            f"models: [{{name: '{model}', provider: up}}]\n",
            {},
        )

    async def ask(self, config: Config, seconds: float = 10.0, **more: Any) -> list[ProbeResult]:
        """Ask all that there is to ask."""
        from twisted.internet import reactor

        questions = find_questions(config, **more)
        variables = {"UP_KEY": "sk-second-key", "OTHER": "x"}
        return await probe(
            config, reactor, questions, seconds=seconds, environment={}, variables=variables
        )

    async def test_good(self) -> None:
        """An answer has its times in order, and its tokens."""
        [result] = await self.ask(self.configure(await self.play()))
        self.assertEqual((result.outcome, result.verdict), ("ok", "ok"))
        times = (result.connect_seconds, result.first_token_seconds, result.total_seconds)
        self.assertTrue(all(isinstance(time, float) for time in times))
        self.assertEqual(list(times), sorted(time or 0.0 for time in times))
        self.assertGreater(result.tokens or 0, 0)

    async def test_bad(self) -> None:
        """Each fault is told as what it is, in one go, and nothing is asked twice."""
        for fault, verdict in {
            "no_model": "404 model not found",
            503: "503 failed",
            "cut": "stream cut",
            "empty": "failed",
            "html": "failed",
            "reset": "connection failed",
            "rate_limit": "429 rate limit exceeded",
        }.items():
            [result] = await self.ask(self.configure(await self.play(fault)))
            self.assertEqual(result.outcome, "failed", fault)
            self.assertEqual((fault, result.verdict), (fault, verdict))
            self.assertNotEqual(result.message, "")

    async def test_two_keys(self) -> None:
        """Each key is asked by itself; the one that is refused is named, and not shown."""
        base_url = await self.play("none", "bad_key")
        results = await self.ask(self.configure(base_url, "[sk-first-key, sk-second-key]"))
        self.assertEqual([one.outcome for one in results], ["ok", "failed"])
        self.assertEqual([one.key for one in results], [1, 2])
        self.assertEqual(results[1].hint, "the key in UP_KEY is refused")
        self.assertEqual(results[1].status, 401)
        self.assertNotIn("sk-second-key", repr(results))

    async def test_keys_in_message(self) -> None:
        """An upstream that repeats a key is not repeated, wherever its line is cut."""
        message = f"{'x' * 190} sk-second-key"
        base_url = await self.play({"fault": "error", "error": "404", "message": message})
        first, _ = await self.ask(self.configure(base_url, "[sk-first-key, sk-second-key]"))
        self.assertEqual(first.message, f"{'x' * 190} ***")

    async def test_silence(self) -> None:
        """An upstream that says nothing is waited for as long as was told."""
        base_url = await self.play("silent")
        [result] = await self.ask(self.configure(base_url), seconds=0.1)
        self.assertEqual(result.message, "there was no answer within 0.1 s")
        self.assertEqual(result.hint, "--probe-timeout SECONDS waits longer")

    async def test_nobody(self) -> None:
        """An address where nobody listens is told with the place."""
        [result] = await self.ask(self.configure("http://127.0.0.1:9/v1"))
        self.assertEqual(result.code, "connection_failed")
        self.assertEqual(result.hint, "up was asked at http://127.0.0.1:9/v1")

    async def test_wildcard(self) -> None:
        """The provider of a wildcard is asked for its list."""
        [result] = await self.ask(self.configure(await self.play(), model="up/*"))
        self.assertEqual((result.models, result.verdict), (1, "ok, 1 model"))

    async def test_built_in(self) -> None:
        """What needs no network answers too; what has no list is not asked for one."""
        config = self.config(
            "models: [{name: demo/echo, provider: demo}, {name: 'demo/*', provider: demo}]", {}
        )
        first, second = await self.ask(config)
        self.assertEqual(first.outcome, "ok")
        self.assertEqual(second.verdict, "not asked (wildcard)")

    async def test_skipped(self) -> None:
        """What is off is told, with why."""
        [result] = await self.ask(self.load("models: [{name: a/b, provider: groq}]", {}).config)
        self.assertEqual(result.verdict, "not asked (off)")

    async def test_in_order(self) -> None:
        """The results come in the order of the questions, whoever answers first."""
        slow = await self.play({"fault": "late", "delay": 0.3})
        fast = await self.play()
        config = self.config(
            f"providers: {{a: {{type: openai, base_url: '{slow}', token: sk-a-key}},"
            f" b: {{type: openai, base_url: '{fast}', token: sk-b-key}}}}\n"
            "models: [{name: a/one, provider: a}, {name: b/one, provider: b}]\n",
            {},
        )
        told: list[str] = []
        from twisted.internet import reactor

        results = await probe(
            config,
            reactor,
            find_questions(config),
            seconds=10.0,
            told=lambda one: told.append(one.model),
            environment={},
            variables={},
        )
        self.assertEqual([one.model for one in results], ["a/one", "b/one"])
        self.assertEqual(told, ["b/one", "a/one"])

    async def test_cancelled(self) -> None:
        """Who leaves closes all connections."""
        from twisted.internet import reactor

        upstream = ChaosUpstream(["silent"], clock=reactor, name="up")
        self.addCleanup(upstream.stop)
        config = self.configure(await upstream.listen(reactor))
        asking = Deferred.fromCoroutine(self.ask(config))
        await upstream.until(lambda: len(upstream.requests) == 1)
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking
        await upstream.until(lambda: upstream.open_connections == 0)


class AnswerTests(ServersTestCase):
    """What counts as an answer, of upstreams that send these bytes."""

    async def hear(
        self,
        sent: bytes,
        content_type: str = "text/event-stream",
        *,
        whole: bool = True,
        **more: str,
    ) -> tuple[ProbeResult, bytes]:
        """
        Ask a model with these settings; return what came of it, and what was asked.

        :param whole: the body ends with what is sent; else it never does.
        """
        from twisted.internet import reactor

        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n".encode()

        def respond(connection: SocketConnection) -> None:
            more_to_come = b"Content-Length: 9999\r\n\r\n"
            connection.write(answer(sent, head) if whole else head + more_to_come + sent)

        upstream, port = self.upstream(respond)
        settings = {"name": "up/one", "provider": "up", **more}
        self.write(
            f"providers: {{up: {{base_url: 'http://127.0.0.1:{port}/v1', token: sk-our-key}}}}\n"
            f"models: [{dumps(settings).decode()}]\n"
        )
        config = load(None, env={}, folder=self.folder).config
        questions = find_questions(config, images=True)
        seconds = 10.0 if whole else 0.2
        [result] = await probe(config, reactor, questions, seconds=seconds, environment={})
        return result, upstream.requests[0]

    async def test_nothing_said(self) -> None:
        """A stream without a word is none, unless the model has thought, or had no room."""
        for delta, reason, code in (
            ({}, "stop", "empty_answer"),
            ({"content": ""}, "stop", "empty_answer"),
            ({}, "length", None),
            ({"reasoning": "Well,"}, "stop", None),
        ):
            result, _ = await self.hear(write_stream(delta, reason))
            self.assertEqual((delta, reason, result.code), (delta, reason, code))
            self.assertEqual(result.outcome, "failed" if code else "ok")

    async def test_whole(self) -> None:
        """Who cannot stream has answered too."""
        result, asked = await self.hear(chat_answer("OK"), "application/json")
        self.assertEqual((result.outcome, result.tokens), ("ok", 2))
        self.assertIn(b'"stream":true', asked)

    async def test_embeddings(self) -> None:
        """A model of that name is asked for a vector; without one it has not answered."""
        vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
        for data, outcome in (([vector], "ok"), ([], "failed")):
            sent = dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 3}})
            result, asked = await self.hear(sent, "application/json", upstream_model="embed-1")
            self.assertEqual((data, result.outcome), (data, outcome))
            self.assertTrue(asked.startswith(b"POST /v1/embeddings "), asked)
            if data:
                self.assertEqual((result.tokens, result.first_token_seconds), (3, None))

    async def test_image(self) -> None:
        """An image model is asked for one."""
        sent = dumps({"created": 1, "data": [{"b64_json": b64encode(PNG).decode()}]})
        result, asked = await self.hear(sent, "application/json", kind="image")
        self.assertEqual(result.outcome, "ok", result)
        self.assertTrue(asked.startswith(b"POST /v1/images/generations "), asked)

    async def test_never_ends(self) -> None:
        """An answer that does not end is told from one that does not begin; so is a list."""
        event = write_event(dumps({"choices": [{"index": 0, "delta": {"content": "O"}}]}))
        result, _ = await self.hear(event, whole=False)
        self.assertEqual(result.message, "the answer did not end within 0.2 s")
        self.assertIsNotNone(result.first_token_seconds)
        result, _ = await self.hear(b"{", "application/json", whole=False, name="up/*")
        self.assertEqual(result.message, "there was no list within 0.2 s")


class AdapterTests(LoadingTestCase, TestCase):
    """Adapters that are not ours."""

    async def ask(self, config: Config, seconds: float = 10.0) -> ProbeResult:
        """Ask the only model."""
        from twisted.internet import reactor

        questions = find_questions(config, images=True)
        [result] = await probe(config, reactor, questions, seconds=seconds, environment={})
        return result

    def plug_in(self, provider: ScriptedProvider, settings: str = "") -> Config:
        """Return a configuration with a model of this adapter."""
        register_provider("probed", lambda parts: provider)
        self.addCleanup(known_providers._added.pop, "probed", None)
        self.addCleanup(registry._factories.pop, "probed", None)
        return self.config(f"models: [{{name: probed/one, provider: probed{settings}}}]\n")

    async def test_broken(self) -> None:
        """One that fails in a way of its own is told, without its words."""
        result = await self.ask(self.plug_in(_Broken()))
        self.assertEqual(result.message, "the adapter failed: ZeroDivisionError")

    async def test_silent(self) -> None:
        """One that never connects is given up."""
        provider = ScriptedProvider()
        result = await self.ask(self.plug_in(provider), seconds=0.05)
        self.assertEqual(result.message, "there was no connection within 0.05 s")
        self.assertTrue(provider.calls[0].cancelled)

    async def test_no_images(self) -> None:
        """What has no images is not asked for one; for want of vectors it is asked to chat."""
        result = await self.ask(self.plug_in(ScriptedProvider(), ", kind: image"))
        self.assertEqual(result.verdict, "not asked (image)")
        provider = ScriptedProvider()
        config = self.plug_in(provider, ", upstream_model: embed-1")
        await self.ask(config, seconds=0.05)
        self.assertEqual(provider.calls[0].call.operation, "chat")

    async def test_unknown(self) -> None:
        """A dialect without an adapter is told."""
        config = self.config("models: [{name: demo/echo, provider: demo}]\n")
        model = evolve(config.models[0], dialect="of the future")
        result = await self.ask(evolve(config, models=(model,)))
        self.assertEqual(result.message, "demo is not served by this version")


class _Broken(ScriptedProvider):
    """An adapter with a mistake."""

    def start(self, call: Call) -> Any:
        """Fail."""
        return 1 // 0


def write_stream(delta: dict[str, str], reason: str) -> bytes:
    """Write a stream of one delta and a finish reason."""
    choices = [{"index": 0, "delta": delta}], [{"index": 0, "delta": {}, "finish_reason": reason}]
    return b"".join(write_event(dumps({"choices": it})) for it in choices) + DONE
