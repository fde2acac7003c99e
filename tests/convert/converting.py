"""What the tests of the conversion share: LiteLLM's YAML in, our loaded configuration out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from textwrap import dedent

from attrs import frozen

from aiproxy.config.schema import Config, Model
from aiproxy.convert.litellm import Converted, convert
from aiproxy.convert.litellm_values import Findings, read_value
from aiproxy.convert.writing import write_file
from aiproxy.errors import ConfigurationError
from tests.config.loading import LoadingTestCase

#: Keys of providers, so that no model is off.
KEYS = {
    "OPENAI_API_KEY": "sk-openai",
    "ANTHROPIC_API_KEY": "sk-ant",
    "AZURE_API_KEY": "az",
    "GROQ_API_KEY": "gsk-1",
    "CLOUDFLARE_ACCOUNT_ID": "0123",
}


@frozen
class Outcome:
    """
    A converted file.

    :param notes: as ``line kind path: message``.
    """

    text: str
    notes: list[str]
    config: Config

    @property
    def models(self) -> dict[str, Model]:
        return {model.name: model for model in self.config.models}


class ConvertingTestCase(LoadingTestCase):
    """Converts, and loads what comes out."""

    def converted(self, *documents: str) -> Converted:
        """Convert documents, the first of which is called ``l.yaml``, the next ``l1.yaml``."""
        findings = Findings()
        values = []
        for number, text in enumerate(documents):
            data = dedent(text).lstrip("\n").encode()
            value = read_value(data, f"l{number or ''}.yaml", findings)
            values += [] if value is None else [value]
        if findings.problems:
            raise ConfigurationError(findings.problems)
        return convert(values, findings)

    def outcome(self, *documents: str, env: Mapping[str, str] | None = None) -> Outcome:
        """
        Convert, and load the outcome.

        :param env: further variables; what the outcome asks for without a default is set anyway.
        """
        converted = self.converted(*documents)
        text = write_file(converted.sections, converted.notes, "l.yaml")
        asked = dict.fromkeys(re.findall(r"\$\{([A-Za-z0-9_]+)\}", text), "7")
        loaded = self.load(text, {**KEYS, **asked, **(env or {})})
        notes = [
            f"{','.join(map(str, note.lines))} {note.kind.value} {note.text}"
            for note in converted.notes
        ]
        return Outcome(text, notes, loaded.config)

    def of_model(
        self, params: str, rest: str = "", env: Mapping[str, str] | None = None
    ) -> Outcome:
        """Convert one entry whose ``litellm_params`` are ``params``, in flow style."""
        return self.outcome(
            f"model_list:\n- model_name: m\n  litellm_params: {{{params}}}\n{rest}", env=env
        )

    def mistakes(self, *documents: str) -> list[str]:
        """Convert what is not to be converted, and return what is said of it."""
        with self.assertRaises(ConfigurationError) as caught:
            self.converted(*documents)
        return [str(problem) for problem in caught.exception.problems]
