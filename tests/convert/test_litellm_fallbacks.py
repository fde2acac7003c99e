"""Fallbacks at the models that they are for."""

from __future__ import annotations

from tests.convert.converting import ConvertingTestCase, Outcome

MODELS = """
model_list:
- {model_name: a, litellm_params: {model: openai/a}}
- {model_name: b, litellm_params: {model: openai/b}}
- {model_name: g, litellm_params: {model: openai/g}}
- {model_name: g, litellm_params: {model: groq/g}}
- {model_name: 'groq/*', litellm_params: {model: 'groq/*'}}
"""


class FallbackTests(ConvertingTestCase):
    """LiteLLM's four lists."""

    def fallbacks(self, settings: str, section: str = "router_settings") -> Outcome:
        """Convert the models with these settings."""
        return self.outcome(f"{MODELS}\n{section}: {{{settings}}}\n")

    def check(
        self, settings: str, expected: dict[str, str], section: str = "router_settings"
    ) -> None:
        """Check which models have fallbacks, without any note."""
        outcome = self.fallbacks(settings, section)
        found = {
            name: " ".join(model.fallbacks)
            for name, model in outcome.models.items()
            if model.fallbacks
        }
        self.assertEqual(found, expected)
        self.assertEqual(outcome.notes, [])

    def test_of_models(self) -> None:
        """A model's fallbacks are models, groups, or what a wildcard serves."""
        self.check("fallbacks: [{a: [b, g]}, {b: [groq/x]}]", {"a": "b g", "b": "groq/x"})

    def test_of_groups(self) -> None:
        """A group's fallbacks are those of each member."""
        self.check("fallbacks: [{g: [a]}]", {"g@openai": "a", "g@groq": "a"})

    def test_of_wildcards(self) -> None:
        """A wildcard may have fallbacks too."""
        self.check("fallbacks: [{groq/*: [a]}]", {"groq/*": "a"})

    def test_in_litellm_settings(self) -> None:
        """The lists may stand in ``litellm_settings``."""
        self.check("fallbacks: [{a: [b]}]", {"a": "b"}, "litellm_settings")

    def test_defaults(self) -> None:
        """``default_fallbacks``, and those of ``*``, are of all that have none themselves."""
        expected = {"a": "g", "b": "a", "g@openai": "a", "g@groq": "a", "groq/*": "a"}
        self.check("default_fallbacks: [a], fallbacks: [{a: [g]}]", expected)
        self.check("fallbacks: [{'*': [a]}, {a: [g]}]", expected)

    def test_alias(self) -> None:
        """The fallbacks of an alias are those of what it stands for; an alias may be one."""
        self.check(
            "model_group_alias: {x: g, y: b}, fallbacks: [{x: [a]}, {a: [y]}]",
            {"g@openai": "a", "g@groq": "a", "a": "y"},
        )

    def test_by_reason(self) -> None:
        """What is too long, or refused, has the same list, after the others; that is noted."""
        outcome = self.fallbacks(
            "fallbacks: [{a: [b]}], context_window_fallbacks: [{a: [g, b]}],"
            " content_policy_fallbacks: [{b: [a]}]"
        )
        self.assertEqual(outcome.models["a"].fallbacks, ("b", "g"))
        self.assertEqual(outcome.models["b"].fallbacks, ("a",))
        self.assertTrue(outcome.config.retry.reroute_refusals)
        self.assertEqual(len(outcome.notes), 2)
        self.assertIn("they are asked after any failure", outcome.notes[0])

    def test_refusals_stay(self) -> None:
        """Without ``content_policy_fallbacks`` refusals are final."""
        self.assertFalse(self.fallbacks("fallbacks: [{a: [b]}]").config.retry.reroute_refusals)

    def test_impossible(self) -> None:
        """Names that there are not, and other shapes, are noted."""
        for settings in (
            "fallbacks: [{a: [x]}]",
            "fallbacks: [{x: [a]}]",
            "fallbacks: [{a: ['groq/*']}]",
            "fallbacks: [{a: [{model: b}]}]",
            "fallbacks: [a]",
            "default_fallbacks: [x]",
        ):
            outcome = self.fallbacks(settings)
            self.assertEqual([m.name for m in outcome.config.models if m.fallbacks], [])
            self.assertEqual(len(outcome.notes), 1)
            self.assertIn(" not taken over router_settings.", outcome.notes[0])
