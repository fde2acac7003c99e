"""Tests of :mod:`aiproxy.dialects.openai_facts`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.words import WORDS_LIMIT
from aiproxy.wire.json import dumps

FIELDS = [
    *("error", "message", "code", "type", "status", "status_code", "param", "detail", "details"),
    *("metadata", "raw", "headers", "retryDelay", "loc", "innererror", "x_groq", "reason"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(300, 700)
    | st.floats(0, 9)
    | st.text(max_size=5)
    | st.sampled_from(["48s", '{"error":{"message":"m"}}', "[[", "[1]", "invalid_request_error"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=20,
)


class HoldsErrorTests(SynchronousTestCase):
    """Which documents are errors when the status is 200."""

    def test_errors(self) -> None:
        """Each way of saying so."""
        documents: list[object] = [
            {"error": {"code": 502}},
            {"error": "no"},
            {"error": {"message": "no"}, "choices": [{}]},
            [{"error": {"code": 400}}],
            {"object": "error", "message": "no"},
            {"type": "error"},
            {"detail": "no"},
            {"errors": [{"message": "no"}]},
            {"message": "no", "code": "x"},
            {"message": "no", "status": 404},
            {"choices": [], "x_groq": {"error": "no"}},
        ]
        for document in documents:
            self.assertTrue(holds_error(document), document)

    def test_no_errors(self) -> None:
        """Chunks and answers, with what may look like an error in them."""
        documents: list[object] = [
            {},
            [],
            None,
            7,
            [7],
            {"error": None, "choices": []},
            {"choices": [], "message": "m", "code": "c", "detail": "d"},
            {"message": "queued"},
            {"x_groq": {"id": "r"}, "x": 1},
            {"x_groq": 3},
            {"usage": {"total_tokens": 1}},
        ]
        for document in documents:
            self.assertFalse(holds_error(document), document)


class ReadFactsTests(SynchronousTestCase):
    """What is found in which shape."""

    def found(self, document: Any, **expected: object) -> None:
        """Assert what is found, the same in the bytes as in the document."""
        facts = read_facts(document)
        self.assertEqual({name: getattr(facts, name) for name in expected}, expected, document)
        self.assertEqual(read_facts(dumps(document)), facts)

    def test_openai(self) -> None:
        """The error object that the others try to look like."""
        self.found(
            {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
            message="m",
            code="c",
            names=frozenset({"t", "c"}),
            param="p",
            status=None,
            spoken=True,
        )

    def test_flat(self) -> None:
        """Without an object around it: Mistral's, Cerebras's, xAI's, HuggingFace's, FastAPI's."""
        self.found(
            {"object": "error", "message": "m", "type": "t", "param": None, "code": "31"},
            message="m",
            code="31",
            names=frozenset({"t", "31"}),
        )
        self.found({"code": "a sentence as a code", "error": "m"}, message="m")
        self.found({"error": "m", "estimated_time": 20.0}, message="m", delay=20.0)
        self.found({"error": ["m"]}, message="m")
        self.found({"error": [{"message": "m", "code": 1}]}, message="m", code=1)
        self.found({"error": [], "message": "m"}, message="m")
        self.found({"detail": "m"}, message="m")
        self.found({"error": None, "message": "m"}, message="m")
        self.found({"errors": [{"code": 3, "message": "m"}]}, message="m", code=3)
        self.found({"errors": ["m"]}, message="m")
        self.found({"errors": {"code": "c"}, "message": "m"}, code="c")
        self.found([{"error": {"message": "m", "code": 400}}], message="m", status=400)
        self.found({"x_groq": {"error": "m"}}, message="m")

    def test_validation(self) -> None:
        """FastAPI's list of mistakes names the field, as Mistral's and Azure's."""
        mistake = {"type": "missing", "loc": ["body", "messages", 0, "role"], "msg": "m"}
        self.found({"detail": [mistake]}, message="m", param="body.messages.0.role")
        self.found(
            {"error": {"message": "n", "details": [mistake], "status": 422}},
            message="n",
            param="body.messages.0.role",
            status=422,
        )
        self.found({"detail": [{"loc": "x", "msg": "m"}]}, message="m", param=None)
        self.found({"detail": ["m"]}, message="m", param=None)

    def test_google(self) -> None:
        """Google's compatible endpoint tells the reason and the delay among the details."""
        details = [{"@type": "x", "reason": "API_KEY_INVALID"}, {"retryDelay": "48s"}]
        self.found(
            {"error": {"code": 429, "message": "m", "status": "SOME", "details": details}},
            code=429,
            status=429,
            delay=48.0,
            names=frozenset({"API_KEY_INVALID"}),
        )

    def test_status(self) -> None:
        """The status that an error stands for: a field, a number as code, or its name."""
        for error, expected in (
            ({"status_code": 400, "code": "tool_use_failed"}, 400),
            ({"code": 502}, 502),
            ({"code": "429"}, 429),
            ({"code": True}, None),
            ({"code": 1305}, None),
            ({"code": "1305"}, None),
            ({"code": 200}, None),
            ({"type": "overloaded_error"}, 529),
            ({"code": "rate_limit_exceeded", "type": "server_error"}, 429),
            ({"type": "server_error"}, None),
            ({"error_type": "overloaded", "message": "m"}, 429),
            ({"status": "RESOURCE_EXHAUSTED"}, 429),
            ({"status": "DEADLINE_EXCEEDED"}, 504),
            ({"status": "UNAVAILABLE", "code": 500}, 503),
            ({"status": "SOME", "code": 500}, 500),
        ):
            self.found({"error": error}, status=expected)

    def test_aggregator(self) -> None:
        """OpenRouter tells its upstream's error as JSON in a text, as a text, or with headers."""
        for raw, words in (
            ('{"code":"c","error":"r"}', "m: r"),
            ('{"error":{"message":"r","code":"c"}}', "m: r"),
            ('[{"error":{"message":"r"}}]', "m: r"),
            ("r", "m: r"),
            ("{r", "m: {r"),
            ("m", "m"),
            ("", "m"),
            (None, "m"),
            ({"error": {"message": "r"}}, "m: r"),
            # An aggregator behind an aggregator: one is enough.
            ('{"error":{"message":"r","metadata":{"raw":"s"}}}', "m: r"),
        ):
            document = {"error": {"message": "m", "code": 1, "metadata": {"raw": raw}}}
            self.found(document, words=words, code=1)
        self.found({"error": {"metadata": {"raw": "r"}}}, words="r")
        self.found(
            {"error": {"metadata": {"raw": '{"error":{"code":"c"}}'}}}, names=frozenset({"c"})
        )
        self.found(
            {"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1", "X": 2}}}},
            headers={"x-ratelimit-reset": "1"},
        )
        self.found({"error": {"metadata": {"flagged_input": "x"}}}, flagged=True)
        self.found({"error": {"metadata": "x"}}, flagged=False, headers={})

    def test_azure(self) -> None:
        """Azure's inner error has a code of its own."""
        self.found(
            {"error": {"code": "c", "innererror": {"code": "i"}}}, names=frozenset({"c", "i"})
        )

    def test_names_are_short(self) -> None:
        """A code or a field's name that is none is left out."""
        long = "x" * 200
        self.found({"error": {"code": long, "param": long, "type": 7}}, code=None, param=None)
        self.found({"error": {"code": "", "param": ["p"]}}, code=None, param=None)
        self.found({"error": {"code": "a\n\x1b[2Jb", "param": "p\r"}}, code=None, param=None)

    def test_text(self) -> None:
        """What is no JSON: one line of it, if it is no page, and nobody's word."""
        for body, expected in (
            (
                b"upstream connect error\nreset reason: x\n",
                "upstream connect error reset reason: x",
            ),
            (b"<html>secret</html>", "the upstream answered with an HTML page"),
            (b" \n<Error>secret</Error>", "the upstream answered with an HTML page"),
            (b'{"error": {"mess', '{"error": {"mess'),
            (b"", ""),
            (b"\xff\xfe", "\ufffd\ufffd"),
        ):
            facts = read_facts(body)
            self.assertEqual((facts.message, facts.spoken), (expected, False))
        self.assertEqual(read_facts(b'"m"').message, "m")
        self.assertEqual(read_facts(b"[]").message, "")
        self.assertFalse(read_facts(b"[]").spoken)

    @given(values)
    def test_hostile(self, value: Any) -> None:
        """Any JSON is read, and what comes out is bounded."""
        facts = read_facts(dumps(value))
        self.assertLessEqual(len(facts.words), WORDS_LIMIT)
        holds_error(value)

    def test_deeply_nested(self) -> None:
        """Nesting as deep as JSON is read at all needs no stack."""
        for body in (b"[" * 1_000 + b"]" * 1_000, b'{"error":' * 1_000 + b"1" + b"}" * 1_000):
            self.assertEqual(read_facts(body).message, "")
