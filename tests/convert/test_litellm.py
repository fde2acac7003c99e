"""Whole configurations of LiteLLM, good and bad."""

from __future__ import annotations

import re

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aiproxy.convert.litellm import convert
from aiproxy.convert.litellm_values import Findings, read_value
from aiproxy.convert.writing import write_file
from aiproxy.errors import ConfigurationError
from tests.convert.converting import KEYS, ConvertingTestCase

SECRET = "hunter2"


class FileTests(ConvertingTestCase):
    """Several sections, and several files."""

    def test_whole(self) -> None:
        """A file with all sections becomes one that says the same, without a model that is off."""
        outcome = self.outcome(
            """
            model_list:
            - model_name: gpt-4o
              litellm_params:
                model: azure/gpt-4o-eu
                api_base: https://eu.openai.azure.com/
                api_key: os.environ/AZURE_EU
                rpm: 60
            - model_name: gpt-4o
              litellm_params: {model: gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 20}
            - model_name: claude
              litellm_params: {model: claude-sonnet-4-0}
            litellm_settings: {num_retries: 2, json_logs: true, fallbacks: [{gpt-4o: [claude]}]}
            router_settings: {routing_strategy: least-busy, timeout: 45}
            general_settings: {master_key: os.environ/MASTER}
            environment_variables: {REDIS_HOST: secret}
            guardrails: [{guardrail_name: x}]
            """
        )
        config = outcome.config
        self.assertEqual(config.groups["gpt-4o"].models, ("gpt-4o@azure", "gpt-4o@openai"))
        self.assertEqual(config.groups["gpt-4o"].strategy, "least_busy")
        self.assertEqual(outcome.models["gpt-4o@azure"].limits.requests_per_minute, 60)
        self.assertEqual([model.fallbacks for model in config.models], [("claude",)] * 2 + [()])
        self.assertEqual((config.retry.max_retries, config.timeouts.attempt), (2, 45))
        self.assertEqual([model.disabled for model in config.models], [None] * 3)
        self.assertEqual(
            [note.partition(": ")[0] for note in outcome.notes],
            [
                "14 not taken over general_settings.master_key",
                "15 not taken over environment_variables",
                "16 not taken over guardrails",
            ],
        )
        self.assertIn("in `.env`: REDIS_HOST", outcome.notes[1])
        self.assertNotIn("secret\n", outcome.text)

    def test_included(self) -> None:
        """Lists of included files are appended, anything else takes the place of what was there."""
        outcome = self.outcome(
            "include: [l1.yaml]\n"
            "model_list: [{model_name: a, litellm_params: {model: openai/a}}]\n"
            "router_settings: {num_retries: 1}",
            "model_list: [{model_name: b, litellm_params: {model: openai/b}}]\n"
            "router_settings: {timeout: 9}\n"
            "include: [l2.yaml]",
        )
        self.assertEqual(list(outcome.models), ["a", "b"])
        self.assertEqual(
            (outcome.config.retry.max_retries, outcome.config.timeouts.attempt), (3, 9)
        )
        self.assertEqual(
            outcome.notes,
            [
                "3 not taken over router_settings: an included file has the same section",
                "3 not taken over include: is read in the main file only, by LiteLLM too",
            ],
        )

    def test_notes_are_said_once(self) -> None:
        """What applies to several lines is one note."""
        entry = (
            "- model_name: %s\n  litellm_params: {model: openai/x}\n  model_info: {tier: free}\n"
        )
        outcome = self.outcome("model_list:\n" + "".join(entry % name for name in "abc"))
        [note] = outcome.notes
        self.assertTrue(note.startswith("4,7,10 not taken over model_list[].model_info.tier: "))
        self.assertTrue(note.endswith(" (also line 7, 10)"))

    def test_nothing(self) -> None:
        """A file without models becomes one that loads all the same."""
        outcome = self.outcome("general_settings: {}")
        self.assertEqual(outcome.config.models, ())

    def test_mistakes(self) -> None:
        """Bad YAML and wrong shapes are mistakes with file and line; all are told."""
        for text, expected in (
            ("", ["l.yaml:1: the file is empty"]),
            ("[1]", ["l.yaml:1: must be a mapping with `model_list` and settings"]),
            ("model_list: {a: 1}", ["l.yaml:1: model_list: must be a list"]),
            (
                "server: {}\nmodels: [{name: a, provider: demo}]",
                [
                    "l.yaml:2: models: such a file is ours, or the Go proxy's:"
                    " `aiproxy check` reads it as it is"
                ],
            ),
            (
                "model_list: [1]\ncredential_list: [1]",
                [
                    "l.yaml:1: model_list[]: must be a mapping with `model_name` and"
                    " `litellm_params`",
                    "l.yaml:2: credential_list[]: needs a `credential_name` and"
                    " `credential_values`",
                ],
            ),
        ):
            self.assertEqual(self.mistakes(text), expected)
        [mistake] = self.mistakes("a: 1\n- b")
        self.assertTrue(mistake.startswith("l.yaml:2: the file is not YAML: "))

    def test_second_file(self) -> None:
        """A mistake in an included file is told with its name."""
        self.assertEqual(
            self.mistakes("model_list: []", "model_list:\n- 1")[0].partition(": ")[0], "l1.yaml:2"
        )


_words = st.sampled_from(
    (
        *(
            "a",
            "b",
            "*",
            "x/*",
            "openai/x",
            "groq/*",
            "azure/x",
            "os.environ/A",
            "http://h.example",
        ),
        *("BIG", "${", "$$", "", " ", "\u2028", "yes", "1", "1e3", "simple-shuffle", "bedrock/x"),
    )
)
_texts = _words | st.text(max_size=8)
_keys = st.sampled_from(
    (
        *("model_list", "model_name", "litellm_params", "model", "api_base", "api_version"),
        *("router_settings", "litellm_settings", "general_settings", "fallbacks", "timeout", "rpm"),
        *("model_group_alias", "default_fallbacks", "credential_list", "model_info", "mode", "id"),
        *("extra_headers", "organization", "weight", "order", "allowed_fails", "num_retries"),
        *("default_litellm_params", "include", "extra_body", "max_request_size_mb", "a", "b", "$c"),
    )
)
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | _texts | st.dates()
_junk = st.recursive(
    _scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_keys | _texts, below, max_size=4),
    max_leaves=12,
)
#: What a secret may stand in, and in no other place.
_secrets = st.fixed_dictionaries({"api_key": st.just(SECRET)})
_params = st.builds(
    lambda params, junk, model: {**junk, **params, "model": model},
    _secrets | st.just({}),
    st.dictionaries(_keys, _junk, max_size=4),
    _texts,
)
_entries = st.fixed_dictionaries(
    {"model_name": _words | _texts, "litellm_params": _params},
    optional={"model_info": _junk, "rpm": _scalars},
)
_files = st.fixed_dictionaries(
    {"model_list": st.lists(_entries, max_size=4)},
    optional={
        "router_settings": st.dictionaries(_keys, _junk, max_size=4),
        "litellm_settings": st.dictionaries(_keys, _junk, max_size=4),
        "general_settings": st.fixed_dictionaries({}, optional={"master_key": st.just(SECRET)}),
        "environment_variables": st.just({"K": SECRET}),
        "credential_list": _junk,
    },
)


class JunkTests(ConvertingTestCase):
    """Whatever goes in, what comes out loads, or there are mistakes with their lines."""

    def check(self, data: bytes) -> None:
        """Check one input."""
        findings = Findings()
        try:
            value = read_value(data, "l.yaml", findings)
            if value is None:
                raise ConfigurationError(findings.problems)
            converted = convert([value], findings)
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            for problem in error.problems:
                self.assertRegex(str(problem), r"\Al\.yaml:[0-9]+: .")
                self.assertNotIn(SECRET, str(problem))
            return
        text = write_file(converted.sections, converted.notes, "l.yaml")
        asked = re.findall(r"\$\{([A-Za-z0-9_]+)\}", text)
        self.load(text, {**KEYS, **dict.fromkeys(asked, "http://h.example"), **_numbers(text)})
        for note in converted.notes:
            self.assertNotIn(SECRET, note.text)

    @settings(max_examples=300, deadline=None)
    @given(_files)
    def test_files(self, content: object) -> None:
        """Files of the right shape, with anything in their places."""
        self.check(yaml.safe_dump(content).encode())

    @settings(max_examples=200, deadline=None)
    @given(_junk | st.dictionaries(_keys, _junk, max_size=5))
    def test_junk(self, content: object) -> None:
        """Files of any shape."""
        self.check(yaml.safe_dump(content).encode())

    @settings(max_examples=200, deadline=None)
    @given(
        st.binary(max_size=60)
        | st.text(alphabet="a:-[]{}*&!|>'\"$%@\n \t", max_size=40).map(str.encode)
    )
    def test_bytes(self, data: bytes) -> None:
        """Files that may be no YAML."""
        self.check(data)


def _numbers(text: str) -> dict[str, str]:
    """Give the variables that stand for numbers one."""
    keys = "requests_per_minute|tokens_per_minute|max_concurrent|context_window|max_retries"
    numeric = rf"(?:(?:{keys}): \$\{{([A-Za-z0-9_]+)\}}|\$\{{([A-Za-z0-9_]+)\}}(?:s|MiB)\b)"
    return {one or two: "7" for one, two in re.findall(numeric, text)}
