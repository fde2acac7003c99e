"""What the mixed soak reads out of a server's metrics and log."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.soak_server import find_trouble, parse_metrics


class MetricsTests(SynchronousTestCase):
    """Prometheus' text format."""

    def test_samples(self) -> None:
        """Samples with and without labels, and no comments."""
        text = (
            "# HELP a_total Text.\n# TYPE a_total counter\n"
            'a_total{model="x/y",status="200"} 3.0\n'
            'a_total{model="",status=""} 1e+06\n'
            "b 0.5\n"
        )
        self.assertEqual(
            parse_metrics(text),
            {
                "a_total": [
                    ({"model": "x/y", "status": "200"}, 3.0),
                    ({"model": "", "status": ""}, 1e6),
                ],
                "b": [({}, 0.5)],
            },
        )


class TroubleTests(SynchronousTestCase):
    """The log."""

    def test_found(self) -> None:
        """Whatever an operator would have to look at."""
        trouble = [
            "Traceback (most recent call last):",
            "2030-01-01T00:00:00+0000 [twisted.internet.defer#critical] Unhandled error",
            "2030-01-01T00:00:00+0000 [aiproxy.reload.Reloader#error] not reloaded",
            "sys:1: RuntimeWarning: coroutine 'f' was never awaited",
        ]
        self.assertEqual(find_trouble("\n".join(["fine", *trouble, "fine"])), trouble)

    def test_not_found(self) -> None:
        """Upstreams' bad days are none of it."""
        log = "2030-01-01T00:00:00+0000 [aiproxy.gateway.failover.Failover#warn] m of p failed\n"
        self.assertEqual(find_trouble(log), [])
