"""Recorded traffic of the interfaces that pass through: it comes out as it went in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.messages_face import MessagesFace
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, MODERATIONS, RERANK
from aiproxy.dialects.raw import RawDialect
from aiproxy.dialects.raw_face import RawFace
from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.errors import UpstreamError
from aiproxy.wire.json import dumps
from tests import shown
from tests.dialects.passing import Passage
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import bytewise, find_difference, split_at

APIS: dict[str, tuple[RawFace, tuple[str, ...]]] = {
    "messages": (MessagesFace(), ("anthropic", "vertex")),
    "tokens-count": (MessagesFace(), ("anthropic",)),
    "responses": (ResponsesFace(), ("openai", "xai", "openrouter", "azure", "deepseek", "bedrock")),
    "completions": (RawFace(COMPLETIONS, "/completions"), ("openai",)),
    "moderation": (RawFace(MODERATIONS, "/moderations"), ("openai",)),
    "transcription": (RawFace(AUDIO, "/audio/transcriptions"), ("openai", "mistral")),
    "rerank": (RawFace(RERANK, "/rerank"), ("cohere", "openrouter")),
}


def exchanges(api: str) -> Iterator[tuple[RawFace, Recording]]:
    """Give all exchanges of an API, with the face of its clients."""
    face, providers = APIS[api]
    for recording in read_recordings(api, *providers):
        yield face, recording


def is_stream(recording: Recording) -> bool:
    """Whether the answer is an event stream."""
    return recording.headers.get("content-type", "").startswith("text/event-stream")


def events(stream: bytes) -> list[Any]:
    """Read the events of a stream."""
    data = [line[5:].strip() for line in stream.splitlines() if line.startswith(b"data:")]
    return [json.loads(one) if one != b"[DONE]" else "[DONE]" for one in data]


def rename(document: Any) -> Any:
    """Put the configured name where the face has to put it."""
    if isinstance(document, dict):
        for holder in ("message", "response"):
            inner = document.get(holder)
            if isinstance(inner, dict) and "model" in inner:
                inner["model"] = "mine"
    return document


def without_names(stream: bytes) -> bytes:
    """Leave out every model's name, which is all that may differ."""
    return re.sub(rb'"model": ?"[^"]*"', b'"model":""', stream)


class StreamTests(SynchronousTestCase):
    """Streams."""

    def read(self) -> Iterator[tuple[RawFace, Recording]]:
        """Give all streams."""
        for api in ("messages", "responses", "completions"):
            for face, recording in exchanges(api):
                if is_stream(recording):
                    yield face, recording

    def test_unchanged(self) -> None:
        """Not a byte changes beside the model's name, and that only where clients read it."""
        seen = 0
        for face, recording in self.read():
            passed = Passage(face, [recording.body])
            seen += 1
            if passed.error is not None:
                self.assertTrue(recording.body.startswith(passed.out[:40]), recording.name)
                continue
            sent = recording.body.rstrip(b"\n")
            self.assertEqual(
                without_names(passed.out).rstrip(b"\n"), without_names(sent), recording.name
            )
            told = events(recording.body)
            expected = [rename(one) for one in told] if "completions" not in face.route else told
            self.assertEqual(events(passed.out), expected, recording.name)
        self.assertGreater(seen, 15)

    def test_splits(self) -> None:
        """No split changes anything, wherever it could do harm."""
        for face, recording in self.read():

            def told(pieces: list[bytes], face: RawFace = face) -> object:
                return Passage(face, pieces).told

            self.assertIsNone(find_difference(recording.body, told), recording.name)

    def test_ends(self) -> None:
        """A whole stream ends without an error and has said something; its usage is noted."""
        for face, recording in self.read():
            told = events(recording.body)
            failed = any(
                isinstance(event, dict) and event.get("type") in ("error", "response.failed")
                for event in told
            )
            passed = Passage(face, [recording.body])
            self.assertTrue(passed.ended, recording.name)
            self.assertEqual(passed.error is not None, failed, recording.name)
            if not failed:
                self.assertTrue(passed.said, recording.name)
                shown.show_passed(recording.provider, face.operation, shown.STREAMED)
            if not failed and b'"usage":{' in recording.body:
                prompt, completion = passed.tokens
                self.assertGreater(prompt, 0, recording.name)
                self.assertGreater(completion, 0, recording.name)

    def test_cuts(self) -> None:
        """Wherever a stream breaks off before it is whole, that is an error, told as one."""
        for face, recording in self.read():
            if Passage(face, [recording.body]).error is not None:
                continue
            blocks = recording.body.strip(b"\n").split(b"\n\n")
            if blocks[-1] == b"data: [DONE]" or b"message_stop" in blocks[-1]:
                blocks.pop()
            for kept in {1, len(blocks) // 2, len(blocks) - 1}:
                stream = b"\n\n".join(blocks[:kept]) + b"\n\n" + blocks[kept][:-3]
                passed = Passage(face, [stream])
                self.assertIsInstance(passed.error, UpstreamError, recording.name)
                self.assertIn(b'"error"', passed.failure, recording.name)
                self.assertEqual(len(events(passed.out)), len(events(b"\n".join(blocks[:kept]))))


class AnswerTests(SynchronousTestCase):
    """Whole answers and errors."""

    def test_answers(self) -> None:
        """Each comes out as it was, under the configured name where the face puts it."""
        for api in APIS:
            for face, recording in exchanges(api):
                if recording.status != 200 or is_stream(recording) or "bedrock" in recording.name:
                    continue
                answer = RawDialect(face.operation).read_reply(recording.body)
                written = face.write_answer(answer, identity="", created=0, model="mine").body
                sent = json.loads(recording.body)
                self.assertEqual(without_names(written), without_names(recording.body))
                if api in ("messages", "responses"):
                    self.assertEqual(json.loads(written), {**sent, "model": "mine"})
                    self.assertGreater(answer["usage"]["prompt_tokens"], 0, recording.name)
                    self.assertGreater(answer["usage"]["completion_tokens"], 0, recording.name)
                else:
                    self.assertEqual(written, recording.body, recording.name)
                shown.show_passed(recording.provider, api, shown.PLAIN)

    def test_speech(self) -> None:
        """Sound passes at once, at any split."""
        face = RawFace(AUDIO, "/audio/speech", as_it_comes=True)
        for recording in read_recordings("speech", "openai"):
            sound = base64.b64decode(recording.body)
            for pieces in ([sound], bytewise(sound), split_at(sound, 1, 5, len(sound) // 2)):
                passed = Passage(face, pieces)
                self.assertEqual(passed.out, sound)
                self.assertIsNone(passed.error)
            cut = Passage(face, [sound[:100]], cut=True)
            self.assertIsInstance(cut.error, UpstreamError)
            self.assertEqual((cut.out, cut.failure, cut.broken), (sound[:100], b"", True))
            shown.show("openai", "speech")

    def test_errors(self) -> None:
        """What comes with an error status, or inside of a 200, is one."""
        seen = 0
        for api in APIS:
            for face, recording in exchanges(api):
                dialect = RawDialect(face.operation)
                if recording.status != 200:
                    error = dialect.read_error(recording.status, recording.headers, recording.body)
                    self.assertNotIn(error.status, (401, 403), recording.name)
                    self.assertEqual(error.upstream_status, recording.status)
                    seen += 1
                elif "bedrock" in recording.name:
                    self.assertRaises(UpstreamError, dialect.read_reply, recording.body)
                    seen += 1
        self.assertGreater(seen, 5)


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_requests(self) -> None:
        """Each goes out as it came, but for the model's name."""
        for api in APIS:
            for face, recording in exchanges(api):
                document = recording.request["body"]
                if not isinstance(document, dict) or "model" not in document:
                    continue
                for body in (dumps(document), json.dumps(document, indent=2).encode()):
                    request = face.read_request(body)
                    dialect = RawDialect(face.operation)
                    wire = dialect.write_request(request, model="theirs", stream=False)
                    self.assertEqual(json.loads(wire.body), {**document, "model": "theirs"})
                    name = json.dumps(document["model"]).encode()
                    self.assertEqual(wire.body, body.replace(name, b'"theirs"'), recording.name)
