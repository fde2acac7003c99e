"""The plan of a request against its definition: any configuration, any traffic, any name."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import permutations

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config, Group, Model, Server
from aiproxy.config.secret import Secret
from aiproxy.dialects.operations import CHAT, IMAGES
from aiproxy.errors import (
    AIProxyError,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    RequestTooLarge,
)
from aiproxy.policy.routing import (
    Candidate,
    PlanEntry,
    Situation,
    find_candidates,
    find_entries,
)
from aiproxy.policy.traffic import Flow, Traffic

MODELS = ("p/a", "p/b", "p/c", "p/d", "w/*")
GROUPS = ("g1", "g2")
#: What can be asked for, and what can only be tried.
NAMES = (*MODELS, "w/1", "w/2", *GROUPS, "SMALL", "BIG", "all", "gpt-4o", "nobody-at-all")
STRATEGIES = ("priority", "weighted", "round_robin", "least_busy", "fastest")

Entry = tuple[Model, str]


@define
class Asked:
    """A request, and all that its plan depends on."""

    config: Config
    name: str
    turn: int
    body_bytes: int
    flows: dict[str, Flow]
    forbidden: frozenset[str]
    operation: str
    seed: int

    def situation(self) -> Situation:
        """Make a situation of its own."""
        traffic = Traffic()
        for name, flow in self.flows.items():
            kept = traffic.find(name)
            kept.running, kept.last_used = flow.running, flow.last_used
            kept.first_token = flow.first_token
        return Situation(self.turn, self.body_bytes, traffic, random.Random(self.seed))

    def entries(self, situation: Situation) -> list[PlanEntry]:
        """Return all that the name stands for."""
        return find_entries(self.config, self.name, situation, self.is_allowed, self.operation)

    def candidates(self) -> list[Candidate] | type[AIProxyError]:
        """Return the plan, or the kind of error in its place."""
        how = self.situation(), self.is_allowed, self.operation
        try:
            return list(find_candidates(self.config, self.name, *how))
        except AIProxyError as error:
            return type(error)

    def is_allowed(self, name: str) -> bool:
        """Whether the caller may ask for it."""
        return name not in self.forbidden


@st.composite
def models(draw: st.DrawFn, name: str) -> Model:
    """Draw a model whose fallbacks may be anything, itself too."""
    provider = name.partition("/")[0]
    tokens = draw(st.integers(0, 2))
    return Model(
        name,
        provider,
        "openai",
        "openai",
        "*" if name.endswith("*") else name,
        tokens=tuple(Secret(f"{name}-{number}") for number in range(tokens)),
        priority=draw(st.integers(1, 2)),
        weight=draw(st.sampled_from((0.0, 1.0, 2.0))),
        model_size=draw(st.sampled_from((None, "SMALL", "BIG"))),
        max_request_length=draw(st.sampled_from((None, None, 10))),
        kind=draw(st.sampled_from(("chat", "chat", "image"))),
        disabled=draw(st.sampled_from((None, None, None, "no token"))),
        fallbacks=tuple(draw(st.lists(st.sampled_from((*MODELS[:4], "w/1", *GROUPS, "BIG")),
                                      max_size=3))),
    )  # fmt: skip


flows = st.builds(
    Flow,
    running=st.integers(0, 2),
    last_used=st.sampled_from((float("-inf"), 1.0, 2.0)),
    first_token=st.sampled_from((None, 0.5, 1.0)),
)
members = st.lists(
    st.sampled_from((*MODELS[:4], "w/1", "w/2")), min_size=1, max_size=4, unique=True
)


@st.composite
def asks(draw: st.DrawFn) -> Asked:
    """Draw all of it."""
    config = Config(
        server=Server(legacy_aliases=draw(st.booleans())),
        models=tuple(draw(models(name)) for name in MODELS if draw(st.integers(0, 5))),
        groups={
            name: Group(tuple(draw(members)), draw(st.sampled_from(STRATEGIES))) for name in GROUPS
        },
    )
    operation = draw(st.sampled_from((CHAT, CHAT, IMAGES)))
    return Asked(
        config,
        draw(st.sampled_from(NAMES if operation == CHAT else ("all", "all", *MODELS, *GROUPS))),
        draw(st.integers(0, 5)),
        draw(st.sampled_from((0, 10, 11))),
        draw(st.dictionaries(st.sampled_from((*MODELS[:4], "w/1", "w/2")), flows)),
        draw(st.frozensets(st.sampled_from(NAMES), max_size=4)),
        operation,
        draw(st.integers(0, 99)),
    )


class Oracle:
    """What a plan is, in the documentation's words: nothing is sorted, orders are tried out."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.models = {model.name: model for model in asked.config.models}

    def judge_entries(self, entries: list[PlanEntry]) -> None:
        """See that the order is one of those that there may be."""
        asked, name = self.asked, self.asked.name
        known = self.find(name) or name in (*self.models, *GROUPS, "SMALL", "BIG")
        if asked.config.server.legacy_aliases and len(name) < 10 and not known:
            name = "SMALL"
        rest = list(entries)
        if asked.operation == IMAGES and name == "all":
            images = [
                (model, model.name)
                for model in asked.config.models
                if model.kind == "image" and "*" not in model.name and asked.is_allowed(model.name)
            ]
            order = self.orders(images, lambda one: (one[0].priority,))
            self.take(rest, set(), order, asked.turn)
        elif asked.is_allowed(name):
            seen: set[str] = set()
            first = self.take(rest, seen, self.possible(name), self.rounds(name))
            for model, _ in first:
                for fallback in model.fallbacks:
                    self.take(rest, seen, self.possible(fallback), self.rounds(fallback))
        assert rest == []

    def take(
        self, rest: list[PlanEntry], seen: set[str], possible: list[list[Entry]], turn: int
    ) -> list[Entry]:
        """Take what one name adds to a plan from its front; it is in an order that may be."""
        new = sum(1 for _, name in possible[0] if name not in seen)
        taken = [rest.pop(0) for _ in range(min(new, len(rest)))]
        assert all(one.turn == turn for one in taken)
        part = [(model, name) for model, name, _ in taken]
        for order in possible:
            if [one for one in order if one[1] not in seen] == part:
                seen.update(name for _, name in part)
                return order
        raise AssertionError(f"{part} is none of {possible}")

    def possible(self, name: str) -> list[list[Entry]]:
        """Return each order that a name may stand for."""
        asked = self.asked
        if name in ("SMALL", "BIG"):
            sized = [
                (model, model.name)
                for model in asked.config.models
                if model.model_size == name and "*" not in model.name
            ]
            return self.orders(sized, lambda one: (one[0].priority, self.flow(one).last_used))
        if name not in GROUPS:
            model = self.find(name)
            return [[(model, name)] if model else []]
        group = asked.config.groups[name]
        found = [(model, one) for one in group.models if (model := self.find(one))]
        if group.strategy == "priority":
            return self.orders(found, lambda one: (one[0].priority,))
        if group.strategy == "round_robin":
            if len(found) < 2:
                return [found]
            for _ in range(asked.turn % len(found)):
                found.append(found.pop(0))
            first, *others = found
            for _ in range(asked.turn // len(found)):
                others.append(others.pop(0))
            return [[first, *others]]
        if group.strategy == "weighted":
            # Any, but those without a share are last.
            idle = [one for one in found if not one[0].weight]
            shares = [one for one in found if one[0].weight]
            return [[*order, *idle] for order in permutations(shares)]
        if group.strategy == "least_busy":
            return self.orders(
                found,
                lambda one: (
                    self.flow(one).running / (one[0].weight or 1),
                    one[0].priority,
                    self.flow(one).last_used,
                ),
            )
        return [
            order
            for unknown in (-1.0, 99.0)  # Whom nobody has tried is now and then the first.
            for order in self.orders(found, partial(self.speed, unknown))
        ]

    def rounds(self, name: str) -> int:
        """Return how often the tokens of those that a name stands for have gone on."""
        if name in GROUPS:
            strategy = self.asked.config.groups[name].strategy
            if strategy not in ("round_robin", "least_busy"):
                return self.asked.turn
        return self.asked.turn // max(len(self.possible(name)[0]), 1)

    def speed(self, unknown: float, one: Entry) -> tuple[float, int]:
        """Return what ``fastest`` looks at."""
        flow = self.flow(one)
        seconds = unknown
        if flow.first_token is not None:
            seconds = flow.first_token * (1 + flow.running)
        return seconds, one[0].priority

    def orders(
        self, found: Sequence[Entry], key: Callable[[Entry], tuple[float, ...]]
    ) -> list[list[Entry]]:
        """Return the one order in which none is behind a worse one; equals are as written."""
        numbered = list(enumerate(found))
        [order] = [
            order
            for order in permutations(numbered)
            if all(
                (key(order[place][1]), order[place][0]) < (key(later), number)
                for place in range(len(order))
                for number, later in order[place + 1 :]
            )
        ]
        return [[one for _, one in order]]

    def judge_candidates(
        self, entries: list[PlanEntry], candidates: list[Candidate] | type[AIProxyError]
    ) -> None:
        """See that whoever can serve is there, once for each token, and nobody else."""
        asked = self.asked
        suited = [one for one in entries if self.suits(one[0])]
        fitting = [one for one in suited if asked.body_bytes <= (one[0].max_request_length or 99)]
        running = [one for one in fitting if not one[0].disabled]
        kinds = ModelNotFound, InvalidRequest, RequestTooLarge, ModelUnavailable
        for kind, left in zip(kinds, (entries, suited, fitting, running), strict=True):
            if not left:
                assert candidates is kind
                return
        expected: list[Candidate] = []
        for model, name, turn in running:
            tokens: list[Secret | None] = list(model.tokens)
            for _ in range(turn if tokens else 0):
                tokens.append(tokens.pop(0))
            expected += [Candidate(model, name, token) for token in tokens or [None]]
        assert candidates == expected

    def suits(self, model: Model) -> bool:
        """Whether it is a model for that."""
        if self.asked.operation == IMAGES:
            return model.kind == "image" or model.name == "w/*"
        return model.kind == "chat"

    def find(self, name: str) -> Model | None:
        """Return the model that serves a name."""
        if name == "w/*":
            return None
        return self.models.get(name) or (self.models.get("w/*") if name[:2] == "w/" else None)

    def flow(self, one: Entry) -> Flow:
        """Return what goes on at a candidate."""
        return self.asked.flows.get(one[1], Flow())


class PlanModelTests(SynchronousTestCase):
    """Any plan."""

    @settings(deadline=None, max_examples=300)
    @given(asks())
    def test_model(self, asked: Asked) -> None:
        """
        The order is the strategy's; each is there once, and nobody who may not be.

        It always ends, though fallbacks and groups name each other in circles,
        what goes in equal comes out equal, and nothing is changed.
        """
        oracle, situation = Oracle(asked), asked.situation()
        before = repr([situation.traffic.look(name) for name in NAMES])
        entries = asked.entries(situation)
        names = [one.name for one in entries]
        self.assertEqual(len(set(names)), len(names))
        oracle.judge_entries(entries)
        oracle.judge_candidates(entries, asked.candidates())
        self.assertEqual(asked.entries(asked.situation()), entries)
        self.assertEqual(repr([situation.traffic.look(name) for name in NAMES]), before)
