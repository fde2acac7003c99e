"""``aiproxy convert``."""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from aiproxy.convert.command import add_arguments
from tests.config.loading import LoadingTestCase

GOOD = """\
model_list:
  - model_name: gpt-é
    litellm_params: {model: openai/gpt-4o, api_key: sk-hidden}
general_settings: {master_key: sk-master}
"""


class ConvertTests(LoadingTestCase):
    """The command, with its files and streams."""

    def setUp(self) -> None:
        super().setUp()
        self.write(GOOD, "l.yaml")
        self.source = str(self.folder / "l.yaml")
        self.target = self.folder / "out.yaml"

    def run_it(self, *words: str) -> tuple[int, str, str]:
        """Run the command; return its status and what it printed."""
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        parsed = parser.parse_args(words)
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        status: int = parsed.run(parsed)
        return status, out.buffer.getvalue().decode(), err.getvalue()

    def test_standard_output(self) -> None:
        """The file goes to standard output, its notes to standard error too, without secrets."""
        status, out, err = self.run_it(self.source)
        self.assertEqual(status, 0)
        [model] = self.config(out).models
        self.assertEqual((model.name, model.tokens[0].reveal()), ("gpt-é", "sk-hidden"))
        lines = err.splitlines()
        self.assertEqual(
            [line.partition(": model_list")[0].partition(": general")[0] for line in lines],
            [f"{self.source}:3: secret", f"{self.source}:4: not taken over"],
        )
        self.assertNotIn("sk-", err)
        self.assertNotIn("sk-master", out)

    def test_output_file(self) -> None:
        """The file is written for those who may read the input, and not over another one."""
        Path(self.source).chmod(0o600)
        status, out, _ = self.run_it(self.source, "-o", str(self.target))
        self.assertEqual((status, out), (0, ""))
        self.assertEqual(self.target.stat().st_mode & 0o777, 0o600)
        written = self.target.read_text()
        self.assertEqual([model.name for model in self.config(written).models], ["gpt-é"])
        self.target.write_text("mine")
        status, out, err = self.run_it(self.source, "-o", str(self.target))
        self.assertEqual(
            (status, out, err), (1, "", f"{self.target}: is there already; --force overwrites it\n")
        )
        self.assertEqual(self.target.read_text(), "mine")
        self.assertEqual(self.run_it(self.source, "-o", str(self.target), "--force")[0], 0)
        self.assertEqual(self.target.read_text(), written)

    def test_unwritable(self) -> None:
        """A file that cannot be written is told."""
        for name in (str(self.folder / "none" / "out.yaml"), str(self.folder), "a\0b"):
            status, _, err = self.run_it(self.source, "-o", name, "--force")
            self.assertEqual(status, 1)
            self.assertIn(": cannot be written: ", err)

    def test_unreadable(self) -> None:
        """A file that cannot be read is told."""
        for name in (str(self.folder / "none.yaml"), str(self.folder), "a\0b"):
            status, out, err = self.run_it(name)
            self.assertEqual((status, out), (1, ""))
            self.assertTrue(err.startswith(f"{name}: cannot be read: "))

    def test_mistakes(self) -> None:
        """Mistakes are told with file and line, and nothing is written."""
        self.write("model_list:\n- 1\n- {model_name: x}\n", "l.yaml")
        status, out, err = self.run_it(self.source, "-o", str(self.target))
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            [line.partition(": model_list")[0] for line in err.splitlines()],
            [f"{self.source}:2", f"{self.source}:3"],
        )
        self.assertFalse(self.target.exists())

    def test_include(self) -> None:
        """Included files are read from the folder of the file."""
        self.write("include: [more.yaml]\nrouter_settings: {num_retries: 1}\n", "l.yaml")
        self.write(GOOD, "more.yaml")
        status, out, err = self.run_it(self.source)
        self.assertEqual(status, 0)
        self.assertEqual([model.name for model in self.config(out).models], ["gpt-é"])
        self.assertIn(f"{self.folder / 'more.yaml'}:3: secret: ", err)

    def test_include_mistakes(self) -> None:
        """An included file that is not there, or no YAML, is a mistake with its line."""
        self.write("model_list: []\ninclude:\n- more.yaml\n", "l.yaml")
        status, _, err = self.run_it(self.source)
        self.assertEqual(status, 1)
        self.assertEqual(
            err, f"{self.source}:3: include[]: cannot be read: No such file or directory\n"
        )
        self.write("a: [", "more.yaml")
        status, _, err = self.run_it(self.source)
        self.assertEqual(status, 1)
        self.assertTrue(err.startswith(f"{self.folder / 'more.yaml'}:1: the file is not YAML: "))
