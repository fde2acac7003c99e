"""
What a supervisor and a worker say to each other: JSON, one message a line.

A message tells something, asks something, or answers: ``{"tell": what, "data":
…}``, ``{"ask": number, "what": …, "data": …}``, ``{"answer": number, "data":
…}`` or ``{"answer": number, "problems": …}``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from itertools import count
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aiproxy.errors import ConfigurationError, Problem

__all__ = ["Conversation", "ConversationOver"]

#: By what is told or asked: what to do with the data.  A question's is a
#: coroutine, whose result is the answer.
Hears = Mapping[str, Callable[[Any], None]]
Answers = Mapping[str, Callable[[Any], Coroutine[Any, Any, Any]]]


class ConversationOver(Exception):
    """The other process is gone, or has no answer."""


class Conversation:
    """
    One side of it.

    :param write: sends bytes to the other side.
    :param hears: what to do with what is told; what is not known is ignored,
        for the other side may be of a newer version.
    :param answers: what to do with questions.
    """

    _log = Logger()

    def __init__(self, write: Callable[[bytes], None], hears: Hears, answers: Answers) -> None:
        self._write = write
        self._hears = hears
        self._answers = answers
        self._numbers = count(1)
        self._asked: dict[int, Deferred[Any]] = {}
        self._pieces: list[bytes] = []
        self._over = False

    def tell(self, what: str, data: object = None) -> None:
        """Say something; what is said to who is gone is lost."""
        self._send({"tell": what, "data": data})

    def ask(self, what: str, data: object = None) -> Deferred[Any]:
        """
        Ask something.

        :return: fires with the answer; fails with :class:`ConversationOver`,
            or with the other side's :class:`~aiproxy.errors.ConfigurationError`.
        """
        if self._over:
            raise ConversationOver(what)
        number = next(self._numbers)
        answer: Deferred[Any] = Deferred(lambda _: self._drop(number))
        self._asked[number] = answer
        self._send({"ask": number, "what": what, "data": data})
        return answer

    def received(self, data: bytes) -> None:
        """Take bytes of the other side, however they are split."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._pieces.append(line)
            whole, self._pieces = b"".join(self._pieces), []
            self._take(json.loads(whole))
        if rest:
            self._pieces.append(rest)

    def end(self) -> None:
        """The other side is gone."""
        self._over = True
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            answer.errback(ConversationOver("the other process is gone"))

    def _drop(self, number: int) -> None:
        """Nobody waits for that answer any more."""
        self._asked.pop(number, None)

    def _take(self, message: dict[str, Any]) -> None:
        if "tell" in message:
            hear = self._hears.get(message["tell"])
            if hear is not None:
                hear(message["data"])
        elif "ask" in message:
            answering = Deferred.fromCoroutine(self._answer(message["what"], message["data"]))
            answering.addCallbacks(
                lambda data: self._send({"answer": message["ask"], "data": data}),
                lambda failure: self._refuse(failure, message),
            )
        else:
            answer = self._asked.pop(message["answer"], None)
            if answer is not None:
                _settle(answer, message)

    async def _answer(self, what: str, data: object) -> object:
        if what not in self._answers:
            raise ConversationOver(f"{what} is not known here")
        return await self._answers[what](data)

    def _refuse(self, failure: Failure, message: dict[str, Any]) -> None:
        problems: object = None
        if isinstance(failure.value, ConfigurationError):
            found = failure.value.problems
            problems = [[one.message, one.file, one.line] for one in found]
        elif not failure.check(ConversationOver, CancelledError):
            self._log.failure("answering {what} failed", failure, what=message["what"])
        self._send({"answer": message["ask"], "problems": problems})

    def _send(self, message: dict[str, object]) -> None:
        if not self._over:
            self._write(json.dumps(message).encode("ascii") + b"\n")


def _settle(answer: Deferred[Any], message: dict[str, Any]) -> None:
    if "data" in message:
        answer.callback(message["data"])
    elif message["problems"] is None:
        answer.errback(ConversationOver("the other process has no answer"))
    else:
        answer.errback(ConfigurationError([Problem(*one) for one in message["problems"]]))
