"""``deploy/dist.sh``: a release of a checkout of the test's own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import __version__
from tests.packages import ROOT

NAME = f"aiproxy-{__version__}"
#: Seconds since the epoch of the only commit: another time than that of any build.
COMMITTED = 1_900_000_000


def run(*command: str | Path, cwd: Path, umask: int = 0o022, **variables: str) -> str:
    """Run a command; return what it prints."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class ReleaseTests(SynchronousTestCase):
    """One commit, built twice."""

    home: ClassVar[Path]
    tracked: ClassVar[set[str]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        if not (ROOT / ".git").exists():
            raise SkipTest("this is no checkout: only git knows what would be committed")
        cls.home = Path(mkdtemp(prefix="aiproxy-dist-"))
        cls.addClassCleanup(shutil.rmtree, cls.home)
        cls.commit()
        cls.build("one", umask=0o022, TZ="Asia/Tokyo")
        cls.build("two", umask=0o077, TZ="America/New_York")

    @classmethod
    def commit(cls) -> None:
        """Copy what would be committed of this checkout, and commit it."""
        listed = partial(run, "git", "ls-files", "-z", cwd=ROOT)
        cached = listed().split("\0")
        others = listed("--others", "--exclude-standard").split("\0")
        # A folder of its own that nobody has committed is another test's, at this moment.
        folders = {name.partition("/")[0] for name in cached}
        new = [name for name in others if "/" not in name or name.partition("/")[0] in folders]
        cls.tracked = {name for name in (*cached, *new) if (ROOT / name).is_file()}
        source = cls.home / "source"
        for name in cls.tracked:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        when = f"{COMMITTED} +0000"
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
        run("git", "init", "--quiet", cwd=source)
        run("git", "add", "--all", "--force", cwd=source)
        run(
            "git", *who, "commit", "--quiet", "--no-verify", "--message=a", cwd=source,
            GIT_AUTHOR_DATE=when, GIT_COMMITTER_DATE=when,
        )  # fmt: skip
        (source / "aiproxy" / "uncommitted.py").write_text("")

    @classmethod
    def build(cls, name: str, umask: int, **variables: str) -> None:
        """Build it with a folder for temporary files of its own."""
        temporary = cls.home / f"temporary-{name}"
        temporary.mkdir()
        run(
            cls.home / "source" / "deploy" / "dist.sh", cls.home / name, cwd=cls.home, umask=umask,
            PYTHON=sys.executable, TMPDIR=str(temporary), **variables,
        )  # fmt: skip
        assert not list(temporary.iterdir()), "it leaves something behind"

    def test_files(self) -> None:
        """Wheel, source distribution, bill of materials, checksums, and nothing else."""
        names = {f"{NAME}-py3-none-any.whl", f"{NAME}.tar.gz", f"{NAME}.cdx.json", "SHA256SUMS"}
        self.assertEqual({path.name for path in (self.home / "one").iterdir()}, names)

    def test_reproducible(self) -> None:
        """Who builds the same commit elsewhere gets the same bytes."""
        for path in (self.home / "one").iterdir():
            digests = [
                hashlib.sha256(each.read_bytes()).hexdigest()
                for each in (path, self.home / "two" / path.name)
            ]
            self.assertEqual(digests[0], digests[1], path.name)

    def test_checksums(self) -> None:
        """The checksums are those of the files, for ``sha256sum --check``."""
        said = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=self.home / "one")
        self.assertEqual(said.count(": OK"), 3)

    def test_source(self) -> None:
        """The sdist holds what was committed, of the commit's time and of no user."""
        with tarfile.open(self.home / "one" / f"{NAME}.tar.gz") as sdist:
            members = sdist.getmembers()
        names = {one.name.removeprefix(f"{NAME}/") for one in members if one.isfile()}
        self.assertEqual(self.tracked - names, set())
        made = {name for name in names - self.tracked if ".egg-info/" not in name}
        self.assertEqual(made, {"PKG-INFO", "setup.cfg"})
        self.assertEqual({one.mtime for one in members}, {COMMITTED})
        self.assertEqual({(one.uid, one.gid, one.uname) for one in members}, {(0, 0, "")})

    def test_bill_of_materials(self) -> None:
        """The bill is aiproxy's, names what it requires, and nothing of who has made it."""
        text = (self.home / "one" / f"{NAME}.cdx.json").read_text(encoding="utf-8")
        bill = json.loads(text)
        subject = bill["metadata"]["component"]
        self.assertEqual((subject["name"], subject["version"]), ("aiproxy", __version__))
        names = {component["name"].lower() for component in bill["components"]}
        self.assertLessEqual({"twisted", "klein", "treq", "httptools"}, names)
        self.assertEqual(names & {"pip", "pytest", "build", "aiproxy"}, set())
        [root] = (one for one in bill["dependencies"] if one["ref"] == subject["bom-ref"])
        self.assertIn("klein", {name.partition("==")[0] for name in root["dependsOn"]})
        self.assertNotIn(str(self.home), text)

    def test_install(self) -> None:
        """The wheel with all it requires, then the sdist, make an empty environment a server."""
        environment = self.home / "environment"
        venv.create(environment, symlinks=True)
        programs = environment / "bin"
        pip = (sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet")
        again = ("--force-reinstall", "--no-deps")
        for name, options in ((f"{NAME}-py3-none-any.whl", ()), (f"{NAME}.tar.gz", again)):
            run(*pip, "--no-compile", *options, self.home / "one" / name, cwd=self.home)
            version = run(programs / "aiproxy", "--version", cwd=environment)
            self.assertEqual(version, f"aiproxy {__version__}\n")
            self.assertIn(" aiproxy ", run(programs / "twistd", "--help", cwd=environment))
