"""What OpenTelemetry's own log lines become."""

from __future__ import annotations

import logging

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.telemetry.complaints import Complaints, find_secrets, listen

NAME = "opentelemetry.sdk.trace"


def raising() -> None:
    """Fail."""
    raise OSError("no route")


class ComplaintsTests(SynchronousTestCase):
    """A handler of the standard library's logging."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.logger = logging.Logger(NAME)

    def complain(self, times: int = 1) -> list[str]:
        """Complain so many times; return the lines in our log."""
        with capturedLogs() as events:
            for _ in range(times):
                self.logger.error("no %s", "collector")
        return [str(formatEvent(event)) for event in events]

    def test_few(self) -> None:
        """There is a line a minute at most, and it counts the others."""
        self.logger.addHandler(Complaints(seconds=self.clock.seconds))
        self.assertEqual(self.complain(4), ["OpenTelemetry: no collector"])
        self.clock.advance(59)
        self.assertEqual(self.complain(), [])
        self.clock.advance(1)
        self.assertEqual(self.complain(), ["OpenTelemetry: no collector (and 4 lines before)"])
        self.clock.advance(60)
        self.assertEqual(self.complain(), ["OpenTelemetry: no collector"])

    def test_traceback(self) -> None:
        """Of an exception there is the name."""
        self.logger.addHandler(Complaints(seconds=self.clock.seconds))
        with capturedLogs() as events:
            try:
                raising()
            except OSError:
                self.logger.exception("cannot send")
        self.assertEqual(
            [str(formatEvent(event)) for event in events],
            ["OpenTelemetry: cannot send (OSError)"],
        )

    def test_secrets(self) -> None:
        """No key is written, whatever form it has; what else is in a line stays."""
        environment = {
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=sk%20one, broken sk-two",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x=sk-three,y=1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:sk-four@collector:4318?token=sk-five",
            "OTEL_SERVICE_NAME": "gateway",
        }
        self.logger.addHandler(Complaints(find_secrets(environment), self.clock.seconds))
        text = "sk%20one|sk one|broken sk-two|sk-three|user:sk-four@collector:4318|token=sk-five"
        with capturedLogs() as events:
            self.logger.warning("%s|gateway 1", text)
        self.assertEqual(
            formatEvent(events[0]),
            "OpenTelemetry: ***|***|***|***|user:***@collector:4318|***|gateway 1",
        )

    def test_listen(self) -> None:
        """It is heard until that is ended, and nobody else hears it."""
        logger = logging.getLogger("opentelemetry")
        before = logger.handlers[:], logger.propagate
        end = listen({})
        self.addCleanup(end)
        with capturedLogs() as events:
            logging.getLogger(NAME).warning("one")
            logging.getLogger(NAME).info("two")
        self.assertEqual([formatEvent(event) for event in events], ["OpenTelemetry: one"])
        self.assertFalse(logger.propagate)
        end()
        self.assertEqual((logger.handlers, logger.propagate), before)
