"""An answer as it comes."""

from __future__ import annotations

import json

from aiproxy.terminal.api import Api, ApiError, Delta, Stream, Usage
from aiproxy.terminal.chat_stream import printable
from tests.terminal.chat_servers import DONE, CannedTestCase, answer, delta, finish, stream


class StreamTests(CannedTestCase):
    """Streams of every kind."""

    def open(self, sent: bytes) -> Stream:
        """Return the stream that a client makes of what a server sends."""
        opened = Api(self.serve(sent).url).stream("one", [])
        self.addCleanup(opened.close)
        return opened

    def fail(self, sent: bytes) -> tuple[list[object], ApiError]:  # type: ignore[override]
        """Return what comes before the error, and the error."""
        pieces: list[object] = []
        failure = self.assertRaises(ApiError, lambda: pieces.extend(self._collect(sent, pieces)))
        return pieces, failure

    def _collect(self, sent: bytes, pieces: list[object]) -> list[object]:
        for piece in self.open(sent):
            pieces.append(piece)
        return []

    def test_reasoning(self) -> None:
        """What a model thinks is apart, under both of its names, and a refusal is an answer."""
        events = [
            delta(reasoning_content="Hm"),
            delta(reasoning="m.", content=None),
            delta(content="No", reasoning=""),
            delta(refusal="!"),
            delta(content=[]),
            finish("stop", 3, 4),
        ]
        self.assertEqual(
            list(self.open(stream(*events) + DONE)),
            [Delta("", "Hm"), Delta("", "m."), Delta("No"), Delta("!"), Usage(3, 4)],
        )

    def test_served(self) -> None:
        """Headers say who answers; without them the chunks do."""
        headers = ["x-aiproxy-model: a/b", "x-aiproxy-provider: a", "x-aiproxy-attempts: 3"]
        opened = self.open(stream(finish("length", 1, 1), headers=headers) + DONE)
        list(opened)
        told = (opened.model, opened.provider, opened.attempts, opened.finish_reason)
        self.assertEqual(told, ("a/b", "a", 3, "length"))
        opened = self.open(stream({"model": "c/d", "choices": []}) + DONE)
        list(opened)
        self.assertEqual((opened.model, opened.provider, opened.attempts), ("c/d", "", 1))

    def test_emoji_in_halves(self) -> None:
        """An emoji whose halves come apart is one; a half that stays alone is U+FFFD."""
        whole = stream(delta(content="a\ud83d"), delta(content="\ude00b"), delta(content="\ude00"))
        self.assertEqual(
            list(self.open(whole + DONE)), [Delta("a"), Delta("\U0001f600b"), Delta("\ufffd")]
        )

    def test_error_event(self) -> None:
        """An error within the stream is raised after what came before it."""
        error = {"error": {"message": "it\nbroke", "code": "overloaded"}}
        pieces, failure = self.fail(stream(delta(content="one"), error))
        self.assertEqual(pieces, [Delta("one")])
        self.assertEqual(str(failure), "it broke (overloaded)")

    def test_no_end(self) -> None:
        """A stream that ends without [DONE] was cut off."""
        pieces, failure = self.fail(stream(delta(content="one")))
        self.assertEqual(pieces, [Delta("one")])
        self.assertEqual(failure.code, "stream_cut")

    def test_cut_chunk(self) -> None:
        """So was one whose connection ends within a chunk of HTTP's."""
        body = b"data: " + json.dumps(delta(content="one")).encode() + b"\n\n"
        sent = answer(
            200, b"%x\r\n%s\r\n40\r\ndata" % (len(body), body), "Transfer-Encoding: chunked"
        )
        pieces, failure = self.fail(sent)
        self.assertEqual(pieces, [Delta("one")])
        self.assertIn("IncompleteRead", str(failure))

    def test_no_json(self) -> None:
        """An event that is no JSON is an error."""
        _, failure = self.fail(answer(200, b"data: nothing\n\n"))
        self.assertEqual(failure.code, "bad_answer")

    def test_endless_event(self) -> None:
        """An event that does not end is an error, before it fills the memory."""
        _, failure = self.fail(answer(200, b"data: " + b"x" * 17_000_000))
        self.assertIn("16777216 bytes", str(failure))


class PrintableTests(CannedTestCase):
    """Other people's text on a terminal."""

    def test_printable(self) -> None:
        """What moves a cursor is left out; lines, tabs and letters stay."""
        self.assertEqual(
            printable("a\x1b[2J\x07b\r\n\tü\x9b1m\U0001f600"), "a[2Jb\n\tü1m\U0001f600"
        )
