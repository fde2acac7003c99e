"""Tests of :mod:`aiproxy.dialects.openai_errors`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.openai_errors import judge, judge_choice
from aiproxy.dialects.openai_facts import Facts, read_facts

REFUSED = errors.UpstreamRefused
FAILED = errors.UpstreamFailed
NOT_OURS = errors.UpstreamModelNotFound
TOO_LONG = errors.ContextTooLong
CONTENT = errors.ContentRefused
AUTH = errors.UpstreamAuthFailed
LIMITED = errors.UpstreamRateLimited
CREDIT = errors.UpstreamOutOfCredit


def read(status: int | None, error: object, **headers: str) -> errors.UpstreamError:
    """Judge an error object in OpenAI's envelope."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return judge(status, read_facts({"error": error}), named)


class WhoMustActTests(SynchronousTestCase):
    """The table of bad days, by code, by words and by status."""

    def test_statuses(self) -> None:
        """What a bare status means."""
        for status, kind, told in (
            (301, NOT_OURS, 502),
            (307, NOT_OURS, 502),
            (400, REFUSED, 400),
            (401, AUTH, 502),
            (402, CREDIT, 502),
            (403, AUTH, 502),
            (404, REFUSED, 404),
            (405, NOT_OURS, 502),
            (408, FAILED, 502),
            (409, FAILED, 502),
            (410, NOT_OURS, 502),
            (413, TOO_LONG, 400),
            (415, REFUSED, 415),
            (422, REFUSED, 422),
            (425, FAILED, 502),
            (429, LIMITED, 429),
            (499, FAILED, 502),
            (500, FAILED, 502),
            (502, FAILED, 502),
            (503, FAILED, 502),
            (529, FAILED, 502),
        ):
            error = read(status, {"message": "something about a file"})
            self.assertEqual((type(error), error.status), (kind, told), status)
            self.assertEqual(error.upstream_status, status)

    def test_codes(self) -> None:
        """What a code or a type means, beside which status."""
        for status, code, kind in (
            (429, "insufficient_quota", CREDIT),
            (429, "1113", CREDIT),
            (400, "context_length_exceeded", TOO_LONG),
            (400, "content_filter", CONTENT),
            (400, "content_policy_violation", CONTENT),
            (400, "invalid_prompt", CONTENT),
            (400, "1301", CONTENT),
            (400, "invalid_api_key", AUTH),
            (400, "API_KEY_INVALID", AUTH),
            (404, "model_not_found", NOT_OURS),
            (400, "model_decommissioned", NOT_OURS),
            (400, "model_not_supported", NOT_OURS),
            (404, "DeploymentNotFound", NOT_OURS),
            (429, "rate_limit_exceeded", LIMITED),
            (429, "1305", LIMITED),
            (400, "tool_use_failed", REFUSED),
        ):
            for error in ({"code": code, "message": "m"}, {"type": code, "message": "m"}):
                self.assertIs(type(read(status, error)), kind, error)

    def test_callers_words(self) -> None:
        """What is about a field is the caller's mistake, however it begins."""
        for words in ("Invalid API key", "Insufficient balance"):
            error = {"message": words, "param": "messages[0].role"}
            self.assertIs(type(read(400, error)), REFUSED, words)

    def test_words(self) -> None:
        """What is only said in words, beside which status."""
        for status, words, kind in (
            # Money.
            (403, "You have used all available credits or reached the spending limit.", CREDIT),
            (429, "Insufficient balance, please recharge", CREDIT),
            (500, "Insufficient balance", FAILED),
            (400, "Your credit balance is too low to access the API.", CREDIT),
            (400, "Invalid value: 'insufficient balance'. Supported are: 'user'.", REFUSED),
            (400, "'insufficient balance' is not one of ['user']", REFUSED),
            # Length.
            (400, "This model's maximum context length is 10 tokens, you asked for 20.", TOO_LONG),
            (400, "This model's maximum prompt length is 10 but the request has 20.", TOO_LONG),
            (400, "Prompt contains 20 tokens, too large for 10 maximum context length", TOO_LONG),
            (422, "the input is too long", TOO_LONG),
            (408, "the prompt is too long", TOO_LONG),
            (500, "exceeds the context window", TOO_LONG),
            (429, "Request too large for m on tokens per min: Limit 4, Requested 25", TOO_LONG),
            (429, "Too many tokens, please wait before trying again.", LIMITED),
            (403, "the prompt is too long", AUTH),
            (
                400,
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                TOO_LONG,
            ),
            (429, "Quota exceeded for metric: input_token_count, limit: 0", LIMITED),
            # Content.
            (400, "triggering our content management policy", CONTENT),
            (403, "Content violates usage guidelines.", CONTENT),
            (403, "Your input was flagged", CONTENT),
            (403, "openai/m requires moderation", CONTENT),
            (403, "Your account was flagged for abuse", AUTH),
            (400, "Content Exists Risk", CONTENT),
            (404, "content policy", REFUSED),
            (429, "content policy", LIMITED),
            # Keys.
            (400, "Incorrect API key provided: abc. Find it at …", AUTH),
            (400, "API key not valid. Please pass a valid API key.", AUTH),
            (422, "Invalid API-key", AUTH),
            (400, "Invalid value: 'incorrect api key'. Supported are: 'user'.", REFUSED),
            (422, "'your api key is invalid' is not one of ['user']", REFUSED),
            (500, "unknown role: missing api key", FAILED),
            # Models and URLs.
            (404, "The model `a/b-4.1` does not exist or you do not have access to it.", NOT_OURS),
            (400, "Model Not Exist", NOT_OURS),
            (400, "x is not a valid model ID", NOT_OURS),
            (400, "Invalid model: x", NOT_OURS),
            (404, "No such model", NOT_OURS),
            (404, 'model "x" not found, try pulling it first', NOT_OURS),
            (404, "The model x was deprecated and is no longer accessible", NOT_OURS),
            (404, "model: x-1", NOT_OURS),
            (404, "models/x-1.5 is not found for API version v1beta, or is not …", NOT_OURS),
            (404, f"Publisher Model `projects/{'p' * 99}/models/x-1.5` not found.", NOT_OURS),
            (404, "cachedContents/models not found", REFUSED),
            (404, "No endpoints found for a/b.", NOT_OURS),
            (404, "No endpoints found that support tool use.", REFUSED),
            (404, "Not Found", NOT_OURS),
            (404, "404 page not found", NOT_OURS),
            (404, "Resource not found", NOT_OURS),
            (404, "Unknown request URL: POST /v1/chat", NOT_OURS),
            (404, "file f-1 not found", REFUSED),
            (404, "", NOT_OURS),
            # What is like it, and is the caller's own.
            (400, "'stop' is not supported with this model.", REFUSED),
            (400, "this model is not available with tools", REFUSED),
            (400, "The model needs more. The tool call c was not found.", REFUSED),
            (400, "images were given to a model without the 'vision' capability", REFUSED),
        ):
            self.assertIs(type(read(status, {"message": words})), kind, (status, words))

    def test_other_signs(self) -> None:
        """What stands elsewhere than in the message."""
        flagged = {"message": "no", "code": 403, "metadata": {"flagged_input": "…"}}
        error = read(403, flagged)
        self.assertIs(type(error), CONTENT)
        # A number that is only the status is no code.
        self.assertEqual((error.status, error.code), (400, "content_filter"))
        raw = {
            "message": "Provider returned error",
            "metadata": {"raw": '{"error":"usage policy"}'},
        }
        self.assertEqual(read(403, raw).message, "Provider returned error: usage policy")
        self.assertIs(type(read(403, raw)), CONTENT)
        self.assertIs(type(read(404, {"message": "gone", "param": "model"})), NOT_OURS)

    def test_pages(self) -> None:
        """A page is the status's word only, and a 404 page is a wrong URL."""
        for status, kind in ((404, NOT_OURS), (400, REFUSED), (502, FAILED), (403, AUTH)):
            error = judge(status, read_facts(b"<html>model not found</html>"))
            self.assertIs(type(error), kind)
            self.assertNotIn("<", error.message)

    def test_callers_mistake(self) -> None:
        """It keeps the provider's words, status, code and field."""
        error = read(422, {"message": "m", "code": "c", "param": "p"})
        self.assertEqual(
            (error.message, error.status, error.code, error.param), ("m", 422, "c", "p")
        )
        self.assertEqual(
            read(400, {}).message,
            ("the upstream answered with an error (status 400) and no explanation"),
        )

    def test_own_words(self) -> None:
        """About keys and money a provider's words say too much."""
        for error in (
            read(401, {"message": "bad key abc"}),
            read(403, {"message": "bad key abc"}),
            read(400, {"message": "Incorrect API key provided: abc"}),
            read(402, {"message": "team abc has no money"}),
        ):
            self.assertNotIn("abc", str(error.envelope()))
            self.assertNotIn(error.status, (401, 403))

    def test_delays(self) -> None:
        """From the headers, a field, the words or an aggregator's headers; never for others."""
        message = "Please try again in 4s"
        for error, expected in (
            (read(429, {"message": message}), 4.0),
            (read(429, {"message": message}, retry_after="0"), 0.0),
            (read(429, {"message": message}, retry_after_ms="1500"), 1.5),
            (read(503, {"message": "loading", "estimated_time": 20.0}), 20.0),
            (read(503, {"message": "m"}, retry_after="7"), 7.0),
            (read(429, {"metadata": {"headers": {"Retry-After": "9"}}}), 9.0),
            (read(429, {"metadata": {"headers": {"Retry-After": "9"}}}, retry_after="2"), 2.0),
            (read(429, {"details": [{"retryDelay": "48s"}], "message": message}), 48.0),
            (read(None, {"code": 429, "details": [{"retryDelay": "0.5s"}]}), 0.5),
            (read(None, {"code": 429, "metadata": {"headers": {"Retry-After": "9"}}}), 9.0),
            (read(None, {"code": 503, "message": "loading", "estimated_time": 20.0}), 20.0),
            (read(429, {"message": "Please try again in 1m2.5s."}), 62.5),
            (
                read(
                    429,
                    {"message": "m"},
                    x_ratelimit_reset="1762336807000",
                    date="Wed, 05 Nov 2025 10:00:00 GMT",
                ),
                7.0,
            ),
            (read(429, {"message": "m"}), None),
            (read(400, {"message": message}, retry_after="7"), None),
        ):
            self.assertEqual(error.retry_after, expected)

    @given(
        st.none() | st.integers(300, 599),
        st.text(max_size=20) | st.sampled_from(["model", "api key", "flagged", "try again in 1s"]),
        st.none() | st.integers(300, 700) | st.text(max_size=9),
    )
    def test_always_an_error_of_ours(self, status: int | None, words: str, code: Any) -> None:
        """Whatever is said, somebody must act, and no caller is told 401 or 403."""
        error = read(status, {"message": words, "code": code})
        self.assertIsInstance(error, errors.UpstreamError)
        self.assertTrue(error.message)
        self.assertTrue(400 <= error.status < 600 and error.status not in (401, 403))


class InsideAnAnswerTests(SynchronousTestCase):
    """Errors with status 200."""

    def test_status_that_it_stands_for(self) -> None:
        """The error's own status, or the provider's trouble."""
        for error, kind, stands_for in (
            ({"code": 502}, FAILED, 502),
            ({"code": 429, "message": "m"}, LIMITED, 429),
            ({"code": "tool_use_failed", "status_code": 400}, REFUSED, 400),
            ({"type": "overloaded_error"}, FAILED, 529),
            ({"type": "insufficient_quota"}, CREDIT, 429),
            ({"message": "m"}, FAILED, None),
            ({"code": "context_length_exceeded"}, TOO_LONG, None),
            ({"message": "exceeds the context window"}, TOO_LONG, None),
            ({"code": "content_filter"}, CONTENT, None),
            ({"code": 401}, AUTH, 401),
            # Google's names.
            ({"status": "INVALID_ARGUMENT", "message": "m"}, REFUSED, 400),
            ({"status": "INVALID_ARGUMENT", "message": "API key not valid."}, AUTH, 400),
            ({"status": "RESOURCE_EXHAUSTED", "message": "limit: 0"}, LIMITED, 429),
            ({"status": "PERMISSION_DENIED", "message": "m"}, AUTH, 403),
            ({"status": "UNAUTHENTICATED", "message": "m"}, AUTH, 401),
            ({"status": "NOT_FOUND", "message": "models/x is not found"}, NOT_OURS, 404),
            ({"status": "UNAVAILABLE", "message": "m"}, FAILED, 503),
            ({"status": "DEADLINE_EXCEEDED", "message": "m"}, FAILED, 504),
            ({"status": "INTERNAL", "message": "m"}, FAILED, 500),
        ):
            judged = read(None, error)
            self.assertEqual((type(judged), judged.upstream_status), (kind, stands_for), error)

    def test_no_headers(self) -> None:
        """Without headers there is no delay."""
        self.assertIsNone(judge(None, Facts("m", status=429)).retry_after)

    def test_choices(self) -> None:
        """A choice has an error of its own, or a finish reason that is no end."""
        error = judge_choice({"error": {"code": 502, "message": "m"}})
        self.assertIsInstance(error, FAILED)
        for reason in ("error", "network_error", "insufficient_system_resource", "abort"):
            self.assertIsInstance(judge_choice({"finish_reason": reason}), FAILED)
        for choice in (
            {},
            {"error": None},
            {"finish_reason": "stop"},
            {"finish_reason": ["error"]},
        ):
            self.assertIsNone(judge_choice(choice))
