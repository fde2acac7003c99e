"""Tests of :mod:`aiproxy.dialects.embeddings`."""

from __future__ import annotations

import json
import math
import sys
from array import array
from base64 import b64decode, b64encode
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect, WireRequest
from aiproxy.dialects.embeddings import (
    BASE64,
    FLOAT,
    EmbeddingsDialect,
    count_inputs,
    decode_vector,
    encode_vector,
    read_texts,
    rename_field,
    settle_embeddings,
)
from aiproxy.wire.json import dumps

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
#: 1.0 and -2.5 as 32-bit numbers, little endian.
PACKED = b64encode(bytes.fromhex("0000803f000020c0")).decode()
VECTOR = [1.0, -2.5]


class EmbeddingsTestCase(SynchronousTestCase):
    """Speaks one dialect."""

    dialect: Dialect

    def write(self, told: Any = "a", model: str = "up", **more: Any) -> tuple[WireRequest, Any]:
        """Write a request; give it, and its body."""
        request = {"model": "m", "input": told, **more}
        before = json.dumps(request)
        wire = self.dialect.write_request(request, model=model, stream=False)
        self.assertEqual(json.dumps(request), before)
        return wire, json.loads(wire.body)

    def ask(self, answer: object, told: Any = "a", **more: Any) -> dict[str, Any]:
        """Read an answer to a request."""
        wire, _ = self.write(told, **more)
        assert wire.reader is not None
        return wire.reader.read_reply(dumps(answer))

    def vectors(self, answer: object, told: Any = "a", **more: Any) -> list[Any]:
        """Read an answer; give its vectors, in order."""
        found = self.ask(answer, told, **more)
        read_as_client({**found, "model": "m"})
        self.assertEqual([entry["index"] for entry in found["data"]], [*range(len(found["data"]))])
        return [entry["embedding"] for entry in found["data"]]

    def assert_texts_only(self) -> None:
        """Token ids, in both of their shapes, are refused."""
        for told in ([1, 2], [[1], [2]]):
            with self.assertRaises(errors.InvalidRequest) as caught:
                self.write(told)
            self.assertEqual(caught.exception.param, "input")


def read_as_client(document: dict[str, Any]) -> CreateEmbeddingResponse:
    """Read an answer as OpenAI's Python client does."""
    data = []
    for entry in document["data"]:
        vector = entry["embedding"]
        if isinstance(vector, str):
            numbers = array("f", b64decode(vector, validate=True))
            if sys.byteorder == "big":
                numbers.byteswap()
            vector = numbers.tolist()
        data.append({**entry, "embedding": vector})
    return CreateEmbeddingResponse.model_validate({**document, "data": data})


def settle(answer: Any, inputs: int | None = None, encoding: str = FLOAT) -> dict[str, Any]:
    """Settle an answer."""
    return settle_embeddings(answer, inputs=inputs, encoding=encoding)


def of(*vectors: Any, **more: Any) -> dict[str, Any]:
    """Make an answer of these vectors."""
    return {"data": [{"embedding": one, **more} for one in vectors]}


class EncodingTests(SynchronousTestCase):
    """Vectors in base64."""

    def test_layout(self) -> None:
        """Numbers have 32 bits, the lowest byte first."""
        self.assertEqual(encode_vector([1, -2.5]), PACKED)
        self.assertEqual(decode_vector(PACKED), VECTOR)

    @given(st.lists(FLOATS, min_size=1))
    def test_round_trip(self, vector: list[float]) -> None:
        """Each number of 32 bits survives, the sign of zero too."""
        found = decode_vector(encode_vector(vector))
        self.assertEqual([math.copysign(1, one) for one in found], [*map(self.sign, vector)])
        self.assertEqual(found, vector)

    @staticmethod
    def sign(number: float) -> float:
        """Give the sign of a number."""
        return math.copysign(1, number)

    @given(st.lists(st.floats(-3e38, 3e38), min_size=1))
    def test_rounding(self, vector: list[float]) -> None:
        """Others become the nearest number of 32 bits."""
        for found, told in zip(decode_vector(encode_vector(vector)), vector, strict=True):
            self.assertTrue(math.isclose(found, told, rel_tol=2**-24, abs_tol=2**-149))

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """A text is a vector or refused, and a vector of it is written as it was."""
        try:
            vector = decode_vector(text)
        except errors.UpstreamFailed:
            return
        self.assertEqual(decode_vector(encode_vector(vector)), vector)

    def test_no_vectors(self) -> None:
        """What is cut, empty, not base64 or not finite is no vector."""
        infinite = b64encode(bytes.fromhex("0000807f")).decode()
        for text in ("", "AAA", "AAA=", "AAAAAAA=", "AAAA", "%%%%", "é", infinite):
            self.assertRaises(errors.UpstreamFailed, decode_vector, text)
        for vector in ([1e39], ["1"], [None], [2**200]):
            self.assertRaises(errors.UpstreamFailed, encode_vector, vector)


class SettleTests(SynchronousTestCase):
    """Answers that are put right."""

    def test_as_asked(self) -> None:
        """Vectors are in the caller's encoding, whatever the provider's is."""
        for vector in (VECTOR, PACKED):
            for encoding, wanted in ((FLOAT, VECTOR), (BASE64, PACKED)):
                found = settle(of(vector), encoding=encoding)
                self.assertEqual(found["data"][0]["embedding"], wanted)

    def test_untouched(self) -> None:
        """What is as asked stays to the last digit, and fields of the provider's stay."""
        vector = [0.1234567890123456, 1]
        answer = {**of(vector, more=1), "provider": "x", "usage": {"cost": 1.5}}
        found = settle(answer)
        self.assertEqual(found["data"][0]["embedding"], vector)
        self.assertEqual((found["provider"], found["data"][0]["more"]), ("x", 1))
        self.assertEqual(found["usage"], {"cost": 1.5, "prompt_tokens": 0, "total_tokens": 0})

    def test_objects(self) -> None:
        """The objects have OpenAI's names."""
        found = settle({**of(VECTOR, object="x"), "object": "y"})
        self.assertEqual((found["object"], found["data"][0]["object"]), ("list", "embedding"))

    def test_order(self) -> None:
        """Vectors are sorted by index; without one of their own they are in order."""
        entries = [{"index": place, "embedding": [place]} for place in (2, 0, 1)]
        self.assertEqual(
            [e["embedding"] for e in settle({"data": entries})["data"]], [[0], [1], [2]]
        )
        for more in ({}, {"index": 0}):
            found = settle(of([5], [4], **more))["data"]
            self.assertEqual([(e["index"], e["embedding"]) for e in found], [(0, [5]), (1, [4])])

    def test_whose(self) -> None:
        """Vectors that are not each for one of the inputs are refused."""
        for told in ((0, 2), (0, 0, 1), (None, 1), ("0", "1"), (True, False)):
            entries = [{"index": index, "embedding": [1]} for index in told]
            self.assertRaises(errors.UpstreamFailed, settle, {"data": entries})

    def test_count(self) -> None:
        """There are as many vectors as inputs."""
        self.assertEqual(len(settle(of([1], [2]), 2)["data"]), 2)
        for inputs in (1, 3):
            self.assertRaises(errors.UpstreamFailed, settle, of([1], [2]), inputs)

    def test_no_answers(self) -> None:
        """What holds no vectors is a failed attempt."""
        vectors: list[Any] = [[], None, {}, ["1"], [None], [[1.0]], [True], "", "AAA="]
        answers: list[Any] = [[], None, {}, {"data": []}, {"data": {}}, {"data": [1]}]
        for answer in (*answers, *map(of, vectors)):
            for encoding in (FLOAT, BASE64):
                self.assertRaises(errors.UpstreamFailed, settle, answer, None, encoding)

    def test_usage(self) -> None:
        """Both counts are there, each standing for the other where only one is told."""
        for told, wanted in (
            ({"prompt_tokens": 3, "total_tokens": 5}, (3, 5)),
            ({"prompt_tokens": 3}, (3, 3)),
            ({"total_tokens": 5}, (5, 5)),
            ({"prompt_tokens": 2.0, "total_tokens": None}, (2, 2)),
            ({"prompt_tokens": 0, "total_tokens": 5}, (0, 5)),
            ({"prompt_tokens": "3", "total_tokens": True}, (0, 0)),
            ({"prompt_tokens": -1}, (0, 0)),
            (None, (0, 0)),
            ([], (0, 0)),
        ):
            found = settle({**of([1]), "usage": told})["usage"]
            self.assertEqual((found["prompt_tokens"], found["total_tokens"]), wanted)


class RequestTests(SynchronousTestCase):
    """What the dialects read in requests."""

    def test_inputs(self) -> None:
        """A text and a list of token ids ask for one vector, lists of either for many."""
        for told, count in (("ab", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)):
            self.assertEqual(count_inputs({"input": told}), count)

    def test_texts(self) -> None:
        """A text is a list of one."""
        self.assertEqual(read_texts({"input": "a"}), ["a"])
        self.assertEqual(read_texts({"input": ["a", "b"]}), ["a", "b"])

    def test_rename(self) -> None:
        """The provider's own name goes before OpenAI's, which is named if it differs."""
        for fields, wanted, dropped in (
            ({"a": 1}, {"b": 1}, []),
            ({"a": 1, "b": 1}, {"b": 1}, []),
            ({"a": 1, "b": 2}, {"b": 2}, ["a"]),
            ({"b": 2}, {"b": 2}, []),
            ({}, {}, []),
        ):
            self.assertEqual(rename_field(fields, "a", "b"), dropped)
            self.assertEqual(fields, wanted)


class DialectTests(SynchronousTestCase):
    """What all dialects do alike."""

    def test_errors(self) -> None:
        """Errors are judged as those of chat, inside a 200 too."""
        body = dumps({"error": {"message": "no", "code": "insufficient_quota"}})
        dialect = EmbeddingsDialect()
        self.assertIsInstance(dialect.read_error(429, {}, body), errors.UpstreamOutOfCredit)
        self.assertRaises(errors.UpstreamOutOfCredit, dialect.read_reply, body)
        for page in (b"", b"<html>", b"{"):
            self.assertRaises(errors.UpstreamFailed, dialect.read_reply, page)

    def test_no_streams(self) -> None:
        """There is nothing to be streamed, and no image to be fetched."""
        dialect = EmbeddingsDialect()
        with self.assertRaises(errors.InvalidRequest) as caught:
            dialect.stream_reader(choices=1, max_event_bytes=1)
        self.assertEqual(caught.exception.param, "stream")
        self.assertFalse(dialect.wants_images({"input": "http://a/x.png"}, model="m"))
        self.assertEqual(dialect.locate("http://a/x?y", WireRequest("/z", b"")), "http://a/x?y")
