"""
HuggingFace's own inference of image models: ``{inputs, parameters}`` in, bytes out.

Source: HuggingFace's documentation of Inference Providers, "Text to Image".
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images import ImagesReader, take_fields
from aiproxy.dialects.images_size import read_pixels
from aiproxy.dialects.model_paths import quote_model
from aiproxy.errors import InvalidRequest
from aiproxy.wire.urls import join_url

__all__ = ["HuggingFaceImages", "inference_base"]

_CHAT_PATH: Final = "/v1"
_INFERENCE_PATH: Final = "/hf-inference"


def inference_base(base_url: str) -> str:
    """Return the base URL of the inference for the one of chat (``router.huggingface.co/v1``)."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if path.endswith(_CHAT_PATH):
        path = path.removesuffix(_CHAT_PATH) + _INFERENCE_PATH
    return parts._replace(path=path).geturl()


@frozen
class HuggingFaceImages(ImagesReader):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`; its routes belong to :func:`inference_base`.
    """

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write a request; the size is one of the parameters, which the caller may send too."""
        path = quote_model(model, safe="/@")
        fields, dropped = take_fields(request, {"size"})
        parameters = fields.pop("parameters", {})
        if not isinstance(parameters, dict):
            raise InvalidRequest("parameters must be an object", param="parameters")
        size = fields.pop("size", "auto")
        pixels = read_pixels(size)
        if pixels is not None:
            parameters = {"width": pixels[0], "height": pixels[1], **parameters}
        elif size != "auto":
            dropped.append("size")
        body = {"inputs": request["prompt"], **fields}
        if parameters:
            body["parameters"] = parameters
        wire = self.wire("/models/" + path, body, request, dropped)
        return evolve(wire, headers={**wire.headers, "accept": "image/png"})

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one, as in the Go proxy, unless it ends before the model."""
        if urlsplit(url).path.rstrip("/").endswith((_CHAT_PATH, _INFERENCE_PATH)):
            return join_url(inference_base(url), wire.route)
        return url
