"""
The floors of ``aiproxy/``: an import only goes down.

The rules are read from the sources with ``ast``, so an import inside a
function counts like any other; so does one under ``TYPE_CHECKING``, for a
type is a dependency too.  The one exception is ``interfaces.py``, which stands
beside floor 0, names the types of every floor, and runs none of those imports.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

# The part of a module's name after "aiproxy", up to the next dot; "" is aiproxy/__init__.py.
FLOORS = {
    "errors": 0,
    "version": 0,
    "interfaces": 0,
    "wire": 0,
    "dialects": 0,
    "config": 0,
    "policy": 1,
    "transport": 2,
    "providers": 3,
    "gateway": 4,
    "web": 5,
    "": 6,
    "proxy": 6,
    "service": 6,
    "garbage": 6,
    "announce": 6,
    "listening": 6,
    "notify": 6,
    "reload": 6,
    "server": 6,
    "signals": 6,
    "steady_time": 6,
    "telemetry": 6,
    "workers": 6,
    "tap": 6,
    "cli": 6,
    "client_keys": 6,
    "convert": 6,
    "terminal": 6,
    "testing": 6,
}
TWISTED_FLOOR = 2
TWISTED = {"twisted", "treq", "klein"}
REACTOR = "twisted.internet.reactor"
INTERFACES = "aiproxy.interfaces"
TAP = "aiproxy.tap"
#: Who may import OpenTelemetry, which need not be installed.
TELEMETRY = "aiproxy.telemetry."


@frozen
class Import:
    """
    One name that a module imports.

    :param target: the module, or ``module.name`` where a name is taken from it.
    :param line: where.
    :param lazy: inside a function.
    :param typing: under ``if TYPE_CHECKING:``.
    """

    target: str
    line: int
    lazy: bool
    typing: bool


def read_imports(source: str, package: str) -> Iterator[Import]:
    """
    Find every import in a module's source.

    :param package: the package that relative imports start from.
    """

    def targets(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            return
        parents = package.split(".")
        base = parents[: len(parents) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield from (f"{module}.{alias.name}" for alias in node.names)

    def walk(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in targets(node):
                yield Import(target, node.lineno, lazy, typing)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in (
            "TYPE_CHECKING",
            "typing.TYPE_CHECKING",
        ):
            for statement in node.body:
                yield from walk(statement, lazy, True)
            for statement in node.orelse:
                yield from walk(statement, lazy, typing)
        else:
            inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                yield from walk(child, lazy or inside, typing)

    yield from walk(ast.parse(source), False, False)


def floor_of(module: str) -> int | None:
    """Look up a module of ours; ``None`` when it belongs to no floor."""
    return FLOORS.get(module.removeprefix("aiproxy").removeprefix(".").partition(".")[0])


def resolve(target: str, modules: Mapping[str, object]) -> str | None:
    """Say which of our modules an import names: itself, or the one that its name is taken from."""
    if target in modules:
        return target
    module = target.rpartition(".")[0]
    return module if module in modules else None


def find_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return modules that import one another in a ring, the first also last; or nothing."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module not in done:
            for imported in sorted(graph[module]):
                if cycle := visit(imported, [*path, module]):
                    return cycle
            done.add(module)
        return []

    for module in sorted(graph):
        if cycle := visit(module, []):
            return cycle
    return []


def is_exempt(module: str, imported: Import) -> bool:
    """Tell the names that ``interfaces.py`` takes for its annotations alone."""
    return module == INTERFACES and imported.typing


def check_floors(root: Path) -> list[str]:
    """Read ``root/aiproxy`` and say what breaks a rule, as ``file:line: message``."""
    sources = {}
    for path in sorted((root / "aiproxy").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        sources[".".join(parts[:-1] if is_package else parts)] = (path, is_package)

    problems = []
    graph: dict[str, set[str]] = {module: set() for module in sources}
    for module, (path, is_package) in sources.items():
        name = path.relative_to(root).as_posix()
        floor = floor_of(module)
        if floor is None:
            problems.append(f"{name}:1: belongs to no floor")
            continue
        package = module if is_package else module.rpartition(".")[0]
        for imported in read_imports(path.read_text(encoding="utf-8"), package):
            place = f"{name}:{imported.line}:"
            if imported.target == REACTOR and not imported.lazy and module != TAP:
                problems.append(f"{place} imports the reactor at module level")
            if is_exempt(module, imported):
                continue
            top = imported.target.partition(".")[0]
            if top in TWISTED and floor < TWISTED_FLOOR:
                problems.append(f"{place} floor {floor} imports {top}")
            if top == "opentelemetry" and not module.startswith(TELEMETRY):
                problems.append(f"{place} imports {top}")
            target = resolve(imported.target, sources)
            if target is None:
                continue
            graph[module].add(target)
            target_floor = floor_of(target)
            if target_floor is not None and target_floor > floor:
                problems.append(f"{place} floor {floor} imports {target} of floor {target_floor}")
    if cycle := find_cycle(graph):
        problems.append("circular import: " + " -> ".join(cycle))
    return problems


class FloorTests(SynchronousTestCase):
    """The package keeps to the rules."""

    def test_package(self) -> None:
        """No module of aiproxy breaks a rule."""
        self.assertEqual("\n".join(check_floors(ROOT)), "")

    def test_import_installs_no_reactor(self) -> None:
        """Embedders choose a reactor after they have imported all of ``aiproxy``."""
        code = "import sys; from aiproxy import *; print('twisted.internet.reactor' in sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
        self.assertEqual((run.stdout, run.stderr), ("False\n", ""))


class CheckFloorsTests(SynchronousTestCase):
    """Each rule complains of a tree that breaks it, and of nothing else in it."""

    def check(self, files: Mapping[str, str]) -> list[str]:
        """Check a tree of these files, by their paths under ``aiproxy/``."""
        root = Path(self.mktemp())
        for name, source in {"__init__.py": "", **files}.items():
            path = root / "aiproxy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return check_floors(root)

    def test_good_tree(self) -> None:
        """Imports downwards, sideways and of others' packages are right."""
        problems = self.check(
            {
                "__init__.py": "from aiproxy import errors\nfrom aiproxy.proxy import Proxy\n",
                "errors.py": "import attrs\n",
                "wire/__init__.py": "from aiproxy.wire.json import read_json\n",
                "wire/json.py": "import orjson\nfrom ..errors import BadJSON\n",
                "policy/limits.py": "from aiproxy.wire import json\nimport aiproxy.errors\n",
                "transport/relay.py": "from twisted.internet import defer\nimport treq\n",
                "proxy.py": "import klein\nfrom aiproxy.transport.relay import Relay\n",
                "tap.py": "from twisted.internet import reactor\nfrom . import proxy\n",
                "service.py": "def f():\n    from twisted.internet import reactor\n",
            }
        )
        self.assertEqual(problems, [])

    def test_upward(self) -> None:
        """An import of a higher floor is named with both floors."""
        problems = self.check(
            {
                "policy/retry.py": "import os\nfrom aiproxy.web.answers import answer\n",
                "web/answers.py": "",
            }
        )
        self.assertEqual(
            problems,
            ["aiproxy/policy/retry.py:2: floor 1 imports aiproxy.web.answers of floor 5"],
        )

    def test_upward_in_other_forms(self) -> None:
        """Relative, module, submodule, aliased and starred imports are seen alike."""
        for source in (
            "from ..web import answers",
            "from ..web.answers import answer",
            "import aiproxy.web.answers",
            "import aiproxy.web.answers as a",
            "from aiproxy.web.answers import *",
            "try:\n    from aiproxy.web import answers\nexcept ImportError:\n    pass",
        ):
            problems = self.check(
                {"policy/retry.py": source, "web/__init__.py": "", "web/answers.py": ""}
            )
            self.assertEqual(len(problems), 1, source)
            self.assertIn("floor 1 imports aiproxy.web.answers of floor 5", problems[0])

    def test_upward_inside_function(self) -> None:
        """A lazy import is no way around the rule."""
        problems = self.check(
            {
                "gateway/usage.py": (
                    "class C:\n    async def f(self):\n        import aiproxy.cli\n"
                ),
                "cli.py": "",
            }
        )
        self.assertEqual(
            problems, ["aiproxy/gateway/usage.py:3: floor 4 imports aiproxy.cli of floor 6"]
        )

    def test_upward_for_typing(self) -> None:
        """Nor is ``TYPE_CHECKING``, but in ``interfaces.py``."""
        source = (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n"
            "    from aiproxy.providers.call import Call\n"
        )
        call = {"providers/call.py": ""}
        self.assertEqual(
            self.check({"dialects/face.py": source, **call}),
            ["aiproxy/dialects/face.py:3: floor 0 imports aiproxy.providers.call of floor 3"],
        )
        self.assertEqual(self.check({"interfaces.py": source, **call}), [])

    def test_package_itself_is_the_top(self) -> None:
        """A name taken from ``aiproxy`` that is no module of it comes from the top floor."""
        problems = self.check({"wire/urls.py": "from aiproxy import __version__\n"})
        self.assertEqual(problems, ["aiproxy/wire/urls.py:1: floor 0 imports aiproxy of floor 6"])

    def test_circular(self) -> None:
        """A ring within a floor is shown in full."""
        problems = self.check(
            {
                "config/__init__.py": "",
                "config/load.py": "from aiproxy.config import schema\n",
                "config/schema.py": "def f():\n    from aiproxy.config.secret import Secret\n",
                "config/secret.py": "from .load import load_config\n",
            }
        )
        self.assertEqual(
            problems,
            [
                "circular import: aiproxy.config.load -> aiproxy.config.schema"
                " -> aiproxy.config.secret -> aiproxy.config.load"
            ],
        )

    def test_twisted_low(self) -> None:
        """Twisted, treq and Klein stay above floor 1, lazily and for types too."""
        problems = self.check(
            {
                "policy/limits.py": "def f():\n    from twisted.internet import defer\n",
                "wire/sse.py": "import treq.content\n",
                "config/load.py": (
                    "import typing\nif typing.TYPE_CHECKING:\n    from klein import Klein\n"
                ),
            }
        )
        self.assertEqual(
            problems,
            [
                "aiproxy/config/load.py:3: floor 0 imports klein",
                "aiproxy/policy/limits.py:2: floor 1 imports twisted",
                "aiproxy/wire/sse.py:1: floor 0 imports treq",
            ],
        )

    def test_twisted_in_interfaces(self) -> None:
        """``interfaces.py`` may name Twisted's types, not import them when it runs."""
        source = (
            "from typing import TYPE_CHECKING\n"
            "from zope.interface import Interface\n"
            "if TYPE_CHECKING:\n"
            "    from twisted.internet.defer import Deferred\n"
            "else:\n"
            "    from twisted.internet import defer\n"
        )
        self.assertEqual(
            self.check({"interfaces.py": source}),
            ["aiproxy/interfaces.py:6: floor 0 imports twisted"],
        )

    def test_reactor_at_module_level(self) -> None:
        """Only ``tap.py`` imports the reactor when it is imported itself."""
        for source in (
            "from twisted.internet import reactor",
            "from twisted.internet import reactor as clock",
            "import twisted.internet.reactor",
            "class C:\n    from twisted.internet import reactor",
            "if True:\n    from twisted.internet import reactor",
        ):
            problems = self.check({"service.py": source})
            self.assertEqual(len(problems), 1, source)
            self.assertIn("imports the reactor at module level", problems[0])

    def test_opentelemetry(self) -> None:
        """What need not be installed is imported in one package only."""
        problems = self.check(
            {
                "telemetry/__init__.py": "",
                "telemetry/spans.py": "from opentelemetry import trace\n",
                "gateway/tracing.py": "def f():\n    from opentelemetry import trace\n",
            }
        )
        self.assertEqual(problems, ["aiproxy/gateway/tracing.py:2: imports opentelemetry"])

    def test_unknown_module(self) -> None:
        """A new module or package must be given its floor."""
        self.assertEqual(
            self.check({"misc/tools.py": "", "helpers.py": ""}),
            [
                "aiproxy/helpers.py:1: belongs to no floor",
                "aiproxy/misc/tools.py:1: belongs to no floor",
            ],
        )
