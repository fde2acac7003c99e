"""A worker's events: one JSON object a line, written by the supervisor into its own log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent
from zope.interface import implementer

__all__ = ["EventReader", "EventWriter"]

#: Twisted's: that ports open and close, and that the reactor ends, the supervisor says for all.
_SAID = ("twisted.", "log_legacy")


@implementer(ILogObserver)
class EventWriter:
    """
    Writes each event as a line, formatted, with its traceback.

    :param write: takes the line.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level", LogLevel.info)
        namespace = event.get("log_namespace", "")
        if level is LogLevel.debug or (level is LogLevel.info and namespace.startswith(_SAID)):
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        line = {"level": level.name, "namespace": namespace, "text": text}
        self._write(json.dumps(line) + "\n")


class EventReader:
    """
    Says again what a worker has said.

    :param name: what the worker is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""

    def received(self, data: bytes) -> None:
        """Take bytes of the worker's, however they are split."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line:
                self._say(line)

    def end(self) -> None:
        """The worker is gone."""
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        try:
            event: dict[str, Any] = json.loads(line)
            level = LogLevel.levelWithName(event["level"])
            namespace, text = event["namespace"] or __name__, event["text"]
        except Exception:
            # What the interpreter, or the C library, says when it ends badly.
            level, namespace = LogLevel.error, __name__
            text = line.decode("utf-8", "replace")
        logger = Logger(namespace)
        logger.emit(level, "{worker}: {text}", worker=self._name, text=text)
