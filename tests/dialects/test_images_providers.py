"""Tests of the image dialects that are no OpenAI's: their requests and where they go."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import Dialect, WireRequest
from aiproxy.dialects.images_airforce import AirforceImages
from aiproxy.dialects.images_cloudflare import CloudflareImages, run_base
from aiproxy.dialects.images_gemini import GeminiImages
from aiproxy.dialects.images_huggingface import HuggingFaceImages, inference_base
from aiproxy.dialects.images_openrouter import OpenRouterImages
from aiproxy.wire.json import loads

#: OpenAI's fields that nobody else has.
MORE = {"n": 2, "style": "vivid", "background": "opaque", "output_format": "png"}
NAMES = ["background", "n", "output_format", "style"]


class DialectTestCase(SynchronousTestCase):
    """A dialect's requests."""

    dialect: Dialect

    def ask(self, model: str, **fields: Any) -> tuple[Any, list[str]]:
        """Write a request; return its body and what is dropped."""
        wire = self.wire(model, **fields)
        return loads(wire.body), sorted(wire.dropped)

    def wire(self, model: str, **fields: Any) -> WireRequest:
        """Write a request."""
        request = {"model": "x", "prompt": "a cat", "response_format": "url", **fields}
        before = dict(request)
        wire = self.dialect.write_request(request, model=model, stream=False)
        self.assertEqual(request, before)
        return wire


class CloudflareTests(DialectTestCase):
    """Cloudflare."""

    dialect = CloudflareImages()

    def test_plain_model(self) -> None:
        """Flux Schnell is told a prompt and steps, and nothing else."""
        model = "@cf/black-forest-labs/flux-1-schnell"
        body, dropped = self.ask(model, size="1024x1024", steps=4, seed=1, **MORE)
        self.assertEqual(body, {"prompt": "a cat", "steps": 4})
        self.assertEqual(dropped, sorted([*NAMES, "seed", "size"]))
        self.assertEqual(self.wire(model).route, f"/{model}")

    def test_other_models(self) -> None:
        """Others take a size, and what the caller knows of them."""
        body, dropped = self.ask("@cf/s/xl", size="512x256", num_steps=9, **MORE, user="u")
        self.assertEqual(body, {"prompt": "a cat", "width": 512, "height": 256, "num_steps": 9})
        self.assertEqual(dropped, [*NAMES, "user"])
        self.assertEqual(self.ask("@cf/s/xl", size="auto"), ({"prompt": "a cat"}, []))
        self.assertEqual(self.ask("@cf/s/xl", size="big"), ({"prompt": "a cat"}, ["size"]))
        with self.assertRaises(errors.InvalidRequest):
            self.ask("@cf/../x")

    def test_where(self) -> None:
        """It runs beside the compatible route, and a URL that names its model is whole."""
        api = "https://api.cloudflare.com/client/v4/accounts/a/ai"
        gateway = "https://gateway.ai.cloudflare.com/v1/a/g/workers-ai"
        for base, expected in (
            (f"{api}/v1", f"{api}/run"),
            (f"{api}/v1/?x=1", f"{api}/run?x=1"),
            (f"{api}/run", f"{api}/run"),
            (f"{gateway}/v1", gateway),
            (gateway, gateway),
            ("https://own.example/v1", "https://own.example/v1"),
        ):
            self.assertEqual(run_base(base), expected)
        wire = self.wire("@cf/a/b")
        for url, expected in (
            (f"{api}/run/@cf/a/b", f"{api}/run/@cf/a/b"),
            (f"{api}/run", f"{api}/run/@cf/a/b"),
            (f"{api}/v1", f"{api}/run/@cf/a/b"),
            ("https://worker.example/", "https://worker.example/"),
        ):
            self.assertEqual(self.dialect.locate(url, wire), expected)


class HuggingFaceTests(DialectTestCase):
    """HuggingFace."""

    dialect = HuggingFaceImages()

    def test_request(self) -> None:
        """The prompt is the input, the size two parameters; the caller's own go before."""
        body, dropped = self.ask("org/m", size="512x256", **MORE)
        self.assertEqual(body, {"inputs": "a cat", "parameters": {"width": 512, "height": 256}})
        self.assertEqual(dropped, NAMES)
        parameters = {"width": 7, "guidance_scale": 2}
        body, dropped = self.ask("org/m", size="512x256", parameters=parameters, options={"a": 1})
        self.assertEqual(body["parameters"], {**parameters, "height": 256})
        self.assertEqual((body["options"], dropped), ({"a": 1}, []))
        self.assertEqual(self.ask("org/m", size="3:2"), ({"inputs": "a cat"}, ["size"]))
        for model, more in (("a//b", {}), ("a/b", {"parameters": [1]})):
            with self.assertRaises(errors.InvalidRequest):
                self.ask(model, **more)

    def test_where(self) -> None:
        """It is beside the router's chat; the Go proxy's URL is whole."""
        router = "https://router.huggingface.co"
        wire = self.wire("org/m")
        self.assertEqual(wire.route, "/models/org/m")
        self.assertEqual(inference_base(f"{router}/v1"), f"{router}/hf-inference")
        self.assertEqual(inference_base(f"{router}/hf-inference"), f"{router}/hf-inference")
        old = "https://api-inference.huggingface.co/models/org/m"
        for url, expected in (
            (old, old),
            (f"{router}/v1", f"{router}/hf-inference/models/org/m"),
            (f"{router}/hf-inference", f"{router}/hf-inference/models/org/m"),
        ):
            self.assertEqual(self.dialect.locate(url, wire), expected)


class GeminiTests(DialectTestCase):
    """Gemini."""

    dialect = GeminiImages()

    def config(self, model: str, **fields: Any) -> tuple[Any, list[str]]:
        """Return the image's configuration that is asked for, and what is dropped."""
        body, dropped = self.ask(model, **fields)
        self.assertEqual(body["contents"], [{"role": "user", "parts": [{"text": "a cat"}]}])
        self.assertEqual(body["generationConfig"]["responseModalities"], ["TEXT", "IMAGE"])
        return body["generationConfig"].get("imageConfig"), dropped

    def test_config(self) -> None:
        """Size and quality in Gemini's way, as far as the model has it."""
        new, middle, old = (
            "gemini-3-pro-image-preview",
            "gemini-2.5-flash-image",
            "gemini-2.0-flash",
        )
        told = {"aspectRatio": "2:3", "imageSize": "2K"}
        self.assertEqual(self.config(new, size="1024x1536", quality="hd", **MORE), (told, NAMES))
        self.assertEqual(self.config(new, size="4096x4096")[0]["imageSize"], "4K")
        self.assertEqual(
            self.config(new, size="1000x100", quality="best"), (None, ["quality", "size"])
        )
        config = self.config(middle, size="1024x1536", quality="hd")
        self.assertEqual(config, ({"aspectRatio": "2:3"}, ["quality"]))
        config = self.config(f"models/{old}", size="1024x1536", quality="low")
        self.assertEqual(config, (None, ["quality", "size"]))
        self.assertEqual(self.config(new), (None, []))

    def test_own_fields(self) -> None:
        """The caller's own settings stay."""
        body, _ = self.ask("g", generationConfig={"seed": 4}, safetySettings=[])
        self.assertEqual(
            body["generationConfig"], {"responseModalities": ["TEXT", "IMAGE"], "seed": 4}
        )
        self.assertEqual(body["safetySettings"], [])

    def test_where(self) -> None:
        """The method is generateContent, at a URL of one's own too."""
        wire = self.wire("models/gemini-2.5-flash-image")
        self.assertEqual(wire.route, "/models/gemini-2.5-flash-image:generateContent")
        url = self.dialect.locate("https://g.example/v1beta/models", wire)
        self.assertEqual(url, f"https://g.example/v1beta{wire.route}")

    def test_stream_as_array(self) -> None:
        """An answer in pieces, as one array, is put together."""
        part = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAAAN"}}
        candidate = {"content": {"parts": [part]}, "index": 0}
        answer = GeminiImages().find_images([{"candidates": [candidate]}, {"candidates": []}])
        self.assertEqual(answer["data"], [{"b64_json": "iVBORw0KGgoAAAAN"}])


class OpenRouterTests(DialectTestCase):
    """OpenRouter."""

    dialect = OpenRouterImages()

    def test_request(self) -> None:
        """A chat with the prompt, and images wanted."""
        body, dropped = self.ask(
            "google/gemini-3-pro-image", size="1792x1024", quality="hd", user="u", seed=1, **MORE
        )
        expected = {
            "model": "google/gemini-3-pro-image",
            "messages": [{"role": "user", "content": "a cat"}],
            "modalities": ["image", "text"],
            "image_config": {"aspect_ratio": "16:9", "image_size": "2K"},
            "user": "u",
            "seed": 1,
        }
        self.assertEqual((body, dropped), (expected, NAMES))
        body, _ = self.ask("google/g", size="1x1", image_config={"aspect_ratio": "3:2"})
        self.assertEqual(body["image_config"], {"aspect_ratio": "3:2"})
        wire = self.wire("m")
        self.assertEqual(wire.route, "/chat/completions")
        url = "https://own.example/chat/completions?a=1"
        self.assertEqual(self.dialect.locate(url, wire), url)

    def test_silent_models(self) -> None:
        """Models that give only images are asked for nothing else."""
        body, _ = self.ask("black-forest-labs/flux.2-pro")
        self.assertEqual(body["modalities"], ["image"])
        self.assertNotIn("image_config", body)


class AirforceTests(DialectTestCase):
    """Airforce."""

    dialect = AirforceImages()

    def test_request(self) -> None:
        """All of it stands in the URL; what cannot is named."""
        wire = self.wire("flux", prompt="a cat & ж", size="16:9", seed=3, loras=[1], **MORE)
        self.assertEqual((wire.method, wire.body), ("GET", b""))
        self.assertEqual(sorted(wire.dropped), sorted([*NAMES, "loras"]))
        parts = urlsplit(wire.route)
        self.assertEqual(parts.path, "/imagine2")
        expected = {"prompt": ["a cat & ж"], "model": ["flux"], "size": ["16:9"], "seed": ["3"]}
        self.assertEqual(parse_qs(parts.query, strict_parsing=True), expected)
        self.assertNotIn("size", self.wire("flux", size="auto").route)

    def test_where(self) -> None:
        """A URL of the configuration's own gets the query, beside its own."""
        wire = self.wire("flux")
        for url, mark in (("https://a.example/v1/imagine", "?"), ("https://a.example/i?k=1", "&")):
            located = self.dialect.locate(url, wire)
            self.assertEqual(located, f"{url}{mark}prompt=a+cat&model=flux")
