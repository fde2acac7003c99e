"""Tests of :mod:`aiproxy.config.load` and :mod:`aiproxy.config.resolve`."""

from __future__ import annotations

import os
import re
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path

import attrs
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from aiproxy.config.load import load, load_config
from aiproxy.config.report import describe
from aiproxy.config.schema import Config, Model, Secret, Timeouts
from aiproxy.errors import ConfigurationError
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: a, provider: demo}]\n"


class LookupTests(LoadingTestCase):
    """Which file is read."""

    def name_of(self, config: Config) -> str:
        """Return the name of the only model."""
        [model] = config.models
        return model.name

    def test_order(self) -> None:
        """An argument before ``AIPROXY_CONFIG`` before ``provider_config.yaml``."""
        for name in ("a", "b", "provider_config"):
            self.write(f"models: [{{name: {name}, provider: demo}}]", f"{name}.yaml")
        env = {"AIPROXY_CONFIG": "b.yaml"}
        self.assertEqual(load("a.yaml", env=env, folder=self.folder).file, "a.yaml")
        self.assertEqual(load(env=env, folder=self.folder).file, "b.yaml")
        self.assertEqual(load(env={}, folder=self.folder).file, "provider_config.yaml")
        self.write("AIPROXY_CONFIG=a.yaml", ".env")
        self.assertEqual(load(env={}, folder=self.folder).file, "a.yaml")

    def test_folder(self) -> None:
        """A folder in the place of ``provider_config.yaml`` is a mistake, not none."""
        (self.folder / "provider_config.yaml").mkdir()
        with self.assertRaisesRegex(ConfigurationError, r"\.yaml: cannot be read: Is a directory"):
            load(env={}, folder=self.folder)

    def test_absolute(self) -> None:
        """``load_config`` takes a path of any kind."""
        self.write(DEMO)
        path = self.folder.absolute() / "c.yaml"
        self.assertEqual(self.name_of(load_config(path, env={})), "a")
        self.assertEqual(self.name_of(load_config(str(path), env={})), "a")

    def test_current_folder(self) -> None:
        """Without an argument the current folder and the process environment count."""
        self.write(DEMO, "provider_config.yaml")
        with chdir(self.folder):
            self.assertEqual(self.name_of(load_config()), "a")

    def test_unreadable(self) -> None:
        """A file that is named must be there, and be a file."""
        for name, reason in [
            ("none.yaml", "No such file or directory"),
            (".", "Is a directory"),
            ("a\0b", "not a file name"),
        ]:
            with self.assertRaises(ConfigurationError) as caught:
                load(name, env={}, folder=self.folder)
            [problem] = caught.exception.problems
            self.assertEqual(str(problem), f"{name}: cannot be read: {reason}")

    def test_empty(self) -> None:
        """An empty file is a mistake."""
        for text in ("", "# soon\n"):
            self.assertEqual(
                self.problems(text), ["c.yaml:1: the file is empty; it needs at least `models:`"]
            )

    def test_no_models(self) -> None:
        """A file without models can be loaded, but says so."""
        for text in ("server:\n", "models:\n", "models: []"):
            self.assertEqual(
                self.warnings(text), ["c.yaml:1: models: none is configured; nothing can be served"]
            )


class FirstRunTests(LoadingTestCase):
    """Nothing configured."""

    def test_nothing(self) -> None:
        """There is the demo."""
        config = load(env={}, folder=self.folder).config
        [model] = config.models
        self.assertEqual((model.name, model.upstream_model), ("demo/echo", "echo"))
        self.assertEqual((model.provider, model.provider_type, model.dialect), ("demo",) * 3)
        self.assertIsNone(model.disabled)
        self.assertTrue(config.first_run)
        self.assertFalse(config.requires_auth)
        self.assertEqual(config.port, 8080)

    def test_keys_of_the_environment(self) -> None:
        """Each provider key that is set brings a wildcard; an empty one does not."""
        env = {"GROQ_API_KEY": "gsk", "GOOGLE_API_KEY": "goo", "OPENAI_API_KEY": " "}
        config = load(env=env, folder=self.folder).config
        self.assertEqual(
            [model.name for model in config.models], ["demo/echo", "google/*", "groq/*"]
        )
        groq = config.models[2]
        self.assertTrue(groq.wildcard)
        self.assertEqual(groq.tokens, (Secret("gsk"),))
        self.assertEqual(groq.base_url, "https://api.groq.com/openai/v1")
        self.assertEqual(config.providers["groq"].tokens, (Secret("gsk"),))

    def test_env_file(self) -> None:
        """Keys of the ``.env`` file count too."""
        self.write("GROQ_API_KEY=gsk\n", ".env")
        loaded = load(env={}, folder=self.folder)
        self.assertEqual([model.name for model in loaded.config.models], ["demo/echo", "groq/*"])
        self.assertEqual((loaded.file, loaded.env_file), (None, ".env"))

    def test_left_out(self) -> None:
        """A key that needs more than itself is left out with a warning."""
        env = {"CLOUDFLARE_API_TOKEN": "cf", "AZURE_OPENAI_API_KEY": "az"}
        loaded = load(env=env, folder=self.folder)
        self.assertEqual(
            [str(warning) for warning in loaded.warnings],
            [
                "CLOUDFLARE_API_TOKEN is set, but not CLOUDFLARE_ACCOUNT_ID: "
                "cloudflare is left out",
                "AZURE_OPENAI_API_KEY is set, but azure needs a base_url: left out",
            ],
        )
        self.assertEqual(len(loaded.config.models), 1)
        loaded = load(env={**env, "CLOUDFLARE_ACCOUNT_ID": "0a/1"}, folder=self.folder)
        self.assertEqual(
            loaded.config.models[1].base_url,
            "https://api.cloudflare.com/client/v4/accounts/0a%2F1/ai/v1",
        )

    def test_bad_key(self) -> None:
        """A key that cannot be sent is a mistake; it is named and not shown."""
        with self.assertRaises(ConfigurationError) as caught:
            load(env={"GROQ_API_KEY": "gsk secret"}, folder=self.folder)
        self.assertEqual(
            str(caught.exception),
            "environment: GROQ_API_KEY: must be one word of ASCII letters, digits and signs",
        )

    def test_bad_key_of_several(self) -> None:
        """A bad variable that two providers read is told once."""
        self.assertEqual(
            self.problems(
                f"{DEMO}providers: {{a: {{type: groq}}, b: {{type: groq}}}}",
                {"GROQ_API_KEY": "x y"},
            ),
            ["environment: GROQ_API_KEY: must be one word of ASCII letters, digits and signs"],
        )

    def test_demo_only_if_configured(self) -> None:
        """With a file there is only what it configures."""
        env = {"GROQ_API_KEY": "gsk"}
        self.assertEqual(len(self.config(DEMO, env).models), 1)
        model = self.model("models: [{name: demo/echo, provider: demo}]", env)
        self.assertEqual((model.upstream_model, model.dialect), ("echo", "demo"))


class ProviderTests(LoadingTestCase):
    """What a provider entry gives to its models."""

    def test_known_type(self) -> None:
        """An entry of a known type has that type's base URL and dialect."""
        config = self.config(
            """
            providers:
              claude: {type: anthropic, token: t1}
              gemini: {token: t2}
            models:
              - {name: a, provider: claude}
              - {name: gemini/b, provider: gemini}
            """
        )
        claude, gemini = config.providers["claude"], config.providers["gemini"]
        self.assertEqual((claude.type, claude.dialect), ("anthropic", "anthropic"))
        self.assertEqual(claude.base_url, "https://api.anthropic.com/v1")
        self.assertEqual((gemini.name, gemini.type, gemini.dialect), ("gemini", "google", "google"))
        self.assertEqual(config.models[1].upstream_model, "b")
        self.assertEqual(config.models[1].tokens, (Secret("t2"),))

    def test_implied(self) -> None:
        """A model may name a type, or an alias of it, without an entry."""
        env = {"GEMINI_API_KEY": "k"}
        for name in ("google", "gemini"):
            config = self.config(f"models: [{{name: gemini/a, provider: {name}}}]", env)
            self.assertEqual(list(config.providers), ["google"])
            self.assertEqual(config.models[0].provider, "google")
            self.assertEqual(config.models[0].upstream_model, "a")

    def test_shared(self) -> None:
        """Models that imply the same provider share it."""
        config = self.config(
            "models: [{name: a, provider: groq}, {name: b, provider: groq}]", {"GROQ_API_KEY": "k"}
        )
        self.assertEqual(list(config.providers), ["groq"])

    def test_unknown_type(self) -> None:
        """Any other type is OpenAI-compatible, with a base URL and without a need for a token."""
        model = self.model(
            """
            providers: {mine: {base_url: "http://10.0.0.1/v1"}}
            models: [{name: mine/a, provider: mine}]
            """
        )
        self.assertEqual((model.provider_type, model.dialect), ("mine", "openai"))
        self.assertEqual((model.base_url, model.upstream_model), ("http://10.0.0.1/v1", "a"))
        self.assertEqual((model.tokens, model.disabled), ((), None))

    def test_no_url(self) -> None:
        """Without a URL from anywhere there is nothing to call."""
        for provider, message in [
            (
                "gorq",
                "provider gorq needs a `base_url`, or the model a `url`, for its type is not a "
                "known one; did you mean `groq`?",
            ),
            ("azure", "provider azure needs a `base_url`, or the model a `url`"),
            (
                "cloudflare",
                "provider cloudflare needs `account_id` (or CLOUDFLARE_ACCOUNT_ID), or `base_url`",
            ),
        ]:
            self.assertEqual(
                self.problems(f"models:\n  - name: a\n    provider: {provider}\n    token: t"),
                [f"c.yaml:2: models[0]: {message}"],
            )

    def test_azure(self) -> None:
        """An Azure entry has its own URL and version."""
        model = self.model(
            """
            providers:
              azure: {base_url: "https://x.openai.azure.com/openai/v1", token: t, api_version: v}
            models: [{name: a, provider: azure}]
            """
        )
        self.assertEqual((model.api_version, model.dialect), ("v", "openai"))

    def test_cloudflare_account(self) -> None:
        """The account is the entry's, else the environment's."""
        text = """
            providers: {cloudflare: {token: t, %s}}
            models:
              - {name: a, provider: cloudflare}
              - {name: cloudflare/@cf/b, provider: cloudflare}
            """
        for entry, account in [("account_id: 12", "12"), ("headers: {}", "34")]:
            config = self.config(text % entry, {"CLOUDFLARE_ACCOUNT_ID": "34"})
            self.assertEqual(
                config.models[0].base_url,
                f"https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
            )
            self.assertEqual(config.models[1].upstream_model, "@cf/b")

    def test_gigachat(self) -> None:
        """With an entry the scope is for persons, and the URLs are the configured ones."""
        text = """
            providers: {gigachat: {token: "id:secret", %s}}
            models: [{name: gigachat/a, provider: gigachat, url: "https://own.example/chat"}]
            """
        model = self.model(text % "headers: {}")
        self.assertEqual(
            (model.scope, model.url), ("GIGACHAT_API_PERS", "https://own.example/chat")
        )
        model = self.model(text % "scope: S, auth_url: 'https://own.example/auth'")
        self.assertEqual((model.scope, model.auth_url), ("S", "https://own.example/auth"))

    def test_gigachat_from_the_environment(self) -> None:
        """Ready credentials of the environment are no Go file's."""
        model = self.model(
            "models: [{name: gigachat/a, provider: gigachat}]", {"GIGACHAT_CREDENTIALS": "aWQ6c2Vj"}
        )
        self.assertEqual((model.scope, model.upstream_model), ("GIGACHAT_API_PERS", "a"))

    def test_keys_of_other_types(self) -> None:
        """A key that only another type has is a mistake."""
        for key, its_type in [
            ("scope", "gigachat"),
            ("auth_url", "gigachat"),
            ("account_id", "cloudflare"),
            ("api_version", "azure"),
        ]:
            self.assertEqual(
                self.problems(f"{DEMO}providers:\n  groq:\n    {key}: 'https://a.example'"),
                [f"c.yaml:4: providers.groq.{key}: is for providers of type {its_type} only"],
            )

    def test_files(self) -> None:
        """Files of certificates are found beside the configuration, and must be there."""
        self.write("x", "ca.pem")
        text = "%sproviders:\n  a:\n    type: groq\n    ca_bundle: %s\n"
        config = self.config(text % (DEMO, "ca.pem"))
        self.assertEqual(config.providers["a"].ca_bundle, os.path.abspath(self.folder / "ca.pem"))
        for key in ("ca_bundle", "client_cert"):
            self.assertEqual(
                self.problems(text.replace("ca_bundle", key) % (DEMO, "nowhere.pem")),
                [f"c.yaml:5: providers.a.{key}: there is no such file"],
            )

    def test_folder_of_the_file(self) -> None:
        """Relative names are relative to the file's folder, not the current one."""
        (self.folder / "sub").mkdir()
        self.write("x", "sub/ca.pem")
        self.write(f"{DEMO}providers: {{a: {{ca_bundle: ca.pem}}}}", "sub/c.yaml")
        config = load("sub/c.yaml", env={}, folder=self.folder).config
        self.assertEqual(
            config.providers["a"].ca_bundle, os.path.abspath(self.folder / "sub" / "ca.pem")
        )


class TypeTests(LoadingTestCase):
    """What a provider's ``type`` may be."""

    def test_case(self) -> None:
        """A known type in other letters is no server of one's own."""
        text = f"{DEMO}providers:\n  a: {{type: Anthropic, base_url: 'http://a.example'}}"
        self.assertEqual(
            self.problems(text), ["c.yaml:3: providers.a.type: is written `anthropic`"]
        )
        [problem] = self.problems(
            "providers: {a: {type: GROQ}}\nmodels: [{name: a/m, provider: a}]"
        )
        self.assertEqual(problem, "c.yaml:1: providers.a.type: is written `groq`")
        for other in ("anthropic", "mine", "Mine"):
            self.config(text.replace("Anthropic", other))


class BaseURLTests(LoadingTestCase):
    """What a provider's ``base_url`` may be."""

    def test_route(self) -> None:
        """A URL of chat is a model's ``url``: as a base, the route would stand there twice."""
        for kind, url, route in [
            ("vllm", "http://a.example/v1/chat/completions", "/chat/completions"),
            ("other", "http://a.example/v1/chat/completions/", "/chat/completions"),
            ("azure", "https://a.example/x/chat/completions?api-version=1", "/chat/completions"),
            ("anthropic", "https://a.example/v1/messages", "/messages"),
        ]:
            self.assertEqual(
                self.problems(
                    "models: [{name: m, provider: a}]\n"
                    f"providers: {{a: {{type: {kind}, base_url: '{url}'}}}}"
                ),
                [
                    f"c.yaml:2: providers.a.base_url: ends in `{route}`, which is appended to it:"
                    " leave that out, or write it all as `url` of a model"
                ],
            )

    def test_no_route(self) -> None:
        """What is not asked, or may be a path of its own, is taken."""
        for model, provider in [
            (
                "url: 'http://a.example/'",
                "type: vllm, base_url: 'http://a.example/chat/completions'",
            ),
            ("tokens: [t]", "type: google, base_url: 'http://a.example/chat'"),
            ("tokens: [t]", "type: cohere, base_url: 'http://a.example/chat'"),
            ("tokens: [t]", "type: anthropic, base_url: 'http://a.example/messages'"),
        ]:
            self.config(
                f"models: [{{name: m, provider: a, {model}}}]\nproviders: {{a: {{{provider}}}}}"
            )


class TokenTests(LoadingTestCase):
    """Where a model's keys come from."""

    TEXT = """
        providers: {groq: {%s}}
        models:
          - {name: a, provider: groq}
          - {name: b, provider: groq, token: own}
        """

    def test_order(self) -> None:
        """The model's own, else the provider's, else the environment's."""
        env = {"GROQ_API_KEY": "env"}
        a, b = self.config(self.TEXT % "token: entry", env).models
        self.assertEqual((a.tokens, b.tokens), ((Secret("entry"),), (Secret("own"),)))
        a, b = self.config(self.TEXT % "headers: {}", env).models
        self.assertEqual((a.tokens, b.tokens), ((Secret("env"),), (Secret("own"),)))

    def test_first_variable(self) -> None:
        """The first variable that is set counts."""
        env = {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "second"}
        model = self.model("models: [{name: a, provider: google}]", env)
        self.assertEqual(model.tokens, (Secret("second"),))

    def test_several(self) -> None:
        """Several tokens are kept in order, each once."""
        model = self.model("models: [{name: a, provider: groq, tokens: [x, y, x]}]")
        self.assertEqual(model.tokens, (Secret("x"), Secret("y")))

    def test_both(self) -> None:
        """``token`` beside ``tokens`` is a mistake."""
        self.assertEqual(
            self.problems("models:\n- name: a\n  provider: groq\n  token: x\n  tokens: [y]"),
            ["c.yaml:5: models[0].tokens: stands beside `token`; write one of them"],
        )

    def test_none(self) -> None:
        """Without any token the models are off, with one warning for the provider."""
        loaded = self.load("models:\n- {name: a, provider: groq}\n- {name: b, provider: groq}")
        self.assertEqual(
            [str(warning) for warning in loaded.warnings],
            [
                "c.yaml:2: models[0]: no token for provider groq: set GROQ_API_KEY, or `token`; "
                "without it the model is off"
            ],
        )
        for model in loaded.config.models:
            self.assertEqual(
                model.disabled, "no token for provider groq: set GROQ_API_KEY, or `token`"
            )

    def test_none_needed(self) -> None:
        """Servers of one's own need no token, also behind a known type."""
        for text in (
            "models: [{name: a, provider: ollama}]",
            "models: [{name: a, provider: openai, url: 'http://localhost:1/v1/chat/completions'}]",
            "providers: {openai: {base_url: 'http://localhost:1/v1'}}\n"
            "models: [{name: a, provider: openai}]",
        ):
            model = self.config(text).models[0]
            self.assertEqual((model.tokens, model.disabled), ((), None))

    def test_missing_variable_of_provider(self) -> None:
        """It turns the provider off, with its models that have no token of their own."""
        loaded = self.load(self.TEXT % "token: '${KEY}'", {"GROQ_API_KEY": "env"})
        self.assertEqual(
            [str(warning) for warning in loaded.warnings],
            [
                "c.yaml:1: providers.groq.token: the environment variable KEY is not set; "
                "what needs it is off"
            ],
        )
        reason = "the environment variable KEY is not set; provider groq is off"
        a, b = loaded.config.models
        self.assertEqual(loaded.config.providers["groq"].disabled, reason)
        self.assertEqual((a.disabled, a.tokens), (reason, ()))
        self.assertEqual((b.disabled, b.tokens), (None, (Secret("own"),)))

    def test_missing_variable_of_model(self) -> None:
        """It turns the model off, although the provider has a token."""
        text = "models: [{name: a, provider: groq, token: '${KEY}'}]"
        loaded = self.load(text, {"GROQ_API_KEY": "env"})
        [model] = loaded.config.models
        self.assertEqual(
            model.disabled, "the environment variable KEY is not set; the model is off"
        )
        self.assertEqual(len(loaded.warnings), 1)
        self.assertIsNone(self.model(text, {"KEY": "k"}).disabled)

    def test_one_of_several_missing(self) -> None:
        """The others are used, with a warning."""
        text = "models:\n- name: a\n  provider: groq\n  tokens: [x, '${K1}', '${K2}']"
        loaded = self.load(text)
        self.assertEqual(
            [str(warning) for warning in loaded.warnings],
            [
                "c.yaml:4: models[0].tokens: the environment variables K1, K2 are not set; "
                "the others are used"
            ],
        )
        self.assertEqual(loaded.config.models[0].tokens, (Secret("x"),))
        self.assertIsNone(loaded.config.models[0].disabled)

    def test_empty_variable(self) -> None:
        """It is one that is not set: no other key stands in for the one that was meant."""
        own = "models:\n- name: a\n  provider: groq\n  %s"
        for text in (
            self.TEXT % "token: '${KEY}'",
            self.TEXT % "tokens: ['${KEY}']",
            own % "token: ${KEY}",
            own % "token: sk-${KEY}",
            own % "tokens: ['${KEY}', x]",
        ):
            unset = self.load(text, {"GROQ_API_KEY": "env"})
            self.assertEqual(len(unset.warnings), 1)
            for empty in ("", " "):
                loaded = self.load(text, {"GROQ_API_KEY": "env", "KEY": empty})
                self.assertEqual(loaded.config, unset.config)
                self.assertEqual(loaded.warnings, unset.warnings)

    def test_nothing_written(self) -> None:
        """Nothing, or a default that is nothing, is no token; the type's variable counts."""
        for token in ("", "~", "''", "' '", "${KEY:-}"):
            text = f"models:\n- name: a\n  provider: groq\n  token: {token}"
            for key in ({}, {"KEY": ""}):
                model = self.model(text, {**key, "GROQ_API_KEY": "env"})
                self.assertEqual((model.tokens, model.disabled), ((Secret("env"),), None))


class ModelTests(LoadingTestCase):
    """What a model comes to."""

    ENV = {"GROQ_API_KEY": "k"}  # noqa: RUF012

    def upstream(self, entry: str) -> str:
        """Return what the upstream calls a model."""
        return self.model(f"models: [{{{entry}}}]", self.ENV).upstream_model

    def test_upstream_model(self) -> None:
        """The provider's name or type is taken off, once; an explicit name is kept."""
        self.assertEqual(self.upstream("name: groq/a, provider: groq"), "a")
        self.assertEqual(self.upstream("name: groq/groq/a, provider: groq"), "groq/a")
        self.assertEqual(self.upstream("name: openai/a, provider: groq"), "openai/a")
        self.assertEqual(self.upstream("name: groq/, provider: groq"), "groq/")
        self.assertEqual(self.upstream("name: groq/a, provider: groq, upstream_model: b"), "b")

    def test_upstream_model_of_an_entry(self) -> None:
        """Both the entry's own name and its type are such prefixes."""
        config = self.config(
            """
            providers: {fast: {type: groq}}
            models: [{name: fast/a, provider: fast}, {name: groq/b, provider: fast}]
            """,
            self.ENV,
        )
        self.assertEqual([model.upstream_model for model in config.models], ["a", "b"])

    def test_wildcard(self) -> None:
        """What stands for the ``*`` goes to the upstream, in the pattern if there is one."""
        config = self.config(
            """
            models:
              - {name: groq/*, provider: groq}
              - {name: mine/*, provider: groq, upstream_model: "openai/*"}
              - {name: groq/own, provider: groq, upstream_model: x}
              - {name: groq/long/*, provider: groq}
            """,
            self.ENV,
        )

        def ask(name: str) -> tuple[str, str] | None:
            model = config.find_model(name)
            return (model.name, model.upstream_name(name)) if model else None

        self.assertEqual(ask("groq/a/b"), ("groq/*", "a/b"))
        self.assertEqual(ask("mine/a"), ("mine/*", "openai/a"))
        self.assertEqual(ask("groq/own"), ("groq/own", "x"))
        self.assertEqual(ask("groq/long/a"), ("groq/long/*", "a"))
        self.assertEqual(ask("groq/*x*"), ("groq/*", "*x*"))
        for name in ("groq/", "groq", "other/a", ""):
            self.assertIsNone(ask(name))

    def test_wrong_wildcards(self) -> None:
        """A ``*`` stands at the end, after a slash; the pattern needs one."""
        for name in ("'*'", "groq*", "gr*q/*", "groq/*/a"):
            self.assertEqual(
                self.problems(f"models:\n- name: {name}\n  provider: demo"),
                [
                    "c.yaml:2: models[0].name: has a `*`; such a name must end in `/*`, "
                    "as in `groq/*`, and have no other"
                ],
            )
        self.assertEqual(
            self.problems("models:\n- name: a/*\n  provider: demo\n  upstream_model: b"),
            [
                "c.yaml:4: models[0].upstream_model: needs a `*` for what the wildcard of the "
                "name stands for"
            ],
        )

    def test_timeouts(self) -> None:
        """The model's over the provider's over the global ones; ``attempt`` over its Go name."""
        config = self.config(
            """
            timeouts: {connect: 1s, idle: 1s, attempt: 1s}
            providers:
              groq:
                timeouts: {idle: 2s, headers: 2s}
                http_client_config: {timeout_seconds: 2, idle_conn_timeout_seconds: 60}
            models:
              - {name: a, provider: groq}
              - name: b
                provider: groq
                timeouts: {headers: 3s, attempt: 4s}
                http_client_config: {timeout_seconds: 3, idle_conn_timeout_seconds: 70}
            """,
            self.ENV,
        )
        self.assertEqual(config.timeouts, Timeouts(connect=1.0, idle=1.0, attempt=1.0))
        a, b = config.models
        self.assertEqual(a.timeouts, Timeouts(connect=1.0, idle=2.0, headers=2.0, attempt=2.0))
        self.assertEqual(b.timeouts, Timeouts(connect=1.0, idle=2.0, headers=3.0, attempt=4.0))
        self.assertEqual((a.pool_idle_timeout, b.pool_idle_timeout), (60.0, 70.0))
        self.assertEqual(config.providers["groq"].timeouts, a.timeouts)

    def test_headers_and_body(self) -> None:
        """The model's are laid over the provider's; names of headers in any case."""
        config = self.config(
            """
            providers: {groq: {headers: {X-A: "1", X-B: "2"}, body: {a: 1, b: 2}}}
            models:
              - {name: a, provider: groq, headers: {x-b: "3"}, body: {b: 3}}
            """,
            self.ENV,
        )
        [model] = config.models
        self.assertEqual(model.headers, {"x-a": "1", "x-b": "3"})
        self.assertEqual(model.body, {"a": 1, "b": 3})

    def test_the_rest(self) -> None:
        """Every other key arrives."""
        model = self.model(
            """
            models:
              - name: a
                provider: groq
                priority: 2
                weight: 3
                requests_per_minute: 1
                requests_per_hour: 2
                requests_per_day: 3
                tokens_per_minute: 4
                max_concurrent: 5
                min_interval: 1s
                max_request_length: 64KiB
                context_window: 8192
                kind: image
                fallbacks: [a]
                reasoning: true
                stream_upstream: true
            """,
            self.ENV,
        )
        self.assertEqual((model.priority, model.weight, model.min_interval), (2, 3.0, 1.0))
        limits = model.limits
        self.assertEqual(
            (limits.requests_per_minute, limits.requests_per_hour, limits.requests_per_day),
            (1, 2, 3),
        )
        self.assertEqual((limits.tokens_per_minute, limits.max_concurrent), (4, 5))
        self.assertEqual((model.max_request_length, model.context_window), (65536, 8192))
        self.assertEqual((model.kind, model.fallbacks), ("image", ("a",)))
        self.assertTrue(model.reasoning and model.stream_upstream)

    def test_kind_wins(self) -> None:
        """``kind: chat`` beside a length of 0 is a chat model without a bound."""
        model = self.model("models: [{name: a, provider: demo, kind: chat, max_request_length: 0}]")
        self.assertEqual((model.kind, model.max_request_length), ("chat", None))


class ServerTests(LoadingTestCase):
    """Names of files and folders in ``server``."""

    def test_state(self) -> None:
        """The configured folder, else systemd's, else none."""
        env = {"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}
        for text, variables, state in [
            ("", {}, None),
            ("", env, "/var/lib/a"),
            ("server: {state: /x}", env, "/x"),
            ("server: {state: none}", env, None),
            ("server: {state: s}", {}, os.path.abspath(self.folder / "s")),
        ]:
            self.assertEqual(self.config(f"{DEMO}{text}", variables).server.state, state)

    def test_access_log(self) -> None:
        """Words are kept, a file's name becomes absolute."""
        for written, path in [
            ("'-'", "-"),
            ("none", "none"),
            ("syslog", "syslog"),
            ("a.log", os.path.abspath(self.folder / "a.log")),
        ]:
            config = self.config(f"{DEMO}server: {{access_log: {written}}}")
            self.assertEqual(config.server.access_log, path)

    def test_body_log(self) -> None:
        """So it is with the body log, which has one word only."""
        for written, path in [
            ("none", "none"),
            ("b.log", os.path.abspath(self.folder / "b.log")),
            ("/var/log/b.log", "/var/log/b.log"),
        ]:
            config = self.config(f"{DEMO}server: {{body_log: {written}}}")
            self.assertEqual(config.server.body_log, path)


class EnvironmentTests(LoadingTestCase):
    """What the environment adds to the file."""

    def test_settings(self) -> None:
        """Tokens, port and retries."""
        config = self.config(
            f"{DEMO}retry: {{max_retries: 9, base_delay: 9s, takeover: false}}",
            {"AUTH_TOKEN": "a, b,", "ADMIN_TOKEN": "c", "PORT": "81", "RETRY_MAX_RETRIES": "1"},
        )
        self.assertEqual(config.auth_tokens, (Secret("a"), Secret("b")))
        self.assertEqual((config.admin_token, config.port), (Secret("c"), 81))
        self.assertEqual((config.retry.max_retries, config.retry.base_delay), (1, 9.0))
        self.assertFalse(config.retry.takeover)
        self.assertTrue(config.requires_auth)

    def test_with_the_files_problems(self) -> None:
        """Mistakes of environment and file come together."""
        self.write("PORT=x\n", ".env")
        self.assertEqual(
            self.problems("models: [{name: a}]", {"ADMIN_TOKEN": "x y"}),
            [
                ".env:1: PORT: must be a port number from 1 to 65535",
                "c.yaml:1: models[0].provider: is required",
                "environment: ADMIN_TOKEN: must be one word of ASCII letters, digits and signs",
            ],
        )

    def test_variables_of_the_env_file(self) -> None:
        """``${…}`` sees the ``.env`` file."""
        self.write("KEY=k\n", ".env")
        model = self.model("models: [{name: a, provider: groq, token: '${KEY}'}]")
        self.assertEqual(model.tokens, (Secret("k"),))


#: Every key of the schema, and two names.
KEYS = sorted(
    {re.split(r"\W+", documented.path)[-1] for documented in walk_keys(File)}
    | {*attrs.fields_dict(Timeouts), "groq", "a"}
)

SNIPPETS = st.sampled_from(
    [
        *KNOWN_PROVIDERS,
        "models:",
        "- name: a",
        "  provider: groq",
        "  token: x",
        "  timeouts: {idle: 1s}",
        "  fallbacks: [a, g]",
        "  name: b/*",
        "groups: {g: {models: [a]}}",
        "keys: [{name: k, token: t, models: ['*']}]",
        "providers: {groq: {base_url: 'http://a'}}",
        "server: {cors: ['*']}",
        "<<: *a",
        "&a",
        "${A}",
        "- ",
        "  ",
        "[1, {a: b}]",
        "~",
        "2030-01-01",
        "\t",
        ": ",
        "\ud800",
    ]
)


class HostileFileTests(LoadingTestCase):
    """Whatever stands in the file, only our own error comes out."""

    def check(self, data: bytes) -> None:
        """Load the data: a configuration that can be reported, or problems of the file."""
        self.write(data)
        try:
            loaded = load("c.yaml", env={"A": "1"}, folder=self.folder)
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            for problem in error.problems:
                self.assertEqual(problem.file, "c.yaml")
                self.assertGreaterEqual(problem.line or 0, 1)
        else:
            self.assertIsInstance(describe(loaded.config, datetime.now(UTC)), str)

    @given(st.binary(max_size=300))
    def test_bytes(self, data: bytes) -> None:
        """Bytes of any kind."""
        self.check(data)

    @settings(max_examples=300)
    @given(st.lists(st.one_of(SNIPPETS, st.just("\n")), max_size=30))
    def test_snippets(self, snippets: list[str]) -> None:
        """What looks like a configuration."""
        self.check("\n".join(snippets).encode("utf-8", "surrogatepass"))

    @settings(max_examples=300)
    @given(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3),
                st.dictionaries(
                    st.sampled_from(KEYS),
                    inner,
                    max_size=4,
                ),
            ),
            max_leaves=20,
        )
    )
    def test_shapes(self, value: object) -> None:
        """Our keys with values of any shape."""
        self.check(yaml.safe_dump(value, allow_unicode=False).encode())


class SecrecyTests(LoadingTestCase):
    """A secret is not shown, whatever is done to the configuration."""

    TEXT = """
        keys: [{name: k, token: sk-1}]
        providers:
          groq:
            tokens: [sk-2, sk-3]
            base_url: https://sk-4:sk-5@groq.example/v1?api_key=sk-6
            headers: {authorization: sk-7}
            body: {key: sk-8}
        models:
          - name: a
            provider: groq
            token: ${T}
            url: https://groq.example/v1?key=sk-9
            headers: {x-key: sk-10}
        """

    def test_never_shown(self) -> None:
        """Not by ``repr`` of anything, nor in the report."""
        env = {"T": "sk-11", "AUTH_TOKEN": "sk-12", "ADMIN_TOKEN": "sk-13"}
        loaded = self.load(self.TEXT, env)
        model: Model = loaded.config.models[0]
        shown = [
            repr(loaded),
            repr(model),
            repr(list(loaded.config.providers.values())),
            repr(loaded.config.keys),
            describe(loaded.config, datetime.now(UTC)),
        ]
        self.assertNotIn("sk-", "".join(shown))
        self.assertEqual([token.reveal() for token in model.tokens], ["sk-11"])

    def test_not_in_problems(self) -> None:
        """Not in a message about any of the keys, when the shape is wrong."""
        for wrong in ("{sk-x: 1}", "[[sk-x]]", "[{sk-x: sk-x}]", "'sk-x sk-x'", "${sk-x}", "*sk-x"):
            for key in ("token", "tokens", "url", "priority", "kind", "timeouts", "weight"):
                problems = self.problems(f"models: [{{name: a, provider: demo, {key}: {wrong}}}]")
                self.assertNotIn("sk-x sk", " ".join(problems))
                if key != "timeouts":
                    self.assertNotIn("sk-x", " ".join(problems), (key, wrong))


class EmbeddingTests(LoadingTestCase):
    """The face for embedders."""

    def test_environment_untouched(self) -> None:
        """Loading changes nothing in the process environment."""
        self.write("SOME_VARIABLE=x\n", ".env")
        before = dict(os.environ)
        with chdir(self.folder):
            load_config()
        self.assertEqual(dict(os.environ), before)

    def test_env_file_argument(self) -> None:
        """An ``.env`` file by name."""
        self.write(DEMO)
        self.write("PORT=99\n", "other.env")
        path = Path(os.path.abspath(self.folder))
        config = load_config(path / "c.yaml", env={}, env_file=str(path / "other.env"))
        self.assertEqual(config.port, 99)
