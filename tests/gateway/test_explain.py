"""Tests of :mod:`aiproxy.gateway.explain`."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config, Group, Limits, Model, Server
from aiproxy.config.secret import Secret
from aiproxy.config.sections import Breaker
from aiproxy.dialects.operations import CHAT
from aiproxy.errors import ModelNotFound, UpstreamAuthFailed
from aiproxy.gateway.admission import Entry, Gate
from aiproxy.gateway.explain import explain
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.routing import Situation, find_candidates


class ExplainTests(SynchronousTestCase):
    """A dry run of a choice."""

    def setUp(self) -> None:
        """Make a model with two tokens, and one that is off."""
        first = Model(
            "p/a", "p", "openai", "openai", "a", limits=Limits(max_concurrent=1),
            tokens=(Secret("sk-1"), Secret("sk-2")), fallbacks=("p/b",),
        )  # fmt: skip
        other = Model("p/b", "p", "openai", "openai", "b", disabled="it has no token")
        self.config = Config(models=(first, other))
        self.standings = StandingBook(Breaker())
        self.gate = Gate(LimitBook(), self.standings, Clock(), lambda: 0.0)

    def explain(self, name: str = "p/a") -> list[dict[str, Any]]:
        """Ask for a dry run."""
        return explain(self.config, self.gate, name, Situation(), operation=CHAT, tokens=1)

    def test_tokens(self) -> None:
        """Each token is a candidate of its own, told apart without showing it."""
        [entry, *_] = find_candidates(self.config, "p/a", Situation())
        entered = self.gate.enter("p/a", [entry], caller="me", tokens=1)
        assert isinstance(entered, Entry)
        one, other, off = self.explain()
        self.assertEqual((one["in"], one["back_in_s"]), (False, None))
        self.assertEqual(one["reason"], "held back by max_concurrent")
        self.assertEqual((other["in"], other["model"]), (True, "p/a"))
        self.assertEqual((off["in"], off["reason"]), (False, "it is off: it has no token"))
        self.assertNotEqual(one["token"], other["token"])
        self.assertNotIn("sk-", str([one, other]))
        entered.leave()
        self.assertEqual([one["in"] for one in self.explain()], [True, True, False])

    def test_suspect(self) -> None:
        """Who shares a key that was refused stands behind the others, where it is asked."""
        self.config = Config(
            models=tuple(
                Model(name, "p", "openai", "openai", name, tokens=(Secret(token),))
                for name, token in (("a", "sk-1"), ("b", "sk-1"), ("c", "sk-2"))
            ),
            groups={"g": Group(("b", "c"))},
        )
        [refused] = find_candidates(self.config, "a", Situation())
        self.standings.find(refused.limit_key).failed(UpstreamAuthFailed("key"), 0.0)
        self.assertEqual([one["model"] for one in self.explain("g")], ["c", "b"])

    def test_paced(self) -> None:
        """Who may wait long for his pace is not held back by it."""
        paced = Model("p/a", "p", "openai", "openai", "a", min_interval=20.0)
        self.config = Config(models=(paced,))
        for _ in range(2):
            [candidate] = find_candidates(self.config, "p/a", Situation())
            self.gate.enter("p/a", [candidate], caller="me", tokens=1)
        [held] = self.explain()
        self.assertEqual((held["reason"], held["back_in_s"]), ("held back by min_interval", 10.0))
        self.config = evolve(self.config, server=Server(queue_timeout=60.0))
        self.assertTrue(self.explain()[0]["in"])

    def test_unknown(self) -> None:
        """What nothing is called is a mistake, as in a request."""
        error = self.assertRaises(ModelNotFound, self.explain, "p/aa")
        self.assertIn("did you mean p/a", error.message)
