"""
What the original Go proxy got wrong about limits, as it must be here: rows 3, 4, 5, 10 and 20.

Whole calls over real sockets; signals and the ends of a server are in :mod:`test_twistd`.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.servers import TOKEN, Connection, write_request
from tests.integration.test_limits import LimitsTestCase, retry_after
from tests.transport.upstreams import SocketConnection

PICTURE = b64encode(b"\x89PNG\r\n\x1a\n" + bytes(1_000)).decode()


def tell(status: str, document: object, head: str = "") -> bytes:
    """Write an answer."""
    lines = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n{head}"
    return f"{lines}\r\n{json.dumps(document)}".encode()


class SeedLimitsTestCase(LimitsTestCase):
    """
    A proxy whose upstream can be told what to answer.

    :ivar told: its next answers; after them all is well.
    :ivar times: when it was asked.
    """

    def setUp(self) -> None:
        super().setUp()
        self.told: list[bytes] = []
        self.times: list[float] = []

    def upstream(self, respond: Any) -> Any:
        def respond_as_told(connection: SocketConnection) -> None:
            self.times.append(self.clock.seconds())
            if not self.told:
                respond(connection)
                return
            connection.write(self.told.pop(0))
            connection.close()

        return super().upstream(respond_as_told)

    async def name(self, port: int, model: str, **more: object) -> Connection:
        """Ask for a name."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
        return await self.ask(port, write_request("POST", "/v1/chat/completions", body))

    async def statuses(self, port: int, *models: str) -> list[int]:
        """Ask for one name after the other; return the statuses."""
        return [(await self.name(port, model)).status for model in models]

    def models_asked(self) -> list[str]:
        """Return the models that the upstream was asked for."""
        requests = [request.partition(b"\r\n\r\n") for request in self.upstream_seen.requests]
        return [json.loads(body)["model"] for _, _, body in requests]


class Row3Tests(SeedLimitsTestCase):
    """The Go proxy never chose a model again that had been at its limit, or was refused once."""

    async def test_at_its_limit(self) -> None:
        """After a window it is chosen again, by size and by name, though nobody was served."""
        port = await self.serve_limits("requests_per_minute: 2, model_size: SMALL")
        self.assertEqual(await self.statuses(port, *["SMALL"] * 4), [200, 200, 429, 429])
        self.clock.ahead += 61
        self.assertEqual(await self.statuses(port, "SMALL", "up/one"), [200, 200])

    async def test_refused_once(self) -> None:
        """An upstream's 429 keeps it out as long as that says, and not for ever."""
        port = await self.serve_limits("model_size: SMALL")
        error = {"error": {"message": "slow down"}}
        self.told = [tell("429 Too Many Requests", error, "Retry-After: 20\r\n")]
        self.assertEqual(await self.statuses(port, "SMALL", "SMALL"), [429, 429])
        self.assertEqual(len(self.times), 1)
        self.clock.ahead += 20
        self.assertEqual(await self.statuses(port, "SMALL"), [200])

    async def test_callers_mistake(self) -> None:
        """One client's bad request, or one that is too large, is nobody else's."""
        port = await self.serve_limits("model_size: SMALL, max_request_length: 2000")
        error = {"error": {"message": "no", "type": "invalid_request_error"}}
        for _ in range(10):
            self.told = [tell("400 Bad Request", error)]
            self.assertEqual(await self.statuses(port, "SMALL"), [400])
        large = await self.name(port, "SMALL", user="x" * 2_000)
        self.assertEqual(large.status, 413)
        self.assertEqual(await self.statuses(port, "SMALL"), [200])


class Row4Tests(SeedLimitsTestCase):
    """The Go proxy never chose a model without limits."""

    async def test_unset(self) -> None:
        """Absent, 0, or only some of them: it is chosen, by size and by name."""
        for limits in (
            "model_size: BIG",
            "model_size: BIG, requests_per_minute: 0, requests_per_hour: 0, requests_per_day: 0",
            "model_size: BIG, requests_per_day: 100",
            "model_size: BIG, tokens_per_minute: 0, max_concurrent: 0, min_interval: 0s",
        ):
            port = await self.serve_limits(limits)
            self.assertEqual(await self.statuses(port, *["BIG", "up/one"] * 5), [200] * 10, limits)


class Row5Tests(SeedLimitsTestCase):
    """In the Go proxy limits held for size classes alone: not for names, not for images."""

    async def test_every_name(self) -> None:
        """Whatever a model is called, it is one count."""
        more = "groups: {chat: {models: [up/one]}}\nserver: {legacy_aliases: true}"
        for name in ("up/one", "SMALL", "chat", "gpt-4o"):
            port = await self.serve_limits("requests_per_minute: 1, model_size: SMALL", more)
            self.assertEqual(await self.statuses(port, name), [200])
            names = ["up/one", "SMALL", "chat", "gpt-4o"]
            self.assertEqual(await self.statuses(port, *names), [429] * 4, name)
            self.assertEqual(len(self.upstream_seen.requests), 1)

    async def test_images(self) -> None:
        """Images count, on both of their routes."""
        draw = "  - {name: up/draw, provider: up, kind: image, requests_per_hour: 2}"
        for path in ("/v1/images/generations", "/image"):
            port = await self.serve_limits("priority: 1", draw)
            self.told = [tell("200 OK", {"created": 1, "data": [{"b64_json": PICTURE}]})] * 2
            asked = write_request("POST", path, {"model": "up/draw", "prompt": "a cat"})
            statuses = [(await self.ask(port, asked)).status for _ in range(3)]
            self.assertEqual(statuses, [200, 200, 429], path)


class Row10Tests(SeedLimitsTestCase):
    """The Go proxy slept before each call, and so spaced nothing."""

    async def test_spaced(self) -> None:
        """Calls are as far apart as they are to be; the first doesn't wait, nor do others."""
        more = "  - {name: up/two, provider: up}"
        port = await self.serve_limits("min_interval: 400ms", more)
        began = self.clock.seconds()
        asked = [Deferred.fromCoroutine(self.name(port, "up/one")) for _ in range(3)]
        asked.append(Deferred.fromCoroutine(self.name(port, "up/two")))
        answers = await gatherResults(asked)
        self.assertEqual([answer.status for answer in answers], [200] * 4)
        models = self.models_asked()
        self.assertEqual(sorted(models), ["one"] * 3 + ["two"])
        self.assertIn("two", models[:2])
        times = [at for at, model in zip(self.times, models, strict=True) if model == "one"]
        for place, at in enumerate(times):
            self.assertGreaterEqual(at - began, 0.4 * place)

    async def test_no_interval(self) -> None:
        """Where none is configured, nobody waits, however many come at once."""
        port = await self.serve_limits("priority: 1")
        began = self.clock.seconds()
        answers = await gatherResults(
            [Deferred.fromCoroutine(self.name(port, "up/one")) for _ in range(20)]
        )
        self.assertEqual({answer.status for answer in answers}, {200})
        # The Go proxy took a second for each at least.
        self.assertLess(self.clock.seconds() - began, 10)


class Row20Tests(SeedLimitsTestCase):
    """The Go proxy looked at no Retry-After, and gave up where another model was free."""

    async def test_retry_after(self) -> None:
        """What the upstream says is passed on, counts down, and holds when it is followed."""
        port = await self.serve_limits("priority: 1")
        error = {"error": {"message": "slow down"}}
        self.told = [tell("429 Too Many Requests", error, "Retry-After: 30\r\n")]
        self.assertEqual(retry_after(await self.name(port, "up/one")), 30)
        self.clock.ahead += 10
        refused = await self.name(port, "up/one")
        self.assertEqual(refused.status, 429)
        self.assertIn(retry_after(refused), (19, 20))
        self.clock.ahead += retry_after(refused)
        self.assertEqual(await self.statuses(port, "up/one"), [200])

    async def test_next_model(self) -> None:
        """Of many who see the last place at once, one gets it, and the others the next model."""
        more = "  - {name: up/two, provider: up, model_size: SMALL, priority: 2}"
        limits = "requests_per_minute: 1, model_size: SMALL, priority: 1"
        port = await self.serve_limits(limits, more)
        answers = await gatherResults(
            [Deferred.fromCoroutine(self.name(port, "SMALL")) for _ in range(20)]
        )
        self.assertEqual([answer.status for answer in answers], [200] * 20)
        self.assertEqual(sorted(self.models_asked()), ["one"] + ["two"] * 19)

    async def test_body(self) -> None:
        """A body has a bound."""
        port = await self.serve_limits("priority: 1")
        head = f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        asked = f"{head}Connection: close\r\nContent-Length: 1000001\r\n\r\n".encode()
        self.assertEqual((await self.ask(port, asked)).status, 413)
        self.assertEqual(self.times, [])

    async def test_token(self) -> None:
        """A wrong token says nothing but that, however much of it is right."""
        port = await self.serve_limits("priority: 1")
        for wrong in (TOKEN[:-1], TOKEN + "x", "x" + TOKEN[1:], "é" * 9):
            self.assertEqual((await self.chat(port, wrong)).status, 401)
        self.assertEqual((await self.chat(port)).status, 200)
