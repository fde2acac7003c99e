"""The clients' record against what the server tells: each kind of difference is found."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.soak_ledger import Asked, Ledger, compare_lines, compare_metrics
from bench.soak_server import Samples

ASKED = [
    Asked("a", "plain", status=200),
    Asked("b", "left"),
    Asked("c", "idle", lines=(0, 1)),
    Asked(None, "garbage", lines=(0, 1), status=400),
    Asked("d", "scrape", lines=(0,), status=200),
]


def count(status: str, number: float, model: str = "m") -> tuple[dict[str, str], float]:
    """Make a sample of ``aiproxy_requests_total``."""
    return {"model": model, "provider": "p", "status": status}, number


class LineTests(SynchronousTestCase):
    """The access log."""

    def test_agrees(self) -> None:
        """Nothing is wrong where each has its line; the nameless may have one."""
        self.assertEqual(compare_lines(ASKED, [("a", 200), ("b", None)]), [])
        lines = [("b", 200), ("made-up", 400), ("a", 200), ("c", 408)]
        self.assertEqual(compare_lines(ASKED, lines), [])

    def test_missing(self) -> None:
        """A request without a line."""
        self.assertEqual(compare_lines(ASKED, [("a", 200)]), ["b (left): 0 access lines"])

    def test_twice(self) -> None:
        """One with two."""
        lines = [("a", 200), ("b", None), ("a", 200)]
        self.assertEqual(compare_lines(ASKED, lines), ["a (plain): 2 access lines"])

    def test_unexpected(self) -> None:
        """One that should have none."""
        lines = [("a", 200), ("b", None), ("d", 200)]
        self.assertEqual(compare_lines(ASKED, lines), ["d (scrape): 1 access lines"])

    def test_status(self) -> None:
        """Another status than the client saw."""
        problems = compare_lines(ASKED, [("a", 502), ("b", None)])
        self.assertEqual(problems, ["a (plain): saw 200, the log has [502]"])

    def test_stranger(self) -> None:
        """More lines of nobody than there were requests without an id."""
        lines = [("a", 200), ("b", None), ("x", 400), ("y", 400)]
        problems = compare_lines(ASKED, lines)
        self.assertEqual(problems, ["1 access lines of nobody, among ['x', 'y']"])


class MetricTests(SynchronousTestCase):
    """The counter of requests."""

    def test_agrees(self) -> None:
        """The models' counts together are the log's."""
        samples: Samples = {
            "aiproxy_requests_total": [count("200", 2), count("200", 1, "n"), count("", 1)]
        }
        lines = [("a", 200), ("b", 200), ("c", 200), ("d", None)]
        self.assertEqual(compare_metrics(samples, lines), [])

    def test_differs(self) -> None:
        """A difference is told by status, also where the sum is the same."""
        samples: Samples = {"aiproxy_requests_total": [count("200", 1), count("502", 1)]}
        self.assertEqual(
            compare_metrics(samples, [("a", 200), ("b", None)]),
            [
                "status none: 0 in the metrics, 1 in the log",
                "status 502: 1 in the metrics, 0 in the log",
            ],
        )


class LedgerTests(SynchronousTestCase):
    """The record itself."""

    def test_count(self) -> None:
        """Counted by kind and status."""
        ledger = Ledger([*ASKED, Asked("e", "plain", status=502)])
        self.assertIn(("plain", 2, {200: 1, 502: 1}), ledger.count())

    def test_blame(self) -> None:
        """What is wrong is told with the request's id; nothing is, if nothing was."""
        ledger = Ledger()
        ledger.blame(ASKED[0], "no answer")
        ledger.blame(ASKED[1], None)
        self.assertEqual(ledger.problems, ["a (plain): no answer"])
