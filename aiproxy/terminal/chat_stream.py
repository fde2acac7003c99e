"""One answer of a server as it comes: its pieces, its tokens, and the ways in which it may fail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, Self

from attrs import frozen

from aiproxy.errors import AnswerTooLarge
from aiproxy.wire.json import JSONError, loads
from aiproxy.wire.sse import SSEDecoder

__all__ = [
    "ApiError",
    "Delta",
    "Stream",
    "Usage",
    "cut_off",
    "printable",
    "read_error",
    "read_object",
]

_PIECE_BYTES: Final = 64 * 1024
_MOST_BYTES: Final = 16 * 1024 * 1024
#: What could move a terminal's cursor, or worse: C0 without tab and LF, DEL, C1.
_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Return a text of somebody else's fit for a terminal."""
    return _CONTROLS.sub("", text)


class ApiError(Exception):
    """
    The server refused, failed, or is not there.

    :param code: the envelope's, else a short word of ours.
    :param status: of HTTP; ``None`` where no answer came.
    """

    def __init__(
        self, message: str, *, code: str | int | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status

    def __str__(self) -> str:
        line = self.message if self.code is None else f"{self.message} ({self.code})"
        return printable(" ".join(line.split()))


@frozen
class Delta:
    """A piece of an answer, or of what a model thinks before it."""

    text: str = ""
    reasoning: str = ""


@frozen
class Usage:
    """Tokens, as the provider counts them."""

    prompt: int
    completion: int


class Stream(Iterator[Delta | Usage]):
    """
    An answer while it comes.

    Close it, or leave its ``with`` block, to hang up: the server then cancels
    its own request at once.

    :ivar model: the model that answers, once known.
    :ivar provider: its provider; empty where the server does not say.
    :ivar attempts: how many upstream requests it took.
    :ivar finish_reason: why it ended, as OpenAI names it.
    """

    def __init__(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        self.model = answer.getheader("x-aiproxy-model", "")
        self.provider = answer.getheader("x-aiproxy-provider", "")
        attempts = answer.getheader("x-aiproxy-attempts", "")
        self.attempts = int(attempts) if attempts.isdecimal() else 1
        self.finish_reason: str | None = None
        self._connection = connection
        self._answer = answer
        self._half = ""
        self._events = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def __next__(self) -> Delta | Usage:
        try:
            return next(self._events)
        except StopIteration:
            self.close()
            raise
        except AnswerTooLarge as error:
            self.close()
            raise ApiError(error.message, code=error.code) from None
        except (OSError, HTTPException) as error:
            self.close()
            raise cut_off(error) from None
        except BaseException:  # Also Ctrl-C: nobody pays for what nobody reads.
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._answer.close()
        self._connection.close()

    def _read(self) -> Iterator[Delta | Usage]:
        decoder = SSEDecoder(_MOST_BYTES)
        while data := self._answer.read1(_PIECE_BYTES):
            for event in decoder.feed(data):
                if event.data == b"[DONE]":
                    return
                yield from self._read_chunk(event.data)
        raise cut_off("it ended without [DONE]")

    def _read_chunk(self, data: bytes) -> Iterator[Delta | Usage]:
        chunk = read_object(data)
        if "error" in chunk:
            raise read_error(chunk, None)
        self.model = self.model or str(chunk.get("model") or "")
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text = self._join(_text(delta, "content", "refusal"))
            reasoning = _as_unicode(_text(delta, "reasoning_content", "reasoning"))
            if text or reasoning:
                yield Delta(text, reasoning)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        if usage := chunk.get("usage"):
            yield Usage(usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0)

    def _join(self, text: str) -> str:
        """Return the text without the first half of an emoji, whose other half comes next."""
        text = self._half + text
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _as_unicode(text.removesuffix(self._half))


def cut_off(reason: object) -> ApiError:
    """Return the error of an answer that is not whole."""
    told = reason if isinstance(reason, str) else type(reason).__name__
    return ApiError(f"the answer was cut off: {told}", code="stream_cut")


def read_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in *data*; :raises ApiError: where it is none."""
    try:
        value = loads(data)
    except JSONError:
        value = None
    if not isinstance(value, dict):
        raise ApiError("the server sent something other than a JSON object", code="bad_answer")
    return value


def read_error(envelope: Mapping[str, Any], status: int | None) -> ApiError:
    """Read OpenAI's error envelope; ``error`` may also be a text alone."""
    error = envelope.get("error")
    if not isinstance(error, dict):
        error = {"message": error}
    message = error.get("message") or f"an error without a message (HTTP status {status})"
    return ApiError(_as_unicode(str(message)), code=error.get("code"), status=status)


def _text(delta: Mapping[str, Any], *names: str) -> str:
    """Return the first of these fields that holds a text."""
    return next((delta[name] for name in names if isinstance(delta.get(name), str)), "")


def _as_unicode(text: str) -> str:
    """Join the halves of emojis; a half that stays alone becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
