"""
A blocking client of a running server, for commands: the standard library and our own SSE decoder.

Nothing is repeated here: the server has its own plan for a provider's bad days.
"""

from __future__ import annotations

import os
import re
import ssl
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.config.environment import read_environment, read_settings
from aiproxy.config.secret import Secret, read_secret
from aiproxy.config.sources import Sources
from aiproxy.terminal.chat_stream import (
    ApiError,
    Delta,
    Stream,
    Usage,
    cut_off,
    read_error,
    read_object,
)
from aiproxy.wire.json import dumps
from aiproxy.wire.urls import origin, read_url

__all__ = [
    "Api",
    "ApiError",
    "Delta",
    "ModelRow",
    "Stream",
    "Usage",
    "add_key_argument",
    "add_server_arguments",
    "connect",
]

_CONNECT_SECONDS: Final = 10.0
#: Silence for this long is an error; a server of ours gives up earlier.
_SILENCE_SECONDS: Final = 600.0
_ERROR_BYTES: Final = 64 * 1024
#: Who owns a name that several models serve: a group, ``SMALL``, ``BIG``.
_OWN: Final = "aiproxy"


@frozen
class ModelRow:
    """
    One of the names that a client can ask for.

    :param context_window: in tokens, where known.
    """

    name: str
    owner: str
    context_window: int | None = None

    @property
    def kind(self) -> str:
        """``group`` for a name that several models serve, else ``model``."""
        return "group" if self.owner == _OWN else "model"


class Api:
    """
    The HTTP face of one server.

    :param url: with or without ``/v1`` and a slash at the end.
    :param token: sent as a bearer token; ``None`` sends none.
    :param token_source: where the token comes from, for who must change it.
    :raises ApiError: where *url* is none; every method raises it.
    :ivar base_url: what routes are appended to, with ``/v1``.
    """

    def __init__(
        self, url: str, token: Secret | None = None, token_source: str = "the caller"
    ) -> None:
        try:
            parts = urlsplit(read_url(url if "://" in url else f"http://{url}"))
        except ValueError as error:
            raise ApiError(f"the URL {error}", code="invalid_url") from None
        self.origin = origin(parts.geturl())
        self._host, self._port = parts.hostname or "", parts.port
        self._path = f"{parts.path.rstrip('/').removesuffix('/v1')}/v1"
        self.base_url = f"{self.origin}{self._path}"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.token = token
        self.token_source = token_source

    def models(self) -> list[ModelRow]:
        """Return the names that this client can ask for, in the server's order."""
        connection, answer = self._ask("GET", "/models", None)
        with closing(connection), answer, _lost():
            listed = read_object(answer.read()).get("data") or ()
        return [
            ModelRow(row["id"], row.get("owned_by") or "", row.get("context_window"))
            for row in listed
        ]

    def stream(
        self, model: str, messages: Sequence[Mapping[str, object]], **more: object
    ) -> Stream:
        """
        Ask for a chat completion; return when its answer begins.

        :param more: further fields of the request's body.
        """
        options = {"stream": True, "stream_options": {"include_usage": True}}
        body = {"model": model, "messages": list(messages), **options, **more}
        return Stream(*self._ask("POST", "/chat/completions", dumps(body)))

    def _ask(
        self, method: str, route: str, body: bytes | None
    ) -> tuple[HTTPConnection, HTTPResponse]:
        """Send a request; return the connection and an answer whose status is 200."""
        if self._tls is None:
            connection = HTTPConnection(self._host, self._port, timeout=_CONNECT_SECONDS)
        else:
            connection = HTTPSConnection(
                self._host, self._port, timeout=_CONNECT_SECONDS, context=self._tls
            )
        try:
            connection.connect()
        except OSError as error:
            raise self._absent(error) from None
        connection.sock.settimeout(_SILENCE_SECONDS)
        headers = {"content-type": "application/json", "user-agent": "aiproxy-terminal"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token.reveal()}"
        try:
            with _lost():
                connection.request(method, self._path + route, body, headers)
                answer = connection.getresponse()
                if answer.status != 200:
                    with answer:
                        raise self._refusal(answer.status, answer.read(_ERROR_BYTES))
        except BaseException:
            connection.close()
            raise
        return connection, answer

    def _absent(self, error: OSError) -> ApiError:
        if isinstance(error, ConnectionRefusedError):
            return ApiError(f"no server at {self.origin}: start one with `aiproxy run`")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ApiError(f"cannot connect to {self.origin}: {reason}")

    def _refusal(self, status: int, body: bytes) -> ApiError:
        if status == 401:
            refused = "a key: none is given"
            if self.token is not None:
                refused = f"another key than the one of {self.token_source}"
            hint = "give one with --key or $AIPROXY_KEY"
            return ApiError(f"{self.origin} wants {refused}; {hint}", status=status)
        try:
            return read_error(read_object(body), status)
        except ApiError:
            return ApiError(f"{self.origin} answered with HTTP status {status}", status=status)


def add_server_arguments(parser: ArgumentParser) -> None:
    """Add the options that :func:`connect` reads."""
    parser.add_argument("--url", metavar="URL", help="the server (http://127.0.0.1:$PORT)")
    add_key_argument(parser)


def add_key_argument(parser: ArgumentParser) -> None:
    """Add the option that tells who asks; :func:`connect` reads it, too."""
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="a client's key ($AIPROXY_KEY; for a server on this machine else $AUTH_TOKEN)",
    )


def connect(parsed: Namespace) -> Api:
    """
    Return the server that the options name; nothing is sent yet.

    Variables are read as the server reads them, from ``.env`` too, so that
    both agree where both stand in one folder.  ``AUTH_TOKEN`` opens our own
    server, so it is shown to nobody on another machine.
    """
    environment, _ = read_environment(os.environ, None, Path.cwd(), Sources())
    settings, _ = read_settings(environment)
    url = parsed.url or f"http://127.0.0.1:{settings.port}"
    name, text = "--key", parsed.key
    if not text:
        name, text = "AIPROXY_KEY", environment.variables.get("AIPROXY_KEY", "").strip()
    if text:
        try:
            token: Secret | None = read_secret(text)
        except ValueError as error:
            raise ApiError(f"{name} {error}", code="invalid_key") from None
    elif _is_here(url):
        name, token = "AUTH_TOKEN", next(iter(settings.auth_tokens), None)
    else:
        name, token = "", None
    file = environment.file if name in environment.lines else None
    return Api(url, token, f"{name} in {file}" if file else name)


def _is_here(url: str) -> bool:
    """Whether a URL is one of this machine's."""
    host = urlsplit(url if "://" in url else f"http://{url}").hostname or ""
    return host == "localhost" or host == "::1" or re.fullmatch(r"127(\.\d+){3}", host) is not None


@contextmanager
def _lost() -> Iterator[None]:
    """Tell of a connection that is lost on the way."""
    try:
        yield
    except (OSError, HTTPException) as error:
        raise cut_off(error) from None
