"""
What a chaos upstream shall do, as plain data: one step after the other.

A script is a list of steps, or a mapping with the list as ``faults`` and with
what holds for all of them.  A step is the name of a fault, a status, or a
mapping with ``fault`` and options::

    faults:
      - 503
      - {fault: cut, after_events: 3}
    repeat: true
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from attrs import Attribute, define, evolve, field, fields, frozen
from attrs.validators import in_

from aiproxy.config.reading import nearest
from aiproxy.config.tree import shorten
from aiproxy.providers.chaos.errors import ERRORS
from aiproxy.providers.chaos.script_values import (
    choice,
    count,
    flag,
    mapping,
    number,
    text,
    type_name,
)

__all__ = [
    "ANSWER",
    "CONNECTION_FAULTS",
    "FAULTS",
    "Playback",
    "Script",
    "ScriptError",
    "Step",
    "read_script",
]

#: Faults that meet a connection: no request is seen.
CONNECTION_FAULTS: Final = frozenset({"dns", "refuse", "tls"})
#: All faults but the errors, which stand in :data:`~aiproxy.providers.chaos.errors.ERRORS`.
FAULTS: Final = CONNECTION_FAULTS | {
    *("none", "error", "reset", "close", "stale", "silent", "late", "cut", "stall", "garbled"),
    *("no_done", "error_inside", "empty", "html", "nothing", "truncated", "flood", "endless"),
}
#: What is said where the script has no ``answer``.
ANSWER: Final = (
    "The lighthouse keeper climbed one hundred and twelve steps every evening. "
    "At the top he lit the lamp, wound the clock,  and wrote down the weather.\n\n"
    "Nobody had had to tell him why: ships came home, and that was all."
)
_CONTINUATIONS: Final = ("go_on", "start_over", "overlap", "paraphrase", "refuse")

S = TypeVar("S")


class ScriptError(ValueError):
    """
    A script that is none.

    :param mistakes: each with its place.
    """

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(self.mistakes))


@frozen
class Step:
    """
    One fault, and how often it comes.  Times are seconds.

    :param fault: one of :data:`FAULTS`; an error's name stands for ``error``.
    :param times: how many requests meet it; 0: all from now on.
    :param lasts: it goes on for so long after the first instead.
    :param error: ``error``, ``error_inside``: which, of ``ERRORS`` or a status.
    :param message: another text for it; likewise ``code`` and ``headers``.
    :param retry_after: the delay that a ``rate_limit`` tells, and how in ``told_by``.
    :param after_events: where in the body the fault comes: after so many events,
        else characters of the answer, else bytes; without any, halfway.
    :param end: how a body that was broken off ends: no last chunk, then the
        connection closed or reset; in proper HTTP; or it stays open.
    :param delay: ``silent``, ``late``, ``stall``: how long; without, for ever.
    :param ping_every: meanwhile the upstream shows that it lives, by ``ping``.
    :param looks: ``garbled``: like a delta, or like nothing of ours.
    :param part: ``endless``: of what there is no end.
    :param events: ``flood``: how many; 0: without end.
    :param size: ``flood``: characters in each.
    :param tool: answer with a tool call.
    :param answer: another text for this step; likewise ``continuation``.
    """

    fault: str = field(default="none", validator=in_(FAULTS))
    times: int = count(1)
    lasts: float | None = number()
    error: str = field(default="500", converter=str)
    message: str | None = text()
    code: str | None = text()
    headers: Mapping[str, str] = mapping()
    retry_after: float | None = number()
    told_by: str = choice("seconds", "date", "ms", "body", "words", default="seconds")
    after_events: int | None = count()
    after_characters: int | None = count()
    after_bytes: int | None = count()
    end: str = choice("close", "reset", "clean", "open", default="close")
    delay: float | None = number()
    ping_every: float | None = number()
    ping: str = choice("comment", "event", default="comment")
    looks: str = choice("content", "noise", default="content")
    part: str | None = choice("answer", "event", "line", "header")
    events: int = count(0)
    size: int = count(1024)
    tool: bool = flag()
    answer: str | None = text()
    continuation: str | None = choice(*_CONTINUATIONS)

    def __attrs_post_init__(self) -> None:
        if self.error not in ERRORS and not (self.error.isdecimal() and len(self.error) == 3):
            raise ValueError(f"{self.error!r} is no error: a status, or one of {_list(ERRORS)}")


@frozen
class Script:
    """
    All steps.

    :param faults: when they are over, requests are answered well.
    :param repeat: they begin anew instead.
    :param answer: the text of every good answer.
    :param continuation: how a request to go on with it is met: it goes on,
        starts over, goes on a little before the place (``overlap``), says
        something else (``paraphrase``), or refuses a prefill with a 400.
    :param pace: seconds between the events of a stream.
    :param tool: every good answer is a tool call.
    :param arguments: its arguments.
    """

    faults: tuple[Step, ...] = ()
    repeat: bool = flag()
    answer: str = text(ANSWER)
    continuation: str = choice(*_CONTINUATIONS, default="go_on")
    pace: float = number(0.0)
    tool: bool = flag()
    arguments: Mapping[str, Any] = mapping(city="Zürich", days=3)

    def settings_for(self, step: Step) -> Script:
        """Return what holds for a step: its own settings over these."""
        return evolve(
            self,
            answer=self.answer if step.answer is None else step.answer,
            continuation=step.continuation or self.continuation,
            tool=self.tool or step.tool,
        )


def read_script(data: object) -> Script:
    """
    Read a script from plain data, as YAML or JSON give it.

    :raises ScriptError: with the first mistake of each step, and of the rest.
    """
    if not isinstance(data, Mapping):
        data = {"faults": data}
    steps = data.get("faults", ())
    if not isinstance(steps, list | tuple):
        raise ScriptError([f"faults: must be a list, not {type_name(steps)}"])
    faults: list[Step] = []
    mistakes: list[str] = []
    for index, step in enumerate(steps):
        try:
            faults.append(_read_step(step))
        except ValueError as mistake:
            mistakes.append(f"faults[{index}]: {mistake}")
    script = Script()
    try:
        script = _make(Script, {**data, "faults": tuple(faults)})
    except ValueError as mistake:
        mistakes.append(str(mistake))
    if script.repeat and not mistakes and not any(step.times or step.lasts for step in faults):
        mistakes.append("repeat: there is nothing that ends and could begin anew")
    if mistakes:
        raise ScriptError(mistakes)
    return script


def _read_step(data: object) -> Step:
    if isinstance(data, str | int):
        data = {"fault": data}
    if not isinstance(data, Mapping):
        raise ValueError("must be a fault's name, a status or a mapping")
    values = dict(data)
    fault = values.get("fault", "none")
    if isinstance(fault, str) and fault.isdecimal():
        fault = int(fault)  # Quoted in YAML.
    if isinstance(fault, int) or str(fault) in ERRORS:
        values.update(fault="error", error=fault)
    elif str(fault) not in FAULTS:
        raise ValueError(f"{fault!r} is none of {_list(FAULTS | set(ERRORS))}")
    return _make(Step, values)


def _make(kind: type[S], values: Mapping[Any, Any]) -> S:
    attributes: tuple[Attribute[Any], ...] = fields(kind)  # type: ignore[arg-type]
    known = [each.name for each in attributes]
    for name in values:
        if name not in known:
            near = nearest(str(name), known) or f"; the keys here are {', '.join(known)}"
            raise ValueError(f"{shorten(str(name))}: unknown key{near}")
    return kind(**values)


def _list(names: Any) -> str:
    return ", ".join(sorted(names))


@define
class Playback:
    """Where in a script an upstream is."""

    script: Script
    _index: int = 0
    _used: int = 0
    _since: float | None = None

    def peek(self, now: float) -> Step:
        """Return the step that is next."""
        steps = self.script.faults
        for _ in steps:
            if self._index >= len(steps):
                break
            step = steps[self._index]
            if step.lasts is None or self._since is None or now - self._since < step.lasts:
                return step
            self.skip()
        return steps[self._index] if self._index < len(steps) else _GOOD

    def take(self, now: float) -> Step:
        """Return the step that is next, and count it."""
        step = self.peek(now)
        if self._since is None:
            self._since = now
        self._used += 1
        if step.lasts is None and self._used == step.times:
            self.skip()
        return step

    def skip(self) -> None:
        """Go to the next step."""
        self._index += 1
        self._used, self._since = 0, None
        if self.script.repeat and self._index >= len(self.script.faults):
            self._index = 0


_GOOD: Final = Step()
