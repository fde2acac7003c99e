"""All samples of OpenAI's dialect; see the README beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps
from tests.dialects.streams import Outcome, bytewise, split_at
from tests.golden.expected import describe_error

FOLDER = Path(__file__).parent
STREAMS = FOLDER / "openai_streams"


def read_samples(name: str) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Give name, body and all else of each sample in a file."""
    for sample in json.loads((FOLDER / name).read_text("utf-8")):
        body = sample.pop("body")
        yield sample["name"], body.encode() if isinstance(body, str) else dumps(body), sample


class StreamTests(SynchronousTestCase):
    """Streams, in one piece and in two."""

    def test_pairs(self) -> None:
        """Each stream has its expectation, and the other way round."""
        streams = {path.stem for path in STREAMS.glob("*.sse")}
        self.assertEqual(streams, {path.stem for path in STREAMS.glob("*.json")})
        self.assertGreater(len(streams), 40)

    def test_whole(self) -> None:
        """Each stream gives what is expected of it."""
        for path in sorted(STREAMS.glob("*.sse")):
            expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
            outcome = Outcome([path.read_bytes()], choices=expected.pop("choices"))
            told = {
                "chunks": outcome.chunks,
                "usage": outcome.usage,
                "skipped": outcome.skipped,
                "error": describe_error(outcome.error),
            }
            self.assertEqual(told, expected, path.stem)

    def test_every_split(self) -> None:
        """No split changes anything, nor do single bytes."""
        for path in sorted(STREAMS.glob("*.sse")):
            stream = path.read_bytes()
            expected = Outcome([stream])
            self.assertEqual(Outcome(bytewise(stream)), expected, path.stem)
            for place in range(1, len(stream)):
                if Outcome(split_at(stream, place)) != expected:
                    self.fail(f"{path.stem} split at {place}")


class AnswerTests(SynchronousTestCase):
    """Plain answers."""

    def test_answers(self) -> None:
        """Each gives what is expected of it: an answer or an error."""
        for name, body, sample in read_samples("openai_answers.json"):
            try:
                answer = OpenAIDialect().read_reply(body)
            except AIProxyError as error:
                self.assertEqual(describe_error(error), sample.get("error"), name)
            else:
                expected = sample.get("answer")
                self.assertEqual(
                    answer, json.loads(body) if expected == "as it came" else expected, name
                )


class ErrorTests(SynchronousTestCase):
    """Answers with an error status."""

    def test_errors(self) -> None:
        """Each means what is expected of it."""
        for name, body, sample in read_samples("openai_errors.json"):
            error = OpenAIDialect().read_error(sample["status"], sample["headers"], body)
            self.assertEqual(describe_error(error), sample["error"], name)
            self.assertEqual(error.upstream_status, sample["status"], name)
