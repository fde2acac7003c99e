"""
Hostile inputs, made as large as one likes, for :mod:`bench.growth`.

What is right about their results stands in the tests; here nothing but the
time counts.  Where an input has two measures that could be multiplied, as
references and what each leads to, both grow with the size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock

from aiproxy.config.schema import Limits, Model
from aiproxy.config.sections import Breaker
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import Dialect, StreamReader
from aiproxy.dialects.fold import ChatFold
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.multipart import MultipartForm
from aiproxy.dialects.operations import MESSAGES
from aiproxy.dialects.raw import RawDialect
from aiproxy.dialects.redact import redact
from aiproxy.dialects.words import fit_words
from aiproxy.errors import InvalidRequest
from aiproxy.gateway.admission import Entry, Gate
from aiproxy.gateway.seam import TextSeam, Way
from aiproxy.gateway.seam_text import last_words
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.routing import Candidate
from aiproxy.transport.images import ImageFetcher
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import write_event

__all__ = ["CASES", "Case"]

Json: TypeAlias = dict[str, Any]
Run: TypeAlias = Callable[[], object]

_HI: Final[Json] = {"role": "user", "content": "Hi"}


@frozen
class Case:
    """
    A hostile input.

    :param size: the smaller of the two that are measured.
    :param make: makes, for a size, what is run once.
    """

    name: str
    size: int
    make: Callable[[int], Run]


def _write(dialect: Dialect, request: Json) -> Run:
    return lambda: dialect.write_request(request, model="m", stream=False)


def _function(name: str, **parameters: Any) -> Json:
    function: Json = {"name": name, "parameters": {"type": "object", **parameters}}
    return {"type": "function", "function": function}


def _many_results(size: int) -> Run:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "c1", "content": "one"}
    turn = {"role": "assistant", "tool_calls": [call]}
    messages = [_HI, turn, *[result, {"role": "user", "content": "and?"}] * size]
    return _write(AnthropicDialect(), {"messages": messages})


def _allowed_tools(dialect: Dialect, size: int) -> Run:
    tools = [_function(f"f{number}") for number in range(size)]
    listed = [*(_function(f"g{number}") for number in range(size)), *tools[:2]]
    allowed = {"mode": "auto", "tools": listed}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    return _write(dialect, {"messages": [_HI], "tools": tools, "tool_choice": choice})


def _long_chain(size: int) -> Run:
    """Make references that lead to others, beside much."""
    end = size // 512
    chain: Json = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(end)}
    beside = {f"k{number}": 1 for number in range(size)}
    defs = {**chain, f"d{end}": {"type": "object"}}
    tool = _function("f", **{"$ref": "#/$defs/d0", "$defs": defs}, **beside)
    return _write(GigaChatDialect(), {"messages": [_HI], "tools": [tool]})


def _long_references(size: int) -> Run:
    """Make many references to one that is long itself."""
    properties = {f"p{number}": {"$ref": "#/$defs/x"} for number in range(size // 32)}
    defs = {"x": {"$ref": "#/$defs/" + "%61" * size}, "a" * size: {}}
    tool = _function("f", **{"$defs": defs}, properties=properties)
    return _write(GigaChatDialect(), {"messages": [_HI], "tools": [tool]})


def _form(piece: bytes, head_bytes: int, parts: int = 20) -> Run:
    head = b"--b\r\ncontent-disposition: form-data" + piece * (head_bytes // len(piece))
    body = (head + b"\r\n\r\nx\r\n") * parts + b"--b--\r\n"

    def run() -> None:
        with suppress(InvalidRequest):
            MultipartForm(body, "multipart/form-data; boundary=b")

    return run


def _forms() -> Iterator[Case]:
    for name, piece in {
        "blank parameters": b";",
        "quotes without an end": b';a="',
        "parameters": b";a=b",
        "lines": b"\r\na: b",
    }.items():
        # The smaller is as long as a part's head may be.
        yield Case(f"a form's heads of {name}", 4_000, partial(_form, piece))
    yield Case("a form's parts", 125, partial(_form, b";a=b", 1_000))


def _read(dialect: Dialect, write: Callable[[int], Json], size: int) -> Run:
    body = dumps(write(size))
    return lambda: dialect.read_reply(body)


def _anthropic_answer(size: int) -> Json:
    thought = {"type": "thinking", "thinking": "b" * 400, "signature": "s"}
    blocks = [{"type": "text", "text": "a" * 400}, thought] * size
    return {"content": blocks, "stop_reason": "end_turn"}


def _cohere_answer(size: int) -> Json:
    thought = {"type": "thinking", "thinking": "b" * 400}
    message = {"content": [{"type": "text", "text": "a" * 400}, thought] * size}
    return {"message": message, "finish_reason": "COMPLETE"}


def _gemini_answer(size: int) -> Json:
    parts = [{"text": "a" * 400}, {"text": "b" * 400, "thought": True}] * size
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}


def _folded_lists(size: int) -> Run:
    entries = [{"index": number, "text": "a"} for number in range(size)]
    deltas = [{"reasoning_details": entries}, *({"reasoning_details": [one]} for one in entries)]
    return _fold([{"choices": [{"index": 0, "delta": delta}]} for delta in deltas])


def _folded_fields(size: int) -> Run:
    return _fold([{"x": {f"k{number}": 1}, "choices": []} for number in range(size)])


def _fold(chunks: list[Json]) -> Run:
    fold = ChatFold()

    def run() -> None:
        for chunk in chunks:
            fold.add(chunk)

    return run


def _feed(reader: StreamReader, pieces: list[bytes]) -> Run:
    def run() -> None:
        for piece in pieces:
            reader.feed(piece)

    return run


def _many_ends(size: int) -> Run:
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "x"}}
    told: list[Json] = [start, {"type": "content_block_stop", "index": 0}] * size
    told += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}] * size
    reader = AnthropicDialect().stream_reader(choices=1, max_event_bytes=2**25)
    return _feed(reader, [write_event(dumps(one)) for one in told])


def _many_blanks(size: int) -> Run:
    reader = RawDialect(MESSAGES).stream_reader(choices=1, max_event_bytes=2**25)
    return _feed(reader, [b" " * 1_000] * size)


def _texts() -> Iterator[Case]:
    def fit(piece: str, size: int) -> Run:
        return partial(fit_words, piece * (size // len(piece)))

    def mask(piece: str, size: int) -> Run:
        return partial(redact, piece * (size // len(piece)))

    for piece in ("<", "***", "eyJ.", "?key", "api key", "x-"):
        yield Case(f"an error's words of {piece!r}", 100_000, partial(fit, piece))
    for name, piece in {
        "keys without an end": "-----BEGIN PRIVATE KEY-----\n",
        "long words": "a" * 511 + " ",
        "'a.'": "a.",
        "stars": "***",
        "'data:'": "data:",
    }.items():
        # The larger is nearly as long as what is looked through at most.
        yield Case(f"a redacted text of {name}", 16_000, partial(mask, piece))
        yield Case(f"a long redacted text of {name}", 250_000, partial(mask, piece))


def _join(unit: str, way: Way, continuation: str, size: int) -> Run:
    """Make an answer that has got stuck before the cut, and what comes after it."""
    cut = "".join(f"word {number} of many. " for number in range(size // 50))
    cut += unit * (size * 3 // 5 // len(unit))
    told = f"{continuation or cut} at last"
    pieces = [told[place : place + 20] for place in range(0, len(told), 20)]

    def run() -> None:
        seam = TextSeam(cut, way)
        last_words(cut)
        for piece in pieces:
            seam.feed(piece)
        seam.close()

    return run


def _seams() -> Iterator[Case]:
    for unit in ("a", "- ", "* ", "\n", "----\n"):
        yield Case(f"a seam of {unit!r}", 25_000, partial(_join, unit, "instruct", ""))
    ways: tuple[Way, ...] = ("instruct", "restart", "prefill")
    for way in ways:
        yield Case(f"a seam of 'ha ', {way}", 25_000, partial(_join, "ha ", way, ""))
    for name, continuation in {
        "going on": "ha " * 20,
        "and more": "ha " * 12 + " and so on",
    }.items():
        make = partial(_join, "ha ", "instruct", continuation)
        yield Case(f"a seam of 'ha ', {name}", 25_000, make)


def _many_names(size: int) -> Run:
    """Make calls that wait, each for another model, all of which may go at once."""
    clock = Clock()
    gate = Gate(LimitBook(), StandingBook(Breaker()), clock, lambda: 1_700_000_000.0)
    models = [
        Model(f"m{number}", "p", "openai", "openai", f"m{number}", limits=Limits(max_concurrent=1))
        for number in range(size)
    ]

    def enter(model: Model) -> Entry | Deferred[Entry]:
        candidates = [Candidate(model, model.name)]
        return gate.enter(model.name, candidates, caller="me", tokens=1, patience=60.0)

    running = [enter(model) for model in models]
    for model in models:
        enter(model)
    for entry in running:
        assert isinstance(entry, Entry)
        entry.leave()
    return lambda: clock.advance(0)


def _fetch(urls: list[str]) -> Run:
    fetcher = ImageFetcher(MemoryReactorClock())
    return lambda: fetcher.fetch(urls).addErrback(lambda failure: failure.trap(InvalidRequest))


CASES: Final = (
    Case("tools' results between words", 2_500, _many_results),
    Case("allowed tools, Anthropic", 3_000, partial(_allowed_tools, AnthropicDialect())),
    Case("allowed tools, Cohere", 3_000, partial(_allowed_tools, CohereDialect())),
    Case("allowed tools, Gemini", 3_000, partial(_allowed_tools, GeminiDialect())),
    Case("a schema's chain of references", 25_000, _long_chain),
    Case("a schema's long references", 8_000, _long_references),
    *_forms(),
    Case("texts, Anthropic", 8_000, partial(_read, AnthropicDialect(), _anthropic_answer)),
    Case("texts, Cohere", 8_000, partial(_read, CohereDialect(), _cohere_answer)),
    Case("texts, Gemini", 8_000, partial(_read, GeminiDialect(), _gemini_answer)),
    Case("folded lists", 7_500, _folded_lists),
    Case("folded fields", 7_500, _folded_fields),
    Case("a stream's ends", 2_500, _many_ends),
    Case("a stream's blanks", 1_000, _many_blanks),
    *_texts(),
    *_seams(),
    Case("names that wait", 350, _many_names),
    Case("images' URLs", 20_000, lambda size: _fetch([f"http://a.de/é{n}" for n in range(size)])),
    Case("an image's long URL", 2_000_000, lambda size: _fetch(["http://a.de/" + "é" * size])),
)
