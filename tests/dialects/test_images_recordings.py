"""Recorded traffic about images, through the image dialects."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.images import image_bytes, sniff
from aiproxy.dialects.images_gemini import GeminiImages
from aiproxy.dialects.images_openai import OpenAIImages
from aiproxy.dialects.images_openrouter import OpenRouterImages
from tests.dialects.recordings import Recording, read_recordings
from tests.shown import show


class RecordedTests(SynchronousTestCase):
    """Answers that hold images, whatever they were asked for by."""

    def read(self, recording: Recording, found: dict[str, Any], images: list[str]) -> None:
        """The images are those that were recorded, in base64."""
        self.assertEqual([image["b64_json"] for image in found["data"]], images, recording.name)
        for image in images:
            self.assertEqual(sniff(image_bytes(image)), "image/png")
        self.assertGreater(found["usage"]["completion_tokens"], 1000)

    def test_gemini(self) -> None:
        """Gemini's parts with inline data are images; answers without any are failures."""
        seen = 0
        for recording in read_recordings("generateContent", "gemini"):
            if recording.status != 200:
                continue
            document = json.loads(recording.body)
            images = []
            for candidate in document.get("candidates", []):
                for part in candidate.get("content", {}).get("parts", []):
                    if "inlineData" in part:
                        images.append(part["inlineData"]["data"])
            if not images:
                with self.assertRaises(errors.UpstreamError):
                    GeminiImages().read_reply(recording.body)
                continue
            self.read(recording, GeminiImages().read_reply(recording.body), images)
            show("google", "images")
            seen += 1
        self.assertGreater(seen, 0)

    def test_openrouter(self) -> None:
        """OpenRouter's messages have images; the request is the recorded one."""
        seen = 0
        for recording in read_recordings("chat", "openrouter"):
            body = recording.request["body"]
            if not isinstance(body, dict) or "image" not in (body.get("modalities") or ()):
                continue
            prompt = body["messages"][0]["content"]
            wire = OpenRouterImages().write_request(
                {"model": "x", "prompt": prompt}, model=body["model"], stream=False
            )
            self.assertEqual(json.loads(wire.body), body)
            message = json.loads(recording.body)["choices"][0]["message"]
            images = [
                image["image_url"]["url"].partition("base64,")[2] for image in message["images"]
            ]
            self.read(recording, OpenRouterImages().read_reply(recording.body), images)
            show("openrouter", "images")
            seen += 1
        self.assertGreater(seen, 0)

    def test_openai_errors(self) -> None:
        """What OpenAI refuses about images is the caller's, with the provider's words."""
        seen = 0
        for recording in read_recordings("images", "openai"):
            if recording.status == 400:
                told = json.loads(recording.body)["error"]
                error = OpenAIImages().read_error(400, recording.headers, recording.body)
                self.assertIsInstance(error, errors.UpstreamRefused)
                self.assertEqual(error.message, told["message"])
                seen += 1
        self.assertGreater(seen, 0)
