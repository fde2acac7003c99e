"""Tests of :mod:`aiproxy.gateway.gauges`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config, Limits, Model
from aiproxy.config.secret import Secret
from aiproxy.config.sections import Breaker
from aiproxy.dialects.operations import EMBEDDINGS
from aiproxy.errors import UpstreamFailed
from aiproxy.gateway.gauges import read_gauges
from aiproxy.gateway.metric_families import BY_NAME
from aiproxy.gateway.shared import Shared
from aiproxy.policy.limits import Lease, limit_key
from aiproxy.policy.routing import Candidate
from aiproxy.transport.pool import ConnectionCounts


def model(name: str, **more: Any) -> Model:
    """Make a model of some provider."""
    return Model(name, "up", "openai", "openai", name, base_url="https://up.example", **more)


class GaugeTests(SynchronousTestCase):
    """What is read when the metrics are asked for."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock, lambda: 1_893_456_000.0)

    def read(self, *models: Model) -> dict[str, dict[tuple[str, ...], Any]]:
        """Return the gauges' values by their labels."""
        pool = {
            (b"https", b"up.example", 443): ConnectionCounts(5, 3),
            (b"http", b"::1", 8080): ConnectionCounts(1, 0),
        }
        dump = read_gauges(Config(models=models), self.shared, pool)
        for name, samples in dump.items():
            for labels, _ in samples:
                self.assertEqual(len(labels), len(BY_NAME[name].labels), name)
        return {
            name: {tuple(labels): value for labels, value in samples}
            for name, samples in dump.items()
        }

    def admit(self, candidate: Candidate) -> None:
        """Begin a request that counts against its limits."""
        limits, wall = candidate.model.limits, self.shared.wall()
        admission = self.shared.book.find(limit_key(candidate), limits, 0.0, wall)
        self.assertIsInstance(admission.admit(0.0, wall), Lease)

    def test_limits(self) -> None:
        """What is left, with what each of a model's keys has; none for who has no limit."""
        limits = Limits(requests_per_minute=5, max_concurrent=2)
        tokens = (Secret("sk-one"), Secret("sk-two"))
        limited = model("a", limits=limits, tokens=tokens)
        self.admit(Candidate(limited, "a", tokens[0]))
        found = self.read(limited, model("b"))["aiproxy_limit_remaining"]
        self.assertEqual(found, {("a", "requests_per_minute"): 9, ("a", "max_concurrent"): 3})

    def test_pace(self) -> None:
        """Looking changes nothing of a model's pace."""
        paced = model("a", limits=Limits(requests_per_minute=5), min_interval=10.0)
        candidate = Candidate(paced, "a")
        entered = self.shared.gate.enter("a", [candidate], caller="", tokens=0)
        self.read(paced)
        hold = self.shared.gate.find_hold(candidate, 0)
        self.assertNotIsInstance(entered, Exception)
        self.read(paced)
        self.assertEqual(self.shared.gate.find_hold(candidate, 0), hold)

    def test_breaker(self) -> None:
        """A model is out when all its keys are."""
        self.shared.standings.change(Breaker(failures=1))
        tokens = (Secret("sk-one"), Secret("sk-two"))
        one = model("a", tokens=tokens)
        states = []
        for token in tokens:
            states.append(self.read(one)["aiproxy_breaker_open"])
            standing = self.shared.standings.find(limit_key(Candidate(one, "a", token)))
            standing.failed(UpstreamFailed("no"), 0.0)
        states.append(self.read(one)["aiproxy_breaker_open"])
        self.assertEqual(states, [{("a",): 0}, {("a",): 0}, {("a",): 1}])

    def test_operations(self) -> None:
        """So it is with all its keys for anything that it is asked for."""
        self.shared.standings.change(Breaker(failures=1))
        one = model("a")
        candidate = Candidate(one, "a", operation=EMBEDDINGS)
        self.shared.standings.find(candidate.standing_key).failed(UpstreamFailed("no"), 0.0)
        self.assertEqual(self.read(one)["aiproxy_breaker_open"], {("a",): 1})

    def test_left_out(self) -> None:
        """Wildcards and models that are off have no gauges of their own."""
        limits = Limits(requests_per_minute=5)
        found = self.read(
            model("any/*", limits=limits), model("off", limits=limits, disabled="no token")
        )
        self.assertEqual(found["aiproxy_limit_remaining"], {})
        self.assertEqual(found["aiproxy_breaker_open"], {})

    def test_connections(self) -> None:
        """Connections are told apart by origin, and by whether they are used."""
        self.assertEqual(
            self.read()["aiproxy_pool_connections"],
            {
                ("https://up.example:443", "active"): 2,
                ("https://up.example:443", "idle"): 3,
                ("http://[::1]:8080", "active"): 1,
                ("http://[::1]:8080", "idle"): 0,
            },
        )

    def test_queue(self) -> None:
        """Those that wait for a limit are counted."""
        busy = model("a", limits=Limits(max_concurrent=1))
        candidates = [Candidate(busy, "a")]
        enter = self.shared.gate.enter
        enter("a", candidates, caller="", tokens=0)
        self.assertEqual(self.read(busy)["aiproxy_queue_length"], {(): 0})
        waiting: Any = enter("a", candidates, caller="", tokens=0, patience=5.0)
        self.assertEqual(self.read(busy)["aiproxy_queue_length"], {(): 1})
        waiting.addErrback(lambda _: None)
        waiting.cancel()
