"""Tests of :mod:`aiproxy.policy.routing`."""

from __future__ import annotations

from collections import Counter
from itertools import product

from attrs import evolve

from aiproxy.config.schema import Config
from aiproxy.dialects.operations import CHAT, IMAGES
from aiproxy.errors import InvalidRequest, ModelNotFound, ModelUnavailable, RequestTooLarge
from aiproxy.policy.model_names import offered_names
from aiproxy.policy.routing import Situation, find_candidates
from aiproxy.policy.traffic import Traffic
from tests.config.loading import LoadingTestCase

CONFIG = """
    providers:
      up: {base_url: "https://up.example/v1", tokens: [sk-a, sk-b]}
    models:
      - {name: up/small, provider: up, model_size: SMALL, priority: 2, fallbacks: [up/big, BIG]}
      - {name: up/tiny, provider: up, model_size: SMALL, token: sk-c}
      - {name: up/big, provider: up, model_size: BIG, token: sk-c, fallbacks: [up/tiny]}
      - {name: up/draw, provider: up, kind: image}
      - {name: asleep, provider: groq}
      - {name: "any/*", provider: up, token: sk-c, upstream_model: "vendor/*"}
    groups:
      team: {models: [up/big, any/one, up/tiny]}
"""

TOKENS = ("sk-a", "sk-b")
TURNS = """
    providers:
      up: {base_url: "https://up.example/v1", tokens: [sk-a, sk-b]}
    models:
      - {name: up/one, provider: up, model_size: SMALL}
      - {name: up/two, provider: up, model_size: SMALL}
    groups:
      turns: {models: [up/one, up/two], strategy: round_robin}
"""


class RoutingTests(LoadingTestCase):
    """The plan of a request."""

    def setUp(self) -> None:
        super().setUp()
        self.found: Config = self.load(CONFIG).config

    def names(self, requested: str) -> list[str]:
        """Return the candidates' names."""
        return [candidate.name for candidate in find_candidates(self.found, requested, Situation())]

    def test_model(self) -> None:
        """A model with two tokens is two candidates; its fallbacks follow, each once."""
        self.assertEqual(self.names("up/small"), ["up/small", "up/small", "up/big"])

    def test_rotation(self) -> None:
        """With each turn another token is first."""
        for turn, expected in enumerate([["sk-a", "sk-b"], ["sk-b", "sk-a"], ["sk-a", "sk-b"]]):
            candidates = find_candidates(self.found, "up/small", Situation(turn))[:2]
            tokens = [one.token.reveal() for one in candidates if one.token is not None]
            self.assertEqual(tokens, expected)

    def test_rotation_in_turn(self) -> None:
        """Members that take turns too are asked with each of their tokens."""
        config = self.load(TURNS).config
        for requested in ("turns", "SMALL"):
            first = Counter[tuple[str, str]]()
            traffic = Traffic()
            for turn in range(12):
                situation = Situation(turn, traffic=traffic)
                candidate = find_candidates(config, requested, situation)[0]
                traffic.find(candidate.name).last_used = turn
                assert candidate.token is not None
                first[candidate.name, candidate.token.reveal()] += 1
            self.assertEqual(first, dict.fromkeys(product(("up/one", "up/two"), TOKENS), 3))

    def test_size(self) -> None:
        """A size class is its models by priority, then their fallbacks."""
        self.assertEqual(self.names("SMALL"), ["up/tiny", "up/small", "up/small", "up/big"])

    def test_group(self) -> None:
        """So is a group; a member may be one of a wildcard's."""
        self.assertEqual(self.names("team"), ["up/big", "any/one", "up/tiny"])

    def test_wildcard(self) -> None:
        """A wildcard serves any of its names, under the upstream's name for it."""
        [candidate] = find_candidates(self.found, "any/thing/else", Situation())
        self.assertEqual(candidate.name, "any/thing/else")
        self.assertEqual(candidate.upstream_model, "vendor/thing/else")
        find_candidates(self.found, "any/" + "x" * 508, Situation())

    def test_beside_a_wildcard(self) -> None:
        """Who writes a model's name in another way has its entry, with its limits, and no other."""
        self.found = self.load(
            """
            providers: {other: {type: openai, base_url: "https://other.example", token: sk-d}}
            models:
              - {name: google/gemini-2.5-pro, provider: google, token: sk-c, requests_per_day: 5}
              - {name: "google/*", provider: google, token: sk-c}
              - {name: google/Else, provider: other}
            """
        ).config
        for name in ("gemini-2.5-pro", "Gemini-2.5-PRO", "models/gemini-2.5-pro"):
            self.assertEqual(self.names(f"google/{name}"), ["google/gemini-2.5-pro"])
        for name in ("google/else", "google/gemini-2.5-pro-1"):
            self.assertEqual(self.names(name), [name])
        with self.assertRaises(ModelNotFound):
            self.names("Google/gemini-2.5-pro")

    def test_unknown(self) -> None:
        """An unknown name is told with the nearest ones, and cut when it is long."""
        for requested, told in (
            ("up/smal", "did you mean up/small"),
            ("UP/BIG", "did you mean up/big"),
            ("zzz", "there are: up/small, up/tiny"),
            ("any/*", "name one of its models"),
            ("gpt-4o", "(for the star write what the provider calls the model: any/gpt-4o)"),
            ("ani", "did you mean any/*? (for the star write what"),
            ("any/", "any/NAME"),
            ("any\n", "any/NAME"),
            ("x" * 5000, "x…'"),
            ("any/" + "x" * 509, "x…'"),
        ):
            with self.assertRaises(ModelNotFound) as caught:
                find_candidates(self.found, requested, Situation())
            self.assertIn(told, caught.exception.message)
            self.assertLess(len(caught.exception.message), 500)
            self.assertEqual(caught.exception.param, "model")

    def test_nothing_configured(self) -> None:
        """Without any model that is said."""
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(Config(), "x", Situation())
        self.assertIn("none is configured", caught.exception.message)

    def test_many_names(self) -> None:
        """Of many names only the first ten are told."""
        models = "\n".join(f"      - {{name: m{n}, provider: demo}}" for n in range(20))
        config = self.load(f"    models:\n{models}\n").config
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(config, "zzzzzzzz", Situation())
        self.assertTrue(caught.exception.message.endswith("m9, …"))

    def test_not_allowed(self) -> None:
        """What a key may not use does not exist for it, and is not told."""
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(
                self.found, "up/big", Situation(), allowed=lambda name: name == "up/tiny"
            )
        self.assertIn("up/tiny", caught.exception.message)
        self.assertNotIn("up/small", caught.exception.message)

    def test_image(self) -> None:
        """A model for images does not chat."""
        with self.assertRaises(InvalidRequest):
            find_candidates(self.found, "up/draw", Situation())

    def test_off(self) -> None:
        """A model that is off says what it lacks."""
        with self.assertRaises(ModelUnavailable) as caught:
            find_candidates(self.found, "asleep", Situation())
        self.assertIn("GROQ_API_KEY", caught.exception.message)

    def test_offered(self) -> None:
        """Models, groups and the size classes that there are can be asked for."""
        names = offered_names(self.found)
        self.assertEqual(names[-3:], ["team", "SMALL", "BIG"])
        self.assertEqual(offered_names(Config()), [])


class SituationTests(LoadingTestCase):
    """What else a choice depends on."""

    TEXT = """
        providers:
          up: {base_url: "https://up.example/v1", token: sk-a}
        models:
          - {name: up/a, provider: up, model_size: SMALL, max_request_length: 100}
          - {name: up/b, provider: up, model_size: SMALL}
          - {name: up/picture, provider: up, kind: image, priority: 2}
          - {name: up/drawing, provider: up, max_request_length: 0}
          - {name: "up/*", provider: up}
        groups:
          turns: {models: [up/a, up/b], strategy: round_robin}
          busy: {models: [up/a, up/b], strategy: least_busy}
    """

    def setUp(self) -> None:
        super().setUp()
        self.found = self.load(self.TEXT).config
        self.traffic = Traffic()

    def names(
        self, requested: str, operation: str = CHAT, *, turn: int = 0, body_bytes: int = 0
    ) -> list[str]:
        """Return the candidates' names."""
        situation = Situation(turn, body_bytes, self.traffic)
        found = find_candidates(self.found, requested, situation, operation=operation)
        return [candidate.name for candidate in found]

    def test_size_class(self) -> None:
        """Among equals the one that has rested longest is asked."""
        self.assertEqual(self.names("SMALL"), ["up/a", "up/b"])
        self.traffic.find("up/a").began(1.0)
        self.assertEqual(self.names("SMALL"), ["up/b", "up/a"])
        self.traffic.find("up/b").began(2.0)
        self.assertEqual(self.names("SMALL"), ["up/a", "up/b"])

    def test_strategies(self) -> None:
        """A group's own strategy orders its members."""
        self.assertEqual(self.names("turns", turn=1), ["up/b", "up/a"])
        self.traffic.find("up/a").began(1.0)
        self.assertEqual(self.names("busy"), ["up/b", "up/a"])

    def test_length(self) -> None:
        """A model that takes no body of this length is left out; where none does, it is a 413."""
        self.assertEqual(self.names("SMALL", body_bytes=101), ["up/b"])
        self.assertEqual(self.names("up/a", body_bytes=100), ["up/a"])
        error = self.assertRaises(RequestTooLarge, self.names, "up/a", body_bytes=101)
        self.assertIn("at most 100 bytes", error.message)

    def test_images(self) -> None:
        """Image models make images, a wildcard may; ``all`` is every one by priority."""
        self.assertEqual(self.names("up/picture", IMAGES), ["up/picture"])
        self.assertEqual(self.names("up/any", IMAGES), ["up/any"])
        self.assertEqual(self.names("all", IMAGES), ["up/drawing", "up/picture"])
        self.assertRaises(InvalidRequest, self.names, "up/b", IMAGES)
        self.assertRaises(ModelNotFound, self.names, "all")

    def test_legacy_aliases(self) -> None:
        """With the Go proxy's rule a short name that is no model's means SMALL."""
        self.assertRaises(ModelNotFound, self.names, "gpt-4o")
        server = evolve(self.found.server, legacy_aliases=True)
        self.found = evolve(self.found, server=server)
        self.assertEqual(self.names("gpt-4o"), ["up/a", "up/b"])
        self.assertEqual(self.names("up/b"), ["up/b"])
        self.assertEqual(self.names("turns"), ["up/a", "up/b"])
        self.assertRaises(ModelNotFound, self.names, "a-longer-name")
