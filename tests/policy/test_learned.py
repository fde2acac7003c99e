"""Tests of :mod:`aiproxy.policy.learned`."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.learned import LONGEST, Learned, read_reset

#: 2026-02-06T07:56:26Z.
WALL = 1_770_364_586.0


def learn(*answers: Mapping[str, str], now: float = 100.0) -> Learned:
    """Read the headers of some answers, all at one time."""
    learned = Learned()
    for headers in answers:
        learned.read_headers(headers, now, WALL)
    return learned


def pair(remaining: str, reset: str, of: str = "requests", limit: str = "60") -> dict[str, str]:
    """Make the three headers of one limit."""
    return {
        f"x-ratelimit-limit-{of}": limit,
        f"x-ratelimit-remaining-{of}": remaining,
        f"x-ratelimit-reset-{of}": reset,
    }


class ReadResetTests(SynchronousTestCase):
    """How providers write when."""

    def test_forms(self) -> None:
        """Seconds, spans, times since the epoch, and RFC 3339."""
        for text, seconds in (
            ("0", 0),
            ("60", 60),
            ("3.543672561645508", 3.543672561645508),
            ("20ms", 0.02),
            ("1s", 1),
            ("6m0s", 360),
            ("20m9.6s", 1_209.6),
            ("23h59m59.5s", 86_399.5),
            (" 7.66s ", 7.66),
            (str(int(WALL) + 5), 5),
            (str(int(WALL * 1_000) + 5_500), 5.5),
            ("1759845420000", 0),
            ("2026-02-06T07:57:13Z", 47),
            ("2026-02-06T09:57:13.5+02:00", 47.5),
            ("2026-02-06T07:57:13", 47),
            ("1970-01-01T00:00:00Z", 0),
        ):
            read = read_reset(text, WALL)
            assert read is not None, text
            self.assertAlmostEqual(read, seconds, 3, text)

    def test_nonsense(self) -> None:
        """What is no time is none."""
        for text in ("", "-1", "-5s", "soon", "nan", "inf", "1e9", "1 2", "1h2", "٣", "9" * 40):
            self.assertIsNone(read_reset(text, WALL), text)

    @given(st.text(alphabet="0123456789.-:TZ+smhµ infa", max_size=40) | st.text(max_size=40))
    def test_hostile(self, text: str) -> None:
        """Whatever it is, it is a time or nothing, and what it makes has an end."""
        read = read_reset(text, WALL)
        if read is not None:
            self.assertGreaterEqual(read, 0)
        self.assertLessEqual(learn(pair("0", text)).when(100.0), LONGEST)


class LearnedTests(SynchronousTestCase):
    """Until when a candidate is out."""

    def test_nothing(self) -> None:
        """Nothing told, nothing held."""
        learned = learn({}, {"content-type": "application/json"})
        self.assertIsNone(learned.blocked_until(100.0))
        self.assertEqual(learned.when(100.0), 0)

    def test_nothing_remains(self) -> None:
        """Each provider's way to say that nothing remains, and until when."""
        for headers, seconds in (
            (pair("0", "6m0s"), 360),
            (pair("0", "20ms"), 0.02),
            (pair("0", "7.66s", "tokens"), 7.66),
            (pair("-3", "7.66s", "tokens"), 7.66),
            (pair("0", "1", "tokens"), 1),
            (pair("0", "24483.5", "requests-day"), 24_483.5),
            (pair("0", "3.5", "tokens-minute"), 3.5),
            (
                {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(WALL) * 1_000 + 9_000)},
                9,
            ),
            ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}, 2),
            ({"ratelimit-remaining": "0", "ratelimit-reset": "19"}, 19),
            ({"ratelimitbysize-remaining": "0", "ratelimitbysize-reset": "19"}, 19),
            (
                {
                    "anthropic-ratelimit-output-tokens-remaining": "0",
                    "anthropic-ratelimit-output-tokens-reset": "2026-02-06T07:57:13Z",
                },
                47,
            ),
        ):
            learned = learn(headers)
            self.assertAlmostEqual(learned.when(100.0), seconds, 3, str(headers))
            self.assertIn("remaining", learned.reason or "")
            self.assertEqual(learned.when(100.0 + seconds + 0.001), 0)

    def test_something_remains(self) -> None:
        """What remains holds nobody back; nor does a reset that is over or unknown."""
        for headers in (
            pair("1", "6m0s"),
            pair("0.5", "6m0s"),
            pair("09", "6m0s"),
            pair("", "6m0s"),
            pair("0x", "6m0s"),
            pair("0", "0", "tokens"),
            pair("0", "0s"),
            pair("0", "whenever"),
            pair("0", "-6"),
            {"x-ratelimit-remaining-requests": "0"},
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "1970-01-01T00:00:00Z",
            },
        ):
            self.assertIsNone(learn(headers).blocked_until(100.0), headers)

    def test_retry_after_of_success(self) -> None:
        """A retry-after in an answer's headers is the error's to tell: successes carry it too."""
        learned = learn({"retry-after": "40", "x-ratelimit-remaining": "199"})
        self.assertIsNone(learned.blocked_until(100.0))

    def test_upstreams_clock(self) -> None:
        """A time is read against the answer's own date."""
        headers = {
            "date": "Fri, 06 Feb 2026 07:00:00 GMT",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2026-02-06T07:00:30Z",
        }
        self.assertEqual(learn(headers).when(100.0), 30)
        self.assertEqual(learn(headers | {"date": "today"}).when(100.0), 0)

    def test_told(self) -> None:
        """An error's delay holds; the longest of several does."""
        learned = Learned()
        learned.hold(30.0, 100.0)
        self.assertEqual(learned.blocked_until(100.0), 130)
        self.assertEqual(learned.reason, "retry-after")
        learned.hold(5.0, 101.0)
        learned.read_headers(pair("0", "3s"), 101.0, WALL)
        learned.read_headers(pair("59", "3s"), 101.0, WALL)
        self.assertEqual(learned.blocked_until(129.9), 130)
        self.assertEqual(learned.reason, "retry-after")
        self.assertIsNone(learned.blocked_until(130.0))

    def test_told_nothing(self) -> None:
        """No delay, one of 0 (GitHub) and nonsense hold nobody."""
        learned = Learned()
        for seconds in (None, 0, 0.0, -1.0, float("nan"), float("inf")):
            learned.hold(seconds, 100.0)
            self.assertIsNone(learned.blocked_until(100.0), seconds)

    def test_refills(self) -> None:
        """Where requests come back one by one, the next is not a day away (Groq, recorded)."""
        before = pair("984", "23m2.4s", limit="1000")
        learned = learn(before, pair("0", "24h0m0s", limit="1000"))
        self.assertAlmostEqual(learned.when(100.0), 86.4)
        learned = learn(pair("499", "120ms", limit="500"), pair("0", "1m0s", limit="500"))
        self.assertAlmostEqual(learned.when(100.0), 0.12)

    def test_does_not_refill(self) -> None:
        """Where all come back at once, or nothing shows that they don't, the reset holds."""
        end = pair("0", "1m0s", limit="500")
        for before in (
            {},
            pair("400", "59s", limit="500"),
            pair("500", "0s", limit="500"),
            pair("499", "", limit="500"),
            pair("499", "120ms", limit=""),
            pair("many", "120ms", limit="500"),
            pair("600", "120ms", limit="500"),
        ):
            self.assertEqual(learn(before, end).when(100.0), 60, before)

    def test_clock(self) -> None:
        """Even a clock that went back makes it no longer than a day."""
        learned = Learned()
        learned.hold(LONGEST, 1e9)
        self.assertEqual(learned.when(5.0), LONGEST)
        self.assertEqual(learned.when(5.0 + LONGEST), 0)


class Row3Tests(SynchronousTestCase):
    """The Go proxy locked a model out for good once its upstream had refused it."""

    def test_ends(self) -> None:
        """Whatever an upstream names, the candidate is asked again a day later."""
        for seconds in (1.0, 86_400.0, 86_401.0, 31_622_400.0, 1e300):
            for looks in (1, 2):
                learned = Learned()
                learned.hold(seconds, 100.0)
                if looks == 2:
                    self.assertEqual(learned.when(100.0), min(seconds, LONGEST))
                self.assertIsNone(learned.blocked_until(100.0 + min(seconds, LONGEST)))
        for reset in ("999h", "9999999999", "9999-12-31T23:59:59Z", "999999999999999"):
            self.assertEqual(learn(pair("0", reset)).when(100.0), LONGEST)

    def test_true(self) -> None:
        """It is out until the time that was named, not a moment shorter."""
        learned = Learned()
        learned.hold(7.5, 0.1)
        self.assertIsNotNone(learned.blocked_until(7.5))
        self.assertIsNone(learned.blocked_until(0.1 + learned.when(0.1)))
