"""Tests of :mod:`aiproxy.dialects.multipart`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.multipart import MultipartForm, is_multipart
from aiproxy.errors import InvalidRequest

TYPE = "multipart/form-data; boundary=xYz"


def part(disposition: str, content: bytes) -> bytes:
    """Write a part."""
    return (
        f"--xYz\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
        + content
        + b"\r\n"
    )


class FormTests(SynchronousTestCase):
    """Forms in parts."""

    def test_content_type(self) -> None:
        """A form in parts is known by its type alone."""
        for told, expected in ((TYPE, True), ("Multipart/Form-Data", True), ("text/x", False)):
            self.assertIs(is_multipart(told), expected, told)

    @given(
        st.binary(max_size=60).filter(lambda data: b"--xYz" not in data),
        st.binary(max_size=20).filter(lambda data: b"--xYz" not in data),
        st.booleans(),
        st.sampled_from([b"", b"before\r\n"]),
    )
    def test_replace(self, file: bytes, model: bytes, first: bool, preamble: bytes) -> None:
        """The field's content changes and nothing else, whatever stands in the others."""
        parts = [
            part('name="file"; filename="name=\\"model\\""', file),
            part('name="model"', model),
        ]
        if first:
            parts.reverse()
        body = preamble + b"".join(parts) + b"--xYz--\r\n"
        form = MultipartForm(body, TYPE)
        self.assertEqual((form.field("model"), form.field("file")), (model, file))
        self.assertIsNone(form.field("stream"))
        there = part('name="model"', b"theirs")
        expected = body.replace(part('name="model"', model), there)
        self.assertEqual(form.replace("model", b"theirs"), expected)

    def test_ways(self) -> None:
        """Names without quotes, other headers, quoted boundaries, padding: all are legal."""
        head = (
            b"--a b  \r\ncontent-type: text/plain\r\nCONTENT-disposition: form-data;name=model\r\n"
        )
        body = head + b"\r\nm\r\n--a b--"
        form = MultipartForm(body, 'multipart/form-data; charset=x; boundary="a b"')
        self.assertEqual(form.field("model"), b"m")
        self.assertEqual(form.replace("model", b"n"), body.replace(b"\r\nm\r\n", b"\r\nn\r\n"))
        self.assertEqual(form.content_type, 'multipart/form-data; boundary="a b"')

    def test_repeated(self) -> None:
        """A field that is there twice is replaced twice."""
        body = part('name="model"', b"a") + part('name="model"', b"b") + b"--xYz--\r\n"
        expected = part('name="model"', b"c") * 2 + b"--xYz--\r\n"
        form = MultipartForm(body, TYPE)
        self.assertEqual(form.field("model"), b"a")
        self.assertEqual(form.replace("model", b"c"), expected)

    def test_boundaries(self) -> None:
        """Where there are several boundaries, others are told the one that was read."""
        body = part('name="model"', b"a") + b"--xYz--\r\n"
        for told in ("; boundary=other", "; boundary*=utf-8''other", "; boundary*0=other", "; x=1"):
            form = MultipartForm(body, TYPE + told)
            self.assertEqual((form.field("model"), form.content_type), (b"a", TYPE))

    def test_two_names(self) -> None:
        """A part that others may call by another name is refused."""
        for disposition in (
            *('name="x"; name="model"', "name*=utf-8''model", "name=x; name*0=mod; name*1=el"),
            'name="x"\r\nContent-Disposition: form-data; name="model"',
        ):
            body = part(disposition, b"a") + part('name="model"', b"b") + b"--xYz--\r\n"
            error = self.assertRaises(InvalidRequest, MultipartForm, body, TYPE)
            self.assertEqual(error.code, "invalid_multipart", disposition)

    def test_broken(self) -> None:
        """What is no form is refused."""
        good = part('name="model"', b"a")
        for body, content_type in (
            (good, "multipart/form-data"),
            (good, 'multipart/form-data; boundary="a\\"b"'),
            (good, f"{TYPE}; x*{'9' * 5_000}=y"),
            (part(f"name*{'9' * 5_000}=y", b"a") + b"--xYz--", TYPE),
            (b"", TYPE),
            (b"other", TYPE),
            (good, TYPE),
            (b"--xYz\r\nno head", TYPE),
            (b"--xYzother\r\n\r\n\r\n--xYz--", TYPE),
            (good * 1001 + b"--xYz--", TYPE),
        ):
            error = self.assertRaises(InvalidRequest, MultipartForm, body, content_type)
            self.assertEqual(error.code, "invalid_multipart", body[:40])
