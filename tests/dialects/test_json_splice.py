"""Tests of :mod:`aiproxy.dialects.json_splice`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.json_splice import replace_string

NAMES = st.sampled_from(["model", "message", "a", 'mo"del', "\\"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(), st.sampled_from(["model", "{", '"model":'])),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)),
        max_leaves=12,
    ),
)


class ReplaceTests(SynchronousTestCase):
    """One string."""

    @given(DOCUMENTS, st.text(), st.sampled_from([None, 2]), st.booleans())
    def test_any(
        self, document: dict[str, Any], value: str, indent: int | None, ascii: bool
    ) -> None:
        """What stands at the path is another string then, and nothing else is."""
        text = json.dumps(document, indent=indent, ensure_ascii=ascii).encode()
        expected = dict(document)
        if isinstance(document.get("model"), str):
            expected["model"] = value
        self.assertEqual(json.loads(replace_string(text, value, "model")), expected)
        message = document.get("message")
        if isinstance(message, dict) and isinstance(message.get("model"), str):
            inner = {**document, "message": {**message, "model": value}}
            self.assertEqual(json.loads(replace_string(text, value, "message", "model")), inner)
        else:
            self.assertEqual(replace_string(text, value, "message", "model"), text)

    def test_spacing(self) -> None:
        """Numbers, spacing and the order of keys stay as they are."""
        text = b'{ "big": 123456789012345678901234567890, "model" : "a", "n":1.50 }\n'
        self.assertEqual(replace_string(text, "b", "model"), text.replace(b'"a"', b'"b"'))

    def test_repeated(self) -> None:
        """A repeated key is replaced wherever it stands, however it is written."""
        text = b'{"model":"a","mod\\u0065l":"b","model":7,"x":"c"}'
        expected = b'{"model":"z","mod\\u0065l":"z","model":7,"x":"c"}'
        self.assertEqual(replace_string(text, "z", "model"), expected)

    def test_no_json(self) -> None:
        """What is no JSON does no harm."""
        for text in (b"", b'"', b"}]:", b'{"model', b'{"model":', b"\xff{:"):
            self.assertEqual(replace_string(text, "z", "model"), text)
