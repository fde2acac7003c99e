"""``deploy/systemd``: the units, as systemd itself reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config
from aiproxy.tap import Options
from tests.packages import ROOT

FOLDER = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/aiproxy/bin/aiproxy"
ANALYZE = shutil.which("systemd-analyze")


def analyze(*arguments: str | Path) -> tuple[int, str]:
    """Run ``systemd-analyze``; return its status and all it prints."""
    assert ANALYZE is not None
    run = subprocess.run(
        [ANALYZE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return run.returncode, run.stdout


class UnitTests(SynchronousTestCase):
    """The service and its socket."""

    def setUp(self) -> None:
        self.service = (FOLDER / "aiproxy.service").read_text(encoding="utf-8")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def commands(self) -> list[str]:
        """Return the command lines, the one for socket activation too."""
        return re.findall(r"(?m)^#?ExecStart=(.*)$", self.service)

    def test_verify(self) -> None:
        """systemd finds nothing wrong, with either command line."""
        shutil.copy(FOLDER / "aiproxy.socket", self.folder)
        # The program is not installed here; any other will do.
        service = self.service.replace(f"={PROGRAM} ", f"={sys.executable} ")
        socket_activated = re.sub(r"(?m)^ExecStart=.*\n", "", service)
        socket_activated = socket_activated.replace("#ExecStart=", "ExecStart=")
        for text in (service, socket_activated):
            (self.folder / "aiproxy.service").write_text(text, encoding="utf-8")
            units = (self.folder / "aiproxy.service", self.folder / "aiproxy.socket")
            self.assertEqual(analyze("verify", "--man=no", *units), (0, ""))

    def test_exposure(self) -> None:
        """What it can reach is at most what deploy/README.md says: 0 is nothing, 10 all."""
        readme = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
        told = re.search(r"exposure level of (\d\.\d)", readme)
        assert told
        threshold = str(round(float(told[1]) * 10))
        status, output = analyze(
            "security", "--offline=true", f"--threshold={threshold}", FOLDER / "aiproxy.service"
        )
        self.assertEqual(status, 0, output[-200:])

    if ANALYZE is None:
        test_verify.skip = "systemd is not installed"  # type: ignore[attr-defined]
        test_exposure.skip = "systemd is not installed"  # type: ignore[attr-defined]

    def test_commands(self) -> None:
        """Both command lines have options that there are."""
        commands = self.commands()
        self.assertEqual(len(commands), 2)
        for command in commands:
            program, run, *options = command.split()
            self.assertEqual((program, run), (PROGRAM, "run"))
            parsed = Options()
            parsed.parseOptions(options)
            self.assertEqual(parsed["config"], "/etc/aiproxy/provider_config.yaml")

    def test_time_to_stop(self) -> None:
        """Running answers have the time that the configuration gives them by default."""
        [seconds] = re.findall(r"(?m)^TimeoutStopSec=(\d+)$", self.service)
        server = Config().server
        self.assertGreater(int(seconds), server.drain_timeout + server.shutdown_delay)
