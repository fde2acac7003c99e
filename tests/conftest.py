"""What holds for every test that pytest runs."""

import gc
from collections.abc import Generator, Iterator
from contextlib import chdir
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests import shown
from tests.dialects import recordings

#: Folders of tests that start processes, and take long.
_LONG = ("packages", "documentation", "integration")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the table of providers be written."""
    parser.addoption(
        "--provider-table",
        action="store_true",
        help="write the table of docs/providers.md from what the tests show",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Refuse tests that are not trial's, and begin with those that take long.

    If one of these came last, the other processes would have nothing to do.
    A plain function, or a method of the standard library's ``TestCase``,
    passes although an error in a Deferred was never handled or a failure was
    logged; trial's classes fail then.
    """
    others = [
        item.nodeid
        for item in items
        if not issubclass(getattr(item, "cls", None) or object, SynchronousTestCase)
    ]
    if others:
        raise pytest.UsageError("not in a twisted.trial.unittest test case: " + ", ".join(others))
    items.sort(key=lambda item: not any(f"tests/{folder}/" in item.nodeid for folder in _LONG))


def pytest_collection_finish() -> None:
    """Keep what all tests import out of garbage collections, which it makes ten times as long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """
    Run in a temporary folder, as trial does.

    ``TestCase.mktemp`` writes to the working directory, and the checkout may
    hold a ``.env`` that no test should read.
    """
    with chdir(tmp_path_factory.mktemp("trial")):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Count what a test has shown, if it passed."""
    report = yield
    if report.when == "call":
        if report.passed:
            shown.passed()
        shown.current.clear()
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what another process has shown; see pytest-xdist."""
    told = getattr(node, "workeroutput", {}).get("shown", ())
    shown.shown.update(tuple(one) for one in told)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write or check the table of providers, if all tests have run over its recordings."""
    config = session.config
    output = getattr(config, "workeroutput", None)
    if output is not None:
        # One of several processes: the first one puts together what all have seen.
        output["shown"] = [list(one) for one in shown.shown]
        return
    whole = config.args == config.getini("testpaths") and not config.option.keyword
    digest = recordings.digest_of_index()
    if session.testsfailed or not whole or not digest:
        return
    table = shown.write_table(shown.shown)
    if config.option.provider_table:
        shown.write_page(table, digest)
    elif shown.read_page()[1] == digest and shown.read_page()[0] != table:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            words = "the table in docs/providers.md is out of date: make providers"
            reporter.write_line(words, red=True)
