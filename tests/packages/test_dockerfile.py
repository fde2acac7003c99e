"""The ``Dockerfile``, by doing what it says in folders of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.servers import TOKEN, Server, ServersTestCase, write_chat
from tests.packages import ROOT, run_tool
from tests.packages.dockerfile import Instruction, read_dockerfile

BUILD, FINAL = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
#: Folders of the image that stand elsewhere here.
_PLACES = re.compile(r"(?<![\w./-])/(src|wheel|opt/aiproxy|config|state)(?![\w.-])")


def copied() -> list[str]:
    """Name what the first stage copies from the checkout."""
    return [
        word for one in BUILD.instructions if one.name == "COPY" for word in one.words[:-1]
    ]  # fmt: skip


class FileTests(SynchronousTestCase):
    """What can be seen without building."""

    def test_hadolint(self) -> None:
        """Hadolint has nothing to say of it."""
        self.assertEqual(run_tool("hadolint", "Dockerfile"), (0, ""))

    def test_context(self) -> None:
        """What is sent to the builder is what it copies, and all of that is there."""
        ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
        self.assertIn("*", ignore)
        self.assertEqual({line[1:] for line in ignore if line.startswith("!")}, set(copied()))
        self.assertEqual([name for name in copied() if not (ROOT / name).exists()], [])

    def test_user(self) -> None:
        """It runs as a user with a number, who owns the folder of the state and not the rest."""
        user = FINAL.only("USER").text
        self.assertRegex(user, r"^[1-9]\d*:[1-9]\d*$")
        names = [one.name for one in FINAL.instructions]
        self.assertGreater(names.index("USER"), max(names.index("RUN"), names.index("COPY")))
        uid, gid = user.split(":")
        users = FINAL.only("RUN").text
        self.assertIn(f"groupadd --gid {gid} ", users)
        self.assertIn(f"useradd --uid {uid} --gid {gid} ", users)
        self.assertIn(f"install --directory --owner {uid} --group {gid} --mode 0700 /state", users)
        self.assertEqual(FINAL.only("VOLUME").words, ["/state"])
        self.assertEqual(FINAL.pairs("ENV", {"PATH": ""})["STATE_DIRECTORY"], "/state")

    def test_port(self) -> None:
        """The port that is declared is the one that is served and asked for health."""
        port = FINAL.only("EXPOSE").text
        self.assertIn(f":{port}", FINAL.only("CMD").words)
        self.assertIn(f"http://127.0.0.1:{port}", FINAL.only("HEALTHCHECK").text)

    def test_labels(self) -> None:
        """The labels are those of the Open Container Initiative."""
        labels = FINAL.pairs("LABEL", {"VERSION": "1", "REVISION": "abc"})
        told = {name.removeprefix("org.opencontainers.image."): labels[name] for name in labels}
        self.assertEqual((told["title"], told["licenses"]), ("aiproxy", "MIT"))
        self.assertEqual((told["version"], told["revision"]), ("1", "abc"))

    def test_environment_is_not_moved(self) -> None:
        """A virtual environment works only where it was made."""
        copy = FINAL.only("COPY")
        self.assertEqual(copy.flags, ("--from=build",))
        self.assertTrue(BUILD.base.endswith(" AS build"))
        self.assertEqual(copy.words, ["/opt/aiproxy", "/opt/aiproxy"])


#: Runs a command in a copy of the machine's own root, which is thrown away: ``sh FOLDER COMMAND``.
_IN_A_COPY = """set -eu
mount -t tmpfs copy "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
exec chroot "$1/root" /bin/sh -euc "$2"
"""


class LastStageTests(SynchronousTestCase):
    """What is done in the stage that becomes the image."""

    def test_user_and_folders(self) -> None:
        """Its commands make the user, and the folders with the owners that they are to have."""
        if os.geteuid() or shutil.which("unshare") is None:
            raise SkipTest("only root may mount")
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        seen = "id aiproxy; stat --format '%n %u:%g %a' /config /state; getent passwd aiproxy"
        run = subprocess.run(
            [
                *("unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_A_COPY, "sh"),
                *(str(folder), f"{FINAL.only('RUN').text}\n{seen}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertEqual(
            run.stdout.splitlines()[-4:],
            [
                "uid=10001(aiproxy) gid=10001(aiproxy) groups=10001(aiproxy)",
                "/config 0:0 755",
                "/state 10001:10001 700",
                "aiproxy:x:10001:10001::/state:/usr/sbin/nologin",
            ],
        )
        self.assertEqual([*folder.iterdir()], [])
        self.assertFalse(Path("/state").exists())


class ImageTests(ServersTestCase):
    """What it builds and starts; ``/config`` is the test's folder."""

    image: ClassVar[Path]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.image = Path(mkdtemp(prefix="aiproxy-image-"))
        cls.addClassCleanup(shutil.rmtree, cls.image)
        inside = cls.image
        for instruction in BUILD.instructions:
            inside = cls.do(instruction, inside)

    @classmethod
    def do(cls, instruction: Instruction, inside: Path) -> Path:
        """Do what an instruction of the first stage says; return the folder to be in then."""
        match instruction.name:
            case "WORKDIR":
                inside = Path(cls.here(instruction.text))
                inside.mkdir(parents=True)
            case "COPY":
                *names, target = instruction.words
                for name in names:
                    if (ROOT / name).is_dir():
                        unwanted = shutil.ignore_patterns("__pycache__", "dropin.cache")
                        shutil.copytree(ROOT / name, inside / target, ignore=unwanted)
                    else:
                        shutil.copy(ROOT / name, inside / target)
            case "RUN":
                python = str(Path(sys.executable).parent)
                environment = {**os.environ, **BUILD.pairs("ARG", {})}
                environment["PATH"] = f"{python}:{environment['PATH']}"
                run = subprocess.run(
                    ["/bin/sh", "-c", cls.here(instruction.text)],
                    cwd=inside,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                assert run.returncode == 0, run.stdout
            case name:
                assert name == "ARG", name
        return inside

    @classmethod
    def here(cls, text: str, config: Path = Path("/config")) -> str:
        """Replace the image's folders by those of the test."""
        places = {"config": str(config), "state": str(config / "state")}
        return _PLACES.sub(lambda found: places.get(found[1], str(cls.image / found[1])), text)

    def setUp(self) -> None:
        super().setUp()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.own_port = str(free.getsockname()[1])
        variables = FINAL.pairs("ENV", {"PATH": os.environ["PATH"]})
        self.variables = {name: self.here(variables[name], self.folder) for name in variables}

    def start(self, words: list[str], **variables: str) -> Server:
        """Start a command of the image, at another port."""
        command = shutil.which(words[0], path=self.variables["PATH"])
        assert command is not None and command.startswith(str(self.image)), command
        words = [word.replace(FINAL.only("EXPOSE").text, self.own_port) for word in words]
        return self.spawn([command, *words[1:]], {**self.variables, **variables})

    def run_image(self, **variables: str) -> Server:
        """Start what the image starts."""
        words = [*FINAL.only("ENTRYPOINT").words, *FINAL.only("CMD").words]
        return self.start(words, **variables)

    async def health(self) -> int:
        """Return the status of its check."""
        form, _, command = FINAL.only("HEALTHCHECK").text.partition(" ")
        self.assertEqual(form, "CMD")
        return await self.start(Instruction("CMD", (), command).words).ended()

    async def test_nothing_mounted(self) -> None:
        """With a token alone it serves, is healthy, and ends with 0 when it is told to stop."""
        server = self.run_image(AUTH_TOKEN=TOKEN)
        await server.serves()
        self.assertEqual(await self.health(), 0)
        answer = await self.ask(server.port, write_chat())
        self.assertEqual(answer.status, 200)
        server.signal(signal.Signals[FINAL.only("STOPSIGNAL").text])
        self.assertEqual(await server.ended(), 0)
        self.assertEqual(await self.health(), 1)

    async def test_no_token(self) -> None:
        """Without one it says what it needs, and ends."""
        server = self.run_image()
        self.assertEqual(await server.ended(), 1)
        self.assertIn("no AUTH_TOKEN is set: set AUTH_TOKEN", server.output)

    async def test_mounted(self) -> None:
        """Both files of ``/config`` are read, and the state goes to its volume."""
        self.write(f"AUTH_TOKEN={TOKEN}\n", ".env")
        self.write(
            "models: [{name: demo/echo, provider: demo, requests_per_day: 1}]\n"
            "retry: {max_retries: 0}\n"
        )
        server = self.run_image()
        await server.serves()
        statuses = [(await self.ask(server.port, write_chat())).status for _ in range(2)]
        self.assertEqual(statuses, [200, 429])
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), 0)
        self.assertNotEqual(list((self.folder / "state").iterdir()), [])

    def test_plugins_are_listed(self) -> None:
        """The list that twistd would write into a folder that is not its own is there."""
        [packages] = (self.image / "opt" / "aiproxy" / "lib").glob("python*/site-packages")
        self.assertIn(
            b"aiproxy_plugin", (packages / "twisted" / "plugins" / "dropin.cache").read_bytes()
        )
        self.assertFalse((packages / "pip").exists())
