"""Tests of :mod:`aiproxy.dialects.responses_face`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.errors import AIProxyError, ContextTooLong, StreamCut
from aiproxy.wire.json import loads
from tests.dialects.passing import Passage
from tests.dialects.streams import write_events

FACE = ResponsesFace()
CREATED = {"type": "response.created", "response": {"id": "r", "model": "x"}, "sequence_number": 0}


class ResponsesFaceTests(SynchronousTestCase):
    """OpenAI's clients of responses."""

    def fail_after(
        self, *blocks: bytes, error: AIProxyError | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write some events and an error; return the two events of the failure."""
        writer = FACE.stream_writer({}, identity="made-up", created=7, model="mine")
        for block in blocks:
            writer.write({"raw": block, "events": True})
        told = writer.fail(error or StreamCut("cut")).split(b"\n\n")
        names = [one.split(b"\n")[0] for one in told]
        self.assertEqual(names, [b"event: error", b"event: response.failed", b""])
        first, second = (loads(one.partition(b"data: ")[2]) for one in told[:2])
        return first, second

    def test_model(self) -> None:
        """The configured name stands in each event that has the whole response."""
        delta = {"type": "response.output_text.delta", "delta": '"model" in "response"'}
        done = {"type": "response.completed", "response": {"model": "x", "tools": [{"model": "y"}]}}
        passed = Passage(FACE, [write_events(CREATED, delta, done)])
        expected = write_events(CREATED, delta, done).replace(b'"x"', b'"mine"')
        self.assertEqual(passed.out, expected)
        written = FACE.write_answer({"raw": b'{"model":"x"}'}, identity="", created=0, model="m")
        self.assertEqual(written.body, b'{"model":"m"}')

    def test_failure(self) -> None:
        """A failure goes on with the numbers, and has the response that was begun."""
        delta = {"type": "response.output_text.delta", "delta": "a", "sequence_number": 4}
        error, failed = self.fail_after(write_events(CREATED), write_events(delta))
        self.assertEqual((error["type"], error["sequence_number"]), ("error", 5))
        self.assertEqual((error["message"], error["code"]), ("cut", "stream_cut"))
        self.assertEqual(error["error"]["message"], "cut")
        self.assertEqual((failed["type"], failed["sequence_number"]), ("response.failed", 6))
        self.assertEqual(
            failed["response"],
            {
                "id": "r",
                "model": "mine",
                "status": "failed",
                "error": {"code": "stream_cut", "message": "cut"},
            },
        )

    def test_failure_without_a_beginning(self) -> None:
        """Where no response was begun one is made up."""
        for blocks in ((b"data: {}\n\n",), (b'data: "response"\n\n', b'data: {"response"\n\n')):
            error, failed = self.fail_after(*blocks)
            self.assertEqual(error["sequence_number"], 0)
            self.assertEqual(
                (failed["response"]["id"], failed["response"]["created_at"]), ("made-up", 7)
            )

    def test_codes(self) -> None:
        """A code is passed on, for clients go by it; a number is none."""
        _, failed = self.fail_after(b": x\n\n", error=ContextTooLong("long"))
        self.assertEqual(failed["response"]["error"]["code"], "context_length_exceeded")
        _, failed = self.fail_after(b": x\n\n", error=StreamCut("x", code=502))
        self.assertEqual(failed["response"]["error"]["code"], "server_error")
