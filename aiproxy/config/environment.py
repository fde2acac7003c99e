"""
What the environment says: the ``.env`` file, our own variables, their types.

The process environment wins over the file, and neither is ever changed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen
from dotenv.parser import parse_stream

from aiproxy.config.secret import Secret
from aiproxy.config.secret_files import SecretFiles
from aiproxy.config.sources import Sources, file_trouble
from aiproxy.errors import Problem
from aiproxy.wire.durations import read_duration

__all__ = ["Environment", "Settings", "read_environment", "read_settings"]

T = TypeVar("T")

#: Where a file is looked for when none is named; the second is a container's.
ENV_FILES = (".env", "/config/.env")
MAX_ENV_BYTES = 1024 * 1024

_RETRY_VARIABLES = {
    "RETRY_MAX_RETRIES": "max_retries",
    "RETRY_BASE_DELAY": "base_delay",
    "RETRY_MAX_DELAY": "max_delay",
    "RETRY_JITTER": "jitter",
}


@frozen
class Environment:
    """
    The variables, and where those of a file stand.

    :param file: the ``.env`` file read, if any.
    :param lines: the line in it, for each variable that comes from it.
    :param secrets: where secrets are read of which a variable only names the file.
    """

    variables: Mapping[str, str] = field(repr=False)
    file: str | None = None
    lines: Mapping[str, int] = field(factory=dict, repr=False)
    secrets: SecretFiles = field(factory=lambda: SecretFiles(Sources(), Path()), repr=False)

    def problem(self, name: str, message: str) -> Problem:
        """Return a mistake in the variable ``name``."""
        return Problem(f"{name}: {message}", *self.place(name))

    def place(self, name: str) -> tuple[str | None, int | None]:
        """Return the file and line that ``name`` comes from."""
        if name in self.lines:
            return self.file, self.lines[name]
        return "environment", None


def read_environment(
    process: Mapping[str, str], env_file: str | None, folder: Path, sources: Sources
) -> tuple[Environment, list[Problem]]:
    """
    Lay the process environment over the ``.env`` file.

    :param env_file: a file that must exist; ``None`` looks for :data:`ENV_FILES`.
    :param folder: what relative names are relative to.
    :param sources: where the file is read.
    """
    secrets = SecretFiles(sources, folder)
    if env_file is not None:
        names: tuple[str, ...] = (env_file,)
    else:
        names = tuple(name for name in ENV_FILES if sources.is_file(folder / name))
    if not names:
        return Environment(dict(process), secrets=secrets), []
    file = names[0]
    try:
        data = sources.take(folder / file, MAX_ENV_BYTES)
    except (OSError, ValueError) as error:
        problem = Problem(f"cannot be read: {file_trouble(error)}", file)
        return Environment(dict(process)), [problem]
    if len(data) > MAX_ENV_BYTES:
        return Environment(dict(process)), [Problem("is too large for a .env file", file)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return Environment(dict(process)), [Problem("is not UTF-8 text", file, line)]
    return _parse(text, file, process, secrets)


def _parse(
    text: str, file: str, process: Mapping[str, str], secrets: SecretFiles
) -> tuple[Environment, list[Problem]]:
    variables: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems = []
    for binding in parse_stream(io.StringIO(text)):
        # A binding begins with the blank lines before it.
        blank = re.match(r"\s*", binding.original.string)
        line = binding.original.line + (blank[0].count("\n") if blank else 0)
        if binding.error:
            problems.append(Problem("is not NAME=VALUE", file, line))
        elif binding.key is not None and binding.value is not None:
            variables[binding.key] = binding.value
            lines[binding.key] = line
    variables.update(process)
    lines = {name: line for name, line in lines.items() if name not in process}
    return Environment(variables, file, lines, secrets), problems


@frozen
class Settings:
    """
    What our own variables say.

    :param retry: the values of ``RETRY_*``, which win over the file's ``retry``.
    """

    auth_tokens: tuple[Secret, ...] = ()
    admin_token: Secret | None = None
    port: int = 8080
    retry: Mapping[str, Any] = field(factory=dict)


def read_settings(environment: Environment) -> tuple[Settings, list[Problem]]:
    """Read ``AUTH_TOKEN``, ``ADMIN_TOKEN``, ``PORT`` and ``RETRY_*``; empty is not set."""
    problems: list[Problem] = []

    def read(name: str, convert: Callable[[str], T], default: T) -> T:
        value = environment.variables.get(name, "").strip()
        if not value:
            return default
        try:
            return convert(value)
        except ValueError as error:
            problems.append(environment.problem(name, str(error)))
            return default

    auth_tokens: tuple[Secret, ...] = read("AUTH_TOKEN", environment.secrets.read_all, ())
    admin_token: Secret | None = read("ADMIN_TOKEN", environment.secrets.read, None)
    port = read("PORT", _port, 8080)
    retry: dict[str, Any] = {}
    for name, key in _RETRY_VARIABLES.items():
        value = read(name, _RETRY_READERS[key], None)
        if value is not None:
            retry[key] = value
    settings = Settings(auth_tokens, admin_token, port, retry)
    return settings, problems


def _port(value: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ValueError("must be a port number from 1 to 65535")
    return int(value)


def _retries(value: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("must be a whole number")
    return int(value)


def _jitter(value: str) -> float:
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", value) or not 0 <= float(value) <= 1:
        raise ValueError("must be a number between 0 and 1")
    return float(value)


_RETRY_READERS: dict[str, Callable[[str], Any]] = {
    "max_retries": _retries,
    "base_delay": read_duration,
    "max_delay": read_duration,
    "jitter": _jitter,
}
