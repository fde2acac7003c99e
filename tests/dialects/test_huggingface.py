"""Tests of :mod:`aiproxy.dialects.huggingface`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.huggingface import HuggingFaceDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import quirks_of
from aiproxy.wire.urls import join_url
from tests.dialects.recordings import read_recordings
from tests.shown import show

ROUTER = "https://router.huggingface.co"
OLD = "https://api-inference.huggingface.co"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


def dialect_at(where: str) -> HuggingFaceDialect:
    """Give the dialect as it is spoken at one place."""
    return HuggingFaceDialect(quirks=quirks_of("huggingface")).at(where)


def ask(where: str, model: str = "org/m") -> str:
    """Give the URL that a chat request goes to."""
    wire = dialect_at(where).write_request({"messages": []}, model=model, stream=False)
    return join_url(where, wire.route)


class URLTests(SynchronousTestCase):
    """Where requests go."""

    def test_router(self) -> None:
        """The model is in the request, whoever serves it."""
        for path in ("/v1", "/together/v1", "/novita/v3/openai", "/models/v1", "/hf-inferences"):
            self.assertEqual(ask(ROUTER + path), f"{ROUTER}{path}/chat/completions")
        other = "https://tgi.example/models/v1"
        self.assertEqual(ask(other), f"{other}/chat/completions")

    def test_models(self) -> None:
        """Where each has its own URL, it is completed."""
        for base in (OLD, f"{ROUTER}/hf-inference"):
            for path in ("", "/", "/models", "/models/", "/models/org/m", "/models/org/m/v1"):
                self.assertEqual(ask(base + path), f"{base}/models/org/m/v1/chat/completions", path)
            self.assertEqual(ask(f"{base}/v1"), f"{base}/v1/chat/completions")
            self.assertEqual(ask(base, "gpt2"), f"{base}/models/gpt2/v1/chat/completions")

    def test_names(self) -> None:
        """A model's name cannot lead elsewhere."""
        self.assertEqual(ask(OLD, "a/b c?d"), f"{OLD}/models/a/b%20c%3Fd/v1/chat/completions")
        for model in ("", "a/../b", "a//b", "/a", "."):
            with self.assertRaises(errors.InvalidRequest) as caught:
                ask(OLD, model)
            self.assertEqual(caught.exception.param, "model")

    def test_whole_url(self) -> None:
        """It is kept, but for one that ends with the model's id."""
        chat = "/v1/chat/completions"
        for base in (OLD, f"{ROUTER}/hf-inference"):
            for path, expected in (
                ("/models/org/m", f"/models/org/m{chat}"),
                ("/models/gpt2/", f"/models/gpt2{chat}"),
                (f"/models/org/m{chat}", f"/models/org/m{chat}"),
                ("/models", "/models"),
            ):
                dialect = dialect_at(base + path)
                wire = dialect.write_request({"messages": []}, model="x", stream=False)
                self.assertEqual(dialect.locate(base + path, wire), base + expected)
        url = f"{ROUTER}{chat}"
        wire = dialect_at(url).write_request({"messages": []}, model="x", stream=False)
        self.assertEqual(dialect_at(url).locate(url, wire), url)

    def test_recorded(self) -> None:
        """Each recorded URL comes of a shorter one."""
        seen = 0
        for recording in read_recordings("chat", "huggingface"):
            url = recording.request["url"]
            base, found, rest = url.partition("/models/")
            model = rest.partition("/v1/")[0]
            where = base if found else url.removesuffix("/chat/completions")
            self.assertEqual(ask(where, model), url, recording.name)
            seen += 1
        self.assertGreater(seen, 0)


class SchemaTests(SynchronousTestCase):
    """How an answer of a certain form is asked for."""

    def written(self, where: str, told: dict[str, Any]) -> object:
        """Give the form as it is written."""
        request = {"messages": [], "response_format": told}
        wire = dialect_at(where).write_request(request, model="m", stream=False)
        self.assertEqual(wire.dropped, ())
        return json.loads(wire.body)["response_format"]

    def test_value(self) -> None:
        """Text Generation Inference has the schema bare, and knows no JSON without one."""
        named = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
        value = {"type": "json_object", "value": SCHEMA}
        for where in (OLD, f"{ROUTER}/hf-inference/models/a/b/v1"):
            self.assertEqual(self.written(where, named), value)
            self.assertEqual(self.written(where, value), value)
            any_object = {"type": "json_object", "value": {"type": "object"}}
            self.assertEqual(self.written(where, {"type": "json_object"}), any_object)
            for kept in ({"type": "text"}, {"type": "regex", "value": "a+"}):
                self.assertEqual(self.written(where, kept), kept)
        self.assertEqual(self.written(f"{ROUTER}/v1", named), named)
        show("huggingface", "JSON mode", "JSON schema")


class ErrorTests(SynchronousTestCase):
    """What the old inference says of failures."""

    def test_recorded(self) -> None:
        """A list of mistakes, a model that is loading, an input that is too long."""
        found = {}
        for recording in read_recordings("inference", "huggingface"):
            if recording.status != 200:
                error = OpenAIDialect().read_error(
                    recording.status, recording.headers, recording.body
                )
                found[recording.status] = type(error), error.retry_after
                self.assertIn(error.message[:20], recording.body.decode())
        self.assertEqual(found.pop(503), (errors.UpstreamFailed, 20.0))
        self.assertEqual(set(found.values()), {(errors.UpstreamRefused, None)})
        show("huggingface", "errors by status", "retry delay")
