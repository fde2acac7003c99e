"""
What the blocks of the documentation find in the place of programs, so that none does harm.

A program of its own, which :mod:`tests.documentation.shell` puts on the path under many names.
Its first argument is the name.  It ends with an error where the real one would: an unknown option
of ours, an unknown target, a file that is not there.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
#: What a virtual environment has.
PROGRAMS: Final = ("python", "python3", "pip", "aiproxy", "twistd")
#: Programs of other people.
OTHERS: Final = (
    *("apt-get", "claude", "codex", "docker", "git", "helm", "journalctl", "kubectl", "pip"),
    *("pipx", "sudo", "systemctl", "useradd", "uv"),
)
_FILE: Final = re.compile(
    r".*\.(cfg|conf|csv|env|gz|ini|json|key|md|mp3|pem|png|py|sh|toml|txt|whl|ya?ml)"
)
_UNIT: Final = re.compile(r"[\w@-]+\.(service|socket|timer)")
_RESOURCE: Final = re.compile(r"(configmap|cronjob|deployment|ingress|job|pod|secret|service)s?/.*")


def main(name: str, arguments: list[str]) -> None:
    """Stand in for the program of this name."""
    if name in ("python", "python3"):
        _python(arguments)
    elif name == "aiproxy" and arguments[:1] == ["run"]:
        _run(arguments[1:])
    elif name == "aiproxy":
        _become(str(Path(sys.executable).with_name("aiproxy")), arguments)
    elif name == "twistd":
        _twistd(arguments)
    elif name == "make":
        _make(arguments)
    elif name == "sh":
        _become("/bin/sh", arguments if arguments[0].startswith("-") else ["-n", arguments[0]])
    elif name in OTHERS:
        _other(name, arguments)
    else:
        raise SystemExit(f"{name}: there is no stand-in for it")


def _become(program: str, arguments: Sequence[str]) -> None:
    sys.stdout.flush()
    os.execv(program, [program, *arguments])


def _python(arguments: list[str]) -> None:
    if arguments[:2] == ["-m", "venv"]:
        folder = Path(arguments[2], "bin")
        folder.mkdir(parents=True)
        for program in PROGRAMS:
            (folder / program).symlink_to(os.environ["STAND_INS"] + f"/{program}")
    elif arguments[:2] == ["-m", "pip"]:
        _other("pip", arguments[2:])
    elif arguments[:2] == ["-m", "bench"]:
        sys.path.insert(0, str(ROOT))
        from bench.__main__ import _read_arguments

        _read_arguments(arguments[2:])
    else:
        _become(sys.executable, arguments)


def _make(arguments: list[str]) -> None:
    """Say what would be run, and read the options of what is ours of it."""
    program = shutil.which("make", path=os.environ["REAL_PATH"])
    command = [program or "make", "--dry-run", f"--directory={ROOT}", *arguments]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    sys.stdout.write(said.stdout)
    if said.returncode:
        raise SystemExit(said.returncode)
    for line in said.stdout.splitlines():
        words = line.split()
        if words[:1] == [".venv/bin/twistd"]:
            _twistd(words[1:])
        elif words[:3] == [".venv/bin/python", "-m", "bench"]:
            _python(words[1:])


def _run(arguments: list[str]) -> None:
    """Read the options of a server."""
    from twisted.python.usage import UsageError

    from aiproxy.tap import Options

    options = Options()
    try:
        options.parseOptions(arguments)
    except UsageError as error:
        raise SystemExit(f"aiproxy run: {error}") from None
    _see_places(options)


def _twistd(arguments: list[str]) -> None:
    """Read the options of twistd and, after ``aiproxy``, of ours."""
    from twisted.python.usage import UsageError
    from twisted.scripts._twistd_unix import ServerOptions

    from aiproxy.tap import Options

    class Daemon(ServerOptions):
        """Without a look for other plugins."""

        subCommands = (("aiproxy", None, Options, "OpenAI's HTTP API."),)

    # The pages' user is not one of this machine.
    known = [re.sub(r"^--(uid|gid)=aiproxy$", r"--\1=0", argument) for argument in arguments]
    options = Daemon()
    try:
        options.parseOptions(known)
    except UsageError as error:
        raise SystemExit(f"twistd: {error}") from None
    if options.subCommand != "aiproxy":
        raise SystemExit("twistd: no `aiproxy` to run")
    _see_places(options.subOptions)


def _see_places(options: Any) -> None:
    """See that the options name places to listen at, as for a server that has a token."""
    from aiproxy.config.load import load_config
    from aiproxy.listening import ListenError, find_places

    # Not a file of this folder, which the options need not mean.
    config = load_config(ROOT / "provider_config-example.yaml", env={"AUTH_TOKEN": "sk-1"})
    try:
        find_places(options["listen"], options["addr"], config)
    except ListenError as error:
        raise SystemExit(f"aiproxy: {error}") from None


def _other(name: str, arguments: Sequence[str]) -> None:
    """See that the files exist which another program is given."""
    for argument in arguments:
        value = argument.partition("=")[2] if argument.startswith("-") else argument
        value = re.sub(r"\[.*\]$", "", value)  # the extras of a wheel
        if _UNIT.fullmatch(value):
            value = str(ROOT / "deploy" / "systemd" / value)
        if _is_file(name, value) and not glob.glob(value):
            raise SystemExit(f"{name}: there is no {value}")
    if name == "git" and arguments[0] == "clone":
        Path(arguments[-1]).mkdir()


def _is_file(name: str, value: str) -> bool:
    """Whether a program's argument looks like a file's name."""
    if name == "kubectl" and _RESOURCE.fullmatch(value):
        return False
    return ":" not in value and ("/" in value or _FILE.fullmatch(value) is not None)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
