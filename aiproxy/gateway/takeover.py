"""
One whole answer from several upstreams: a pure machine over chunks.

It stands between the reader of the current upstream and the caller's face::

    takeover.begin(target)                     # the first upstream
    chunks = takeover.feed(reader.feed(data))  # as long as it goes well
    chunks += takeover.end(reader.usage)       # the reader has ended whole
    step = takeover.cut(error, reader.usage)   # it has not: Next or GiveUp

After ``Next``, :meth:`Takeover.ask` writes the request for a target, and
:meth:`Takeover.begin` with it starts over.  Whenever :attr:`Takeover.failed`
is set after ``feed`` or ``end``, that upstream is to be left, and ``cut``
called with it.

The caller sees one answer: the first one's ``id``, ``created`` and ``model``,
one finish reason, one usage.  Until the first cut every chunk passes as it is.

Thoughts are no part of the answer.  If the caller has had some of it, a
continuation's are left out.  If he has only had thoughts, those that repeat
them are left out, and others follow behind a blank line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.shapes import ChatChunk, ChatRequest, Usage, is_short, says_something
from aiproxy.errors import (
    AIProxyError,
    AnswerTooLarge,
    CallerError,
    ContentRefused,
    OurError,
    PolicyError,
    StreamCut,
)
from aiproxy.gateway.continuation import (
    Capabilities,
    Continuation,
    Target,
    choose_way,
    write_continuation,
)
from aiproxy.gateway.delivered import (
    DELIVERED_BYTES,
    Delivered,
    DeliveredChoice,
)
from aiproxy.gateway.joint import Joint
from aiproxy.gateway.takeover_usage import Part, sum_usage
from aiproxy.wire.json import JSONError, loads

__all__ = ["MOST_TAKEOVERS", "GiveUp", "Next", "Takeover"]

#: So many continuations are begun for a request.
MOST_TAKEOVERS: Final = 3

#: Another upstream would be told the same, or must not be asked.
_FINAL: Final = (ContentRefused, AnswerTooLarge, CallerError, PolicyError, OurError)

_IDENTITY: Final = ("id", "object", "created", "model", "system_fingerprint")


@frozen
class Next:
    """
    Somebody else may go on.

    :param barren: the one that was cut brought nothing new: do not ask it again.
    """

    barren: bool


@frozen
class GiveUp:
    """Nobody may go on; the error is for the caller."""

    error: AIProxyError


class Takeover:
    """
    See the module.

    :param request: the caller's.
    :param capabilities: shared by all requests.
    :param enabled: ``retry.takeover``; otherwise each cut is the end.
    :param reroutes_refusals: ``retry.reroute_refusals``.
    :param limit_bytes: of the answer; a longer one is not taken over.
    :ivar takeovers: continuations that were begun.
    :ivar usage: of the whole answer, as the caller is told, once there was a takeover.
    :ivar rescued: the answer is whole, and would not be without them.
    :ivar failed: why the current upstream is none to go on with.
    """

    def __init__(
        self,
        request: ChatRequest,
        *,
        capabilities: Capabilities,
        enabled: bool = True,
        reroutes_refusals: bool = False,
        limit_bytes: int = DELIVERED_BYTES,
    ) -> None:
        self.takeovers = 0
        self.usage: Usage | None = None
        self.rescued = False
        self.failed: AIProxyError | None = None
        self._request = request
        self._capabilities = capabilities
        self._enabled = enabled
        self._reroutes_refusals = reroutes_refusals
        self._delivered = Delivered(limit_bytes)
        self._frame: ChatChunk = {}
        self._attempts: list[Part] = []
        self._barren: set[Target] = set()
        self._joint: Joint | None = None
        self._finish: ChatChunk | None = None

    def begin(self, target: Target, continuation: Continuation | None = None) -> None:
        """
        Begin to read a target's stream.

        :param continuation: what it was asked with; ``None`` for the first.
        """
        self.failed = None
        self._finish = None
        self._attempts.append(Part(target, continuation))
        if continuation is not None:
            self.takeovers += 1
            self._joint = Joint(self._choice, continuation)

    def feed(self, chunks: Iterable[ChatChunk]) -> list[ChatChunk]:
        """Take what the current upstream's reader gave; give what goes to the caller."""
        given: list[ChatChunk] = []
        for chunk in chunks:
            if self._joint is None:
                if not self._frame and chunk["choices"]:
                    self._frame = _read_frame(chunk)
                self._note(chunk)
                given.append(chunk)
            else:
                self._continue(self._joint, chunk, given)
            if self.failed is not None:
                break
        return given

    def follow(self, chunk: ChatChunk) -> None:
        """
        Take note of a text that went to the caller without :meth:`feed`.

        That may be once one like it was given whole: from there on all is.
        """
        self._note(chunk)
        if self._joint is not None:
            self._attempts[-1].received += len(DeliveredChoice().take(chunk["choices"][0]["delta"]))

    def end(self, usage: Usage | None = None) -> list[ChatChunk]:
        """
        Say that the current upstream's answer is whole; give the end of it.

        :param usage: as it was told.
        """
        if self._joint is None or self.failed is not None:
            return []
        given: list[ChatChunk] = []
        delta = self._joint.close()
        self._give({}, {"index": self._index}, delta, given)
        self.failed = self._joint.error or self._check_calls()
        if self.failed is None and self._finish is None:
            self.failed = StreamCut("the continuation has no finish reason")
        if self.failed is not None or self._finish is None:
            return given
        self._attempts[-1].usage = usage
        self.rescued = True
        given.append(self._finish)
        told = self.usage = sum_usage(self._attempts)
        if told is not None:
            given.append({**self._frame, "choices": [], "usage": told})
        options = self._request.get("stream_options") or {}
        # The caller sees the usage only if he asked for it.
        last = given[-1] if options.get("include_usage") is True else self._finish
        last["x_aiproxy"] = {
            "served": [
                {"model": attempt.target.name, "provider": attempt.target.provider}
                for attempt in self._attempts
            ],
            "usage": [attempt.usage for attempt in self._attempts],
        }
        return given

    def cut(self, error: AIProxyError, usage: Usage | None = None) -> Next | GiveUp:
        """
        Say that the current upstream was cut, or is to be left.

        An upstream that brought nothing new is not asked again; whether others
        are left to be asked is for the caller of this to know.
        """
        if isinstance(error, _FINAL) and not (
            self._reroutes_refusals and isinstance(error, ContentRefused)
        ):
            return GiveUp(error)
        attempt = self._attempts[-1]
        attempt.usage = usage
        # Who was asked to go on owes a word; the first may have come to a blank only.
        barren = attempt.barren and attempt.continuation is not None
        if barren:
            self._barren.add(attempt.target)
        obstacle = self._obstacle()
        return Next(barren) if obstacle is None else GiveUp(self.give_up(error, obstacle))

    def may_ask(self, target: Target) -> bool:
        """Whether a target may go on: not if it has brought nothing before."""
        return target not in self._barren

    def ask(self, target: Target) -> Continuation:
        """Write the request for a target."""
        choice = self._choice
        way = choose_way(self._request, choice, target, self._capabilities)
        prefill = self._capabilities.prefill(target)
        return write_continuation(self._request, choice, way=way, target=target, prefill=prefill)

    def refused(self, continuation: Continuation, error: AIProxyError) -> bool:
        """
        Say that a target answered :meth:`ask`'s request with an error.

        :return: it was the prefill that it refused: ask it again, which is
            another request now.
        """
        if not self._capabilities.is_refusal(error, continuation.way):
            return False
        self._capabilities.note_refusal(continuation.target)
        return True

    @property
    def received(self) -> int:
        """How many characters the current upstream has told."""
        attempt = self._attempts[-1]
        return attempt.received if attempt.continuation else attempt.brought

    def give_up(self, error: AIProxyError, why: str = "nobody is left to go on") -> AIProxyError:
        """Make the error for the caller: what happened, and how far the answer got."""
        reached = sum(attempt.brought for attempt in self._attempts)
        message = f"{error.message.rstrip('.')}; the answer has {reached} characters so far"
        if self._enabled:
            message += f", and it was not taken over: {why}"
        return StreamCut(message, code=error.code, provider=error.provider, model=error.model)

    # --- a continuation -------------------------------------------------------------

    def _continue(self, joint: Joint, chunk: ChatChunk, given: list[ChatChunk]) -> None:
        """Give what is new in a chunk of a continuation."""
        for choice in chunk["choices"]:
            if choice["index"] != self._index:
                continue
            delta = choice["delta"]
            self._attempts[-1].received += len(DeliveredChoice().take(delta))
            new = joint.feed(delta)
            if joint.error is not None:
                self.failed = joint.error
                return
            if choice.get("finish_reason"):
                # What is still held back goes before it.
                finish = {**choice, "delta": {}}
                self._finish = self._framed(chunk, finish)
                choice = {"index": choice["index"]}
            self._give(chunk, choice, new, given)

    def _give(
        self,
        chunk: ChatChunk,
        choice: Mapping[str, Any],
        delta: dict[str, Any],
        given: list[ChatChunk],
    ) -> None:
        if not says_something(delta):
            return
        whole = delta == {k: v for k, v in (choice.get("delta") or {}).items() if k != "role"}
        rest = {
            name: value
            for name, value in choice.items()
            # Log probabilities of words that were held back belong to nothing here.
            if whole or name != "logprobs"
        }
        made = self._framed(chunk, {**rest, "delta": delta, "finish_reason": None})
        self._note(made)
        given.append(made)

    def _framed(self, chunk: ChatChunk, choice: dict[str, Any]) -> ChatChunk:
        """Make a chunk of the one answer that the caller sees."""
        rest = {name: value for name, value in chunk.items() if name not in (*_IDENTITY, "usage")}
        return {**self._frame, **rest, "choices": [choice]}

    def _note(self, chunk: ChatChunk) -> None:
        said = self._delivered.take(chunk)
        if not said:
            return
        attempt = self._attempts[-1]
        attempt.brought += len(said)
        if attempt.barren and not said.isspace():
            attempt.barren = False

    # --- what is known ----------------------------------------------------------------

    @property
    def _index(self) -> int:
        return next(iter(self._delivered.choices), 0)

    @property
    def _choice(self) -> DeliveredChoice:
        return self._delivered.choices[self._index]

    def _obstacle(self) -> str | None:
        """Why nobody may go on."""
        if not self._enabled:
            return "it is turned off"
        if (self._request.get("n") or 1) > 1:
            return "answers with several choices cannot be continued"
        if self._delivered.obstacle is not None:
            return self._delivered.obstacle
        if self._choice.finished:
            return "it has its finish reason already"
        if self.takeovers >= MOST_TAKEOVERS:
            return f"it was taken over {self.takeovers} times already"
        return None

    def _check_calls(self) -> AIProxyError | None:
        """Whether each call's arguments can be read, for the caller will read them."""
        if self._finish is not None and self._finish["choices"][0]["finish_reason"] == "length":
            return None  # Which says that they end early.
        choice = self._delivered.choices.get(self._index)
        # Of what became too long nothing is known any more.
        for call in choice.calls.values() if choice else ():
            if call.kind == "function":
                try:
                    loads(call.arguments)
                except JSONError:
                    return StreamCut("the arguments of a tool call cannot be read")
        return None


def _read_frame(chunk: ChatChunk) -> ChatChunk:
    """Give what of the first chunk is repeated with each one of a continuation."""
    told = {name: chunk[name] for name in _IDENTITY if name in chunk}
    return {
        name: value
        for name, value in told.items()
        if isinstance(value, int | float | None) or is_short(value)
    }
