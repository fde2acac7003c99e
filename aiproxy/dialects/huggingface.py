"""
HuggingFace: the router to other providers, and Text Generation Inference at the old URLs.

=================================================  ================================
base URL                                           what is appended
=================================================  ================================
``https://router.huggingface.co/v1``               ``/chat/completions``
``https://router.huggingface.co/PROVIDER/v1``      the same
``https://router.huggingface.co/hf-inference``     ``/models/ID/v1/chat/completions``
``https://api-inference.huggingface.co``           the same
either of these with ``/models``                   ``/ID/v1/chat/completions``
either of these with ``/models/ID``                ``/v1/chat/completions``
either of these with ``/models/ID/v1``             ``/chat/completions``
=================================================  ================================

A model's whole URL that ends with its id is completed in the same way.  A JSON
schema is told bare there: ``{"type": "json_object", "value": …}``.

Source: recorded traffic; Text Generation Inference's guide to guidance.
"""

from __future__ import annotations

import re
from typing import Final, Self
from urllib.parse import urlsplit

from attrs import evolve, frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import Schemas
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.wire.urls import join_url

__all__ = ["HuggingFaceDialect"]

_OLD_HOST: Final = "api-inference.huggingface.co"
_HOST: Final = "router.huggingface.co"

#: The paths that Text Generation Inference answers at, without the old or the new beginning.
_PATHS: Final = re.compile(r"(?P<models>/models(?P<model>/(?!v1(?:/|$)).+?)?)?(?P<rest>/v1.*)?")


@frozen
class HuggingFaceDialect(OpenAIDialect):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param where: the base URL that requests go to, or a model's whole one.
    """

    where: str = ""

    def at(self, where: str, api_version: str | None = None) -> Self:
        """Give the dialect as it is spoken at one place."""
        schemas: Schemas = "named" if _find_path(where) is None else "value"
        return evolve(self, where=where, quirks=evolve(self.quirks, schemas=schemas))

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request, for the URL form of the place."""
        wire = super().write_request(request, model=model, stream=stream)
        path = _find_path(self.where)
        if path is None or path["rest"]:
            return wire
        route = f"/v1{wire.route}"
        if not path["model"]:
            route = f"/{quote_model(model)}{route}"
        return evolve(wire, route=route if path["models"] else f"/models{route}")

    def locate(self, url: str, wire: WireRequest) -> str:
        """Complete a URL that ends with the model's id."""
        path = _find_path(url)
        ends = path is not None and path["model"] and not path["rest"]
        return join_url(url, wire.route) if ends else url


def _find_path(url: str) -> re.Match[str] | None:
    """Take the path of a URL apart, where Text Generation Inference answers."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if parts.hostname == _HOST and f"{path}/".startswith("/hf-inference/"):
        return _PATHS.fullmatch(path.removeprefix("/hf-inference"))
    return _PATHS.fullmatch(path) if parts.hostname == _OLD_HOST else None
