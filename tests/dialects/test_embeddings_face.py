"""Tests of :mod:`aiproxy.dialects.embeddings_face`, alone and with a dispatcher behind it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.embeddings_cohere import CohereEmbeddings
from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.dialects.embeddings_openai import OpenAIEmbeddings
from aiproxy.gateway.answer import PlainAnswer, StreamedAnswer
from aiproxy.gateway.dispatch import ClientCall
from aiproxy.gateway.usage import Tokens
from aiproxy.interfaces import IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.testing import ScriptedProvider, ScriptedReply
from aiproxy.wire.json import dumps, loads
from tests.dialects.test_embeddings import PACKED, VECTOR, read_as_client
from tests.gateway.test_dispatch import ME, DispatchTestCase

FACE = EmbeddingsFace()


def read(**request: Any) -> dict[str, Any]:
    """Read a request."""
    return FACE.read_request(dumps(request))


class RequestTests(SynchronousTestCase):
    """Requests, good and bad."""

    def refused(self, body: bytes) -> tuple[str | None, Any]:
        """Read a bad request; give the field at fault and the code."""
        with self.assertRaises(errors.InvalidRequest) as caught:
            FACE.read_request(body)
        self.assertEqual(caught.exception.status, 400)
        return caught.exception.param, caught.exception.code

    def test_inputs(self) -> None:
        """Texts and token ids, one or many, and fields of a provider's own."""
        for told in ("a", ["a"], ["a", "b"], [1, 2], [0], [[1, 2], [3]]):
            request = {"model": "m", "input": told, "taskType": "X", "dimensions": 5}
            self.assertEqual(read(**request), request)
        for encoding in (None, "float", "base64"):
            read(model="m", input="a", encoding_format=encoding, dimensions=None, stream=False)

    def test_bad_inputs(self) -> None:
        """What is empty, mixed or of another kind is refused, and named."""
        for told, param in (
            (None, "input"),
            ("", "input"),
            ([], "input"),
            ([""], "input[0]"),
            (["a", ""], "input[1]"),
            ([[]], "input[0]"),
            ([[1], []], "input[1]"),
            (["a", 1], "input[1]"),
            ([1, "a"], "input[0]"),
            (["a", [1]], "input[1]"),
            ([[1], "a"], "input[1]"),
            ([[1, "a"]], "input[0]"),
            ([1.5], "input[0]"),
            ([-1], "input[0]"),
            ([True], "input[0]"),
            ([None], "input[0]"),
            ([{"text": "a"}], "input[0]"),
            ({"text": "a"}, "input"),
            (5, "input"),
        ):
            found, _ = self.refused(dumps({"model": "m", "input": told}))
            self.assertEqual((told, found), (told, param))

    def test_bad_fields(self) -> None:
        """Other fields that the gateway relies on are checked too."""
        bad: dict[str, list[Any]] = {
            "model": [None, "", 5],
            "encoding_format": ["int8", 5, [], ""],
            "dimensions": [0, -1, 1.5, "5", True],
            "stream": [True, "x"],
        }
        for name, values in bad.items():
            for value in values:
                body = dumps({"model": "m", "input": "a", name: value})
                self.assertEqual(self.refused(body)[0], name)

    def test_bad_bodies(self) -> None:
        """A body that is no JSON object is refused."""
        for body, code in (
            (b"", "empty_body"),
            (b" ", "empty_body"),
            (b"{", "invalid_json"),
            (b"[]", "invalid_type"),
            (b"[" * 300 + b"]" * 300, "invalid_json"),
        ):
            self.assertEqual(self.refused(body), (None, code))

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
    def test_any_input(self, told: Any) -> None:
        """Anything is read or refused, never more."""
        try:
            found = read(model="m", input=told)["input"]
        except errors.InvalidRequest as error:
            self.assertTrue(str(error.param).startswith("input"))
        else:
            self.assertTrue(found)

    def test_no_streams(self) -> None:
        """There is no writer for a stream."""
        with self.assertRaises(errors.InvalidRequest):
            FACE.stream_writer({}, identity="i", created=1, model="m")


class AnswerTests(SynchronousTestCase):
    """What is written."""

    def test_frame(self) -> None:
        """The model has its configured name; what the provider told beside it stays."""
        answer = {"data": [], "model": "up", "usage": {"total_tokens": 1}, "id": "e"}
        written = FACE.write_answer(answer, identity="i", created=1, model="m")
        self.assertEqual(written.content_type, "application/json")
        self.assertEqual(
            written.body,
            b'{"object":"list","data":[],"model":"m","usage":{"total_tokens":1},"id":"e"}',
        )


@implementer(IProvider)
class SpokenProvider(ScriptedProvider):
    """
    A provider that speaks a dialect, and answers at once.

    :ivar wires: what was asked.
    """

    def __init__(self, dialect: Dialect, *answers: object) -> None:
        super().__init__()
        self.dialect = dialect
        self.answers = list(answers)
        self.wires: list[dict[str, Any]] = []

    def start(self, call: Call) -> Deferred[IReply]:
        """Answer a call."""
        wire = self.dialect.write_request(
            call.request, model=call.candidate.upstream_model, stream=call.stream
        )
        self.wires.append(json.loads(wire.body))
        reply = ScriptedReply(streamed=False, dialect=wire.reader, dropped=wire.dropped)
        reply.send(dumps(self.answers.pop(0)))
        reply.finish()
        started = super().start(call)
        self.calls[-1].answer(reply)
        return started


class WholeWayTests(DispatchTestCase):
    """From a request to an answer."""

    def embed(self, **more: Any) -> Deferred[PlainAnswer | StreamedAnswer]:
        """Begin a call."""
        body = dumps({"model": "g", "input": ["a", "b"], **more})
        return Deferred.fromCoroutine(self.dispatcher.answer(ClientCall("r1", FACE, ME, body)))

    def test_base64(self) -> None:
        """Floats become base64, in order; what is dropped is named; usage is recorded."""
        data = [{"index": 1, "embedding": [2]}, {"index": 0, "embedding": VECTOR}]
        answer = {"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        provider = SpokenProvider(OpenAIEmbeddings(drops=("user",)), answer)
        self.use(provider)
        answered = self.plain(self.embed(encoding_format="base64", user="u"))
        body = loads(answered.body)
        self.assertEqual(body["data"][0]["embedding"], PACKED)
        read = read_as_client(body)
        self.assertEqual(read.model, "a")
        self.assertEqual([one.embedding for one in read.data], [VECTOR, [2]])
        self.assertEqual(answered.served.headers, {"x-aiproxy-dropped": "user"})
        self.assertEqual(provider.wires, [{"model": "a", "input": ["a", "b"]}])
        self.assertEqual(provider.calls[0].call.operation, "embeddings")
        self.assert_over(1, None)
        self.assertEqual(self.records[-1].tokens, Tokens(3, 0))

    def test_failover(self) -> None:
        """Too few vectors are a failed attempt: the next is asked."""
        few, all_ = ({"embeddings": {"float": vectors}} for vectors in ([[1]], [[1], [2]]))
        self.use(SpokenProvider(CohereEmbeddings(), few, all_))
        body = loads(self.plain(self.embed()).body)
        self.assertEqual(body["model"], "b")
        self.assertEqual([entry["embedding"] for entry in body["data"]], [[1], [2]])
        self.assert_over(2, None)

    def test_bad_request(self) -> None:
        """A request that cannot be read is recorded, and nobody is asked."""
        self.use(SpokenProvider(OpenAIEmbeddings()))
        error = self.failureResultOf(self.embed(input=[]), errors.InvalidRequest).value
        self.assertEqual(error.param, "input")
        self.assertEqual(self.provider.calls, [])
        self.assert_over(0, "empty_input")
