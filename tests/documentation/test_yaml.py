"""The blocks in YAML: configurations of ours, and of others beside us."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import kubernetes_validate  # type: ignore[import-untyped]
import yaml

from aiproxy.config.entries import File
from aiproxy.convert.litellm import convert
from aiproxy.convert.litellm_values import Findings, read_value
from aiproxy.convert.writing import write_file
from aiproxy.errors import ConfigurationError
from tests.config.loading import LoadingTestCase
from tests.documentation.blocks import Block, blocks_of
from tests.documentation.checking import Wrong, complaints
from tests.documentation.fragments import complete, variables_of, write_secrets
from tests.packages import run_tool

PROMTOOL = shutil.which("promtool")
OURS = {field.name for field in attrs.fields(File)}


class YamlTests(LoadingTestCase):
    """Each block."""

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.folder.absolute()

    def check(self, block: Block) -> None:
        """Find out whose it is, and have it looked at by its owner."""
        for data in yaml.safe_load_all(block.text):
            if not isinstance(data, dict):
                raise Wrong("no mapping")
            self.owner(data)(block.text, data)

    def owner(self, data: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], None]:
        """Return what checks a file that has these keys."""
        if {"apiVersion", "kind"} <= data.keys():
            return self.check_kubernetes
        for key, check in (
            ("scrape_configs", self.check_prometheus),
            ("services", self.check_compose),
            ("model_list", self.check_litellm),
        ):
            if key in data:
                return check
        if data.keys() & OURS:
            return self.check_ours
        raise Wrong(f"nobody's: {', '.join(map(str, data))}")

    def check_ours(self, text: str, data: Mapping[str, Any]) -> None:
        """Load a configuration; a fragment is completed first."""
        whole = complete(write_secrets(text, self.folder), data)
        self.load_whole(whole, variables_of(whole))

    def load_whole(self, text: str, env: Mapping[str, str]) -> None:
        """Load a configuration that is to be as good as it can be."""
        try:
            said = self.load(text, env).warnings
        except ConfigurationError as error:
            said = tuple(error.problems)
        if said:
            raise Wrong("; ".join(map(str, said)))

    def check_prometheus(self, text: str, data: Mapping[str, Any]) -> None:
        """Have promtool read it, or look at its jobs."""
        for job in data["scrape_configs"]:
            if not {"job_name", "static_configs"} <= job.keys():
                raise Wrong("a job needs a job_name and static_configs")
        if PROMTOOL is None:
            return
        self.write(text, "prometheus.yml")
        run = subprocess.run(
            # Only the syntax: the files that it names are another machine's.
            [PROMTOOL, "check", "config", "--syntax-only", self.folder / "prometheus.yml"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if run.returncode:
            raise Wrong(run.stdout)

    def check_compose(self, text: str, data: Mapping[str, Any]) -> None:
        """Hold it against the specification; a fragment's services may lack their image."""
        for service in data["services"].values():
            service.setdefault("image", "aiproxy")
        self.write(yaml.safe_dump(data), "compose.yaml")
        schema = ("--builtin-schema", "vendor.compose-spec")
        status, said = run_tool("check-jsonschema", *schema, self.folder / "compose.yaml")
        if status:
            raise Wrong(said)

    def check_kubernetes(self, text: str, data: Mapping[str, Any]) -> None:
        """Hold it against the schema of its kind."""
        kubernetes_validate.validate(data, kubernetes_validate.latest_version(), strict=True)

    def check_litellm(self, text: str, data: Mapping[str, Any]) -> None:
        """Convert it; the result must load."""
        findings = Findings()
        value = read_value(text.encode(), "config.yaml", findings)
        if value is None:
            raise Wrong("; ".join(map(str, findings.problems)))
        converted = convert([value], findings)
        whole = write_file(converted.sections, converted.notes, "config.yaml")
        self.load_whole(whole, variables_of(text))

    def test_blocks(self) -> None:
        """What a block is for takes it, without a problem and without a warning."""
        self.assertEqual(complaints(blocks_of("yaml"), self.check), [])

    def test_fragments(self) -> None:
        """What a fragment leaves out is there, where it names it."""
        for text in (
            "groups:\n  chat: {models: [a/b, c/d]}\n",
            "models:\n- {name: a/b, provider: groq, fallbacks: [c/d]}\n",
            "providers:\n  openai: {tokens: ['file:/run/a', 'file:${FOLDER}/b', '${A}']}\n",
            "models:\n  - {name: a/*, provider: demo}\ngroups:\n  chat: {models: [a/b]}\n",
        ):
            self.check(Block("p.md", 1, "yaml", text))

    def test_refused(self) -> None:
        """All that is wrong is told, with its place."""
        texts = (
            ("retry: {max_retrys: 1}\n", "did you mean `max_retries`?"),
            ("models: [{name: a, provider: groq, token: 'file:'}]\n", "c.yaml:1"),
            ("server: {port: 1}\nkeys: []\n", "port"),
            ("something: 1\n", "nobody's: something"),
            ("- 1\n", "no mapping"),
            ("scrape_configs: [{job_name: a}]\n", "static_configs"),
            ("services: {a: {imag: b}}\n", "imag"),
            ("apiVersion: v1\nkind: Secret\ndat: {}\n", "dat"),
            ("model_list: 7\n", "model_list"),
        )
        blocks = [Block("p.md", line, "yaml", text) for line, (text, _) in enumerate(texts, 1)]
        told_of = complaints(blocks, self.check)
        self.assertEqual(len(told_of), len(texts), told_of)
        for line, (told, (_, reason)) in enumerate(zip(told_of, texts, strict=True), 1):
            self.assertTrue(told.startswith(f"p.md:{line}: "), told)
            self.assertIn(reason, told)
