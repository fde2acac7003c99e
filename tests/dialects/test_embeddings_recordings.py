"""Recorded embeddings, through the dialects, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.embeddings_cohere import CohereEmbeddings
from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.dialects.embeddings_gemini import GeminiEmbeddings
from aiproxy.dialects.embeddings_gigachat import GigaChatEmbeddings
from aiproxy.dialects.embeddings_openai import openai_embeddings
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.test_embeddings import read_as_client
from tests.shown import show

FACE = EmbeddingsFace()
OWN: dict[str, Dialect] = {
    "cohere": CohereEmbeddings(),
    "gemini": GeminiEmbeddings(),
    "gigachat": GigaChatEmbeddings(),
}
PROVIDERS = ("azure", "cohere", "gemini", "gigachat", "mistral", "openai", "openrouter")


def recordings() -> Iterator[Recording]:
    """Give all exchanges."""
    yield from read_recordings("embeddings", *PROVIDERS)
    yield from read_recordings("batchEmbedContents", *PROVIDERS)


def dialect_of(recording: Recording) -> Dialect:
    """Give the dialect of a recording's provider."""
    dialect = OWN.get(recording.provider) or openai_embeddings(recording.provider)
    assert dialect is not None
    return dialect


def openai_request(recording: Recording) -> tuple[dict[str, Any], str]:
    """Say in OpenAI's words what a recording asks for, and of which model."""
    told = dict(recording.request["body"])
    if recording.provider == "gemini":
        first, *_ = requests = told["requests"]
        more = {name: first[name] for name in first.keys() - {"model", "content"}}
        texts = [part["text"] for one in requests for part in one["content"]["parts"]]
        model, told = first["model"].removeprefix("models/"), {"input": texts, **more}
        if "outputDimensionality" in told:
            told["dimensions"] = told.pop("outputDimensionality")
    elif recording.provider == "cohere":
        model, told["input"] = told.pop("model"), told.pop("texts")
    else:
        model = told.pop("model")
    return {**told, "model": "mine"}, model


def told_vectors(recording: Recording) -> tuple[list[list[float]], int]:
    """Give what a recording answers: its vectors, and the tokens of its prompt."""
    body = json.loads(recording.body)
    if recording.provider == "gemini":
        counted = body["usageMetadata"]["promptTokenCount"]
        return [one["values"] for one in body["embeddings"]], counted
    if recording.provider == "cohere":
        [vectors] = body["embeddings"].values()
        return vectors, body["meta"]["billed_units"]["input_tokens"]
    usages = [body["usage"]] if "usage" in body else [one["usage"] for one in body["data"]]
    vectors = [one["embedding"] for one in sorted(body["data"], key=lambda one: one["index"])]
    return vectors, sum(usage["prompt_tokens"] for usage in usages)


class RecordingTests(SynchronousTestCase):
    """Every recording."""

    def test_requests(self) -> None:
        """What OpenAI's words ask for is what was recorded."""
        seen = 0
        for recording in recordings():
            request, model = openai_request(recording)
            wire = dialect_of(recording).write_request(request, model=model, stream=False)
            found, wanted = json.loads(wire.body), recording.request["body"]
            if recording.provider == "cohere":
                wanted = {name: value for name, value in wanted.items() if value is not None}
            self.assertEqual((recording.name, found), (recording.name, wanted))
            route = wire.route.replace("/embed", "/v1/embed") if "cohere" in model else wire.route
            self.assertTrue(recording.request["url"].endswith(route), recording.name)
            self.assertEqual(wire.dropped, ())
            if "dimensions" in request:
                show(recording.provider.replace("gemini", "google"), "dimensions")
            seen += 1
        self.assertGreater(seen, 0)

    def test_answers(self) -> None:
        """Every answer is one of OpenAI's, in floats to the last digit and in base64."""
        seen = 0
        for recording in recordings():
            if recording.status != 200:
                continue
            vectors, tokens = told_vectors(recording)
            self.assertEqual(self.answer(recording, "float", tokens), vectors)
            for found, told in zip(self.answer(recording, "base64", tokens), vectors, strict=True):
                for number, wanted in zip(found, told, strict=True):
                    self.assertAlmostEqual(number, wanted, delta=abs(wanted) * 2**-24)
            show(recording.provider.replace("gemini", "google"), "embeddings")
            seen += 1
        self.assertGreater(seen, 0)

    def answer(self, recording: Recording, encoding: str, tokens: int) -> list[list[float]]:
        """Translate an answer; give its vectors as the client gets them."""
        request, model = openai_request(recording)
        request = FACE.read_request(json.dumps({**request, "encoding_format": encoding}).encode())
        wire = dialect_of(recording).write_request(request, model=model, stream=False)
        assert wire.reader is not None
        answer = wire.reader.read_reply(recording.body)
        written = FACE.write_answer(answer, identity="i", created=1, model="mine")
        document = json.loads(written.body)
        kind = {"float": list, "base64": str}[encoding]
        self.assertEqual({type(one["embedding"]) for one in document["data"]}, {kind})
        valid = read_as_client(document)
        self.assertEqual((valid.object, valid.model), ("list", "mine"), recording.name)
        self.assertEqual(valid.usage.prompt_tokens, tokens, recording.name)
        self.assertEqual(valid.usage.total_tokens, tokens, recording.name)
        self.assertEqual({one.object for one in valid.data}, {"embedding"})
        self.assertEqual([one.index for one in valid.data], [*range(len(valid.data))])
        return [one.embedding for one in valid.data]

    def test_errors(self) -> None:
        """A model that is not there is the operator's matter, in the provider's words."""
        seen = 0
        for recording in recordings():
            if recording.status == 200:
                continue
            error = dialect_of(recording).read_error(
                recording.status, recording.headers, recording.body
            )
            self.assertEqual(recording.status, 404, recording.name)
            self.assertIsInstance(error, errors.UpstreamModelNotFound, recording.name)
            told = json.loads(recording.body)["error"]["message"]
            self.assertEqual(error.message, told, recording.name)
            seen += 1
        self.assertGreater(seen, 0)
