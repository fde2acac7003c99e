"""
OpenAI's own way to ask for images, and what compatible providers do differently.

``response_format`` is the great difference: GPT image models have none and
always give base64, others give URLs that soon expire unless they are told not
to.  So who can is asked for base64 if the caller does not say.

Source: the API references of OpenAI ("Create image"), Together ("Create
image"), xAI ("Image generations") and Z.ai; AI/ML API's page of each model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images import OPENAI_FIELDS, ImagesReader, take_fields
from aiproxy.dialects.images_size import nearest_ratio, read_pixels, resolution

__all__ = ["OpenAIImages", "Taken", "images_of"]

_ROUTE: Final = "/images/generations"
_CHAT_ROUTE: Final = "/chat/completions"

#: Always base64, without ``response_format`` and ``style``.
_GPT_IMAGE: Final = re.compile(r"(?:^|/)(?:chat)?gpt-image", re.IGNORECASE)
#: They know of nothing that came with the GPT image models.
_DALL_E: Final = re.compile(r"(?:^|/)dall-e", re.IGNORECASE)
_SINCE_GPT_IMAGE: Final = frozenset(
    {"background", "moderation", "output_compression", "output_format", "partial_images"}
)
#: What else than OpenAI's some providers call an aspect ratio.
_XAI_RATIOS: Final = (
    *("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:20", "20:9", "1:2", "2:1"),
)


@frozen
class Taken:
    """
    What a compatible provider takes.

    :param fields: of OpenAI's fields.
    :param formats: of ``response_format``'s values; the first one is asked for
        if the caller does not say.
    :param asks: whether it is told a ``response_format`` that the caller did not name.
    :param size: what is made of ``size``: nothing, ``pixels`` (``width`` and
        ``height``) or ``ratio`` (``aspect_ratio`` and ``resolution``).
    """

    fields: frozenset[str] = OPENAI_FIELDS
    formats: tuple[str, ...] = ("b64_json", "url")
    asks: bool = False
    size: str = ""


#: By type of provider; all others take what OpenAI takes.
_TAKEN: Final[Mapping[str, Taken]] = MappingProxyType(
    {
        "together": Taken(frozenset({"n", "output_format"}), asks=True, size="pixels"),
        "aimlapi": Taken(asks=True),
        "xai": Taken(frozenset({"n", "quality", "user"}), asks=True, size="ratio"),
        "zai": Taken(frozenset({"quality", "size"}), formats=("url",)),
    }
)


@frozen
class OpenAIImages(ImagesReader):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param taken: what the provider takes.
    """

    taken: Taken = Taken()

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request with the upstream's model name."""
        gpt_image = bool(_GPT_IMAGE.search(model))
        takes = self.taken.fields
        if gpt_image:
            takes -= {"style"}
        elif _DALL_E.search(model):
            takes -= _SINCE_GPT_IMAGE
        fields, dropped = take_fields(request, takes | ({"size"} if self.taken.size else set()))
        if self.taken.size and not self._write_size(fields):
            dropped.append("size")
        if not gpt_image:
            wanted = request.get("response_format")
            if wanted in self.taken.formats and len(self.taken.formats) > 1:
                fields["response_format"] = wanted
            elif wanted is not None and wanted not in self.taken.formats:
                dropped.append("response_format")
            elif wanted is None and self.taken.asks:
                fields["response_format"] = self.taken.formats[0]
        body = {"model": model, "prompt": request["prompt"], **fields}
        return self.wire(_ROUTE, body, request, dropped)

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one, but a chat's has images beside it."""
        where, mark, query = url.partition("?")
        path = where.rstrip("/")
        if path.endswith(_CHAT_ROUTE):
            where = path.removesuffix(_CHAT_ROUTE) + _ROUTE
        return where + mark + query

    def _write_size(self, fields: dict[str, Any]) -> bool:
        """Say in the provider's own way how large, in place; False: it cannot be said."""
        size = fields.pop("size", None)
        if size in (None, "auto"):
            return True
        if self.taken.size == "pixels":
            pixels = read_pixels(size)
            if pixels is None:
                return False
            width, height = pixels
            fields |= {"width": fields.get("width", width), "height": fields.get("height", height)}
            return True
        ratio = nearest_ratio(size, _XAI_RATIOS)
        if ratio is None:
            return False
        fields.setdefault("aspect_ratio", ratio)
        fine = resolution(size, None)
        if fine is not None:
            fields.setdefault("resolution", "2k")
        return True


def images_of(provider_type: str) -> OpenAIImages:
    """Return how a type of provider with OpenAI's API is asked for images."""
    return OpenAIImages(taken=_TAKEN.get(provider_type, Taken()))
