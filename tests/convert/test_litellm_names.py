"""What clients can ask for after the conversion."""

from __future__ import annotations

from aiproxy.config.schema import Config
from tests.convert.converting import ConvertingTestCase, Outcome

ENTRY = "- {model_name: %s, litellm_params: {model: '%s'%s}%s}\n"


def entry(name: str, model: str, params: str = "", info: str = "") -> str:
    """Return an entry of ``model_list``."""
    return ENTRY % (name, model, f", {params}" if params else "", f", {info}" if info else "")


def shares(config: Config, group: str) -> list[float]:
    """Return the weights of a group's members."""
    weights = {model.name: model.weight for model in config.models}
    return [weights[name] for name in config.groups[group].models]


class GroupTests(ConvertingTestCase):
    """Deployments of one name are a group."""

    def group(self, *entries: str, router: str = "{}") -> Outcome:
        """Convert these entries, all for ``m``."""
        return self.outcome(f"model_list:\n{''.join(entries)}router_settings: {router}\n")

    def test_members(self) -> None:
        """A group has the name; members are told apart by their servers, and then by numbers."""
        outcome = self.group(
            entry("m", "groq/a"),
            entry("m", "openai/b"),
            entry("m", "openai/c"),
            entry("m", "azure/d", "api_base: 'https://eu.openai.azure.com'"),
            entry("m", "azure/e", "api_base: 'https://us.openai.azure.com'"),
            entry("m", "openai/f", info="model_info: {id: spare}"),
            entry("m@groq", "groq/g"),
        )
        group = outcome.config.groups["m"]
        self.assertEqual(
            group.models,
            ("m@groq-2", "m@openai", "m@openai-2", "m@azure-eu", "m@azure-us", "m@spare"),
        )
        self.assertEqual(group.strategy, "weighted")
        upstream = {name: model.upstream_model for name, model in outcome.models.items()}
        self.assertEqual("".join(upstream[name] for name in group.models), "abcdef")
        self.assertEqual(upstream["m@groq"], "g")

    def test_strategies(self) -> None:
        """Each of LiteLLM's strategies has one here; what differs is noted."""
        for theirs, ours, said in (
            ("simple-shuffle", "weighted", None),
            ("least-busy", "least_busy", None),
            ("latency-based-routing", "fastest", None),
            ("usage-based-routing", "least_busy", "to check"),
            ("usage-based-routing-v2", "least_busy", "to check"),
            ("cost-based-routing", "priority", "to check"),
            ("my-own", "weighted", "not taken over"),
        ):
            outcome = self.group(
                entry("m", "groq/a"),
                entry("m", "openai/b"),
                router=f"{{routing_strategy: {theirs}}}",
            )
            self.assertEqual(outcome.config.groups["m"].strategy, ours)
            self.assertEqual(len(outcome.notes), 0 if said is None else 1)
            if said is not None:
                self.assertIn(f" {said} router_settings.routing_strategy: ", outcome.notes[0])

    def test_weights(self) -> None:
        """Shares are those of the first deployment's ``weight``, else its ``rpm``, its ``tpm``."""
        for first, second, expected in (
            ("weight: 9, rpm: 1", "weight: 1, rpm: 5", [9, 1]),
            ("rpm: 900, tpm: 1", "rpm: 10, tpm: 7", [900, 10]),
            ("tpm: 5", "rpm: 10, tpm: 2.5", [5, 2.5]),
            ("", "rpm: 10", [1, 1]),
            ("rpm: os.environ/R", "rpm: 10", [1, 1]),
        ):
            outcome = self.group(entry("m", "groq/a", first), entry("m", "openai/b", second))
            self.assertEqual(shares(outcome.config, "m"), expected)

    def test_no_weight(self) -> None:
        """Who has no share, where others have one, is next to never the first, and noted."""
        outcome = self.group(entry("m", "groq/a", "weight: 1"), entry("m", "openai/b"))
        self.assertEqual(shares(outcome.config, "m"), [1, 0.001])
        self.assertEqual(
            outcome.notes,
            ["3 to check model_list[]: without its `weight` it is asked when the others cannot be"],
        )

    def test_label_of_one(self) -> None:
        """The ``id`` of what is no member of a group is noted."""
        outcome = self.group(entry("m", "openai/b", info="model_info: {id: spare}"))
        self.assertEqual(list(outcome.models), ["m"])
        self.assertIn("2 not taken over model_list[]: its `id` is not needed", outcome.notes[0])

    def test_order(self) -> None:
        """``order`` is ``priority``; who has none comes last."""
        outcome = self.group(
            entry("m", "groq/a", "order: 2"),
            entry("m", "openai/b", "rpm: 5"),
            entry("m", "openai/c", info="model_info: {order: 1}"),
        )
        group = outcome.config.groups["m"]
        priorities = {model.name: model.priority for model in outcome.config.models}
        self.assertEqual((group.strategy, outcome.notes), ("priority", []))
        self.assertEqual([priorities[name] for name in group.models], [2, 3, 1])

    def test_order_and_strategy(self) -> None:
        """Where ``order`` takes the strategy's place, that is noted."""
        outcome = self.group(
            entry("m", "groq/a", "order: 1"),
            entry("m", "openai/b", "order: 2"),
            router="{routing_strategy: least-busy}",
        )
        self.assertEqual(outcome.config.groups["m"].strategy, "priority")
        self.assertIn("`order` goes before the strategy", outcome.notes[0])

    def test_one_of_two(self) -> None:
        """Where only one deployment is left, it is no group."""
        outcome = self.group(entry("m", "bedrock/a"), entry("m", "openai/b"))
        self.assertEqual(list(outcome.models), ["m"])
        self.assertEqual(dict(outcome.config.groups), {})

    def test_dollars(self) -> None:
        """Names with dollars stay what they are."""
        outcome = self.group(
            entry("'a${b}'", "groq/$x"), entry("'a${b}'", "openai/y"), entry("$$c", "openai/z")
        )
        self.assertEqual(outcome.config.groups["a${b}"].models, ("a${b}@groq", "a${b}@openai"))
        self.assertEqual(list(outcome.models), ["a${b}@groq", "a${b}@openai", "$$c"])
        self.assertEqual(outcome.models["a${b}@groq"].upstream_model, "$x")


class WildcardTests(ConvertingTestCase):
    """Names that end in ``/*``."""

    def test_wildcard(self) -> None:
        """A wildcard is one here too, and may have another prefix or a pattern upstream."""
        outcome = self.outcome(
            "model_list:\n"
            + entry("'anthropic/*'", "anthropic/*")
            + entry("'mine/*'", "openai/*")
            + entry("'ft/*'", "openai/ft:*")
            + entry("'fw/*'", "fireworks_ai/*")
        )
        asked = {
            model.name: model.upstream_name(model.name.replace("*", "x"))
            for model in outcome.config.models
        }
        self.assertEqual(asked, {"anthropic/*": "x", "mine/*": "x", "ft/*": "ft:x", "fw/*": "x"})
        self.assertEqual(len(outcome.notes), 1)
        self.assertIn("clients must give the whole name", outcome.notes[0])

    def test_two_keys(self) -> None:
        """Wildcards that differ in their keys are one with several."""
        outcome = self.outcome(
            "model_list:\n"
            + entry("'openai/*'", "openai/*", "api_key: os.environ/A")
            + entry("'openai/*'", "openai/*", "api_key: os.environ/B"),
            env={"A": "1", "B": "2"},
        )
        [model] = outcome.config.models
        self.assertEqual([token.reveal() for token in model.tokens], ["1", "2"])
        self.assertEqual(outcome.notes, [])

    def test_two_servers(self) -> None:
        """Wildcards that differ otherwise cannot be a group: the first counts."""
        first = entry("'x/*'", "openai/*", "api_key: os.environ/A")
        for second in (
            entry("'x/*'", "groq/*", "api_key: os.environ/B"),
            entry("'x/*'", "openai/*", "api_key: os.environ/B, rpm: 5"),
            entry("'x/*'", "openai/ft:*", "api_key: os.environ/B"),
            entry("'x/*'", "openai/*"),
        ):
            outcome = self.outcome("model_list:\n" + first + second)
            [model] = outcome.config.models
            self.assertEqual((model.provider, len(model.tokens)), ("openai", 1))
            self.assertIn("3 not taken over model_list[]: a second entry", outcome.notes[0])

    def test_everything(self) -> None:
        """A bare ``*`` is a wildcard for OpenAI and for each provider that the file knows."""
        outcome = self.outcome(
            "model_list:\n"
            + entry("'*'", "*")
            + entry("a", "gemini/a")
            + entry("b", "openai/b", "api_base: 'http://gpu.example/v1'")
            + entry("'groq/*'", "groq/*"),
            env={"GEMINI_API_KEY": "k"},
        )
        wildcards = {
            model.name: model.provider for model in outcome.config.models if model.wildcard
        }
        self.assertEqual(wildcards, {"groq/*": "groq", "openai/*": "openai", "gemini/*": "google"})
        self.assertIn("2 to check model_list[]: a bare `*` has no counterpart", outcome.notes[0])

    def test_everything_of_one(self) -> None:
        """A bare ``*`` for one provider is one wildcard."""
        outcome = self.outcome("model_list:\n" + entry("'*'", "anthropic/*") + entry("a", "groq/a"))
        self.assertEqual(list(outcome.models), ["a", "anthropic/*"])
        self.assertTrue(outcome.notes[0].endswith(" as in `anthropic/NAME`"))


class AliasTests(ConvertingTestCase):
    """``model_group_alias``."""

    def aliases(self, aliases: str) -> Outcome:
        """Convert these aliases for a model, a group and a wildcard."""
        return self.outcome(
            "model_list:\n"
            + entry("one", "openai/a")
            + entry("two", "openai/b")
            + entry("two", "groq/c")
            + entry("'groq/*'", "groq/*")
            + f"router_settings: {{model_group_alias: {{{aliases}}}}}\n"
        )

    def test_aliases(self) -> None:
        """An alias is a group: of the model, or of the members of the other group."""
        outcome = self.aliases("x: one, y: two, z: groq/d, v: {model: one, hidden: true}")
        groups = {name: group.models for name, group in outcome.config.groups.items()}
        members = ("two@openai", "two@groq")
        self.assertEqual(
            groups, {"two": members, "x": ("one",), "y": members, "z": ("groq/d",), "v": ("one",)}
        )
        self.assertIn("v.hidden: `/v1/models` lists it all the same", outcome.notes[0])

    def test_impossible_aliases(self) -> None:
        """An alias that cannot be is noted."""
        for alias in ("one: two", "x: three", "x: 'groq/*'", "BIG: one", "'a/*': one", "x: [1]"):
            outcome = self.aliases(alias)
            self.assertEqual(list(outcome.config.groups), ["two"])
            self.assertIn("router_settings.model_group_alias.", outcome.notes[0])
