"""Tests of :mod:`aiproxy.config.environment`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config import environment
from aiproxy.config.environment import (
    Environment,
    Settings,
    read_environment,
    read_settings,
)
from aiproxy.config.secret import Secret
from aiproxy.config.sources import Sources


class ReadEnvironmentTests(SynchronousTestCase):
    """The ``.env`` file under the process environment."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def read(
        self, data: bytes, process: Mapping[str, str] | None = None
    ) -> tuple[Environment, list[str]]:
        """Read ``data`` as the folder's ``.env``."""
        (self.folder / ".env").write_bytes(data)
        found, problems = read_environment(process or {}, None, self.folder, Sources())
        return found, [str(problem) for problem in problems]

    def test_values(self) -> None:
        """Quotes, comments and ``export`` as usual; nothing is expanded."""
        found, problems = self.read(
            b"# comment\nA=1\nexport B='two words'\nC=\"x\\ny\" # c\nD=${A}$A\nE=\nF\n"
        )
        self.assertEqual(problems, [])
        self.assertEqual(
            found.variables, {"A": "1", "B": "two words", "C": "x\ny", "D": "${A}$A", "E": ""}
        )

    def test_process_wins(self) -> None:
        """What the process has is not taken from the file."""
        found, _ = self.read(b"A=file\nB=file\n", {"A": "process"})
        self.assertEqual(found.variables, {"A": "process", "B": "file"})
        self.assertEqual(str(found.problem("A", "x")), "environment: A: x")
        self.assertEqual(str(found.problem("B", "x")), ".env:2: B: x")

    def test_lines(self) -> None:
        """Lines are counted past comments, blank lines and values of several lines."""
        found, _ = self.read(b"\n\nA=1\n# c\n\nB='x\ny'\nC=2\n")
        self.assertEqual(found.lines, {"A": 3, "B": 6, "C": 8})

    def test_bad_lines(self) -> None:
        """Lines that are no assignments are told, without what stands in them."""
        _, problems = self.read(b"A=1\n\nsk-secret x\nB='sk-secret\n")
        self.assertEqual(problems, [".env:3: is not NAME=VALUE", ".env:4: is not NAME=VALUE"])

    def test_none(self) -> None:
        """Without a file there is the process environment."""
        found, problems = read_environment({"A": "1"}, None, self.folder, Sources())
        self.assertEqual((found.variables, found.file, problems), ({"A": "1"}, None, []))

    def test_second_place(self) -> None:
        """``./.env`` before ``/config/.env``, and only one of them."""
        second = self.folder / "config"
        second.mkdir()
        (second / ".env").write_text("A=2\nB=2\n")
        self.patch(environment, "ENV_FILES", (".env", "config/.env"))
        found, _ = read_environment({}, None, self.folder, Sources())
        self.assertEqual((found.variables, found.file), ({"A": "2", "B": "2"}, "config/.env"))
        found, _ = self.read(b"A=1")
        self.assertEqual((found.variables, found.file), ({"A": "1"}, ".env"))

    def test_named(self) -> None:
        """A file that is named must be readable."""
        self.read(b"A=1")
        (self.folder / "b.env").write_text("B=1")
        found, _ = read_environment({}, "b.env", self.folder, Sources())
        self.assertEqual(found.variables, {"B": "1"})
        for name, reason in [
            ("c.env", "No such file or directory"),
            (".", "Is a directory"),
            ("\0", "not a file name"),
        ]:
            found, [problem] = read_environment({"A": "1"}, name, self.folder, Sources())
            self.assertEqual(str(problem), f"{name}: cannot be read: {reason}")
            self.assertEqual(found.variables, {"A": "1"})

    def test_not_text(self) -> None:
        """A file of other bytes, or a huge one, is refused."""
        self.assertEqual(self.read(b"A=1\nB=\xff")[1], [".env:2: is not UTF-8 text"])
        data = b"#" * (environment.MAX_ENV_BYTES + 1)
        self.assertEqual(self.read(data)[1], [".env: is too large for a .env file"])
        self.assertEqual(self.read(b"\xef\xbb\xbfA=1")[0].variables, {"A": "1"})

    @given(
        st.one_of(st.binary(max_size=100), st.text("A=\"'\\\n #$e\r", max_size=40).map(str.encode))
    )
    def test_hostile(self, data: bytes) -> None:
        """Any bytes give variables and problems; the process environment stays."""
        before = dict(os.environ)
        found, _ = self.read(data, {"A": "mine"})
        self.assertEqual(found.variables["A"], "mine")
        self.assertEqual(dict(os.environ), before)

    def test_values_not_shown(self) -> None:
        """An environment is full of secrets."""
        found, _ = self.read(b"A=sk-secret")
        self.assertNotIn("sk-secret", repr(found))


class ReadSettingsTests(SynchronousTestCase):
    """Our own variables."""

    def settings(self, **variables: str) -> Settings:
        """Read variables that are right."""
        found, problems = read_settings(Environment(variables))
        self.assertEqual(problems, [])
        return found

    def refused(self, **variables: str) -> list[str]:
        """Read variables that are wrong."""
        _, problems = read_settings(Environment(variables))
        return [str(problem) for problem in problems]

    def test_none(self) -> None:
        """Variables that are not set, or empty, leave the defaults."""
        for settings in (self.settings(), self.settings(AUTH_TOKEN="", PORT=" ", RETRY_JITTER="")):
            self.assertEqual(settings, Settings())
        self.assertEqual(Settings().port, 8080)

    def test_auth_tokens(self) -> None:
        """Several tokens are valid at a time; blanks and repetitions don't count."""
        self.assertEqual(
            self.settings(AUTH_TOKEN=" a ,b,, a").auth_tokens, (Secret("a"), Secret("b"))
        )
        self.assertEqual(
            self.refused(AUTH_TOKEN="sk secret"),
            ["environment: AUTH_TOKEN: must be one word of ASCII letters, digits and signs"],
        )
        self.assertEqual(self.settings(AUTH_TOKEN=",").auth_tokens, ())

    def test_port(self) -> None:
        """A port is a number from 1 to 65535."""
        self.assertEqual(self.settings(PORT="65535").port, 65535)
        for port in ("0", "65536", "-1", "1.0", "http", "\u0663", "999999"):
            self.assertEqual(
                self.refused(PORT=port),
                ["environment: PORT: must be a port number from 1 to 65535"],
            )

    def test_retry(self) -> None:
        """The Go proxy's variables, with Go's durations."""
        settings = self.settings(
            RETRY_MAX_RETRIES="0", RETRY_BASE_DELAY="1m30s", RETRY_MAX_DELAY="2h", RETRY_JITTER=".5"
        )
        self.assertEqual(
            settings.retry,
            {"max_retries": 0, "base_delay": 90.0, "max_delay": 7200.0, "jitter": 0.5},
        )

    def test_bad_retry(self) -> None:
        """All mistakes are told, each with its variable."""
        self.assertEqual(
            self.refused(
                RETRY_MAX_RETRIES="-1", RETRY_BASE_DELAY="1", RETRY_MAX_DELAY="x", RETRY_JITTER="2"
            ),
            [
                "environment: RETRY_MAX_RETRIES: must be a whole number",
                "environment: RETRY_BASE_DELAY: must be a duration such as 500ms, 30s or 2m30s",
                "environment: RETRY_MAX_DELAY: must be a duration such as 500ms, 30s or 2m30s",
                "environment: RETRY_JITTER: must be a number between 0 and 1",
            ],
        )
        for jitter in ("nan", "1e-1", "-0.1", "."):
            self.assertEqual(len(self.refused(RETRY_JITTER=jitter)), 1)
