"""
Where the configuration comes from: the file, the ``.env`` file, the environment.

:func:`load_config` is the embedder's face; :func:`load` tells more, for the
command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
from attrs import field, frozen

from aiproxy.config.entries import File, ModelEntry
from aiproxy.config.environment import (
    Environment,
    Settings,
    read_environment,
    read_settings,
)
from aiproxy.config.kinds import SectionKind, walk_keys
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from aiproxy.config.reading import Place, Reading
from aiproxy.config.resolve import Resolver
from aiproxy.config.schema import Config
from aiproxy.config.secret_files import SecretFiles
from aiproxy.config.sources import Sources, file_trouble
from aiproxy.config.tree import MAX_FILE_BYTES, read_tree
from aiproxy.config.unknown_keys import find_homes
from aiproxy.errors import ConfigurationError, Problem

__all__ = ["Loaded", "load", "load_config"]

DEFAULT_FILE = "provider_config.yaml"
_HOMES = find_homes(documented.path for documented in walk_keys(File))


@frozen
class Loaded:
    """
    A configuration that can be used, and what there is to say about it.

    :param warnings: what is turned off, and why: to be logged loudly, and an
        error for ``aiproxy check``.
    :param file: the configuration file; ``None`` on a first run.
    :param env_file: the ``.env`` file, if one was read.
    :param sources: the files that were read.
    """

    config: Config
    warnings: tuple[Problem, ...] = ()
    file: str | None = None
    env_file: str | None = None
    sources: Sources = field(factory=Sources, eq=False, repr=False)


def load_config(
    path: str | os.PathLike[str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    env_file: str | None = None,
) -> Config:
    """
    Load the configuration.

    :param path: the YAML file.  Without it ``$AIPROXY_CONFIG``, then
        ``./provider_config.yaml``; without those the built-in ``demo/echo``
        and a wildcard for each provider whose key is in the environment.
    :param env: in place of the process environment.
    :param env_file: in place of ``./.env`` or ``/config/.env``; it must exist.
    :raises ConfigurationError: with every problem found.
    """
    return load(path, env=env, env_file=env_file).config


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    env_file: str | None = None,
    folder: str | os.PathLike[str] = "",
    sources: Sources | None = None,
) -> Loaded:
    """
    Load the configuration as :func:`load_config` does, and say what was found.

    :param folder: what relative names are relative to, if not the current one.
    :param sources: where files are read, if not from the disk alone.
    """
    base = Path(folder)
    sources = Sources() if sources is None else sources
    process = os.environ if env is None else env
    environment, problems = read_environment(process, env_file, base, sources)
    settings, setting_problems = read_settings(environment)
    problems += setting_problems
    file = _find_file(path, environment, base, sources)
    if file is None:
        reading = Reading(None, SecretFiles(sources, base))
        written: File | None = _first_run(environment, reading)
        folder_of_file = base
    else:
        folder_of_file = (base / file).parent
        reading = Reading(file, SecretFiles(sources, folder_of_file), homes=_HOMES)
        written = _read_file(base / file, environment, reading, sources)
    resolver = Resolver(reading, environment, os.path.abspath(folder_of_file), sources)
    config = resolver.resolve(written or File())
    problems += reading.problems
    if problems:
        raise ConfigurationError(sorted(problems, key=_position))
    if file is not None and not config.models:
        reading.warn(Place("models", "models", 1), "none is configured; nothing can be served")
    return Loaded(
        config=_with_settings(config, settings, first_run=file is None),
        warnings=tuple(sorted(reading.warnings, key=_position)),
        file=file,
        env_file=environment.file,
        sources=sources,
    )


def _position(problem: Problem) -> tuple[str, int]:
    return (problem.file or "", problem.line or 0)


def _find_file(
    path: str | os.PathLike[str] | None, environment: Environment, folder: Path, sources: Sources
) -> str | None:
    if path is not None:
        return os.fspath(path)
    named = environment.variables.get("AIPROXY_CONFIG")
    if named:
        return named
    default = folder / DEFAULT_FILE
    # A folder in its place is what a container's engine makes of a mount without a file.
    return DEFAULT_FILE if sources.is_file(default) or os.path.isdir(default) else None


def _read_file(
    path: Path, environment: Environment, reading: Reading, sources: Sources
) -> File | None:
    file = reading.file or ""
    try:
        data = sources.take(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reading.problem(Place(), f"cannot be read: {file_trouble(error)}")
        return None
    tree, problems = read_tree(data, file, environment.variables)
    reading.problems.extend(problems)
    if tree is None:
        if not problems:
            reading.problem(Place(line=1), "the file is empty; it needs at least `models:`")
        return None
    return SectionKind(File).read(tree, Place(line=tree.line, file=file), reading)


def _first_run(environment: Environment, reading: Reading) -> File:
    """Return what a newcomer gets: the demo, and every provider that there is a key for."""
    models = [ModelEntry(name="demo/echo", provider="demo")]
    for known in KNOWN_PROVIDERS.values():
        variable = next(
            (name for name in known.token_variables if environment.variables.get(name, "").strip()),
            None,
        )
        if variable is None:
            continue
        needs_account = known.base_url is not None and "{account_id}" in known.base_url
        if known.base_url is None:
            reading.warn(Place(), f"{variable} is set, but {known.name} needs a base_url: left out")
        elif needs_account and not environment.variables.get("CLOUDFLARE_ACCOUNT_ID"):
            message = f"{variable} is set, but not CLOUDFLARE_ACCOUNT_ID: {known.name} is left out"
            reading.warn(Place(), message)
        else:
            models.append(ModelEntry(name=f"{known.name}/*", provider=known.name))
    return File(models=tuple(models))


def _with_settings(config: Config, settings: Settings, *, first_run: bool) -> Config:
    return attrs.evolve(
        config,
        retry=attrs.evolve(config.retry, **settings.retry),
        auth_tokens=settings.auth_tokens,
        admin_token=settings.admin_token,
        port=settings.port,
        first_run=first_run,
    )
