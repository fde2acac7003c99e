"""What the tests of the configuration share: a folder to load from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.load import Loaded, load
from aiproxy.config.schema import Config, Model
from aiproxy.errors import ConfigurationError


class LoadingTestCase(SynchronousTestCase):
    """Loads configurations from a folder of its own, with an environment of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def write(self, text: str | bytes, name: str = "c.yaml") -> None:
        """Write a file in the folder; text is dedented."""
        data = text if isinstance(text, bytes) else dedent(text).lstrip("\n").encode()
        (self.folder / name).write_bytes(data)

    def load(self, text: str | bytes, env: Mapping[str, str] | None = None) -> Loaded:
        """Load ``text`` as ``c.yaml``."""
        self.write(text)
        return load("c.yaml", env=env or {}, folder=self.folder)

    def config(self, text: str | bytes, env: Mapping[str, str] | None = None) -> Config:
        """Load ``text``, which is to have nothing wrong about it."""
        loaded = self.load(text, env)
        self.assertEqual(loaded.warnings, ())
        return loaded.config

    def model(self, text: str, env: Mapping[str, str] | None = None) -> Model:
        """Load ``text`` and return its only model."""
        [model] = self.load(text, env).config.models
        return model

    def problems(self, text: str | bytes, env: Mapping[str, str] | None = None) -> list[str]:
        """Load ``text``, which is to be refused, and return what is said of it."""
        with self.assertRaises(ConfigurationError) as caught:
            self.load(text, env)
        return [str(problem) for problem in caught.exception.problems]

    def warnings(self, text: str, env: Mapping[str, str] | None = None) -> list[str]:
        """Load ``text`` and return the warnings."""
        return [str(warning) for warning in self.load(text, env).warnings]
