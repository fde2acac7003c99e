"""The blocks that are data: JSON, TOML, parts of systemd units, ``.env`` files."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.load import load
from tests.documentation.blocks import Block, blocks_of
from tests.documentation.checking import Wrong, complaints
from tests.packages import ROOT

ANALYZE = shutil.which("systemd-analyze")
VARIABLE = re.compile(r"(?m)^#?(\w+)=")
#: What a ``.env`` file may set.
VARIABLES = {*VARIABLE.findall((ROOT / ".env.example").read_text(encoding="utf-8"))}
#: What the pages may write into a unit, for machines that have no systemd to ask.
KNOWN = {
    "Unit": {"After", "Description", "Wants"},
    "Service": {"Environment", "EnvironmentFile", "ExecStart", "LoadCredential"},
    "Install": {"WantedBy"},
}


class DataTests(SynchronousTestCase):
    """Each block in one of these languages."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def check_ini(self, block: Block) -> None:
        """Have a part of a unit looked at by systemd, and a file without sections by us."""
        if not block.text.startswith("["):
            (self.folder / ".env").write_text(block.text)
            unknown = sorted({*VARIABLE.findall(block.text)} - VARIABLES)
            if unknown:
                raise Wrong(f"not in .env.example: {', '.join(unknown)}")
            load(env={}, env_file=".env", folder=self.folder)
            return
        # A key may stand there several times.
        unit = ConfigParser(strict=False, interpolation=None, delimiters="=")
        unit.optionxform = str  # type: ignore[assignment, method-assign]
        unit.read_string(block.text)
        for section in unit.sections():
            unknown = sorted({*unit[section]} - KNOWN.get(section, set()))
            if unknown or section not in KNOWN:
                raise Wrong(f"unknown: [{section}] {', '.join(unknown)}")
        if ANALYZE is not None:
            self.verify(block.text)

    def verify(self, text: str) -> None:
        """Have systemd read a unit that begins with this."""
        path = self.folder / "block.service"
        start = "" if "ExecStart=" in text else "\n[Service]\nExecStart=/bin/true\n"
        path.write_text(text + start)
        run = subprocess.run(
            [str(ANALYZE), "verify", "--man=no", path],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if run.returncode or run.stdout:
            raise Wrong(run.stdout)

    def check_jsonl(self, block: Block) -> None:
        """Read each line."""
        for line in block.text.splitlines():
            json.loads(line)

    def test_json(self) -> None:
        """It is JSON."""
        self.assertEqual(complaints(blocks_of("json"), lambda block: json.loads(block.text)), [])

    def test_jsonl(self) -> None:
        """Each line is JSON."""
        self.assertEqual(complaints(blocks_of("jsonl"), self.check_jsonl), [])

    def test_toml(self) -> None:
        """It is TOML."""
        self.assertEqual(complaints(blocks_of("toml"), lambda block: tomllib.loads(block.text)), [])

    def test_ini(self) -> None:
        """Systemd takes it, or it is a ``.env`` file of ours."""
        self.assertEqual(complaints(blocks_of("ini"), self.check_ini), [])

    def test_refused(self) -> None:
        """All that is wrong is told, with its place."""
        lines = Block("p.md", 7, "jsonl", "{}\n{\n")
        [told] = complaints([lines], self.check_jsonl)
        self.assertTrue(told.startswith("p.md:7: JSONDecodeError"), told)
        texts = (
            ("[Service]\nLoadCredentials=a:/b\n", "unknown: [Service] LoadCredentials"),
            ("[Servic]\nEnvironment=A=b\n", "unknown: [Servic] Environment"),
            ("AUTH_TOKENS=a\n", "not in .env.example: AUTH_TOKENS"),
            ("RETRY_MAX_RETRIES=many\n", "RETRY_MAX_RETRIES"),
        )
        wrong = [Block("p.md", line, "ini", text) for line, (text, _) in enumerate(texts, 1)]
        told_of = complaints(wrong, self.check_ini)
        self.assertEqual(len(told_of), len(texts))
        for line, (told, (_, reason)) in enumerate(zip(told_of, texts, strict=True), 1):
            self.assertTrue(told.startswith(f"p.md:{line}: "), told)
            self.assertIn(reason, told)
