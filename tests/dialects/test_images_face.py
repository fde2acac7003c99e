"""Tests of :mod:`aiproxy.dialects.images_face`."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.face import Face
from aiproxy.dialects.images_face import ImagesFace, LegacyImageFace
from aiproxy.wire.json import dumps, loads
from tests.dialects.test_images import PNG, as_base64

JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 9
WORDS: dict[str, Any] = {"identity": "x", "created": 1_700_000_000, "model": "up/one"}


class ReadTests(SynchronousTestCase):
    """Requests."""

    def test_request(self) -> None:
        """What OpenAI takes is taken, and unknown fields pass."""
        face: Face = ImagesFace()
        self.assertEqual(face.operation, "images")
        request = {"model": "m", "prompt": "a cat", "n": 2, "stream": False, "seed": 3}
        self.assertEqual(face.read_request(dumps(request)), request)

    def test_refused(self) -> None:
        """Each mistake is refused with the field at fault."""
        good = {"model": "m", "prompt": "p"}
        for face in (ImagesFace(), LegacyImageFace()):
            for wrong, param in (
                ({"model": 1}, "model"),
                ({"prompt": None}, "prompt"),
                ({"prompt": ""}, "prompt"),
                ({"prompt": " \n"}, "prompt"),
                ({"prompt": ["p"]}, "prompt"),
                ({"prompt": "p" * 32_001}, "prompt"),
                ({"stream": True}, "stream"),
                ({"stream": 1}, "stream"),
                ({"n": 0}, "n"),
                ({"n": 129}, "n"),
                ({"n": True}, "n"),
                ({"n": "1"}, "n"),
                ({"size": 1024}, "size"),
                ({"response_format": "png"}, "response_format"),
                ({"response_format": {}}, "response_format"),
            ):
                with self.subTest(wrong), self.assertRaises(errors.InvalidRequest) as caught:
                    face.read_request(dumps({**good, **wrong}))
                self.assertEqual((caught.exception.param, caught.exception.status), (param, 400))
            face.read_request(dumps({**good, "prompt": "p" * 32_000}))
            for body in (b"", b" ", b"{", b"[]", b'"p"'):
                with self.assertRaises(errors.InvalidRequest):
                    face.read_request(body)

    def test_model_required(self) -> None:
        """OpenAI's route wants a model."""
        for model in ({}, {"model": None}, {"model": ""}):
            with self.assertRaises(errors.InvalidRequest) as caught:
                ImagesFace().read_request(dumps({"prompt": "p", **model}))
            self.assertEqual(caught.exception.param, "model")

    def test_legacy(self) -> None:
        """The Go proxy's form: no model is all models, ``inputs`` is a prompt, and bytes come."""
        face = LegacyImageFace()
        expected = {"model": "all", "prompt": "p", "response_format": "b64_json"}
        for body in (
            {"prompt": "p"},
            {"inputs": "p"},
            {"inputs": "p", "prompt": None, "model": ""},
            {"model": "all", "inputs": "p", "prompt": "p", "response_format": "b64_json"},
        ):
            self.assertEqual(face.read_request(dumps(body)), expected)
        named = face.read_request(dumps({"model": "up/one", "prompt": "p", "n": 1, "seed": 2}))
        self.assertEqual((named["model"], named["seed"]), ("up/one", 2))

    def test_legacy_refused(self) -> None:
        """One image comes, as bytes; two prompts are none."""
        for more, param in (
            ({"n": 2}, "n"),
            ({"response_format": "url"}, "response_format"),
            ({"inputs": "another"}, "inputs"),
        ):
            with self.assertRaises(errors.InvalidRequest) as caught:
                LegacyImageFace().read_request(dumps({"prompt": "p", **more}))
            self.assertEqual(caught.exception.param, param)


class WriteTests(SynchronousTestCase):
    """Answers."""

    def test_answer(self) -> None:
        """OpenAI's shape, with our time where there is none."""
        data = [{"b64_json": "aGk="}]
        written = ImagesFace().write_answer({"data": data}, **WORDS)
        self.assertEqual(written.content_type, "application/json")
        expected = {"created": 1_700_000_000, "data": data, "model": "up/one"}
        self.assertEqual(loads(written.body), expected)
        for told, created in (
            (5, 5),
            (0, 1_700_000_000),
            (True, 1_700_000_000),
            ("5", 1_700_000_000),
        ):
            written = ImagesFace().write_answer(
                {"created": told, "data": data, "model": "theirs", "size": "1x1"}, **WORDS
            )
            self.assertEqual(loads(written.body), {**expected, "created": created, "size": "1x1"})

    def test_usage(self) -> None:
        """Usage has the names that OpenAI has for images, be it an image's or a chat's."""
        details = {"text_tokens": 2, "image_tokens": 7}
        images = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
        hub = {
            **images,
            "input_tokens_details": details,
            "prompt_tokens": 9,
            "completion_tokens": 4,
        }
        self.assertEqual(self.usage(hub), {**images, "input_tokens_details": details})
        chat = {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "total_tokens": 13,
            "cost": 0.5,
            "prompt_tokens_details": {"image_tokens": 7},
            "completion_tokens_details": {"image_tokens": 4},
        }
        expected = {**images, "input_tokens_details": details, "cost": 0.5}
        self.assertEqual(self.usage(chat), expected)

    def usage(self, told: dict[str, Any]) -> Any:
        """Write an answer with a usage; return what of it is told."""
        answer = {"data": [{"url": "https://x.example/"}], "usage": told}
        return loads(ImagesFace().write_answer(answer, **WORDS).body)["usage"]

    def test_legacy(self) -> None:
        """The first image's bytes, as what they are."""
        for image, kind in ((PNG, "image/png"), (JPEG, "image/jpeg")):
            data = [{"b64_json": as_base64(image)}, {"b64_json": "AAAA"}]
            written = LegacyImageFace().write_answer({"data": data}, **WORDS)
            self.assertEqual((written.body, written.content_type), (image, kind))
        unknown = {"b64_json": base64.b64encode(b"\x01" * 600).decode()}
        written = LegacyImageFace().write_answer({"data": [unknown]}, **WORDS)
        self.assertEqual(written.content_type, "application/octet-stream")

    def test_legacy_without_bytes(self) -> None:
        """A URL, or what is no base64, is the provider's failure: the next one is asked."""
        for image in ({"url": "https://x.example/"}, {"b64_json": "A?" * 2000}):
            with self.assertRaises(errors.UpstreamFailed):
                LegacyImageFace().write_answer({"data": [image]}, **WORDS)

    def test_no_stream(self) -> None:
        """There is no writer for streams."""
        with self.assertRaises(errors.InvalidRequest):
            ImagesFace().stream_writer({}, **WORDS)
