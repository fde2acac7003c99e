"""What a distribution holds, and that what it says of dependencies is true."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from functools import cache
from importlib.metadata import packages_distributions
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "aiproxy", "pyproject.toml", "setup.py")
PLUGIN = "twisted/plugins/aiproxy_plugin.py"


@cache
def built_wheel() -> ZipFile:
    """
    Build a source distribution and a wheel from that, with this environment's tools.

    From a copy: a build folder left in the checkout would get into the wheel.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        (copy / PLUGIN).parent.mkdir(parents=True)
        shutil.copy(ROOT / PLUGIN, copy / PLUGIN)
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / name, copy / name)
        run = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, copy],
            capture_output=True,
            text=True,
        )
        if run.returncode:
            raise AssertionError(run.stdout + run.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        return ZipFile(BytesIO(wheel.read_bytes()))


def read_wheel(suffix: str) -> str:
    """Return the text of the one file of the wheel whose name ends so."""
    wheel = built_wheel()
    (name,) = (name for name in wheel.namelist() if name.endswith(suffix))
    return wheel.read(name).decode()


def metadata() -> Message:
    """Return the wheel's metadata."""
    return message_from_string(read_wheel(".dist-info/METADATA"))


def normalized(name: str) -> str:
    """Write a distribution's name in the form in which names compare."""
    return re.sub(r"[-_.]+", "-", name).lower()


def bounds(requirements: Iterable[str]) -> dict[str, str]:
    """Map the distributions that requirements name to their only version, or the lowest."""
    found = {}
    for requirement in requirements:
        told = requirement.partition(";")[0].strip()
        name = re.match(r"[\w.-]+", told)
        lowest = re.search(r"[>=]=([\w.]+)", told)
        assert name, requirement
        found[normalized(name[0])] = lowest[1] if lowest else ""
    return found


def runtime_requirements() -> dict[str, str]:
    """Return what the wheel requires without any extra, with the lowest versions."""
    return bounds(line for line in metadata().get_all("Requires-Dist", []) if ";" not in line)


def imported_packages() -> Iterator[str]:
    """Yield the top-level package of every import in ``aiproxy/`` and the plugin."""
    for path in [*(ROOT / "aiproxy").rglob("*.py"), ROOT / PLUGIN]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


class WheelTests(SynchronousTestCase):
    """What gets installed."""

    def test_files(self) -> None:
        """All of aiproxy and the plugin, and nothing that would shadow Twisted."""
        installed = {name for name in built_wheel().namelist() if ".dist-info/" not in name}
        modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "aiproxy").rglob("*.py")}
        self.assertEqual(installed, {*modules, "aiproxy/py.typed", PLUGIN})

    def test_console_script(self) -> None:
        """The command ``aiproxy`` is there."""
        entry_points = ConfigParser()
        entry_points.read_string(read_wheel(".dist-info/entry_points.txt"))
        self.assertEqual(entry_points["console_scripts"]["aiproxy"], "aiproxy.cli:main")

    def test_metadata(self) -> None:
        """Name, version, licence, Python and the description are right."""
        found = metadata()
        source = (ROOT / "aiproxy" / "version.py").read_text(encoding="utf-8")
        self.assertEqual(found["Name"], "aiproxy")
        self.assertIn(f'__version__ = "{found["Version"]}"', source)
        self.assertEqual(found["License-Expression"], "MIT")
        self.assertIn("aiproxy contributors", read_wheel("/licenses/LICENSE"))
        self.assertEqual(found["Requires-Python"], ">=3.11")
        self.assertEqual(found["Description-Content-Type"], "text/markdown")
        self.assertEqual(
            str(found.get_payload()).strip(),
            (ROOT / "README.md").read_text(encoding="utf-8").strip(),
        )


class DependencyTests(SynchronousTestCase):
    """``setup.py``, the imports, ``tox.ini`` and the documentation agree."""

    def test_imports_are_required(self) -> None:
        """
        Whatever aiproxy imports it requires itself, and it requires nothing else.

        What ``aiproxy/telemetry`` and ``aiproxy/terminal`` import besides is the extras'.
        """
        required = set(runtime_requirements())
        distributions = {
            package: {normalized(name) for name in names}
            for package, names in packages_distributions().items()
        }
        imported = set(imported_packages()) - {"aiproxy", *sys.stdlib_module_names}
        for of_extra in ("opentelemetry", "prompt_toolkit", "rich"):
            imported.remove(of_extra)
        undeclared = {package for package in imported if not distributions[package] & required}
        unused = required.difference(*(distributions[package] for package in imported))
        self.assertEqual((undeclared, unused), (set(), set()))

    def test_lowest_environment(self) -> None:
        """The environment for the lowest versions pins exactly those of ``setup.py``."""
        tox = ConfigParser(interpolation=None)
        tox.read(ROOT / "tox.ini")
        self.assertEqual(bounds(tox["testenv:lowest"]["deps"].split()), runtime_requirements())

    def test_every_dependency_is_explained(self) -> None:
        """``docs/dependencies.md`` has a row for each, with the version where there is one."""
        page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
        for name, lowest in runtime_requirements().items():
            self.assertRegex(
                page, rf"(?im)^\| {name.replace('-', '[-.]')}(\[\w+\])? \| {re.escape(lowest)} \|"
            )
        first_cells = {
            normalized(name)
            for cell in re.findall(r"(?m)^\| ([^|]+) \|", page)
            for name in cell.split(", ")
        }
        extras = bounds(line for line in metadata().get_all("Requires-Dist", []) if ";" in line)
        self.assertEqual(set(extras) - first_cells, set())


class NewsTests(SynchronousTestCase):
    """``changelog.d/`` holds what towncrier understands: it drops the rest in silence."""

    def test_fragment_names(self) -> None:
        """Each fragment is named after an issue or a word, and a type that exists."""
        with (ROOT / "pyproject.toml").open("rb") as file:
            types = tomllib.load(file)["tool"]["towncrier"]["type"]
        directories = "|".join(kind["directory"] for kind in types)
        fragment = re.compile(rf"([1-9]\d*|\+[\w-]+)\.({directories})(\.\d+)?\.md")
        names = {path.name for path in (ROOT / "changelog.d").iterdir()} - {"README.md"}
        self.assertEqual({name for name in names if not fragment.fullmatch(name)}, set())
