"""The shell scripts of the checkout."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from tests.packages import ROOT, run_tool

#: Folders that hold scripts, or might; the others hold what is not ours or none.
FOLDERS = (".ci", "aiproxy", "bench", "deploy", "docs", "examples", "tests")


class ScriptTests(SynchronousTestCase):
    """All files that a shell runs."""

    def setUp(self) -> None:
        files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
        self.scripts = [
            path
            for path in files
            if path.is_file() and ("." not in path.name or path.suffix == ".sh")
            if path.read_bytes().startswith((b"#!/usr/bin/env bash\n", b"#!/bin/sh\n"))
        ]

    def test_shellcheck(self) -> None:
        """ShellCheck has nothing to say of any."""
        names = {path.relative_to(ROOT).as_posix() for path in self.scripts}
        self.assertLessEqual({".ci/run", "deploy/dist.sh"}, names)
        self.assertEqual(run_tool("shellcheck", *self.scripts), (0, ""))

    def test_can_be_run(self) -> None:
        """Each may be executed, and stops at the first failure."""
        for path in self.scripts:
            self.assertTrue(os.access(path, os.X_OK), path)
            self.assertRegex(path.read_text(encoding="utf-8"), r"\nset -e(u|uo pipefail)?\n")
