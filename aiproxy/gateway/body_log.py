"""
The body log: what clients ask and what they are answered, for who has chosen to keep it.

Without ``server.body_log`` nothing of this runs.  The lines go to a file of
their own, which only its owner may read; keys, addresses of people and data
are taken out (:mod:`aiproxy.dialects.redact`).  A request's ``id`` is that of
its access line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from twisted.internet.interfaces import IConsumer, IReactorTime

from aiproxy.config.schema import Config
from aiproxy.dialects.redact import make_redactor, redact
from aiproxy.dialects.transcript import Transcript
from aiproxy.errors import AIProxyError
from aiproxy.gateway.answer import PlainAnswer
from aiproxy.gateway.exchange import ClientCall
from aiproxy.transport.line_sink import PlacedSink
from aiproxy.transport.line_targets import make_private_file
from aiproxy.transport.wrapped_client import WrappedClient
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["BodyCopy", "BodyLog"]

#: Bytes of a body that is read for the log; of a longer one the length is noted.
MOST_BYTES: Final = 8 * 2**20


class BodyLog:
    """
    See the module.  Making one opens nothing.

    :param wall: seconds since the epoch.
    :raises ConfigurationError: there is no such place as ``server.body_log``.
    """

    def __init__(self, config: Config, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._sink = PlacedSink(config.server.body_log, make_private_file, clock, "the body log")
        self._mask = make_redactor(_find_secrets(config))

    def change(self, config: Config) -> None:
        """
        Go on as another configuration has it.

        :raises ConfigurationError: there is no such place; nothing has changed.
        """
        self._sink.change(config.server.body_log)
        self._mask = make_redactor(_find_secrets(config))

    def begin(self, call: ClientCall) -> BodyCopy | None:
        """Return what takes the bodies of a call; ``None`` if nobody wants them."""
        return None if self._sink.sink is None else BodyCopy(call, self._write)

    def reopen(self) -> None:
        """Open it, or open it anew: its file was moved."""
        self._sink.reopen()

    def close(self) -> None:
        """Write what there is, and give all back."""
        self._sink.close()

    def _write(self, document: dict[str, Any]) -> None:
        if self._sink:
            now = datetime.fromtimestamp(self._wall(), UTC)
            when = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            said = {name: redact(item, self._mask) for name, item in document.items()}
            self._sink.write(dumps({"time": when} | said) + b"\n")


class BodyCopy:
    """
    The bodies of one call.

    :param write: takes the line when the call is over.
    """

    def __init__(self, call: ClientCall, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._document: dict[str, Any] = {
            "id": call.id,
            "key": call.principal.name,
            "route": call.route,
            "request": _read(call.body),
            "answer": None,
        }
        self._stream: _Copied | None = None
        self._content_type = ""

    def answered(self, answer: PlainAnswer) -> None:
        """Take a whole answer."""
        self._document["answer"] = _read(answer.body, answer.content_type)

    def follow(self, client: IConsumer, content_type: str) -> IConsumer:
        """Return a client to which a stream is written, and noted."""
        self._stream, self._content_type = _Copied(client), content_type
        return self._stream

    def failed(self, error: AIProxyError) -> None:
        """Take the error that is the answer."""
        self._document["answer"] = {"error": str(error)}

    def close(self) -> None:
        """The call is over."""
        if self._stream is not None:
            told = self._stream.transcript
            texts = told.texts()
            self._document["answer"] = texts or _tell_size(told.bytes, self._content_type)
        self._write(self._document)


class _Copied(WrappedClient):
    """A client, whose stream is read along."""

    def __init__(self, client: IConsumer) -> None:
        super().__init__(client)
        self.transcript = Transcript()

    def write(self, data: bytes) -> None:
        """Write."""
        super().write(data)
        self.transcript.feed(data)


def _read(body: bytes, content_type: str = "application/json") -> Any:
    if len(body) <= MOST_BYTES:
        try:
            return loads(body)
        except JSONError:
            pass  # A form, a picture, or no JSON: what that says is not for a log.
    return _tell_size(len(body), "" if content_type == "application/json" else content_type)


def _tell_size(count: int, content_type: str) -> str:
    return f"[{content_type}, {count:,} bytes]" if content_type else f"[{count:,} bytes]"


def _find_secrets(config: Config) -> Iterator[str]:
    for token in (*config.auth_tokens, config.admin_token):
        if token is not None:
            yield token.reveal()
    for model in config.models:
        yield from model.find_secrets()
