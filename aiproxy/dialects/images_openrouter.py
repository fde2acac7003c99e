"""
OpenRouter's images: a chat whose answer's message has ``images``.

Source: OpenRouter's documentation, "Image Generation"; an answer is recorded.
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images import ImagesAnswer, ImagesReader, image_of, take_fields
from aiproxy.dialects.images_size import GEMINI_RATIOS, nearest_ratio, resolution
from aiproxy.dialects.openai_errors import judge_choice
from aiproxy.dialects.words import fit_words
from aiproxy.errors import ContentRefused, UpstreamFailed

__all__ = ["OpenRouterImages", "find_in_chat", "write_image_config"]

#: Vendors whose image models say nothing: they are not found where text is asked for too.
_SILENT: Final = re.compile(
    r"(?:black-forest-labs|sourceful|recraft[\w-]*|bytedance-seed)/", re.IGNORECASE
)


@frozen
class OpenRouterImages(ImagesReader):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write a chat request with one message, the prompt."""
        fields, dropped = take_fields(request, {"size", "quality", "user"})
        config, lost = write_image_config(fields, ratio="aspect_ratio", fine="image_size")
        own = fields.pop("image_config", None)
        if isinstance(own, dict):
            config = {**config, **own}
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": request["prompt"]}],
            "modalities": ["image"] if _SILENT.match(model) else ["image", "text"],
        }
        if config:
            body["image_config"] = config
        return self.wire("/chat/completions", {**body, **fields}, request, dropped + lost)

    def find_images(self, answer: Any) -> ImagesAnswer:
        """Find the images in the messages."""
        return find_in_chat(answer)


def write_image_config(
    fields: dict[str, Any], *, ratio: str, fine: str | None
) -> tuple[dict[str, Any], list[str]]:
    """
    Take ``size`` and ``quality`` out of fields, and say the same in Gemini's way.

    :param ratio: what the aspect ratio is called.
    :param fine: what the resolution is called; ``None``: there is none.
    :return: what is said, and the names of what cannot be.
    """
    size, quality = fields.pop("size", "auto"), fields.pop("quality", "auto")
    config, lost = {}, []
    near = nearest_ratio(size, GEMINI_RATIOS)
    if near is not None:
        config[ratio] = near
    elif size != "auto":
        lost.append("size")
    told = resolution(size, quality)
    if told is not None and fine is not None:
        config[fine] = told
    if quality != "auto" and (fine is None or resolution(None, quality) is None):
        lost.append("quality")
    return config, lost


def find_in_chat(answer: Any) -> ImagesAnswer:
    """
    Find the images in a chat's answer.

    :raises UpstreamError: there are none: an error, a refusal, or only words.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    images, words, refused = [], "", False
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict):
            continue
        error = judge_choice(choice)
        if error is not None:
            raise error
        message = choice.get("message")
        if not isinstance(message, dict):
            continue
        told = message.get("images")
        images += [_read_image(one) for one in told] if isinstance(told, list) else []
        said = message.get("refusal") or message.get("content")
        words = said if isinstance(said, str) and not words else words
        refused = refused or bool(message.get("refusal"))
        refused = refused or choice.get("finish_reason") == "content_filter"
    if images:
        found: ImagesAnswer = {"data": images}
        return found | {name: answer[name] for name in ("created", "usage") if name in answer}
    if refused:
        raise ContentRefused(fit_words(words) or "the model refused to make this image")
    said = f": {fit_words(words)}" if words else ""
    raise UpstreamFailed(f"the upstream's answer has no image{said}")


def _read_image(told: Any) -> dict[str, Any]:
    """Read one image of a message."""
    link = told.get("image_url") if isinstance(told, dict) else None
    url = link.get("url") if isinstance(link, dict) else link
    if not isinstance(url, str) or not url:
        raise UpstreamFailed("the upstream's answer has an image without content")
    return image_of(url)
