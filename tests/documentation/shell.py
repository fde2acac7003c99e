"""Where the shell's blocks run: a folder like a checkout, whose programs do no harm."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final

from aiproxy.config.known_providers import KNOWN_PROVIDERS
from tests.documentation import stand_ins
from tests.documentation.blocks import Block
from tests.documentation.upstream import MP3
from tests.packages import ROOT

__all__ = ["ADMIN_TOKEN", "AUTH_TOKEN", "Workplace", "keys", "point_at"]

#: The tokens that the pages choose.
AUTH_TOKEN: Final = "choose-a-long-one"
ADMIN_TOKEN: Final = "choose-another-one"
#: What a clone has and a block may want.
_FOLDERS: Final = ("bench", "deploy", "docs", "examples")
#: A checkout's owner may have these for himself.
_NOT_CLONED: Final = (
    ".env",
    ".coverage*",
    "provider_config.yaml",
    "*.log",
    "_build",
    "__pycache__",
)
#: Absolute names that are moved into the folder.
_ABSOLUTE: Final = re.compile(r"(?<![\w.$/}-])/(?=(?:etc|opt|run|var)/)")
_SERVER: Final = re.compile(r"(?:127\.0\.0\.1|localhost):8080(?!:)")
_KEY: Final = re.compile(r"sk-aiproxy-(?:…|\.\.\.)")
_FUNCTIONS: Final = """\
curl() { command curl --fail-with-body -sS --max-time 20 "$@"; }
kill() { :; }
"""


def point_at(port: int, text: str) -> str:
    """Let a block mean the server on this port, with a token that is valid there."""
    return _KEY.sub(AUTH_TOKEN, _SERVER.sub(f"127.0.0.1:{port}", text))


def keys() -> dict[str, str]:
    """Return the environment of somebody who has a key of every provider."""
    names = (name for known in KNOWN_PROVIDERS.values() for name in known.token_variables)
    return dict.fromkeys(names, "sk-key") | {"CLOUDFLARE_ACCOUNT_ID": "account"}


class Workplace:
    """
    Makes a folder for each block.

    :param folder: where.
    :param port: the server's.
    :param config: the server's.
    """

    def __init__(self, folder: Path, port: int, config: str) -> None:
        self._folder = folder
        self._port = port
        self._config = config
        self._made = 0
        self._programs = folder / "programs"
        self._programs.mkdir()
        program = self._programs / "stand-in"
        command = f'exec {quote(sys.executable)} -I {quote(stand_ins.__file__)} "${{0##*/}}" "$@"'
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)
        for name in {*stand_ins.PROGRAMS, *stand_ins.OTHERS, "make", "sh"}:
            (self._programs / name).symlink_to(program)

    def environment(self, path: str) -> dict[str, str]:
        """
        Return the variables of a block.

        :param path: where the real programs are.
        """
        return {
            **keys(),
            "AUTH_TOKEN": AUTH_TOKEN,
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "PORT": str(self._port),
            "PATH": f"{self._programs}:{path}",
            "STAND_INS": str(self._programs),
            "REAL_PATH": path,
            "LANG": "C.UTF-8",
        }

    def prepare(self, block: Block, files: Mapping[str, str]) -> Path:
        """
        Make a folder for a block.

        :param files: what it reads, by name.
        :return: the script; bash is to run it with ``-euo pipefail``.
        """
        self._made += 1
        folder = self._folder / f"block{self._made}"
        self._clone(folder)
        root = folder / "root"
        for name in ("etc/systemd/system", "opt", "run", "var/log"):
            (root / name).mkdir(parents=True)
        written = re.findall(r"(?:-o|>) *([\w./-]+)", block.text)
        for name, text in {"provider_config.yaml": self._config, **files}.items():
            if name not in written:
                (folder / name).write_text(text, encoding="utf-8")
        script = folder / "block.sh"
        text = _ABSOLUTE.sub(f"{root}/", point_at(self._port, block.text))
        head = f"cd {quote(str(folder))}\nexec </dev/null\n"
        script.write_text(head + _FUNCTIONS + text, encoding="utf-8")
        return script

    def _clone(self, folder: Path) -> None:
        """Make a folder that has what a clone has, after a build and a start in it."""
        left_out = shutil.ignore_patterns(*_NOT_CLONED)
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, folder / name, ignore=left_out)
        names = {path.name for path in ROOT.iterdir() if path.is_file()}
        for name in names - left_out(str(ROOT), list(names)):
            shutil.copy(ROOT / name, folder)
        shutil.copy(ROOT / ".env.example", folder / ".env")
        (folder / ".venv").mkdir()
        (folder / ".venv" / "bin").symlink_to(self._programs)
        (folder / "talk.mp3").write_bytes(MP3)
        (folder / "twistd.pid").write_text("1\n")
        (folder / "dist").mkdir()
        wheel = "aiproxy-1.0-py3-none-any.whl"
        for release in (folder, folder / "dist"):
            (release / wheel).write_bytes(b"")
            sums = f"{hashlib.sha256(b'').hexdigest()}  {wheel}\n"
            (release / "SHA256SUMS").write_text(sums)
