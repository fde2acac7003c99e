"""
OpenTelemetry's complaints in our log: few of them, short, and without secrets.

A collector that is down is complained of with every batch, and settings that
are wrong are repeated as they are, with the keys in them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from twisted.logger import Logger

__all__ = ["Complaints", "find_secrets", "listen"]

#: Seconds after a line in which there is no other.
_QUIET_SECONDS: Final = 60.0
_VARIABLE: Final = re.compile(r"OTEL_EXPORTER_OTLP_(?:\w+_)?(HEADERS|ENDPOINT)")
#: What is shorter is found in words that are none.
_SECRET_CHARACTERS: Final = 4


class Complaints(logging.Handler):
    """
    Writes one line at a time to our log, and counts the others.

    :param secrets: what is not written.
    :param seconds: the time.
    """

    _log = Logger()

    def __init__(
        self, secrets: tuple[str, ...] = (), seconds: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(logging.WARNING)
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._seconds = seconds
        self._quiet_until = -1.0
        self._passed_over = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; without its traceback, which tells of OpenTelemetry's code alone."""
        now = self._seconds()
        if now < self._quiet_until:
            self._passed_over += 1
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += f" ({record.exc_info[0].__name__})"
        for secret in self._secrets:
            text = text.replace(secret, "***")
        more = f" (and {self._passed_over} lines before)" if self._passed_over else ""
        self._quiet_until, self._passed_over = now + _QUIET_SECONDS, 0
        self._log.warn("OpenTelemetry: {text}{more}", text=text, more=more)


def find_secrets(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return what may be a key in the headers and URLs for the exporters, in each form."""

    def find() -> Iterator[str]:
        for name, value in environment.items():
            match = _VARIABLE.fullmatch(name)
            if match is None:
                continue
            if match[1] == "ENDPOINT":
                url = urlsplit(value)
                yield from (url.query, url.password or "")
                continue
            for pair in value.split(","):
                yield pair.strip()
                yield pair.partition("=")[2].strip()

    found = {form for secret in find() for form in (secret, unquote(secret))}
    return tuple(secret for secret in found if len(secret) >= _SECRET_CHARACTERS)


def listen(environment: Mapping[str, str]) -> Callable[[], None]:
    """Take OpenTelemetry's complaints from now on; return what ends that."""
    logger = logging.getLogger("opentelemetry")
    complaints, passed_up = Complaints(find_secrets(environment)), logger.propagate
    logger.addHandler(complaints)
    logger.propagate = False

    def end() -> None:
        logger.removeHandler(complaints)
        logger.propagate = passed_up

    return end
