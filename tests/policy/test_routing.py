"""Tests of :mod:`aiproxy.policy.routing`."""

from __future__ import annotations

from aiproxy.config.schema import Config
from aiproxy.errors import InvalidRequest, ModelNotFound, ModelUnavailable
from aiproxy.policy.routing import find_candidates, offered_names
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


class RoutingTests(LoadingTestCase):
    """The plan of a request."""

    def setUp(self) -> None:
        super().setUp()
        self.found: Config = self.load(CONFIG).config

    def names(self, requested: str) -> list[str]:
        """Return the candidates' names."""
        return [candidate.name for candidate in find_candidates(self.found, requested)]

    def test_model(self) -> None:
        """A model with two tokens is two candidates; its fallbacks follow, each once."""
        self.assertEqual(self.names("up/small"), ["up/small", "up/small", "up/big"])

    def test_rotation(self) -> None:
        """With each turn another token is first."""
        for turn, expected in enumerate([["sk-a", "sk-b"], ["sk-b", "sk-a"], ["sk-a", "sk-b"]]):
            candidates = find_candidates(self.found, "up/small", turn)[:2]
            tokens = [one.token.reveal() for one in candidates if one.token is not None]
            self.assertEqual(tokens, expected)

    def test_size(self) -> None:
        """A size class is its models by priority, then their fallbacks."""
        self.assertEqual(self.names("SMALL"), ["up/tiny", "up/small", "up/small", "up/big"])

    def test_group(self) -> None:
        """So is a group; a member may be one of a wildcard's."""
        self.assertEqual(self.names("team"), ["up/big", "any/one", "up/tiny"])

    def test_wildcard(self) -> None:
        """A wildcard serves any of its names, under the upstream's name for it."""
        [candidate] = find_candidates(self.found, "any/thing/else")
        self.assertEqual(candidate.name, "any/thing/else")
        self.assertEqual(candidate.upstream_model, "vendor/thing/else")

    def test_unknown(self) -> None:
        """An unknown name is told with the nearest ones, and cut when it is long."""
        for requested, told in (
            ("up/smal", "did you mean up/small"),
            ("UP/BIG", "did you mean up/big"),
            ("zzz", "there are: up/small, up/tiny"),
            ("any/*", "name one of its models"),
            ("x" * 5000, "x…'"),
        ):
            with self.assertRaises(ModelNotFound) as caught:
                find_candidates(self.found, requested)
            self.assertIn(told, caught.exception.message)
            self.assertLess(len(caught.exception.message), 500)
            self.assertEqual(caught.exception.param, "model")

    def test_nothing_configured(self) -> None:
        """Without any model that is said."""
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(Config(), "x")
        self.assertIn("none is configured", caught.exception.message)

    def test_many_names(self) -> None:
        """Of many names only the first ten are told."""
        models = "\n".join(f"      - {{name: m{n}, provider: demo}}" for n in range(20))
        config = self.load(f"    models:\n{models}\n").config
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(config, "zzzzzzzz")
        self.assertTrue(caught.exception.message.endswith("m9, …"))

    def test_not_allowed(self) -> None:
        """What a key may not use does not exist for it, and is not told."""
        with self.assertRaises(ModelNotFound) as caught:
            find_candidates(self.found, "up/big", allowed=lambda name: name == "up/tiny")
        self.assertIn("up/tiny", caught.exception.message)
        self.assertNotIn("up/small", caught.exception.message)

    def test_image(self) -> None:
        """A model for images does not chat."""
        with self.assertRaises(InvalidRequest):
            find_candidates(self.found, "up/draw")

    def test_off(self) -> None:
        """A model that is off says what it lacks."""
        with self.assertRaises(ModelUnavailable) as caught:
            find_candidates(self.found, "asleep")
        self.assertIn("GROQ_API_KEY", caught.exception.message)

    def test_offered(self) -> None:
        """Models, groups and the size classes that there are can be asked for."""
        names = offered_names(self.found)
        self.assertEqual(names[-3:], ["team", "SMALL", "BIG"])
        self.assertEqual(offered_names(Config()), [])
