"""Tests of :mod:`aiproxy.dialects.images`, and of all image dialects over their samples."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.images import (
    MIN_IMAGE_BYTES,
    ImagesReader,
    image_bytes,
    image_of,
    sniff,
    take_fields,
)
from aiproxy.dialects.images_airforce import AirforceImages
from aiproxy.dialects.images_cloudflare import CloudflareImages
from aiproxy.dialects.images_gemini import GeminiImages
from aiproxy.dialects.images_huggingface import HuggingFaceImages
from aiproxy.dialects.images_openai import OpenAIImages
from aiproxy.dialects.images_openrouter import OpenRouterImages
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps, loads
from tests.golden.expected import describe_error

FOLDER = Path(__file__).parent.parent / "golden" / "images"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20

DIALECTS: dict[str, Dialect] = {
    "openai": OpenAIImages(),
    "cloudflare": CloudflareImages(),
    "huggingface": HuggingFaceImages(),
    "gemini": GeminiImages(),
    "openrouter": OpenRouterImages(),
    "airforce": AirforceImages(),
}


def as_base64(data: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(data).decode()


def read_samples(name: str) -> list[dict[str, Any]]:
    """Read the samples of a file."""
    samples: list[dict[str, Any]] = json.loads((FOLDER / name).read_text("utf-8"))
    return samples


def as_bytes(body: object) -> bytes:
    """Write a sample's body."""
    return body.encode() if isinstance(body, str) else dumps(body)


class SampleTests(SynchronousTestCase):
    """The samples of all dialects."""

    def test_answers(self) -> None:
        """Each answer gives what is expected of it, in the form that was asked for."""
        for sample in read_samples("answers.json"):
            request = {"model": "m", "prompt": "p", "response_format": sample["wanted"]}
            dialect = DIALECTS[sample["dialect"]]
            reader = dialect.write_request(request, model="m", stream=False).reader
            assert reader is not None
            try:
                answer = reader.read_reply(as_bytes(sample["body"]))
            except AIProxyError as error:
                self.assertEqual(describe_error(error), sample.get("error"), sample["name"])
            else:
                self.assertEqual(answer, sample.get("answer"), sample["name"])

    def test_errors(self) -> None:
        """Each error means what is expected of it."""
        for sample in read_samples("errors.json"):
            error = DIALECTS[sample["dialect"]].read_error(
                sample["status"], sample["headers"], as_bytes(sample["body"])
            )
            self.assertEqual(describe_error(error), sample["error"], sample["name"])
            self.assertEqual(getattr(error, "upstream_status", None), sample["status"])

    def test_bytes(self) -> None:
        """Every dialect takes bytes that are the image itself, and no stream."""
        for name, dialect in DIALECTS.items():
            answer = dialect.read_reply(PNG)
            self.assertEqual(answer, {"data": [{"b64_json": as_base64(PNG)}]}, name)
            with self.assertRaises(errors.InvalidRequest):
                dialect.stream_reader(choices=1, max_event_bytes=10)
            self.assertFalse(dialect.wants_images({}, model="m"))

    def test_wrong_shapes(self) -> None:
        """What is JSON, but no answer, is the upstream's failure; nothing else is raised."""
        shapes: list[Any] = [None, 1, "x", [], [[]], {}, {"data": 1}, {"data": [1]}]
        shapes += [
            {"data": [None]},
            {"data": [{"url": 1}]},
            {"result": 1},
            {"result": {"image": 1}},
        ]
        shapes += [{"choices": 1}, {"choices": [1, {}, {"message": 1}]}]
        shapes += [{"choices": [{"message": {"images": [1]}}]}, {"candidates": [1]}]
        shapes += [{"choices": [{"message": {"images": [{"image_url": {"url": 1}}]}}]}]
        shapes += [{"candidates": [{"content": {"parts": [1, {"inlineData": 1}]}}]}]
        for name, dialect in DIALECTS.items():
            for shape in shapes:
                with self.subTest(name, shape=shape), self.assertRaises(errors.UpstreamError):
                    dialect.read_reply(dumps(shape))


class SniffTests(SynchronousTestCase):
    """What an image is known by."""

    def test_kinds(self) -> None:
        """Each kind by its first bytes, whatever follows."""
        for data, kind in (
            (PNG, "png"),
            (b"\xff\xd8\xff\xe0..", "jpeg"),
            (b"RIFF\x0a\x0b\x0c\x0dWEBPVP8 ", "webp"),
            (b"GIF89a..", "gif"),
            (b"\0\0\0\x20ftypavif", "avif"),
            (b"\0\0\0\x20ftypheic", "heic"),
            (b"\0\0\0\x20ftypmif1", "heif"),
            (b"BM\x01\x02\x03\x04\0\0\0\0", "bmp"),
            (b"II*\0", "tiff"),
            (b"MM\0*", "tiff"),
            (b'<?xml version="1.0"?>\n<svg xmlns="x">', "svg+xml"),
            (b"<svg>", "svg+xml"),
        ):
            self.assertEqual(sniff(data + b"\0" * 9), f"image/{kind}")

    def test_none(self) -> None:
        """JSON, pages, texts and nothing are no images."""
        for data in (b"", b"{}", b"<html>", b"Bad Moon", b"RIFF....WAVE", b"\0\0\0\x20ftypisom"):
            self.assertIsNone(sniff(data))

    def test_unknown_kind(self) -> None:
        """An unknown kind in base64 is taken if it is as long as an image; bytes are not."""
        for length in (MIN_IMAGE_BYTES, MIN_IMAGE_BYTES - 3):
            body = dumps({"data": [{"b64_json": as_base64(b"\x01" * length)}]})
            if length >= MIN_IMAGE_BYTES:
                url = ImagesReader("url").read_reply(body)["data"][0]["url"]
                self.assertTrue(url.startswith("data:application/octet-stream;base64,AQEB"))
            else:
                with self.assertRaises(errors.UpstreamFailed):
                    ImagesReader().read_reply(body)
        with self.assertRaises(errors.UpstreamFailed):
            ImagesReader().read_reply(b"\x01" * 9000)

    @given(st.binary(max_size=2000))
    def test_round_trip(self, data: bytes) -> None:
        """An image comes out as it came, in both forms and by both ways."""
        image = PNG + data
        whole = dumps({"data": [{"b64_json": as_base64(image)}]})
        for body in (whole, image):
            [found] = ImagesReader("b64_json").read_reply(body)["data"]
            self.assertEqual(image_bytes(found["b64_json"]), image)
            [link] = ImagesReader("url").read_reply(body)["data"]
            self.assertEqual(image_of(link["url"]), found)

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes, it is an answer or one of our errors."""
        try:
            answer = ImagesReader().read_reply(data)
        except errors.UpstreamError:
            return
        self.assertTrue(answer["data"])


class FieldTests(SynchronousTestCase):
    """What a provider is told, and what not."""

    def test_fields(self) -> None:
        """OpenAI's fields that a provider has not are named, if they ask for something."""
        request = {"model": "m", "prompt": "p", "response_format": "url", "stream": False}
        request |= {"n": 2, "size": "1x1", "quality": "auto", "style": None, "user": "u", "seed": 0}
        self.assertEqual(
            take_fields(request, {"size"}), ({"size": "1x1", "seed": 0}, ["n", "user"])
        )
        self.assertEqual(take_fields({"n": 1, "partial_images": 0}), ({}, []))

    def test_usage(self) -> None:
        """Tokens are named as in chat too, and nothing is lost."""
        body = loads(dumps({"data": [{"url": "https://x.example/"}], "usage": {"input_tokens": 3}}))
        answer = ImagesReader().read_reply(dumps(body))
        self.assertEqual(answer["usage"], {"input_tokens": 3, "prompt_tokens": 3})
        body["usage"] = "much"
        self.assertNotIn("usage", ImagesReader().read_reply(dumps(body)))
