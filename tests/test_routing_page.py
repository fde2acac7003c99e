"""The examples of ``docs/routing.md``, executed."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from aiproxy.config.schema import Config
from aiproxy.config.sections import Breaker
from aiproxy.dialects.operations import CHAT
from aiproxy.errors import LimitReached
from aiproxy.gateway.admission import Entry, Gate
from aiproxy.gateway.explain import explain
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.routing import Situation, find_candidates
from aiproxy.policy.traffic import Traffic
from tests.config.loading import LoadingTestCase

PAGE = Path(__file__).parent.parent / "docs" / "routing.md"
_EXAMPLE = re.compile(
    r"```yaml\n(?P<config>(?:(?!```).)*?)```\n\n(?:What comes [^\n]+\n\n)?```text\n(.*?)```\n",
    re.DOTALL,
)
_PLAN = re.compile(r"(\S+)(?:, (\d+) bytes)?(?:, turn (\d+))? +→ (.+)")
_CALL = re.compile(r" *(\d+) s  (?:(\w+): )?(\S+) +→ (.+)")
_EXPLAINED = re.compile(r"-d '(.+?)'\n```\n\n```json\n(.*?)```\n", re.DOTALL)


class RoutingPageTests(LoadingTestCase):
    """What the page says is so."""

    def setUp(self) -> None:
        """Read the page."""
        super().setUp()
        self.page = PAGE.read_text("utf-8")
        self.examples: list[tuple[str, str]] = _EXAMPLE.findall(self.page)

    def test_whole(self) -> None:
        """No example is passed over."""
        self.assertEqual(len(self.examples), 4)
        self.assertEqual(self.page.count("```yaml"), 4)

    def test_plans(self) -> None:
        """Every plan is what it says."""
        for text, lines in self.examples[:2]:
            config = self.config(text)
            for line in lines.splitlines():
                found = _PLAN.fullmatch(line)
                assert found is not None, line
                name, length, turn, expected = found.groups()
                situation = Situation(int(turn or 0), int(length or 0), Traffic(), random.Random(1))
                plan = find_candidates(config, name, situation)
                self.assertEqual([candidate.name for candidate in plan], expected.split(", "), line)

    def test_calls(self) -> None:
        """Every call is served when, and by whom, it says."""
        for text, lines in self.examples[2:]:
            calls = Calls(self.config(text), lines)
            calls.clock.pump([1.0] * 300)
            self.assertEqual(calls.served, calls.expected)

    def test_explain(self) -> None:
        """So the dry run answers after the calls before it."""
        [(asked, answer)] = _EXPLAINED.findall(self.page)
        text, lines = self.examples[2]
        calls = Calls(self.config(text), lines)
        name = json.loads(asked)["model"]
        found = explain(calls.config, calls.gate, name, Situation(), operation=CHAT, tokens=1)
        shown = {"object": "list", "model": name, "data": found}
        self.assertEqual(json.loads(answer), shown)


class Calls:
    """
    The calls of an example, each over as soon as it has begun.

    :ivar served: what has become of them, by their lines.
    :ivar expected: what the page says.
    """

    def __init__(self, config: Config, lines: str) -> None:
        self.config = config
        self.clock = Clock()
        self.gate = Gate(LimitBook(), StandingBook(Breaker()), self.clock, self.clock.seconds)
        self.served: dict[int, str] = {}
        self.expected: dict[int, str] = {}
        for number, line in enumerate(lines.splitlines()):
            found = _CALL.fullmatch(line)
            assert found is not None, line
            at, caller, name, self.expected[number] = found.groups()
            self.clock.advance(int(at) - self.clock.seconds())
            self.begin(number, name, caller or "")

    def begin(self, number: int, name: str, caller: str) -> None:
        """Make a call."""
        patience = self.config.server.queue_timeout
        begun = self.clock.seconds()
        plan = find_candidates(self.config, name, Situation())
        try:
            entered = self.gate.enter(name, plan, caller=caller, tokens=1, patience=patience)
        except LimitReached as error:
            assert error.retry_after is not None
            self.served[number] = f"429, Retry-After: {math.ceil(error.retry_after)}"
            return

        def note(how: str) -> Callable[[Entry], None]:
            def noted(entry: Entry) -> None:
                model = plan[entry.place]
                self.served[number] = model.name
                sent = self.clock.seconds() + entry.lease.delay
                if model.model.min_interval:
                    self.served[number] += f" after {sent - begun:g} s" if sent > begun else ""
                elif how:
                    self.served[number] += f"{how} {sent:g} s"
                entry.leave()

            return noted

        if isinstance(entered, Deferred):
            entered.addCallback(note(" at"))
        else:
            note("")(entered)
