"""``.env.example`` and ``provider_config-example.yaml``: what a newcomer starts from."""

from __future__ import annotations

import re
from typing import Any

import yaml

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.load import load
from tests.config.loading import LoadingTestCase
from tests.packages import ROOT

VARIABLES = (ROOT / ".env.example").read_text(encoding="utf-8")
FILE = (ROOT / "provider_config-example.yaml").read_text(encoding="utf-8")
#: A variable with its value, or an example of one.
_LINE = re.compile(r"(?m)^#?([A-Z][A-Z0-9_]*)=(.*)$")


class VariablesTests(LoadingTestCase):
    """``.env.example``."""

    def setUp(self) -> None:
        super().setUp()
        self.write("models: [{name: a, provider: demo}]", "elsewhere.yaml")
        self.write("a-secret", "secret")
        # A default would make no difference, and the files of the examples are not here.
        own = {
            "AIPROXY_CONFIG": "elsewhere.yaml",
            "XAI_API_KEY": "file:secret",
            "AUTH_TOKEN": "a-token",
            "ADMIN_TOKEN": "another-token",
            "PORT": "8081",
            "RETRY_MAX_RETRIES": "4",
            "RETRY_BASE_DELAY": "2s",
            "RETRY_MAX_DELAY": "31s",
            "RETRY_JITTER": "0.2",
        }
        self.shown: dict[str, str] = dict(_LINE.findall(VARIABLES))
        self.set = {name: own.get(name, value) for name, value in self.shown.items()}

    def test_as_it_stands(self) -> None:
        """A copy of it is as good as none: it opens nothing to who did not choose a token."""
        self.write(VARIABLES, ".env")
        loaded = load(env={}, folder=self.folder)
        self.assertEqual((loaded.env_file, loaded.warnings), (".env", ()))
        (self.folder / ".env").unlink()
        self.assertEqual(loaded.config, load(env={}, folder=self.folder).config)

    def test_examples(self) -> None:
        """The values that it shows can be read."""
        self.write(re.sub("(?m)^#(?=[A-Z_]+=)", "", VARIABLES), ".env")
        left_out = {"AIPROXY_CONFIG": "", "XAI_API_KEY": ""}
        loaded = load(env=left_out, folder=self.folder)
        self.assertEqual(loaded.warnings, ())
        keys = [name for name in self.shown if re.search("_KEY$|HF_TOKEN|_API_TOKEN|_CRED", name)]
        self.assertEqual(len(loaded.config.models), 1 + len(keys) - 1)

    def test_each_is_read(self) -> None:
        """Each variable changes what is loaded."""
        for name in self.shown:
            used = {**self.set}
            if name != "AIPROXY_CONFIG":  # which would hide what the providers' keys do
                del used["AIPROXY_CONFIG"]
            others = {other: used[other] for other in used if other != name}
            with_it, without = (load(env=env, folder=self.folder) for env in (used, others))
            self.assertNotEqual(with_it.config, without.config, name)


class FileTests(LoadingTestCase):
    """``provider_config-example.yaml``."""

    def test_with_keys(self) -> None:
        """With the providers' keys all of it is served."""
        keys = ("OPENAI_API_KEY", "GROQ_API_KEY", "ANTHROPIC_API_KEY")
        self.assertLessEqual(set(keys), set(dict(_LINE.findall(VARIABLES))))
        config = self.config(FILE, dict.fromkeys(keys, "sk-1"))
        self.assertEqual([model.name for model in config.models if model.disabled], [])

    def test_without(self) -> None:
        """Without any it can be tried: the rest is off, and says which key is missing."""
        loaded = self.load(FILE)
        served = [model.name for model in loaded.config.models if not model.disabled]
        self.assertEqual(served, ["demo/echo", "office/qwen"])
        missing = [str(warning) for warning in loaded.warnings]
        for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "ANTHROPIC_API_KEY"):
            self.assertTrue(any(name in warning for warning in missing), name)

    def test_defaults(self) -> None:
        """What it calls defaults are the defaults."""
        defaults = {documented.path: documented.default for documented in walk_keys(File)}
        written: dict[str, Any] = yaml.safe_load(FILE)
        for section in ("retry", "breaker", "timeouts"):
            for key, value in written[section].items():
                told = str(value).lower() if isinstance(value, bool) else value
                self.assertEqual(f"`{told}`", defaults[f"{section}.{key}"])

    def test_commented_out(self) -> None:
        """What is commented out can be used as well."""
        text = re.sub(r"(?m)^( *)# ?(?=tokens:)", r"\1", FILE)
        text = re.sub(r"(?m)^ *token: .*\n", "", text)
        text = re.sub(r"(?m)^#(keys:|  .*)$", r"\1", text).replace("sha256:…", f"sha256:{'0' * 64}")
        names = ("OPENAI_API_KEY", "GROQ_KEY_1", "GROQ_KEY_2", "ANTHROPIC_API_KEY")
        config = self.config(text, {name: f"sk-{name}" for name in names})
        self.assertEqual([key.name for key in config.keys], ["team-a"])
        [groq] = (model for model in config.models if model.provider == "groq")
        self.assertEqual(len(groq.tokens), 2)
