"""The command ``aiproxy``."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from pathlib import Path
from threading import Thread

from aiproxy import __version__
from aiproxy.cli import main
from tests.config.loading import LoadingTestCase


class ReadyHandler(BaseHTTPRequestHandler):
    """Ready at its path and nowhere else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class CommandTestCase(LoadingTestCase):
    """Runs commands in a folder, within an environment of their own."""

    def setUp(self) -> None:
        super().setUp()
        for name in [name for name in os.environ if name.endswith(("_KEY", "_TOKEN"))]:
            self.set_variable(name, None)
        self.set_variable("PORT", None)
        self.set_variable("AIPROXY_CONFIG", None)

    def set_variable(self, name: str, value: str | None) -> None:
        """Change the environment until the end of the test."""
        before = os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

        def restore() -> None:
            os.environ.pop(name, None)
            if before is not None:
                os.environ[name] = before

        self.addCleanup(restore)

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """Return the exit status and what was written."""
        out, err = StringIO(), StringIO()
        with chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = int(ended.code or 0)
        return status, out.getvalue(), err.getvalue()


class CheckTests(CommandTestCase):
    """``aiproxy check``."""

    def test_good(self) -> None:
        """It shows what the configuration comes to, with no secret in it."""
        self.write(
            """
            providers: {openai: {token: sk-very-secret-token}}
            models: [{name: openai/one, provider: openai}]
            """
        )
        status, out, err = self.run_command("check", "-c", "c.yaml")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(
            out.startswith("configuration: c.yaml\nenvironment: the process alone, no .env\n"), out
        )
        self.assertIn("openai/one", out)
        self.assertNotIn("sk-very-secret-token", out)

    def test_nothing(self) -> None:
        """Where nothing is configured that is said, as well as which ``.env`` was read."""
        self.patch(os, "environ", {})
        self.write("ADMIN_TOKEN=sk-admin\n", ".env")
        status, out, err = self.run_command("check")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(
            out.startswith("configuration: none, the built-in one\nenvironment: .env\n"), out
        )

    def test_bad(self) -> None:
        """Each problem is a line with its place on the error stream."""
        self.write("models:\n  - {nam: a}\nserver: {drain_timeout: soon}\n")
        status, out, err = self.run_command("check", "--config", "c.yaml")
        self.assertEqual((status, out), (1, ""))
        self.assertRegex(err, r"(?m)^\S*c\.yaml:2: ")
        self.assertRegex(err, r"(?m)^\S*c\.yaml:3: ")

    def test_adapter(self) -> None:
        """What an adapter cannot use, so that the server would not start, is a problem too."""
        self.write(
            """
            providers: {d: {type: chaos, body: {chaos: {faults: [{times: 2}, {times: maybe}]}}}}
            models: [{name: a, provider: d}]
            """
        )
        status, out, err = self.run_command("check", "-c", "c.yaml")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(
            err,
            "c.yaml:2: model a: body.chaos: faults[1]: times: must be a whole number, not text\n",
        )

    def test_warning(self) -> None:
        """A token that is missing is an error here."""
        self.write(
            """
            providers: {openai: {token: "${NOBODY_SET_IT}"}}
            models: [{name: openai/one, provider: openai}]
            """
        )
        status, _, err = self.run_command("check", "-c", "c.yaml")
        self.assertEqual(status, 1)
        self.assertIn("NOBODY_SET_IT", err)

    def test_escapes(self) -> None:
        """What a file says does not control the terminal."""
        self.write(
            r"""
            models: [{name: demo/echo, provider: demo, body: {"a\e[2J": 1}}]
            groups: {"b\e[3J": {models: [demo/echo]}}
            """
        )
        _, out, err = self.run_command("check", "-c", "c.yaml")
        self.assertIn("body a[2J\n", out)
        self.assertIn("  b[3J: priority", out)
        self.write(r'models: [{name: demo/echo, provider: demo, token: "file:c\e[4J"}]')
        _, out, err = self.run_command("check", "-c", "c.yaml")
        self.assertIn("the file c[4J cannot be read", err)

    def test_expired(self) -> None:
        """A key that is void is told, and is no error."""
        self.write(
            """
            models: [{name: demo/echo, provider: demo}]
            keys: [{name: old, token: sk-x, expires: 2020-01-31}]
            """
        )
        status, out, err = self.run_command("check", "-c", "c.yaml")
        self.assertEqual((status, err), (0, ""))
        self.assertIn("  old: all models, OFF: expired 2020-01-31T00:00:00+00:00\n", out)


class HealthTests(CommandTestCase):
    """``aiproxy health``."""

    def setUp(self) -> None:
        super().setUp()
        server = HTTPServer(("127.0.0.1", 0), ReadyHandler)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.port = str(server.server_port)

    def test_ready(self) -> None:
        """A server's address alone means its ready route."""
        for url in (self.url, f"{self.url}/", f"{self.url}/health/ready", f"127.0.0.1:{self.port}"):
            self.assertEqual(
                self.run_command("health", url), (0, f"{self.url}/health/ready: 200\n", "")
            )

    def test_default(self) -> None:
        """Without a URL it is this machine's port ``$PORT``, also of ``.env``, as for a server."""
        ready = (0, f"{self.url}/health/ready: 200\n", "")
        self.write(f"PORT={self.port}\n", name=".env")
        self.assertEqual(self.run_command("health"), ready)
        self.write("PORT=1\n", name=".env")
        self.set_variable("PORT", self.port)
        self.assertEqual(self.run_command("health"), ready)

    def test_light(self) -> None:
        """A container asks every few seconds: nothing of the server is imported for it."""
        code = (
            "import sys; from aiproxy.cli import main; status = main(['health', *sys.argv[1:]]);"
            " print(status, 'twisted' in sys.modules)"
        )
        for arguments in ([self.url], []):
            run = subprocess.run(
                [sys.executable, "-c", code, *arguments],
                cwd=self.folder,
                env={"PORT": self.port},
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertEqual(run.stdout.splitlines()[-1], "0 False")

    def test_not_ready(self) -> None:
        """Any other status is a failure."""
        status, out, err = self.run_command("health", f"{self.url}/other")
        self.assertEqual((status, out, err), (1, "", f"{self.url}/other: 503\n"))

    def test_nobody(self) -> None:
        """Nobody there, or no URL at all, is a failure with its reason."""
        for url in ("http://127.0.0.1:1/x", "nonsense://here/x"):
            status, _, err = self.run_command("health", url)
            self.assertEqual(status, 1)
            self.assertIn(f"{url}", err)


class RunTests(CommandTestCase):
    """``aiproxy run`` and the rest."""

    def test_version(self) -> None:
        """It tells its version."""
        self.assertEqual(self.run_command("--version"), (0, f"aiproxy {__version__}\n", ""))
        self.assertEqual(self.run_command("run", "--version"), (0, f"aiproxy {__version__}\n", ""))

    def test_no_command(self) -> None:
        """Without a command it says which there are."""
        status, _, err = self.run_command()
        self.assertEqual(status, 2)
        self.assertIn("COMMAND", err)

    def test_help(self) -> None:
        """The help has the options."""
        status, out, _ = self.run_command("run", "--help")
        self.assertEqual(status, 0)
        for option in ("--config", "--env-file", "--listen", "--addr", "--version"):
            self.assertIn(option, out)

    def test_unknown_option(self) -> None:
        """An option that does not exist is refused."""
        status, _, err = self.run_command("run", "--workers", "0")
        self.assertEqual(status, 2)
        self.assertTrue(err.startswith("aiproxy run: --workers must be a whole number"), err)
        for words in (("run", "c.yaml"), ("run", "-config", "c.yaml")):
            status, _, err = self.run_command(*words)
            self.assertEqual(status, 2)
            self.assertIn("no use for 'c.yaml': options have two dashes, --config FILE;", err)
        status, _, err = self.run_command("run", "--nonsense")
        self.assertEqual(status, 2)
        self.assertIn("aiproxy run --help", err)

    def test_runs(self) -> None:
        """It starts twistd, which here says what is wrong with the configuration."""
        self.write("models: 7\n")
        command = str(Path(sys.executable).with_name("aiproxy"))
        run = subprocess.run(
            [command, "run", "-c", "c.yaml"], cwd=self.folder, capture_output=True, text=True
        )
        self.assertEqual(run.returncode, 1)
        self.assertIn("c.yaml:1:", run.stdout + run.stderr)
