"""Tests of :mod:`aiproxy.dialects.images_openai` and :mod:`aiproxy.dialects.images_size`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images_openai import OpenAIImages, images_of
from aiproxy.dialects.images_size import GEMINI_RATIOS, nearest_ratio, resolution
from aiproxy.wire.json import loads


class RequestTests(SynchronousTestCase):
    """What is asked for."""

    def ask(
        self, provider_type: str, model: str = "m", **fields: Any
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Write a request; return its body without model and prompt, and what is dropped."""
        request = {"model": "x", "prompt": "a cat", **fields}
        before = dict(request)
        wire = images_of(provider_type).write_request(request, model=model, stream=False)
        self.assertEqual(request, before)
        self.assertEqual((wire.route, wire.method), ("/images/generations", "POST"))
        body = loads(wire.body)
        self.assertEqual((body.pop("model"), body.pop("prompt")), (model, "a cat"))
        return body, wire.dropped

    def test_generic(self) -> None:
        """What is not known to differ takes the caller's words, unknown ones too."""
        fields: dict[str, Any] = {
            "n": 2,
            "size": "1x2",
            "quality": "hd",
            "style": "vivid",
            "user": "u",
            "seed": 4,
        }
        for wanted in ("b64_json", "url"):
            asked = {**fields, "response_format": wanted}
            self.assertEqual(self.ask("arliai", **asked), (asked, ()))
        self.assertEqual(self.ask("arliai", stream=False, n=None), ({}, ()))

    def test_gpt_image(self) -> None:
        """GPT image models have no response_format and no style; all else passes."""
        fields = {"background": "transparent", "output_format": "webp", "moderation": "low"}
        for model in ("gpt-image-1", "openai/gpt-image-1.5", "chatgpt-image-latest"):
            for wanted in ("b64_json", "url", None):
                asked = self.ask("openai", model, response_format=wanted, style="vivid", **fields)
                self.assertEqual(asked, (fields, ("style",)))

    def test_dall_e(self) -> None:
        """DALL·E takes a response_format, and nothing that came after it."""
        body, dropped = self.ask(
            "openai", "dall-e-3", response_format="url", style="natural", output_format="png"
        )
        self.assertEqual(body, {"response_format": "url", "style": "natural"})
        self.assertEqual(dropped, ("output_format",))

    def test_together(self) -> None:
        """Together is asked for base64, and told width and height."""
        self.assertEqual(self.ask("together"), ({"response_format": "b64_json"}, ()))
        body, dropped = self.ask(
            "together",
            size="1024x1536",
            n=2,
            quality="hd",
            user="u",
            response_format="url",
            steps=4,
        )
        told = {"n": 2, "steps": 4, "width": 1024, "height": 1536, "response_format": "url"}
        self.assertEqual((body, dropped), (told, ("quality", "user")))
        body, dropped = self.ask("together", size="large", width=7)
        self.assertEqual((body["width"], dropped), (7, ("size",)))
        body, dropped = self.ask("together", size="1024x512", width=7)
        self.assertEqual((body["width"], body["height"]), (7, 512))

    def test_aimlapi(self) -> None:
        """AI/ML API is asked for base64, but not of a model that knows no such field."""
        fields = {"size": "1024x1024", "image_size": "square"}
        self.assertEqual(
            self.ask("aimlapi", **fields), ({**fields, "response_format": "b64_json"}, ())
        )
        self.assertEqual(self.ask("aimlapi", "openai/gpt-image-1"), ({}, ()))

    def test_xai(self) -> None:
        """xAI takes ratios for sizes."""
        body, dropped = self.ask("xai", size="1792x1024", style="vivid", user="u", n=3)
        told = {"aspect_ratio": "16:9", "user": "u", "n": 3, "response_format": "b64_json"}
        self.assertEqual((body, dropped), (told, ("style",)))
        body, dropped = self.ask("xai", size="2048x2048")
        self.assertEqual((body["aspect_ratio"], body["resolution"]), ("1:1", "2k"))
        self.assertEqual(self.ask("xai", size="5000x100")[1], ("size",))
        self.assertEqual(self.ask("xai", size="auto"), ({"response_format": "b64_json"}, ()))

    def test_only_urls(self) -> None:
        """Who gives only URLs is not asked for base64: the caller is told."""
        self.assertEqual(self.ask("zai", response_format="b64_json"), ({}, ("response_format",)))
        self.assertEqual(self.ask("zai", response_format="url"), ({}, ()))
        self.assertEqual(self.ask("zai", size="1024x1024"), ({"size": "1024x1024"}, ()))

    def test_locate(self) -> None:
        """A whole URL is as it is, unless it is chat's."""
        wire = WireRequest("/images/generations", b"")
        for url, expected in (
            ("https://x.example/v1/imagine?a=1", "https://x.example/v1/imagine?a=1"),
            (
                "https://x.example/v1/chat/completions?a=1",
                "https://x.example/v1/images/generations?a=1",
            ),
        ):
            self.assertEqual(OpenAIImages().locate(url, wire), expected)


class SizeTests(SynchronousTestCase):
    """Sizes in the words of others."""

    def test_ratios(self) -> None:
        """OpenAI's sizes have a ratio each; a ratio is one; other sizes have none."""
        for size, ratio in (
            ("1024x1024", "1:1"),
            ("256x256", "1:1"),
            ("1024x1536", "2:3"),
            ("1536x1024", "3:2"),
            ("1024x1792", "9:16"),
            ("1792x1024", "16:9"),
            ("1000x1010", "1:1"),
            ("5:4", "5:4"),
            ("19.5:9", "19.5:9"),
            ("100x1000", None),
            ("0x10", None),
            ("large", None),
            (None, None),
        ):
            self.assertEqual(nearest_ratio(size, GEMINI_RATIOS), ratio, size)

    def test_resolutions(self) -> None:
        """By quality first, else by the longer edge; nothing is made up."""
        for size, quality, expected in (
            (None, "low", "1K"),
            ("4096x4096", "standard", "1K"),
            (None, "hd", "2K"),
            (None, "4k", "4K"),
            ("1024x1024", None, None),
            ("2048x1024", "auto", "2K"),
            ("4096x4096", None, "4K"),
            (None, "superb", None),
        ):
            self.assertEqual(resolution(size, quality), expected, (size, quality))
