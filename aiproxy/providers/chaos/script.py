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

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from attrs import Attribute, define, evolve, field, fields, frozen
from attrs.validators import and_, ge, in_, instance_of, optional

from aiproxy.providers.chaos.errors import ERRORS

__all__ = ["ANSWER", "CONNECTION_FAULTS", "FAULTS", "Playback", "Script", "Step", "read_script"]

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

S = TypeVar("S")


def _number(default: float | None = None) -> Any:
    return field(default=default, validator=optional(and_(instance_of((int, float)), ge(0))))


def _count(default: int | None = None) -> Any:
    return field(default=default, validator=optional(and_(instance_of(int), ge(0))))


def _text(default: str | None = None) -> Any:
    return field(default=default, validator=optional(instance_of(str)))


def _flag() -> Any:
    return field(default=False, validator=instance_of(bool))


def _choice(default: str, *others: str) -> Any:
    return field(default=default, validator=in_((default, *others)))


def _mapping(**default: object) -> Any:
    return field(default=default, validator=_check_mapping)


def _check_mapping(_: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{attribute.name!r} must be a mapping")


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
    times: int = _count(1)
    lasts: float | None = _number()
    error: str = field(default="500", converter=str)
    message: str | None = _text()
    code: str | None = _text()
    headers: Mapping[str, str] = _mapping()
    retry_after: float | None = _number()
    told_by: str = _choice("seconds", "date", "ms", "body", "words")
    after_events: int | None = _count()
    after_characters: int | None = _count()
    after_bytes: int | None = _count()
    end: str = _choice("close", "reset", "clean", "open")
    delay: float | None = _number()
    ping_every: float | None = _number()
    ping: str = _choice("comment", "event")
    looks: str = _choice("content", "noise")
    part: str | None = field(
        default=None, validator=optional(in_(("answer", "event", "line", "header")))
    )
    events: int = _count(0)
    size: int = _count(1024)
    tool: bool = _flag()
    answer: str | None = _text()
    continuation: str | None = _text()

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
    repeat: bool = _flag()
    answer: str = field(default=ANSWER, validator=instance_of(str))
    continuation: str = _choice("go_on", "start_over", "overlap", "paraphrase", "refuse")
    pace: float = _number(0.0)
    tool: bool = _flag()
    arguments: Mapping[str, Any] = _mapping(city="Zürich", days=3)

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

    :raises ValueError: it says where the mistake is.
    """
    if not isinstance(data, Mapping):
        data = {"faults": data}
    steps = data.get("faults", ())
    if not isinstance(steps, list | tuple):
        raise ValueError("faults: must be a list")
    read = tuple(_read_step(step, f"faults[{index}]") for index, step in enumerate(steps))
    script = _make(Script, {**data, "faults": read}, "script")
    for index, step in enumerate(read):
        _at(f"faults[{index}]", partial(script.settings_for, step))
    if script.repeat and not any(step.times or step.lasts for step in read):
        raise ValueError("repeat: there is nothing that ends and could begin anew")
    return script


def _read_step(data: object, where: str) -> Step:
    if isinstance(data, str | int):
        data = {"fault": data}
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a fault's name, a status or a mapping")
    values = dict(data)
    fault = values.get("fault", "none")
    if isinstance(fault, str) and fault.isdecimal():
        fault = int(fault)  # Quoted in YAML.
    if isinstance(fault, int) or str(fault) in ERRORS:
        values.update(fault="error", error=fault)
    elif str(fault) not in FAULTS:
        raise ValueError(f"{where}: {fault!r} is none of {_list(FAULTS | set(ERRORS))}")
    return _make(Step, values, where)


def _make(kind: type[S], values: Mapping[Any, Any], where: str) -> S:
    known: tuple[Attribute[Any], ...] = fields(kind)  # type: ignore[arg-type]
    for name in values:
        if name not in {each.name for each in known}:
            raise ValueError(f"{where}: has no key {name!r}")
    return _at(where, lambda: kind(**values))


def _at(where: str, make: Callable[[], S]) -> S:
    try:
        return make()
    except (ValueError, TypeError) as mistake:
        # attrs adds the attribute to its words.
        raise ValueError(f"{where}: {mistake.args[0]}") from mistake


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
