"""Tests of :mod:`aiproxy.dialects.openai_face`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.face import Face, StreamWriter
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.errors import InvalidRequest, StreamCut
from aiproxy.wire.json import dumps

MESSAGES = [{"role": "user", "content": "hi"}]
USAGE = {"total_tokens": 7}


class ReadRequestTests(SynchronousTestCase):
    """A client's request, or what is wrong with it."""

    def test_requests(self) -> None:
        """What the gateway does not rely on is none of its business."""
        for extra in (
            {},
            {"stream": None, "stream_options": None, "tools": None, "n": None},
            {"stream": True, "stream_options": {"include_usage": True}, "tools": [], "n": 128},
            {"temperature": "hot", "x_unknown": {"a": [1]}, "messages": [{"role": "odd"}]},
        ):
            request = {"model": "m", "messages": MESSAGES, **extra}
            self.assertEqual(OpenAIFace().read_request(dumps(request)), request)

    def refusal(self, body: bytes) -> InvalidRequest:
        """Return the error that a body is refused with."""
        with self.assertRaises(InvalidRequest) as caught:
            OpenAIFace().read_request(body)
        error: InvalidRequest = caught.exception
        self.assertEqual((error.status, error.type), (400, "validation_error"))
        return error

    def test_bodies(self) -> None:
        """What is no JSON object at all, and why."""
        deep = b'{"model":"m","messages":[' + b"[" * 199 + b"]" * 199 + b"]}"
        for body, code, words in (
            (b"", "empty_body", "the request body is empty: a JSON object is expected"),
            (b" \r\n", "empty_body", "the request body is empty: a JSON object is expected"),
            (b"{oops", "invalid_json", "line 1 column 2"),
            (b'{"model": NaN}', "invalid_json", "line 1 column"),
            (b'{"model": "\xff"}', "invalid_json", "not UTF-8"),
            (b"\x1f\x8b", "invalid_json", "cannot be read"),
            (deep, "invalid_json", "nested deeper than 200 levels"),
            (b"[" * 100_000, "invalid_json", "nested deeper than 200 levels"),
            (b"[]", "invalid_type", "the request body must be a JSON object"),
            (b'"x"', "invalid_type", "the request body must be a JSON object"),
            (b"null", "invalid_type", "the request body must be a JSON object"),
        ):
            error = self.refusal(body)
            self.assertEqual((error.code, error.param), (code, None), body[:40])
            self.assertIn(words, error.message)

    def test_another_model(self) -> None:
        """A field that some providers take for the model, in the place of the one that is."""
        for name in ("Model", "MODEL", "mOdEl"):
            body = dumps({"model": "m", name: "other", "messages": MESSAGES})
            self.assertEqual(self.refusal(body).param, "model")

    def test_depth(self) -> None:
        """200 levels are allowed."""
        content = json.loads("[" * 196 + "]" * 196)
        request = {"model": "m", "messages": [{"role": "user", "content": [content]}]}
        self.assertEqual(OpenAIFace().read_request(dumps(request)), request)

    def test_fields(self) -> None:
        """Each refusal names the field, and says what it must be."""
        table: list[tuple[dict[str, Any], str, str, str]] = [
            ({"model": None}, "model", "missing_model", "a model is required"),
            ({"model": ""}, "model", "missing_model", "a model is required"),
            ({"model": 7}, "model", "invalid_type", "model must be a string"),
            ({"messages": None}, "messages", "missing_messages", "messages are required"),
            ({"messages": []}, "messages", "missing_messages", "at least one message is required"),
            ({"messages": "hi"}, "messages", "invalid_type", "messages must be a list of messages"),
            (
                {"messages": [*MESSAGES, "hi"]},
                "messages[1]",
                "invalid_type",
                "messages[1] must be an object",
            ),
            (
                {"messages": [{"content": "hi"}]},
                "messages[0].role",
                "invalid_type",
                "messages[0].role must be a string",
            ),
            ({"stream": "yes"}, "stream", "invalid_type", "stream must be true or false"),
            ({"stream": 1}, "stream", "invalid_type", "stream must be true or false"),
            (
                {"stream_options": [1]},
                "stream_options",
                "invalid_type",
                "stream_options must be an object",
            ),
            ({"tools": {}}, "tools", "invalid_type", "tools must be a list of tools"),
            ({"n": 0}, "n", "invalid_type", "n must be a whole number from 1 to 128"),
            ({"n": 129}, "n", "invalid_type", "n must be a whole number from 1 to 128"),
            ({"n": True}, "n", "invalid_type", "n must be a whole number from 1 to 128"),
            ({"n": 1.5}, "n", "invalid_type", "n must be a whole number from 1 to 128"),
        ]
        for extra, param, code, message in table:
            error = self.refusal(dumps({"model": "m", "messages": MESSAGES, **extra}))
            self.assertEqual((error.param, error.code, error.message), (param, code, message))

    @given(
        st.binary(max_size=50)
        | st.dictionaries(
            st.sampled_from(["model", "messages", "stream", "stream_options", "tools", "n"]),
            st.recursive(
                st.none() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=2)
            ),
        ).map(dumps)
    )
    def test_hostile(self, body: bytes) -> None:
        """Any body is a request or a refusal that repeats nothing of it at length."""
        try:
            request = OpenAIFace().read_request(body)
        except InvalidRequest as error:
            self.assertLess(len(error.message), 200)
        else:
            self.assertIsInstance(request["model"], str)


class WriteTests(SynchronousTestCase):
    """What the client gets."""

    def writer(self, **options: object) -> StreamWriter:
        """Make a writer for a request with these stream options."""
        face: Face = OpenAIFace()
        request = {"stream_options": options} if options else {}
        return face.stream_writer(request, identity="made", created=9, model="m")

    def written(self, data: bytes) -> Any:
        """Read one written event."""
        self.assertTrue(data.startswith(b"data: {") and data.endswith(b"}\n\n"), data)
        return json.loads(data[6:])

    def test_identity(self) -> None:
        """The first chunk's id and time hold throughout, ours where it has none."""
        for first, identity, created in (
            ({"id": "c-1", "created": 5}, "c-1", 5),
            ({"id": "", "created": 0}, "made", 9),
            ({"id": None, "created": "now"}, "made", 9),
            ({"id": 7, "created": True}, "made", 9),
            ({"id": 7, "created": -5}, "made", 9),
            ({}, "made", 9),
        ):
            writer = self.writer()
            for told in (first, {"id": "c-2", "created": 6, "object": "odd", "model": "up"}):
                chunk = {**told, "choices": [], "x": 1}
                self.assertEqual(
                    self.written(writer.write(chunk)),
                    {
                        "id": identity,
                        "object": "chat.completion.chunk",
                        "created": created,
                        "model": "m",
                        "choices": [],
                        "x": 1,
                    },
                )

    def test_usage(self) -> None:
        """Told if and only if the client asked for it."""
        for options, asked in (
            ({"include_usage": True}, True),
            ({"include_usage": False}, False),
            ({"include_usage": "yes"}, False),
            ({"x": 1}, False),
            ({}, False),
        ):
            alone = {"choices": [], "usage": dict(USAGE)}
            beside = {"choices": [{"index": 0, "delta": {}}], "usage": dict(USAGE)}
            written = self.writer(**options).write(alone)
            if asked:
                self.assertEqual(self.written(written)["usage"], USAGE)
            else:
                self.assertEqual(written, b"")
            written = self.writer(**options).write(beside)
            self.assertEqual(self.written(written).get("usage"), USAGE if asked else None)

    def test_options_may_be_null(self) -> None:
        """A request may say that it has no stream options."""
        writer = OpenAIFace().stream_writer(
            {"stream_options": None}, identity="made", created=9, model="m"
        )
        self.assertEqual(writer.write({"choices": [], "usage": USAGE}), b"")

    def test_ends(self) -> None:
        """``[DONE]``, or one event with the error and no ``[DONE]``."""
        self.assertEqual(self.writer().end(), b"data: [DONE]\n\n")
        error = StreamCut("cut", provider="p", model="m")
        self.assertEqual(self.written(self.writer().fail(error)), error.envelope())

    def test_answer(self) -> None:
        """A whole answer has its identity filled in, and the rest as it is."""
        for told, identity, created in (
            ({"id": "c-1", "created": 5, "model": "up"}, "c-1", 5),
            ({"id": ""}, "made", 9),
        ):
            answer = {**told, "choices": [{"index": 0}], "usage": USAGE, "x": "\ud83d"}
            body = OpenAIFace().write_answer(answer, identity="made", created=9, model="m").body
            self.assertEqual(
                json.loads(body),
                {
                    **answer,
                    "id": identity,
                    "object": "chat.completion",
                    "created": created,
                    "model": "m",
                },
            )
