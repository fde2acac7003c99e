"""The access log: one line for each request that is over, where the configuration wants it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from aiproxy.config.sections import Server
from aiproxy.gateway.access_line import json_line, text_line
from aiproxy.gateway.usage import CallRecord
from aiproxy.transport.line_sink import PlacedSink
from aiproxy.transport.line_targets import make_target

__all__ = ["AccessLog"]


class AccessLog:
    """
    See the module.  Making one opens nothing.

    :param wall: seconds since the epoch.
    :raises ConfigurationError: there is no such place as ``server.access_log``.
    """

    def __init__(self, server: Server, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._sink = PlacedSink(
            server.access_log, lambda where: make_target(where, wall), clock, "the access log"
        )
        self._line = _find_line(server)

    def change(self, server: Server) -> None:
        """
        Go on as another configuration has it.

        :raises ConfigurationError: there is no such place; nothing has changed.
        """
        self._sink.change(server.access_log)
        self._line = _find_line(server)

    def finished(self, record: CallRecord) -> None:
        """Write the line of a request that is over."""
        sink = self._sink.sink
        if sink is not None:
            sink.write(self._line(record, self._wall()))

    def reopen(self) -> None:
        """Open it, or open it anew: its file was moved."""
        self._sink.reopen()

    def close(self) -> None:
        """Write what there is, and give all back."""
        self._sink.close()


def _find_line(server: Server) -> Callable[[CallRecord, float], bytes]:
    return json_line if server.log_format == "json" else text_line
