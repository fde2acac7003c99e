"""Tests of :mod:`aiproxy.providers.chaos.errors`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.providers.chaos.errors import ERRORS, ErrorAnswer, make_error
from aiproxy.wire.json import dumps

MEANINGS = {
    "rate_limit": errors.UpstreamRateLimited,
    "quota": errors.UpstreamOutOfCredit,
    "no_credit": errors.UpstreamOutOfCredit,
    "request_too_large": errors.ContextTooLong,
    "payload_too_large": errors.ContextTooLong,
    "context_length": errors.ContextTooLong,
    "content_policy": errors.ContentRefused,
    "moderation": errors.ContentRefused,
    "bad_key": errors.UpstreamAuthFailed,
    "forbidden": errors.UpstreamAuthFailed,
    "key_not_valid": errors.UpstreamAuthFailed,
    "no_model": errors.UpstreamModelNotFound,
    "moved": errors.UpstreamModelNotFound,
    "bad_request": errors.UpstreamRefused,
    "not_found": errors.UpstreamRefused,
    "unprocessable": errors.UpstreamRefused,
    "overloaded": errors.UpstreamFailed,
}


class ErrorsTests(SynchronousTestCase):
    """What a client makes of them."""

    def read(self, answer: ErrorAnswer) -> errors.AIProxyError:
        """Read an error as it comes over the wire."""
        body = dumps(answer.document)
        return OpenAIDialect().read_error(answer.status, answer.headers, body)

    def test_meanings(self) -> None:
        """Each is taken for what its name says."""
        self.assertEqual(set(MEANINGS), set(ERRORS))
        for name, meaning in MEANINGS.items():
            self.assertIs(type(self.read(ERRORS[name])), meaning, name)

    def test_statuses(self) -> None:
        """A bare status says nothing else."""
        for status in (500, 408, 409, 425, 502, 503, 529):
            error = self.read(make_error(str(status)))
            assert isinstance(error, errors.UpstreamFailed)
            self.assertEqual(error.upstream_status, status)

    def test_delays(self) -> None:
        """However the delay is told, it is the same."""
        for told_by in ("seconds", "date", "ms", "body", "words"):
            answer = make_error("rate_limit", retry_after=7, told_by=told_by, now=1_700_000_000.5)
            error = self.read(answer)
            assert isinstance(error, errors.UpstreamRateLimited)
            self.assertEqual(error.retry_after, 7.0, told_by)
            self.assertEqual("retry-after" in answer.headers, told_by in ("seconds", "date"))
        untold = self.read(make_error("rate_limit"))
        assert isinstance(untold, errors.UpstreamRateLimited)
        self.assertIsNone(untold.retry_after)

    def test_own_words(self) -> None:
        """An error may have words, a code and headers of its own."""
        answer = make_error("400", message="m", code="c", headers={"x-a": "b"})
        self.assertEqual((answer.message, answer.code, answer.headers), ("m", "c", {"x-a": "b"}))
