"""Tests of :mod:`aiproxy.dialects.messages_face`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.messages_face import MessagesFace, describe_error
from aiproxy.dialects.raw import RAW_REQUEST
from aiproxy.wire.json import loads
from aiproxy.wire.sse import SSEDecoder
from tests.dialects.passing import Passage
from tests.dialects.streams import write_events

FACE = MessagesFace()


class MessagesFaceTests(SynchronousTestCase):
    """Anthropic's clients."""

    def test_headers(self) -> None:
        """The version, the betas and the query that turns them on reach the provider."""
        headers = {"anthropic-version": "v", "anthropic-beta": "a,b", "x-api-key": "secret"}
        face = FACE.for_request(headers.get, {"beta": "true", "key": "k"}.get)
        self.assertEqual(face.headers, {"anthropic-version": "v", "anthropic-beta": "a,b"})
        self.assertEqual(face.route, "/messages?beta=true")
        raw = face.read_request(b'{"model":"m"}')[RAW_REQUEST]
        self.assertEqual((raw.route, raw.headers), (face.route, face.headers))
        self.assertEqual(WireRequest(raw.route, raw.body).route, "/messages?beta=true")

    def test_model(self) -> None:
        """The configured name stands where clients read it, and nowhere else."""
        written = FACE.write_answer(
            {"raw": b'{"model": "x", "usage": {"model": "y"}}'}, identity="", created=0, model="m"
        )
        self.assertEqual(written.body, b'{"model": "m", "usage": {"model": "y"}}')
        start = {"type": "message_start", "message": {"model": "x", "content": []}}
        later = {"type": "message_delta", "message": {"model": "x"}}
        passed = Passage(FACE, [write_events(start, later, {"type": "message_stop"})])
        start["message"] = {"model": "mine", "content": []}
        self.assertEqual(passed.out, write_events(start, later, {"type": "message_stop"}))

    def test_end(self) -> None:
        """An end of ours is an event of its own, wherever the upstream's last one breaks off."""
        start = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}}
        last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        stop = {"type": "message_stop"}
        told = write_events(start, last).removesuffix(b"\n\n")
        for rest in (b"", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"):
            passed = Passage(FACE, [told + rest])
            self.assertIsNone(passed.error)
            events = SSEDecoder(1024).feed(passed.out)
            self.assertEqual([loads(event.data) for event in events], [start, last, stop])
            self.assertTrue(passed.out.startswith(told + rest))

    def test_errors(self) -> None:
        """Each error has the type that Anthropic would give it."""
        overloaded = errors.UpstreamFailed("m")
        overloaded.upstream_status = 529
        for error, kind in (
            (errors.InvalidRequest("m"), "invalid_request_error"),
            (errors.InvalidRequest("m", status=422), "invalid_request_error"),
            (errors.AuthenticationFailed("m"), "authentication_error"),
            (errors.InvalidRequest("m", status=403), "permission_error"),
            (errors.ModelNotFound("m"), "not_found_error"),
            (errors.RequestTooLarge("m"), "request_too_large"),
            (errors.UpstreamRateLimited("m"), "rate_limit_error"),
            (errors.InternalError("m"), "api_error"),
            (errors.UpstreamFailed("m"), "api_error"),
            (overloaded, "overloaded_error"),
            (errors.ModelUnavailable("m"), "overloaded_error"),
            (errors.UpstreamTimeout("m"), "timeout_error"),
        ):
            expected = {"type": "error", "error": {"type": kind, "message": "m"}}
            self.assertEqual(describe_error(error), expected)

    def test_failure(self) -> None:
        """A stream that is not whole ends in an event that says so."""
        writer = FACE.stream_writer({}, identity="", created=0, model="m")
        writer.write({"raw": b"data: {}\n\n", "events": True})
        name, data, *_ = writer.fail(errors.StreamCut("cut")).split(b"\n")
        self.assertEqual(name, b"event: error")
        self.assertEqual(
            loads(data[6:]), {"type": "error", "error": {"type": "api_error", "message": "cut"}}
        )
