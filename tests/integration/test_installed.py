"""aiproxy as it is installed: from its wheel, in an environment of its own, started elsewhere."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.test_packaging import built_wheel


class InstalledTests(SynchronousTestCase):
    """One installation."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.elsewhere = self.home / "elsewhere"
        self.elsewhere.mkdir(parents=True)
        environment = self.home / "environment"
        venv.create(environment, with_pip=False, symlinks=True)
        self.bin = environment / "bin"
        files = built_wheel()
        version = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        wheel = self.home / f"{version.partition('.dist-info')[0]}-py3-none-any.whl"
        assert files.fp is not None
        files.fp.seek(0)
        wheel.write_bytes(files.fp.read())
        self.run_command(
            sys.executable, "-m", "pip", "--python", str(self.bin / "python"),
            "--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-index",
            str(wheel),
        )  # fmt: skip
        # What aiproxy needs is there already. A folder that a .pth file names is
        # not searched for further .pth files, so the checkout stays out of it.
        [packages] = (environment / "lib").glob("python*/site-packages")
        (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run_command(self, *command: str) -> str:
        """Run a command elsewhere; return what it prints."""
        run = subprocess.run(command, cwd=self.elsewhere, capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return run.stdout

    def test_installed(self) -> None:
        """Python finds the package, twistd the plugin, and a shell the command."""
        python = str(self.bin / "python")
        where = self.run_command(python, "-c", "import aiproxy; print(aiproxy.__file__)")
        self.assertTrue(Path(where).is_relative_to(self.home), where)
        twistd = (python, "-c", "from twisted.scripts.twistd import run; run()")
        self.assertIn("aiproxy", self.run_command(*twistd, "--help"))
        version = self.run_command(*twistd, "aiproxy", "--version")
        self.assertTrue(version.startswith("aiproxy "), version)
        command = str(self.bin / "aiproxy")
        self.assertEqual(self.run_command(command, "--version"), version)
        self.assertIn("demo/echo", self.run_command(command, "check"))
