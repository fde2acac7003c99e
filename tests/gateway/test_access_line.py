"""Tests of :mod:`aiproxy.gateway.access_line`."""

from __future__ import annotations

import json
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import UpstreamFailed
from aiproxy.gateway.access_line import json_line, text_line
from aiproxy.gateway.usage import CallRecord, Tokens

#: 2030-01-01 00:00:00.25 UTC.
NOW = 1893456000.25

FIELDS = (
    "time id key client route model served_by attempts status error stream ttft_s duration_s"
    " overhead_s prompt_tokens completion_tokens cost"
)


def answered() -> CallRecord:
    """Return the record of a stream that was answered at the second attempt."""
    record = CallRecord("r1", "team", 10.0, "chat", True, "up/m", "up", 2)
    record.client, record.route = "10.0.0.1", "/v1/chat/completions"
    record.first_token, record.tokens = 10.25, Tokens(3, 4)
    record.account("up/m", "up", "answered", {"prompt_tokens": 3, "cost": 0.0000004})
    record.asked(10.0004)
    record.heard(12.0)
    record.end(12.0)
    return record


def refused() -> CallRecord:
    """Return the record of a request that never became a call."""
    record = CallRecord("r2", None, 10.0, client="::1")
    record.status = 401
    record.end(10.0, UpstreamFailed("no", code="authentication_required"))
    return record


def taken_over() -> CallRecord:
    """Return the record of a stream that two others went on with, the last to the end."""
    record = CallRecord("r3", "team", 10.0, "chat", True, "a", "up", 4, takeovers=2)
    outcomes = ("cut", "cut", "failed", "answered")
    for model, outcome in zip(("a", "up/m", "x", "b"), outcomes, strict=True):
        record.account(model, "up", outcome, None)
    return record


class JSONTests(SynchronousTestCase):
    """Lines for machines."""

    def test_answered(self) -> None:
        """All that is known, in the order that is promised."""
        line = json_line(answered(), NOW)
        self.assertTrue(line.endswith(b"}\n"))
        document = json.loads(line)
        self.assertEqual(" ".join(document), FIELDS)
        self.assertEqual(
            document,
            {
                "time": "2030-01-01T00:00:00.250Z",
                "id": "r1",
                "key": "team",
                "client": "10.0.0.1",
                "route": "/v1/chat/completions",
                "model": "chat",
                "served_by": "up/m",
                "attempts": 2,
                "status": 200,
                "error": None,
                "stream": True,
                "ttft_s": 0.25,
                "duration_s": 2.0,
                "overhead_s": 0.0004,
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "cost": 0.0000004,
            },
        )

    def test_taken_over(self) -> None:
        """Who went on with a stream stands at the end, if anybody did."""
        document = json.loads(json_line(taken_over(), NOW))
        self.assertEqual(" ".join(document), f"{FIELDS} takeovers")
        self.assertEqual((document["served_by"], document["takeovers"]), ("a", ["up/m", "b"]))
        alone = CallRecord("r1", "team", 10.0, "chat", True, "a", "up", 2, takeovers=1)
        alone.account("a", "up", "cut", None)
        alone.account("b", "up", "failed", None)
        self.assertEqual(" ".join(json.loads(json_line(alone, NOW))), FIELDS)
        self.assertNotIn(b"then", text_line(alone, NOW))

    def test_refused(self) -> None:
        """What is unknown is null."""
        document = json.loads(json_line(refused(), NOW))
        self.assertEqual(" ".join(document), FIELDS)
        known = {name: value for name, value in document.items() if value is not None}
        self.assertEqual(
            known,
            {
                "time": "2030-01-01T00:00:00.250Z",
                "id": "r2",
                "client": "::1",
                "attempts": 0,
                "status": 401,
                "error": "authentication_required",
                "stream": False,
                "duration_s": 0.0,
                "overhead_s": 0.0,
            },
        )

    def test_other_second(self) -> None:
        """The next line has its own time."""
        for wall, written in ((NOW, "00:00:00.250Z"), (NOW + 1, "00:00:01.250Z")):
            self.assertIn(written.encode(), json_line(refused(), wall))

    @given(st.floats(0, 2e9))
    def test_time(self, wall: float) -> None:
        """A time has always the same length, and milliseconds that are right."""
        line = json.loads(json_line(refused(), wall))["time"]
        self.assertRegex(line, r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
        late = wall - datetime.fromisoformat(line).timestamp()
        # A float knows no thousandths: what is all but the next one counts as that.
        self.assertTrue(-1e-6 < late < 0.001 + 1e-6, late)

    def test_words_of_others(self) -> None:
        """A code that is a text of an upstream's is not repeated."""
        for code, written in (("rate limited: 'my prompt'", "provider_error"), ("E-7.a", "E-7.a")):
            record = CallRecord("r1", "team", 10.0)
            record.end(11.0, UpstreamFailed("no", code=code))
            self.assertEqual(json.loads(json_line(record, NOW))["error"], written)
            self.assertIn(f"error={written} ".encode(), text_line(record, NOW))


class TextTests(SynchronousTestCase):
    """Lines for readers."""

    def test_answered(self) -> None:
        """All that is known."""
        self.assertEqual(
            text_line(answered(), NOW),
            b"2030-01-01T00:00:00.250Z 200 /v1/chat/completions chat by up/m attempts=2 2.000s"
            b" own=0.4ms first=0.250s tokens=3+4 cost=$0.000000 key=team client=10.0.0.1 id=r1\n",
        )

    def test_taken_over(self) -> None:
        """Who went on with a stream follows who began."""
        self.assertIn(b" chat by a then up/m,b attempts=4 ", text_line(taken_over(), NOW))

    def test_refused(self) -> None:
        """What is unknown is left out, or a dash."""
        self.assertEqual(
            text_line(refused(), NOW),
            b"2030-01-01T00:00:00.250Z 401 - error=authentication_required 0.000s own=0.0ms"
            b" key=- client=::1 id=r2\n",
        )
