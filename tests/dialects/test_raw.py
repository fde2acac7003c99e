"""Tests of :mod:`aiproxy.dialects.raw` and of the usage that it finds."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.messages_face import MessagesFace
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, MESSAGES, RERANK, RESPONSES
from aiproxy.dialects.raw import RawDialect
from aiproxy.dialects.raw_face import RawFace
from aiproxy.dialects.raw_usage import find_raw_usage
from aiproxy.errors import InvalidRequest, UpstreamAuthFailed, UpstreamError, UpstreamFailed
from aiproxy.wire.json import loads

COMPLETE = RawFace(COMPLETIONS, "/completions")


def write(body: bytes, face: RawFace = COMPLETE, **laid_over: Any) -> WireRequest:
    """Write a client's body for a provider."""
    request = {**face.read_request(body), **laid_over}
    return RawDialect(face.operation).write_request(request, model="theirs", stream=False)


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_unchanged(self) -> None:
        """A body goes out as it came but for the model's name."""
        body = b'{ "model" : "mine", "n":1.0,"x_aiproxy_raw":1, "stream": false}'
        wire = write(body)
        self.assertEqual(wire.body, body.replace(b"mine", b"theirs"))
        self.assertEqual((wire.route, wire.dropped), ("/completions", ()))
        self.assertEqual(wire.headers, {"content-type": "application/json"})
        same = b'{"model":"theirs"  }'
        self.assertEqual(write(same).body, same)

    def test_two_models(self) -> None:
        """Whichever of two keys counts for a provider, it finds the model that was chosen."""
        for chosen in ("mine", "theirs"):
            body = b'{"model":"other","mode\\u006c":"%b"}' % chosen.encode()
            expected = b'{"model":"theirs","mode\\u006c":"theirs"}'
            self.assertEqual(write(body).body, expected)

    def test_laid_over(self) -> None:
        """What the configuration lays over each request is laid over this one."""
        body = b'{"model":"mine","n":1,"stream":true}'
        self.assertEqual(write(body, n=1).body, body.replace(b"mine", b"theirs"))
        told = loads(write(body, n=2, user="u", model="no", stream=False).body)
        self.assertEqual(told, {"model": "theirs", "n": 2, "user": "u", "stream": True})

    def test_headers(self) -> None:
        """The client's own headers go before those that a request needs."""
        dialect = RawDialect(MESSAGES, headers={"anthropic-version": "old"})
        for told, expected in ((None, "old"), ("new", "new")):
            headers = {"anthropic-version": told} if told else {}
            face = MessagesFace().for_request(headers.get, lambda name: None)
            request = face.read_request(b'{"model":"mine"}')
            wire = dialect.write_request(request, model="theirs", stream=False)
            self.assertEqual(wire.headers["anthropic-version"], expected)

    def test_locate(self) -> None:
        """A model's whole URL leads to the route beside the chat's."""
        for operation, url, route, expected in (
            (RERANK, "https://h/v1/chat/completions?k=1", "/rerank", "https://h/v1/rerank?k=1"),
            (RESPONSES, "https://h/chat/completions/", "/responses", "https://h/responses"),
            (
                MESSAGES,
                "https://h/v1/messages",
                "/messages?beta=true",
                "https://h/v1/messages?beta=true",
            ),
            (
                MESSAGES,
                "https://h/v1",
                "/messages/count_tokens",
                "https://h/v1/messages/count_tokens",
            ),
        ):
            self.assertEqual(RawDialect(operation).locate(url, WireRequest(route, b"")), expected)
        locate = RawDialect(RERANK).locate
        error = self.assertRaises(
            InvalidRequest, locate, "https://h/v1/other", WireRequest("/rerank", b"")
        )
        self.assertEqual((error.param, error.code), ("model", "model_not_supported"))

    def test_images(self) -> None:
        """Nothing is fetched for a request that passes."""
        self.assertFalse(RawDialect(MESSAGES).wants_images({}, model="m"))


class AnswerTests(SynchronousTestCase):
    """Whole answers."""

    def test_whole(self) -> None:
        """The bytes are the answer; what they tell of usage is noted."""
        body = b' {"usage": {"total_tokens": 17}, "results": []}'
        answer = RawDialect(RERANK).read_reply(body)
        self.assertEqual(answer["raw"], body)
        self.assertEqual(answer["usage"]["prompt_tokens"], 17)
        self.assertEqual(RawDialect(RERANK).read_reply(b"[]"), {"raw": b"[]", "usage": None})

    def test_texts(self) -> None:
        """A transcript may be a text; nothing else may, nor a page in its place."""
        self.assertEqual(RawDialect(AUDIO).read_reply(b"1\nhello")["raw"], b"1\nhello")
        for operation, body in (
            (RERANK, b"1\nhello"),
            (RERANK, b""),
            (AUDIO, b""),
            (AUDIO, b"\n<!DOCTYPE html><p>"),
            (MESSAGES, b'{"type":"mess'),
        ):
            self.assertRaises(UpstreamFailed, RawDialect(operation).read_reply, body)

    def test_empty(self) -> None:
        """What has nothing in it is no answer, but where nobody knows what one looks like."""
        for body in (b"{}", b"null", b"[]", b'""', b"0"):
            for operation in (MESSAGES, RESPONSES, COMPLETIONS):
                self.assertRaises(UpstreamFailed, RawDialect(operation).read_reply, body)
            for operation in (RERANK, AUDIO):
                self.assertEqual(RawDialect(operation).read_reply(body)["raw"], body)

    def test_errors(self) -> None:
        """An error inside a 200 is one, as is one with its status."""
        body = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
        error = self.assertRaises(UpstreamError, RawDialect(MESSAGES).read_reply, body)
        self.assertEqual((error.upstream_status, error.message), (529, "busy"))
        refused = RawDialect(MESSAGES).read_error(401, {}, b"{}")
        self.assertIsInstance(refused, UpstreamAuthFailed)


class UsageTests(SynchronousTestCase):
    """Usage in the hub's words."""

    def test_shapes(self) -> None:
        """Each interface counts in its own way."""
        for told, expected in (
            ({"prompt_tokens": 3, "completion_tokens": 2}, (3, 2, None, None)),
            ({"input_tokens": 3, "output_tokens": 2}, (3, 2, 0, 0)),
            (
                {
                    "input_tokens": 1,
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 7,
                    "output_tokens": 4,
                    "output_tokens_details": {"thinking_tokens": 3},
                },
                (13, 4, 5, 3),
            ),
            (
                {
                    "input_tokens": 9,
                    "input_tokens_details": {"cached_tokens": 5},
                    "output_tokens": 4,
                    "output_tokens_details": {"reasoning_tokens": 1},
                },
                (9, 4, 5, 1),
            ),
            ({"total_tokens": 8}, (8, 0, None, None)),
            ({"input_tokens": -1, "output_tokens": "x", "input_tokens_details": 1}, (0, 0, 0, 0)),
        ):
            usage = find_raw_usage({"usage": told})
            assert usage is not None
            found = (
                usage["prompt_tokens"],
                usage["completion_tokens"],
                usage.get("prompt_tokens_details", {}).get("cached_tokens"),
                usage.get("completion_tokens_details", {}).get("reasoning_tokens"),
            )
            self.assertEqual(found, expected, told)

    def test_cost(self) -> None:
        """What a call has cost stays, whatever the tokens are called (OpenRouter, recorded)."""
        for told in ({"input_tokens": 42, "output_tokens": 12}, {"total_tokens": 17}):
            usage = find_raw_usage({"usage": {**told, "cost": 3.6e-5}})
            assert usage is not None
            self.assertEqual(usage.get("cost"), 3.6e-5)
            self.assertNotIn("cost", find_raw_usage({"usage": told}) or {})

    def test_none(self) -> None:
        """What tells nothing tells nothing."""
        for document in ({}, {"usage": None}, {"usage": [1]}):
            self.assertIsNone(find_raw_usage(document))
