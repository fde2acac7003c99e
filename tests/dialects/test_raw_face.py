"""Tests of :mod:`aiproxy.dialects.raw_face`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.operations import AUDIO, COMPLETIONS
from aiproxy.dialects.raw import RAW_REQUEST
from aiproxy.dialects.raw_face import RawFace
from aiproxy.errors import InvalidRequest, StreamCut
from tests.dialects.passing import raw_body

FACE = RawFace(COMPLETIONS, "/completions")
FORM = "multipart/form-data; boundary=b"


def write_form(**fields: str) -> bytes:
    """Write a form."""
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return ("".join(parts) + "--b--\r\n").encode("utf-8", "surrogateescape")


class RequestTests(SynchronousTestCase):
    """What is read of a request."""

    def test_json(self) -> None:
        """The fields are there for the gateway, the bytes for the provider."""
        body = b'{ "model": "m", "stream": true, "tools": [1] }'
        request = FACE.read_request(body)
        self.assertEqual((request["model"], request["stream"], request["tools"]), ("m", True, [1]))
        self.assertEqual(raw_body(request), body)
        self.assertNotIn("stream", FACE.read_request(b'{"model":"m"}'))

    def test_own_field(self) -> None:
        """A client cannot put in what only we do."""
        body = b'{"model":"m","x_aiproxy_raw":{"route":"/evil"}}'
        request = FACE.read_request(body)
        self.assertEqual(request[RAW_REQUEST].route, "/completions")
        self.assertEqual(raw_body(request), body)

    def test_form(self) -> None:
        """A form's model and stream are read; all of it is for the provider."""
        face = RawFace(AUDIO, "/audio/transcriptions").for_request(
            {"content-type": FORM}.get, lambda name: None
        )
        body = write_form(model="m", stream="True", file="x")
        request = face.read_request(body)
        self.assertEqual((request["model"], request["stream"]), ("m", True))
        self.assertEqual(raw_body(request), body)
        self.assertEqual(request[RAW_REQUEST].content_type, FORM)
        written = request[RAW_REQUEST].write("theirs", request)
        self.assertEqual(written, write_form(model="theirs", stream="True", file="x"))
        self.assertIs(face.read_request(write_form(model="m", stream="false"))["stream"], False)

    def test_as_it_comes(self) -> None:
        """What shall pass as it comes is a stream for us, not for the provider."""
        face = RawFace(AUDIO, "/audio/speech", as_it_comes=True)
        request = face.read_request(b'{"model":"m"}')
        self.assertIs(request["stream"], True)
        self.assertEqual(request[RAW_REQUEST].write("m", request), b'{"model":"m"}')

    def test_headers(self) -> None:
        """Of headers and queries only those go on that are for the provider."""
        headers = {"openai-beta": "x=1", "authorization": "Bearer k", "content-type": "a/b"}
        face = FACE.for_request(headers.get, {"beta": "true"}.get)
        self.assertEqual(face.headers, {"openai-beta": "x=1"})
        self.assertEqual((face.route, face.content_type), ("/completions", "a/b"))
        # A client that tells another type sends JSON nevertheless.
        raw = face.read_request(b'{"model":"m"}')[RAW_REQUEST]
        self.assertEqual(raw.content_type, "application/json")

    def test_refused(self) -> None:
        """What cannot be served is refused with the field at fault."""
        form = FACE.for_request({"content-type": FORM}.get, lambda name: None)
        for face, body, param, code in (
            (FACE, b"", None, "empty_body"),
            (FACE, b" \n", None, "empty_body"),
            (FACE, b"{", None, "invalid_json"),
            (FACE, b"[]", None, "invalid_type"),
            (FACE, b"[" * 300 + b"]" * 300, None, "invalid_json"),
            (FACE, b"{}", "model", "missing_model"),
            (FACE, b'{"model":""}', "model", "missing_model"),
            (FACE, b'{"model":7}', "model", "invalid_type"),
            (FACE, b'{"model":"m","stream":1}', "stream", "invalid_type"),
            (form, b"{}", None, "invalid_multipart"),
            (form, write_form(file="x"), "model", "missing_model"),
            (form, write_form(model="\udcff"), "model", "invalid_type"),
        ):
            error = self.assertRaises(InvalidRequest, face.read_request, body)
            self.assertEqual((error.param, error.code), (param, code), body[:40])


class AnswerTests(SynchronousTestCase):
    """What is written."""

    def test_whole(self) -> None:
        """The bytes are the answer."""
        written = FACE.write_answer({"raw": b'{"model":"x"}'}, identity="", created=0, model="m")
        self.assertEqual(written.body, b'{"model":"x"}')

    def test_failures(self) -> None:
        """Among events an error is an event; among bytes there are no words for it."""
        for events, told, broken in ((True, b'data: {"error":', False), (False, b"", True)):
            writer = FACE.stream_writer({}, identity="", created=0, model="m")
            self.assertEqual(writer.write({"raw": b"x", "events": events}), b"x")
            failure = writer.fail(StreamCut("cut"))
            self.assertEqual((failure[: len(told)], bool(failure)), (told, events))
            self.assertIs(writer.broken, broken)
            self.assertEqual(writer.end(), b"")
