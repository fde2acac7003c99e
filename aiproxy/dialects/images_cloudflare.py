"""
Cloudflare's image models: ``POST …/ai/run/@cf/…``; the compatible route has none.

``flux-1-schnell`` and a few others answer with base64 in the envelope's
``result.image``, the rest with the image itself.

Source: Cloudflare's documentation of Workers AI, the models' schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.dialects.answers import load_answer
from aiproxy.dialects.cloudflare_errors import judge_envelope
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images import ImagesAnswer, ImagesReader, image_of, take_fields
from aiproxy.dialects.images_size import read_pixels
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.errors import UpstreamError
from aiproxy.wire.urls import join_url

__all__ = ["CloudflareImages", "run_base"]

#: Models that take a prompt and ``steps``, and no size.
_PLAIN: Final = "flux-1-schnell"
#: How the path of a URL ends that does not name the model yet: Workers AI's, AI Gateway's.
_RUN_PATHS: Final = ("/ai/run", "/workers-ai", "/workers-ai/run")
_CHAT_PATH: Final = "/v1"


def run_base(base_url: str) -> str:
    """Return the base URL of ``…/run`` for the one of the compatible routes (``…/ai/v1``)."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if path.endswith("/ai/v1"):
        path = path.removesuffix(_CHAT_PATH) + "/run"
    elif path.endswith("/workers-ai/v1"):
        path = path.removesuffix(_CHAT_PATH)
    return parts._replace(path=path).geturl()


@frozen
class CloudflareImages(ImagesReader):
    """See :class:`aiproxy.dialects.dialect.Dialect`; its routes belong to :func:`run_base`."""

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write a request: what the model has no field for is left out, and named."""
        path = quote_model(model, safe="/@:")
        if model.endswith(_PLAIN):
            fields, dropped = take_fields(request)
            dropped += sorted(name for name in fields if name != "steps")
            fields = {name: fields[name] for name in fields if name == "steps"}
        else:
            fields, dropped = take_fields(request, {"size"})
            size = fields.pop("size", "auto")
            pixels = read_pixels(size)
            if pixels is not None:
                fields = {"width": pixels[0], "height": pixels[1], **fields}
            elif size != "auto":
                dropped.append("size")
        body = {"prompt": request["prompt"], **fields}
        return self.wire("/" + path, body, request, dropped)

    def load(self, body: bytes) -> Any:
        """Decode an answer; an error may stand in the envelope of a 200."""
        error = judge_envelope(None, body)
        if error is not None:
            raise error
        return load_answer(body)

    def find_images(self, answer: Any) -> ImagesAnswer:
        """Find the image, in the envelope or without it."""
        result = answer.get("result") if isinstance(answer, dict) else None
        found = result if isinstance(result, dict) else answer
        if isinstance(found, dict) and isinstance(found.get("image"), str):
            return {"data": [image_of(found["image"])]}
        return super().find_images(found)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        error = judge_envelope(status, body, headers)
        return judge(status, read_facts(body), headers) if error is None else error

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append the model, where the URL does not name it yet."""
        base = run_base(url)
        ends = urlsplit(base).path.rstrip("/").endswith(_RUN_PATHS)
        return join_url(base, wire.route) if ends else url
