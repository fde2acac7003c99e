"""
Gemini's image models: ``generateContent`` that may answer with ``inlineData``.

Source: Gemini API reference (v1beta), "GenerationConfig" and "ImageConfig"; a
request and its answer are recorded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gemini_answer import AnswerTranslator, join_answers
from aiproxy.dialects.images import ImagesAnswer, ImagesReader, take_fields
from aiproxy.dialects.images_openrouter import find_in_chat, write_image_config
from aiproxy.dialects.model_paths import quote_model
from aiproxy.errors import UpstreamFailed

__all__ = ["GeminiImages"]

#: Models without any ``imageConfig``, and those whose images have one resolution.
_WITHOUT_CONFIG: Final = re.compile(r"gemini-(?:1\.|2\.0)", re.IGNORECASE)
_WITHOUT_RESOLUTION: Final = re.compile(r"gemini-2\.", re.IGNORECASE)


@frozen
class GeminiImages(ImagesReader):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write a request; a ``generationConfig`` of the caller's own is laid over ours."""
        fields, dropped = take_fields(request, {"size", "quality"})
        name = model.rpartition("/")[2]
        fine = None if _WITHOUT_RESOLUTION.match(name) else "imageSize"
        image, lost = write_image_config(fields, ratio="aspectRatio", fine=fine)
        if image and _WITHOUT_CONFIG.match(name):
            image, lost = {}, ["size", *lost]
        config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
        if image:
            config["imageConfig"] = image
        own = fields.pop("generationConfig", None)
        if isinstance(own, Mapping):
            config |= own
        contents = [{"role": "user", "parts": [{"text": request["prompt"]}]}]
        body = {"contents": contents, "generationConfig": config, **fields}
        path = model.removeprefix("models/")
        route = quote_model(path if "/" in path else f"models/{path}", safe="/@:")
        return self.wire(f"/{route}:generateContent", body, request, dropped + lost)

    def find_images(self, answer: Any) -> ImagesAnswer:
        """Find the images in the candidates; those that are thoughts do not count."""
        if isinstance(answer, list):
            answer = join_answers(answer)
        if not isinstance(answer, dict):
            raise UpstreamFailed("the upstream's answer is not a JSON object")
        translator = AnswerTranslator(lambda *_: None)
        return find_in_chat(translator.answer(answer))

    def locate(self, url: str, wire: WireRequest) -> str:
        """As in chat."""
        return GeminiDialect().locate(url, wire)
