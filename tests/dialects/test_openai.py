"""Tests of :mod:`aiproxy.dialects.openai`."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.wire.json import dumps

ANSWER: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"total_tokens": 7},
    "service_tier": "default",
}


class WriteRequestTests(SynchronousTestCase):
    """The caller's request, with as little changed as can be."""

    def body(
        self, request: dict[str, Any], *, stream: bool, asks_usage: bool = True
    ) -> dict[str, Any]:
        """Give the body that is written, having made sure that the request is not changed."""
        before = deepcopy(request)
        dialect: Dialect = OpenAIDialect(asks_usage=asks_usage)
        wire = dialect.write_request(request, model="m-1", stream=stream)
        self.assertEqual(request, before)
        self.assertEqual(wire.route, "/chat/completions")
        self.assertEqual(wire.headers, {"content-type": "application/json"})
        body: dict[str, Any] = json.loads(wire.body)
        return body

    def test_untouched(self) -> None:
        """All fields pass, known or not, but for the model and the stream."""
        request = {
            "model": "configured/m",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hé"}]}],
            "n": 2,
            "response_format": {"type": "json_schema", "json_schema": {"strict": True}},
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "seed": 2**63,
            "temperature": 0,
            "x_unknown": {"deep": [None, 1.5]},
        }
        self.assertEqual(
            self.body(request, stream=False), {**request, "model": "m-1", "stream": False}
        )

    def test_usage(self) -> None:
        """Streams are asked for usage, whatever the caller wants, if the upstream takes it."""
        for told, asked, unasked in (
            (None, {"include_usage": True}, None),
            ({}, {"include_usage": True}, None),
            ({"include_usage": False}, {"include_usage": True}, None),
            ({"include_usage": True}, {"include_usage": True}, None),
            ({"x": 1}, {"x": 1, "include_usage": True}, {"x": 1}),
            ("odd", {"include_usage": True}, None),
        ):
            request = {"stream": False, "stream_options": told}
            self.assertEqual(self.body(request, stream=True).get("stream_options"), asked)
            body = self.body(request, stream=True, asks_usage=False)
            self.assertEqual(body.get("stream_options"), unasked)
            self.assertEqual(body["stream"], True)
            # Without a stream they are a mistake.
            self.assertNotIn("stream_options", self.body(request, stream=False))

    def test_lone_surrogate(self) -> None:
        """Half an emoji in a message is no obstacle."""
        request = {"messages": [{"role": "user", "content": "\ud83d"}]}
        self.assertEqual(self.body(request, stream=False)["messages"], request["messages"])


class ReadReplyTests(SynchronousTestCase):
    """Whole answers."""

    def test_as_it_came(self) -> None:
        """A proper answer is not changed; white space around it is OpenRouter's sign of life."""
        for body in (dumps(ANSWER), b"\n   \n\n" + dumps(ANSWER) + b"\n"):
            self.assertEqual(OpenAIDialect().read_reply(body), ANSWER)

    def test_repaired(self) -> None:
        """What is missing is filled in, in each choice."""
        answer = OpenAIDialect().read_reply(
            dumps(
                {
                    "object": "text_completion",
                    "choices": [
                        {"message": {"content": "a"}, "finish_reason": "eos_token"},
                        {"message": {"tool_calls": [{"function": {"name": "f"}}]}},
                    ],
                }
            )
        )
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual([choice["index"] for choice in answer["choices"]], [0, 1])
        reasons = [choice["finish_reason"] for choice in answer["choices"]]
        self.assertEqual(reasons, ["stop", "tool_calls"])
        self.assertNotIn("usage", answer)

    def test_odd_reason(self) -> None:
        """A finish reason that is no word at all is kept beside the plain one."""
        for odd in ({"why": "stop"}, ["stop"], 5):
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": "a"},
                "finish_reason": odd,
            }
            [read] = OpenAIDialect().read_reply(dumps({"choices": [choice]}))["choices"]
            reasons = read["finish_reason"], read["native_finish_reason"]
            self.assertEqual(reasons, ("stop", odd))

    def test_usage(self) -> None:
        """Usage that stands elsewhere is put in its place."""
        for place in ({"x_groq": {"usage": {"total_tokens": 7}}}, {}):
            told = {name: value for name, value in ANSWER.items() if name != "usage"} | place
            answer = OpenAIDialect().read_reply(dumps(told))
            self.assertEqual("usage" in answer, bool(place))

    def test_what_is_an_answer(self) -> None:
        """Content of any kind, a refusal, a call, reasoning, or a finish reason alone."""
        messages: list[dict[str, Any]] = [
            {"content": {"answer": 1}},
            {"content": [{"type": "thinking"}]},
            {"content": None, "refusal": "no"},
            {"content": None, "reasoning": "because"},
            {"content": None, "audio": {"id": "a"}},
            {"content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
            {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
        ]
        for message in messages:
            body = dumps({"choices": [{"message": message, "finish_reason": None}]})
            read = OpenAIDialect().read_reply(body)
            self.assertLessEqual(message.keys(), read["choices"][0]["message"].keys())
        body = dumps({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]})
        read = OpenAIDialect().read_reply(body)
        self.assertEqual(read["choices"][0]["finish_reason"], "length")

    def test_failures(self) -> None:
        """What is no answer is a failure of the provider's."""
        for body in (
            b"",
            b" \n",
            b"<html>",
            b'{"id":"c-1","choices":[{"mess',
            b"[]",
            b"7",
            b"{}",
            b'{"choices":null}',
            b'{"choices":[]}',
            b'{"choices":{}}',
            b'{"choices":[7]}',
            b'{"choices":[{}]}',
            b'{"choices":[{"message":null,"finish_reason":"stop"}]}',
            b'{"choices":[{"message":{}}]}',
            b'{"choices":[{"message":{"role":"assistant","content":""}}]}',
            b'{"choices":[{"message":{"content":"a"},"finish_reason":"error"}]}',
            b'{"choices":[{"message":{"content":"a"},"error":{"code":502}}]}',
            b'{"error":{"code":502}}',
            b'{"error":"x"}',
        ):
            with self.assertRaises(errors.UpstreamFailed, msg=body):
                OpenAIDialect().read_reply(body)

    def test_errors(self) -> None:
        """An error inside a 200 is what it would be as a status."""
        for body, kind in (
            (b'{"error":{"message":"m","code":429}}', errors.UpstreamRateLimited),
            (b'[{"error":{"message":"m","code":400}}]', errors.UpstreamRefused),
            (b'{"error":{"message":"m","code":400},"choices":[]}', errors.UpstreamRefused),
            (b'{"choices":[{"error":{"code":402}}]}', errors.UpstreamOutOfCredit),
            (b'{"status":404,"message":"No such model"}', errors.UpstreamModelNotFound),
        ):
            with self.assertRaises(kind):
                OpenAIDialect().read_reply(body)

    def test_no_trace_of_the_body(self) -> None:
        """The error does not hold on to what could not be read."""
        with self.assertRaises(errors.UpstreamFailed) as caught:
            OpenAIDialect().read_reply(b"secret")
        self.assertNotIn("secret", repr((caught.exception, caught.exception.__cause__)))

    @given(
        st.binary(max_size=60)
        | st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            *("choices", "message", "content", "tool_calls", "function", "error"),
                            *(
                                "finish_reason",
                                "index",
                                "id",
                                "arguments",
                                "usage",
                                "x_groq",
                                "type",
                            ),
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
        ).map(dumps)
    )
    def test_hostile(self, body: bytes) -> None:
        """Any body is an answer or an error of ours."""
        try:
            answer = OpenAIDialect().read_reply(body)
        except errors.UpstreamError:
            return
        dumps(answer)


class OtherTests(SynchronousTestCase):
    """Errors and streams."""

    def test_read_error(self) -> None:
        """Status, headers and body count."""
        error = OpenAIDialect().read_error(
            429, {"retry-after": "3"}, b'{"error":{"message":"m","code":"c"}}'
        )
        self.assertIsInstance(error, errors.UpstreamRateLimited)
        self.assertEqual((error.message, error.code, error.retry_after), ("m", "c", 3.0))

    def test_stream_reader(self) -> None:
        """Each stream has a reader of its own."""
        dialect = OpenAIDialect()
        first = dialect.stream_reader(choices=1, max_event_bytes=9)
        second = dialect.stream_reader(choices=1, max_event_bytes=9)
        self.assertIsInstance(first, OpenAIStreamReader)
        self.assertIsNot(first, second)
