"""The access log: one line for each request that is over, where the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from aiproxy.config.sections import Server
from aiproxy.gateway.access_line import json_line, text_line
from aiproxy.gateway.usage import CallRecord
from aiproxy.transport.line_sink import LineSink
from aiproxy.transport.line_targets import make_target

__all__ = ["AccessLog"]


class AccessLog:
    """
    See the module.  Making one opens nothing.

    :param wall: seconds since the epoch.
    :raises ConfigurationError: there is no such place as ``server.access_log``.
    """

    def __init__(self, server: Server, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._clock = clock
        self._wall = wall
        self._place = server.access_log
        self._sink = self._make_sink(server)
        self._line = _find_line(server)

    def change(self, server: Server) -> None:
        """
        Go on as another configuration has it.

        :raises ConfigurationError: there is no such place; nothing has changed.
        """
        if server.access_log != self._place:
            before, self._sink = self._sink, self._make_sink(server)
            self._place = server.access_log
            if before is not None:
                before.close()
            self.reopen()
        self._line = _find_line(server)

    def finished(self, record: CallRecord) -> None:
        """Write the line of a request that is over."""
        if self._sink is not None:
            self._sink.write(self._line(record, self._wall()))

    def reopen(self) -> None:
        """Open it, or open it anew: its file was moved."""
        if self._sink is not None:
            self._sink.reopen()

    def close(self) -> None:
        """Write what there is, and give all back."""
        if self._sink is not None:
            self._sink.close()

    def _make_sink(self, server: Server) -> LineSink | None:
        target = make_target(server.access_log, self._wall)
        return None if target is None else LineSink(target, self._clock)


def _find_line(server: Server) -> Callable[[CallRecord, float], bytes]:
    return json_line if server.log_format == "json" else text_line
