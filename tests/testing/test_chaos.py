"""Tests of :class:`aiproxy.testing.ChaosUpstream` on real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from aiproxy import errors
from aiproxy.providers.chaos.script import ANSWER
from aiproxy.testing import ChaosUpstream
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from aiproxy.wire.json import dumps, loads
from tests.transport.upstreams import RecordingConsumer

_ENDS = ("close", "reset", "clean")


class ChaosUpstreamTests(TestCase):
    """The server."""

    timeout = 20

    async def begin(self, script: object, clock: Any = None) -> None:
        """Start it, and a client."""
        from twisted.internet import reactor

        self.upstream = ChaosUpstream(script, clock=clock or reactor)
        self.client = UpstreamClient(reactor)
        await self.upstream.listen(reactor)
        self.addCleanup(self.upstream.stop)
        self.addCleanup(self.client.close)

    async def ask(self, *, url: str = "", stream: bool = True) -> UpstreamResponse:
        """Ask a question."""
        body = {"messages": [{"role": "user", "content": "Why?"}], "stream": stream}
        return await self.client.request(
            "POST",
            (url or self.upstream.url) + "/chat/completions",
            headers={"authorization": "Bearer sk-x"},
            body=dumps(body),
            connected=lambda: None,
            sent=lambda: None,
        )

    async def take(self, response: UpstreamResponse) -> RecordingConsumer:
        """Take the body to its end."""
        consumer = RecordingConsumer()
        response.deliver(consumer)
        await consumer.done
        return consumer

    async def fail_to_ask(self, kind: type[errors.AIProxyError], url: str = "") -> str:
        """Ask in vain; return why."""
        try:
            await self.ask(url=url)
        except kind as error:
            return error.message
        raise AssertionError("it answered")

    async def test_seen(self) -> None:
        """Requests and connections are written down; a good answer leaves the connection open."""
        await self.begin([429])
        response = await self.ask()
        self.assertEqual(response.status, 429)
        self.assertIn(b"The drill says 429", await collect(response, 1_000))
        plain = loads(await collect(await self.ask(stream=False), 10_000))
        self.assertEqual(plain["choices"][0]["message"]["content"], ANSWER)
        first, second = self.upstream.requests
        self.assertEqual((first.fault, second.fault), ("error", "none"))
        self.assertEqual((first.connection, second.connection), (0, 0))
        self.assertEqual(first.headers["authorization"], "Bearer sk-x")
        self.assertEqual((first.method, first.body["stream"]), ("POST", True))

    async def test_models(self) -> None:
        """The list of models is no step of the script."""
        await self.begin(["reset"])
        response = await self.client.request(
            "GET",
            self.upstream.url + "/models",
            headers={},
            body=b"",
            connected=lambda: None,
            sent=lambda: None,
        )
        self.assertEqual(loads(await collect(response, 1_000))["data"][0]["id"], "drill")
        self.assertEqual(self.upstream.next.fault, "reset")

    async def test_cuts(self) -> None:
        """All bytes before a cut arrive, also before a reset."""
        cuts = [{"fault": "cut", "after_bytes": n, "end": e} for n in (1, 999) for e in _ENDS]
        await self.begin(cuts)
        for cut in cuts:
            consumer = await self.take(await self.ask())
            self.assertEqual(len(consumer.data), cut["after_bytes"])
            kind = errors.StreamCut if cut["end"] != "clean" else str
            self.assertIsInstance(consumer.ends[0], kind)

    async def test_connections(self) -> None:
        """Resets, closed and stale connections, and what is no TLS."""
        await self.begin(["reset", "close", "none", "stale", "none", "tls"])
        for _ in range(2):
            self.assertIn("before it answered", await self.fail_to_ask(errors.ConnectFailed))
        for _ in range(2):
            self.assertEqual((await self.take(await self.ask())).ends, ["finished"])
        self.assertEqual(len(self.upstream.requests), 5)
        # The fault waits for a new connection, so none of the old ones is used for it.
        secure = self.upstream.url.replace("http:", "https:")
        self.assertIn("TLS", await self.fail_to_ask(errors.ConnectFailed, secure))
        self.assertEqual((await self.take(await self.ask())).ends, ["finished"])

    async def test_refused(self) -> None:
        """The port is closed for a while, and open again after it."""
        clock = Clock()
        await self.begin(["none", {"fault": "refuse", "lasts": 30}], clock)
        await self.take(await self.ask())
        self.assertIn("refused", await self.fail_to_ask(errors.ConnectFailed))
        clock.advance(30)
        self.assertEqual((await self.take(await self.ask())).ends, ["finished"])

    async def test_waits(self) -> None:
        """Minutes pass by the clock that it was given."""
        clock = Clock()
        await self.begin([{"fault": "silent", "delay": 600}], clock)
        asked = Deferred.fromCoroutine(self.ask())
        await self.upstream.until(lambda: len(self.upstream.requests) == 1)
        self.assertFalse(asked.called)
        clock.advance(600)
        self.assertEqual((await self.take(await asked)).ends, ["finished"])

    async def test_client_leaves(self) -> None:
        """Who leaves is seen to have left."""
        await self.begin(["late", "flood"])
        for _ in range(2):
            response = await self.ask()
            self.assertEqual(self.upstream.open_connections, 1)
            response.abandon()
            await self.upstream.until(lambda: self.upstream.open_connections == 0)

    async def test_slow_reader(self) -> None:
        """What nobody reads is not written: it fills the kernel's buffers and no more."""
        await self.begin([{"fault": "flood", "size": 16_384}])
        consumer = RecordingConsumer(on_begin=lambda it: it.producer.pauseProducing())
        (await self.ask()).deliver(consumer)
        [connection] = self.upstream.connections
        await self.upstream.until(lambda: connection.sent > 100_000)
        consumer.producer.resumeProducing()
        await consumer.first
        consumer.producer.stopProducing()
        await self.upstream.until(lambda: connection.lost is not None)

    async def test_other_script(self) -> None:
        """Another script can be played at any time."""
        await self.begin([{"fault": 503, "times": 0}])
        self.assertEqual((await self.ask()).status, 503)
        self.upstream.play({"faults": [], "answer": "Well again."})
        self.assertIn(b"Well", (await self.take(await self.ask())).data)

    async def test_dns(self) -> None:
        """A server cannot play that its name is unknown."""
        await self.begin([])
        self.assertRaises(ValueError, self.upstream.play, ["dns"])
