"""What the mixed soak takes for a legal answer."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.soak_http import Answer
from bench.soak_judge import Expected, find_problem

TEXT = "one two three"
PLAIN = Expected("r", text=TEXT)
STREAM = Expected("r", text=TEXT, stream=True)
FRAGILE = evolve(STREAM, may_break=True)
DONE = "[DONE]"
ERROR = {"error": {"message": "cut", "type": "provider_error", "param": None, "code": None}}


def answer(
    body: object, status: int = 200, *, whole: bool = True, request_id: str = "r", **headers: str
) -> Answer:
    """Make a plain answer."""
    told = {"x-request-id": request_id, "x-aiproxy-model": "m"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, told, json.dumps(body).encode(), whole)


def completion(text: str) -> dict[str, Any]:
    """Make a completion."""
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def chunk(content: str | None, finish: str | None = None, chunk_id: str = "c") -> object:
    """Make a chunk."""
    delta = {} if content is None else {"content": content}
    return {"id": chunk_id, "choices": [{"delta": delta, "finish_reason": finish}]}


def stream(*events: object, whole: bool = True) -> Answer:
    """Make a stream."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    body = ": a comment\n\n" + "".join(f"data: {text}\n\n" for text in texts)
    headers = {"x-request-id": "r", "content-type": "text/event-stream; charset=utf-8"}
    return Answer(200, headers, body.encode(), whole)


BEGUN = [chunk("one "), chunk("two")]
SAID = [*BEGUN, chunk(" three"), chunk(None, "stop")]


class LegalTests(SynchronousTestCase):
    """Nothing is wrong."""

    def assert_legal(self, one: Answer, expected: Expected) -> None:
        """Assert it."""
        self.assertIsNone(find_problem(one, expected))

    def test_completion(self) -> None:
        """A whole answer with the right text."""
        self.assert_legal(answer(completion(TEXT)), PLAIN)

    def test_error(self) -> None:
        """An error in its envelope, a 429 with the time to wait."""
        self.assert_legal(answer(ERROR, 502), evolve(PLAIN, statuses=(200, 502)))
        self.assert_legal(answer(ERROR, 429, retry_after="1"), evolve(PLAIN, statuses=(429,)))

    def test_stream(self) -> None:
        """A stream that says all, with its end and a chunk of usage."""
        self.assert_legal(stream(*SAID, {"id": "c", "choices": [], "usage": {}}, DONE), STREAM)

    def test_broken(self) -> None:
        """One that may break: an error event, or a broken transfer."""
        self.assert_legal(stream(*BEGUN, ERROR), FRAGILE)
        self.assert_legal(stream(*BEGUN, whole=False), FRAGILE)


class IllegalTests(SynchronousTestCase):
    """Something is."""

    def assert_illegal(self, one: Answer | None, expected: Expected, why: str) -> None:
        """Assert that it is told why."""
        self.assertIn(why, find_problem(one, expected) or "nothing")

    def test_whole(self) -> None:
        """Of any answer."""
        self.assert_illegal(None, PLAIN, "no answer")
        self.assert_illegal(answer(completion(TEXT), request_id="q"), PLAIN, "is to q")
        self.assert_illegal(answer(ERROR, 502), PLAIN, "status 502")
        vectors = Expected("r")
        self.assert_illegal(answer({}, whole=False), vectors, "not whole")

    def test_completion(self) -> None:
        """Of a plain one."""
        self.assert_illegal(answer(completion("one two")), PLAIN, "another text")
        self.assert_illegal(answer({"choices": []}), PLAIN, "no completion")

    def test_error(self) -> None:
        """Of an error."""
        refused = evolve(PLAIN, statuses=(429, 500))
        self.assert_illegal(answer(ERROR, 429), refused, "without Retry-After")
        self.assert_illegal(answer({"error": "bad"}, 500), refused, "envelope")
        self.assert_illegal(answer(ERROR, 500, whole=False), refused, "envelope")
        unknown = {"error": {**ERROR["error"], "type": "server_error"}}
        self.assert_illegal(answer(unknown, 500), refused, "envelope")

    def test_stream(self) -> None:
        """Of a stream."""
        self.assert_illegal(answer(completion(TEXT)), STREAM, "no stream")
        self.assert_illegal(stream(*BEGUN, DONE), STREAM, "0 finishes, 7 of 13")
        self.assert_illegal(stream(*SAID, *SAID, DONE), STREAM, "2 finishes")
        self.assert_illegal(stream(chunk("one tow"), DONE), STREAM, "from 5 on 'ow'")
        self.assert_illegal(stream(*SAID, DONE, whole=False), STREAM, "a wrong whole")
        self.assert_illegal(stream(*BEGUN, chunk("", None, "d"), DONE), STREAM, "one id")
        self.assert_illegal(stream("{", DONE), STREAM, "no events")
        self.assert_illegal(stream(), STREAM, "no events")

    def test_broken(self) -> None:
        """Of one that broke off."""
        self.assert_illegal(stream(*BEGUN, ERROR), STREAM, "without [DONE]")
        self.assert_illegal(stream(*BEGUN), FRAGILE, "without [DONE] and error")
        self.assert_illegal(stream(*SAID, ERROR), FRAGILE, "1 finishes")
        self.assert_illegal(stream(chunk("on two"), ERROR), FRAGILE, "a wrong beginning")
