"""How each fault looks on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from typing import Final

from attrs import evolve

from aiproxy.providers.chaos.errors import ErrorAnswer, make_error
from aiproxy.providers.chaos.scene import JSON, STREAM, Act, End, Scene, write_chunk
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

__all__ = ["perform"]

_NOISE: Final = b"data: upstream hiccup <0x1f>\n\n"
_BROKEN_DELTA: Final = b'data: {"choices":[{"index":0,"delta":{"content":"bro\n\n'
_PAGE: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
#: What an endless body repeats: big enough to fill every buffer soon.
_BLOCK: Final = b"a" * 16_384


def perform(scene: Scene) -> Iterator[Act]:
    """Play a step for a request."""
    return _PLAYS[scene.step.fault](scene)


def _none(scene: Scene) -> Iterator[Act]:
    yield scene.start()
    yield from scene.body(scene.answer.events() if scene.stream else [scene.answer.whole()])
    yield from scene.finish()


def _error(scene: Scene) -> Iterator[Act]:
    error = _make_error(scene)
    return scene.whole(dumps(error.document), status=error.status, more=error.headers)


def _make_error(scene: Scene) -> ErrorAnswer:
    step = scene.step
    return make_error(
        step.error,
        message=step.message,
        code=step.code,
        headers=step.headers,
        retry_after=step.retry_after,
        told_by=step.told_by,
        now=scene.now,
    )


def _reset(scene: Scene) -> Iterator[Act]:
    yield End.RESET


def _close(scene: Scene) -> Iterator[Act]:
    yield End.CLOSE


def _silent(scene: Scene) -> Iterator[Act]:
    yield End.HANG if scene.step.delay is None else float(scene.step.delay)
    yield from _none(scene)


def _late(scene: Scene) -> Iterator[Act]:
    yield scene.start()
    yield from scene.wait()
    yield from scene.body(scene.answer.events() if scene.stream else [scene.answer.whole()])
    yield from scene.finish()


def _cut(scene: Scene) -> Iterator[Act]:
    before, _ = scene.parts()
    # A clean end keeps its promise of a length.
    yield scene.start(sum(map(len, before)) if scene.step.end == "clean" else None)
    yield from scene.body(before)
    yield from scene.finish(scene.step.end)


def _stall(scene: Scene) -> Iterator[Act]:
    before, after = scene.parts()
    yield scene.start()
    yield from scene.body(before)
    yield from scene.wait()
    yield from scene.body(after)
    yield from scene.finish()


def _garbled(scene: Scene) -> Iterator[Act]:
    if not scene.stream:
        yield from _truncated(scene)
        return
    before, after = scene.parts()
    # Noise comes between two events, a broken delta in the place of one.
    rest = [_NOISE, *after] if scene.step.looks == "noise" else [_BROKEN_DELTA, *after[1:]]
    yield scene.start()
    yield from scene.body([*before, *rest])
    yield from scene.finish()


def _no_done(scene: Scene) -> Iterator[Act]:
    if not scene.stream:
        yield from _none(scene)
        return
    yield scene.start()
    yield from scene.body(scene.answer.events()[:-1])
    yield from scene.finish(scene.step.end)


def _error_inside(scene: Scene) -> Iterator[Act]:
    error = _make_error(scene)
    document = error.document
    # As OpenRouter does, a number says which status it would have been.
    document["error"]["code"] = document["error"]["code"] or error.status
    body = dumps(document)
    if not scene.stream:
        yield from scene.whole(body)
        return
    before, _ = scene.parts()
    yield scene.start()
    yield from scene.body([*before, write_event(body)])
    yield from scene.finish()


def _empty(scene: Scene) -> Iterator[Act]:
    if scene.stream:
        yield scene.start()
        yield from scene.body([*scene.answer.opening(), DONE])
        yield from scene.finish()
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": None}
    yield from scene.whole(dumps({"object": "chat.completion", "choices": [choice]}))


def _html(scene: Scene) -> Iterator[Act]:
    return scene.whole(_PAGE, "text/html")


def _nothing(scene: Scene) -> Iterator[Act]:
    return scene.whole(b"", STREAM if scene.stream else JSON)


def _truncated(scene: Scene) -> Iterator[Act]:
    body = scene.answer.whole()
    return scene.whole(body[: len(body) // 2])


def _flood(scene: Scene) -> Iterator[Act]:
    step, answer = scene.step, scene.answer
    word = "a" * max(step.size - 1, 0) + " "
    if not scene.stream:
        yield from scene.whole(evolve(answer, pieces=(word * max(step.events, 1),)).whole())
        return
    event = scene.write(answer.middle((word,))[0])
    yield scene.start()
    yield from scene.body(answer.opening())
    yield from repeat(event, step.events) if step.events else repeat(event)
    yield from scene.body([*answer.closing(), DONE])
    yield from scene.finish()


def _endless(scene: Scene) -> Iterator[Act]:
    part = scene.step.part or ("event" if scene.stream else "answer")
    if part == "header":
        yield b"HTTP/1.1 200 Drill\r\n"
        yield from repeat(b"x-endless: %b\r\n" % (b"a" * 1024))
    first, block = {
        "answer": (b'{"choices":[{"index":0,"message":{"content":"', _BLOCK),
        "event": (b"data: ", b"\ndata: " + _BLOCK),
        "line": (b'data: {"choices":[{"index":0,"delta":{"content":"', _BLOCK),
    }[part]
    yield scene.head(200, JSON if part == "answer" else STREAM, None)
    yield write_chunk(first)
    yield from repeat(write_chunk(block))


_PLAYS: Final[Mapping[str, Callable[[Scene], Iterator[Act]]]] = {
    "none": _none,
    "error": _error,
    "reset": _reset,
    "close": _close,
    "stale": _close,
    "silent": _silent,
    "late": _late,
    "cut": _cut,
    "stall": _stall,
    "garbled": _garbled,
    "no_done": _no_done,
    "error_inside": _error_inside,
    "empty": _empty,
    "html": _html,
    "nothing": _nothing,
    "truncated": _truncated,
    "flood": _flood,
    "endless": _endless,
}
