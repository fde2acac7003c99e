"""Tests of :mod:`aiproxy.policy.estimate`."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.multipart import MultipartForm
from aiproxy.dialects.operations import EMBEDDINGS, MESSAGES, MODERATIONS, RERANK, RESPONSES
from aiproxy.dialects.raw import RAW_REQUEST, RawRequest
from aiproxy.policy.estimate import estimate_prompt, estimate_tokens

FORM = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n--x--\r\n'
JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["url", "data"]), inner),
)
PICTURE = "A" * 1_000_000
URL = f"data:image/png;base64,{PICTURE}"


class AnswerTests(SynchronousTestCase):
    """What is reserved for the answer."""

    def test_limit(self) -> None:
        """The request's own limit, whatever its interface calls it, for each choice."""
        for request, expected in (
            ({}, 1_010),
            ({"max_tokens": 5}, 15),
            ({"max_tokens": 5, "max_completion_tokens": 7, "n": 2}, 24),
            ({"max_output_tokens": 16}, 26),
            ({"max_tokens": "many", "n": 0}, 1_010),
        ):
            self.assertEqual(estimate_tokens(request, 40), expected, request)

    def test_without_words(self) -> None:
        """Vectors and ranks have no words, whatever else is asked for."""
        for operation in (EMBEDDINGS, MODERATIONS, RERANK):
            self.assertEqual(estimate_tokens({"max_tokens": 5}, 40, operation), 10)
        self.assertEqual(estimate_tokens({"max_tokens": 5}, 40, RESPONSES), 15)

    def test_counting(self) -> None:
        """To count tokens uses none."""
        for route, expected in (
            ("/messages/count_tokens", 0),
            ("/messages/count_tokens?beta=true", 0),
            ("/messages", 25_005),
        ):
            request = {"max_tokens": 5, RAW_REQUEST: RawRequest(route, b"")}
            self.assertEqual(estimate_tokens(request, 100_000, MESSAGES), expected)


class PromptTests(SynchronousTestCase):
    """What is reserved for what is asked."""

    def test_files(self) -> None:
        """A file counts as one, not by its size, wherever an interface has it."""
        for part in (
            {"type": "image_url", "image_url": {"url": URL}},
            {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "wav"}},
            {"type": "file", "file": {"file_data": URL}},
            {"type": "input_image", "image_url": URL},
            {"type": "image", "source": {"type": "base64", "data": PICTURE}},
            {"type": "tool_result", "content": [{"type": "image", "source": {"data": PICTURE}}]},
        ):
            for name in ("messages", "input"):
                request = {name: [{"role": "user", "content": [part, {"type": "text"}]}]}
                estimated = estimate_tokens({**request, "max_tokens": 1}, 1_000_400)
                self.assertTrue(1_080 <= estimated <= 1_110, (estimated, part))

    def test_text(self) -> None:
        """A long text counts by its length, also where it is called as a file would be."""
        said = {"role": "user", "content": PICTURE}
        self.assertEqual(estimate_prompt({"messages": [said]}, 1_000_400), 250_100)
        self.assertEqual(estimate_prompt({"prompt": PICTURE, "url": PICTURE}, 1_000_400), 250_100)

    def test_form(self) -> None:
        """A form in parts is a file, mostly."""
        form = MultipartForm(FORM, "multipart/form-data; boundary=x")
        raw = RawRequest("/audio/transcriptions", FORM, form=form)
        self.assertEqual(estimate_prompt({RAW_REQUEST: raw}, 25_000_000), 1_000)

    @given(st.dictionaries(st.sampled_from(["messages", "input"]), JSON))
    def test_any(self, request: dict[str, Any]) -> None:
        """Whatever was sent, it is some number of tokens, and none below zero."""
        self.assertGreaterEqual(estimate_prompt(request, 20_000), 0)
