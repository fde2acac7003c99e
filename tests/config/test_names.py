"""Tests of :mod:`aiproxy.config.names`."""

from __future__ import annotations

import hashlib

from tests.config.loading import LoadingTestCase

MODELS = """# The tests count their lines from here.
models:
  - {name: alpha, provider: demo, model_size: BIG}
  - {name: demo/*, provider: demo}
"""


class ModelNamesTests(LoadingTestCase):
    """Names of models and groups."""

    def test_doubles(self) -> None:
        """Two models of one name."""
        self.assertEqual(
            self.problems("models:\n- {name: a, provider: demo}\n- {name: a, provider: demo}"),
            ["c.yaml:3: models[1].name: a second model has the name `a`, first on line 2"],
        )

    def test_reserved(self) -> None:
        """``SMALL`` and ``BIG`` are taken."""
        self.assertEqual(
            self.problems(
                f"{MODELS}  - {{name: SMALL, provider: demo}}\ngroups: {{BIG: {{models: [alpha]}}}}"
            ),
            [
                "c.yaml:5: models[2].name: `SMALL` is the virtual model of `model_size`",
                "c.yaml:6: groups.BIG: is the name of the virtual model of `model_size`",
            ],
        )

    def test_group_like_a_model(self) -> None:
        """A group cannot have a model's name."""
        self.assertEqual(
            self.problems(f"{MODELS}groups:\n  alpha: {{models: [alpha]}}"),
            ["c.yaml:6: groups.alpha: has the name of the model on line 3"],
        )

    def test_members(self) -> None:
        """A group holds models: by name, or one that a wildcard serves."""
        group = self.config(f"{MODELS}groups: {{g: {{models: [alpha, demo/x]}}}}").groups["g"]
        self.assertEqual((group.name, group.models), ("g", ("alpha", "demo/x")))
        for members, message in [
            ("[]", "models: must name at least one model"),
            ("[alpa]", "models[0]: there is no model `alpa`; did you mean `alpha`?"),
            ("[alpha, BIG]", "models[1]: there is no model `BIG`"),
            ("[demo/*]", "models[0]: `demo/*` is a wildcard; name one of its models"),
            ("[g]", "models[0]: `g` is a group; a group holds models"),
        ]:
            self.assertEqual(
                self.problems(f"{MODELS}groups: {{g: {{models: {members}}}}}"),
                [f"c.yaml:5: groups.g.{message}"],
            )

    def test_hedge(self) -> None:
        """A hedge needs to know after which time."""
        group = self.config(
            f"{MODELS}groups: {{g: {{models: [alpha], hedge: {{after: 1s}}}}}}"
        ).groups["g"]
        assert group.hedge is not None
        self.assertEqual((group.hedge.after, group.hedge.budget_per_minute), (1.0, 10))
        self.assertEqual(
            self.problems(f"{MODELS}groups: {{g: {{models: [alpha], hedge: {{}}}}}}"),
            ["c.yaml:5: groups.g.hedge.after: is required"],
        )
        wrong = "c.yaml:5: groups.g.hedge.after: must be a time such as 500ms, or a percentile"
        for after, expected in (("p95", []), ("p5", []), ("p100", [wrong]), ("0s", [wrong])):
            text = f"{MODELS}groups: {{g: {{models: [alpha], hedge: {{after: {after}}}}}}}"
            found = self.problems(text) if expected else []
            self.assertEqual([problem[: len(wrong)] for problem in found], expected, after)
            if not expected:
                hedge = self.config(text).groups["g"].hedge
                self.assertEqual(hedge and hedge.after, after)

    def test_fallbacks(self) -> None:
        """Fallbacks are models, groups or sizes; a cycle is fine."""
        text = f"{MODELS}groups: {{g: {{models: [alpha]}}}}\n"
        model = "  - {name: b, provider: demo, fallbacks: [%s]}"
        fine = text.replace("groups", model % "b, alpha, demo/x, g, BIG" + "\ngroups")
        self.assertEqual(len(self.config(fine).models[2].fallbacks), 5)
        for name, message in [
            ("nowhere", "there is no model or group `nowhere`"),
            ("SMALL", "there is no model or group `SMALL`"),
            ("alphas", "there is no model or group `alphas`; did you mean `alpha`?"),
        ]:
            self.assertEqual(
                self.problems(text.replace("groups", model % f"g, {name}" + "\ngroups")),
                [f"c.yaml:5: models[2].fallbacks[1]: {message}"],
            )

    def test_lines_of_items(self) -> None:
        """A wrong item of a list has its own line."""
        self.assertEqual(
            self.problems(f"{MODELS}groups:\n  g:\n    models:\n      - alpha\n      - beta\n"),
            ["c.yaml:9: groups.g.models[1]: there is no model `beta`"],
        )


class KeysTests(LoadingTestCase):
    """Clients' keys."""

    DIGEST = hashlib.sha256(b"word").hexdigest()

    def refused(self, *keys: str) -> list[str]:
        """Load wrong keys, one a line from line 6 on."""
        lines = "".join(f"  - {{{key}}}\n" for key in keys)
        return self.problems(f"{MODELS}keys:\n{lines}")

    def test_forms(self) -> None:
        """A token and its hash come to the same."""
        config = self.config(
            f"""{MODELS}keys:
  - {{name: a, token: word, models: [alpha, demo/x, "demo/*", "al*", BIG, "*"]}}
  - {{name: b, hash: "sha256:{hashlib.sha256(b"other").hexdigest().upper()}",
      requests_per_minute: 3, max_concurrent: 0}}
"""
        )
        a, b = config.keys
        self.assertEqual([one.hex() for one in a.digests], [self.DIGEST])
        self.assertEqual(b.digests, (hashlib.sha256(b"other").digest(),))
        self.assertEqual((len(a.models or ()), b.models), (6, None))
        self.assertEqual((b.limits.requests_per_minute, b.limits.max_concurrent), (3, None))
        self.assertTrue(config.requires_auth)
        self.assertNotIn("word", repr(config.keys))

    def test_one_of_the_two(self) -> None:
        """Exactly one of hash and token."""
        self.assertEqual(
            self.refused("name: a", f"name: b, token: t, hash: 'sha256:{self.DIGEST}'"),
            [
                "c.yaml:6: keys[0]: needs either `hash` or `token`",
                "c.yaml:7: keys[1].token: stands beside `hash`; write one of them",
            ],
        )

    def test_wrong_token(self) -> None:
        """A token that cannot be read is told once."""
        self.assertEqual(
            self.refused("name: a, token: [sk-x]"),
            ["c.yaml:6: keys[0].token: must be a token, not a list"],
        )
        self.assertEqual(
            self.refused("name: a, token: '${T}'"),
            ["c.yaml:6: keys[0].token: the environment variable T is not set"],
        )

    def test_wrong_hash(self) -> None:
        """A hash has its algorithm in front and the right length."""
        for value in (self.DIGEST, f"md5:{self.DIGEST}", "sha256:12", f"sha256:{self.DIGEST}0"):
            self.assertEqual(
                self.refused(f"name: a, hash: '{value}'"),
                [
                    "c.yaml:6: keys[0].hash: must be `sha256:` and the 64 hex digits of the "
                    "token's SHA-256"
                ],
            )

    def test_doubles(self) -> None:
        """Two keys of one name, or of one token."""
        self.assertEqual(
            self.refused("name: a, token: word", f"name: a, hash: 'sha256:{self.DIGEST}'"),
            [
                "c.yaml:7: keys[1].name: a second key has the name `a`",
                "c.yaml:7: keys[1]: has the same token as the key on line 6",
            ],
        )
        digest = f"sha256:{self.DIGEST}"
        self.assertEqual(
            self.refused(f"name: a, hash: ['{digest}', '{digest}']"),
            ["c.yaml:6: keys[0].hash: has the same hash twice"],
        )

    def test_models(self) -> None:
        """A key cannot allow what there is not."""
        self.assertEqual(
            self.refused("name: a, token: t, models: [beta, 'x*', 'demo/y*']"),
            [
                "c.yaml:6: keys[0].models[0]: there is no model or group `beta`",
                "c.yaml:6: keys[0].models[1]: `x*` matches no model and no group",
            ],
        )


class UnreadTests(LoadingTestCase):
    """Beside mistakes of another kind."""

    def test_all_at_once(self) -> None:
        """A value that cannot be read hides no wrong name elsewhere."""
        self.assertEqual(
            self.problems(
                """
                models:
                  - {name: alpha, provider: demo, priority: high, fallbacks: [bta]}
                  - {name: beta, provider: grok, fallbacks: [gone]}
                  - {name: gone}
                groups:
                  g: {models: [alpa, gone]}
                  h: {models: }
                  i: {models: []}
                  j: {models: [beta], strategy: luck}
                providers:
                  a: {base_url: none}
                keys:
                  - {name: a, hash: wrong, models: [nope, h]}
                  - {name: b}
                """
            ),
            [
                "c.yaml:2: models[0].priority: must be a whole number, not text",
                "c.yaml:2: models[0].fallbacks[0]: there is no model or group `bta`;"
                " did you mean `beta`?",
                "c.yaml:3: models[1]: provider grok needs a `base_url`, or the model a `url`,"
                " for its type is not a known one; did you mean `groq`?",
                "c.yaml:4: models[2].provider: is required",
                "c.yaml:6: groups.g.models[0]: there is no model `alpa`; did you mean `alpha`?",
                "c.yaml:7: groups.h.models: is required",
                "c.yaml:8: groups.i.models: must name at least one model",
                "c.yaml:9: groups.j.strategy: must be priority, weighted, round_robin,"
                " least_busy or fastest",
                "c.yaml:11: providers.a.base_url: must begin with http:// or https://",
                "c.yaml:13: keys[0].hash: must be `sha256:` and the 64 hex digits of the"
                " token's SHA-256",
                "c.yaml:13: keys[0].models[0]: there is no model or group `nope`",
                "c.yaml:14: keys[1]: needs either `hash` or `token`",
            ],
        )

    def test_no_echo(self) -> None:
        """What refers to something that could not be read is no mistake of its own."""
        for models, allowed, message in (
            ("- {name: demo/*}", "demo/x", "models[0].provider: is required"),
            ("- {provider: demo}", "x, demo/*", "models[0].name: is required"),
            ("- name:x", "x, demo/*", "models[0]: must be a mapping, not text"),
            ("{name: x, provider: demo}", "x", "models: must be a list, not a mapping"),
            (
                "- {name: y, provider: demo, model_size: HUGE}",
                "BIG",
                "models[0].model_size: must be SMALL or BIG",
            ),
        ):
            keys = f"keys: [{{name: k, token: t, models: [{allowed}]}}]"
            [problem] = self.problems(f"{keys}\nmodels:\n  {models}")
            self.assertIn(message, problem)
