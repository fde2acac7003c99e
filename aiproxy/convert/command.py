"""``aiproxy convert``: makes a configuration of ours out of another proxy's."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from aiproxy.config.sources import file_trouble
from aiproxy.config.tree import MAX_FILE_BYTES
from aiproxy.convert.litellm import convert, included
from aiproxy.convert.litellm_values import Findings, Value, read_value
from aiproxy.convert.writing import write_file
from aiproxy.errors import ConfigurationError, Problem

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("file", metavar="FILE", help="a LiteLLM proxy's config.yaml")
    parser.add_argument("-o", "--output", metavar="OUT", help="default: standard output")
    parser.add_argument("--force", action="store_true", help="overwrite OUT")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Convert one file; return the exit status: 1 after a mistake, notes are none."""
    try:
        findings = Findings()
        converted = convert(_read(Path(parsed.file), findings), findings)
        text = write_file(converted.sections, converted.notes, parsed.file)
        if parsed.output is None:
            # Not as text: YAML is UTF-8, whatever the terminal's encoding.
            sys.stdout.buffer.write(text.encode())
            sys.stdout.flush()
        else:
            _write(parsed.output, text, os.stat(parsed.file).st_mode & 0o777, parsed.force)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    for note in converted.notes:
        print(f"{note.place}: {note.kind.value}: {note.text}", file=sys.stderr)
    return 0


def _read(path: Path, findings: Findings) -> list[Value]:
    """Read a file and those that it includes."""
    main = read_value(_take(path, Problem("", str(path))), str(path), findings)
    documents = [main]
    for name in included(main) if main is not None else ():
        below = path.parent / name.text
        data = _take(below, Problem(f"{name.path}: ", name.file, name.line))
        documents.append(read_value(data, str(below), findings))
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return [document for document in documents if document is not None]


def _take(path: Path, asked: Problem) -> bytes:
    """
    Return the contents of a file, of one that is too long a bit more than is taken.

    :param asked: where the file is named.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        message = f"{asked.message}cannot be read: {file_trouble(error)}"
        raise ConfigurationError([Problem(message, asked.file, asked.line)]) from None


def _write(name: str, text: str, mode: int, force: bool) -> None:
    """Write the file, for those to read who may read the one that it was made of."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(name, flags, mode), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(
            [Problem("is there already; --force overwrites it", name)]
        ) from None
    except (OSError, ValueError) as error:
        message = f"cannot be written: {file_trouble(error)}"
        raise ConfigurationError([Problem(message, name)]) from None
