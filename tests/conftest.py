"""What holds for every test that pytest runs."""

from collections.abc import Iterator, Sequence
from contextlib import chdir

import pytest
from twisted.trial.unittest import SynchronousTestCase


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """
    Refuse tests that are not trial's.

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


@pytest.fixture(scope="session", autouse=True)
def _working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """
    Run in a temporary folder, as trial does.

    ``TestCase.mktemp`` writes to the working directory, and the checkout may
    hold a ``.env`` that no test should read.
    """
    with chdir(tmp_path_factory.mktemp("trial")):
        yield
