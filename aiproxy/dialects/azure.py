"""
Azure OpenAI and Azure AI: OpenAI's chat completions, at URLs of their own.

===========================================  ===================================================
base URL                                     what is appended
===========================================  ===================================================
``https://RES.openai.azure.com``,            ``/openai/deployments/MODEL/chat/completions?…``
``https://RES.cognitiveservices.azure.com``
the same with ``/openai``                    ``/deployments/MODEL/chat/completions?…``
the same with ``/openai/deployments/MODEL``  ``/chat/completions?api-version=…``
``https://RES.services.ai.azure.com``        ``/models/chat/completions?api-version=…``
the same with ``/models``                    ``/chat/completions?api-version=…``
any other, as one with ``/openai/v1``        ``/chat/completions``
===========================================  ===================================================

The model's name is that of its deployment.  ``api-version`` is the one that is
configured; without it a deployment and ``/models`` are asked for one that
Azure's reference names.  Any other URL, and a model's whole one, have it only
where it is configured.  A version in the URL itself goes before all of these.

Source: Azure OpenAI and Azure AI model inference REST API references, and
recorded traffic for each of the forms.
"""

from __future__ import annotations

from typing import Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from attrs import evolve, frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.shapes import ChatRequest

__all__ = ["DEPLOYMENTS_VERSION", "MODELS_VERSION", "AzureDialect", "add_version", "azure_route"]

#: Asked for where none is configured: of the reference for deployments, and for ``/models``.
DEPLOYMENTS_VERSION: Final = "2024-10-21"
MODELS_VERSION: Final = "2024-05-01-preview"

_SERVICES: Final = ".services.ai.azure.com"


@frozen
class AzureDialect(OpenAIDialect):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param where: the base URL that requests go to, or a model's whole one.
    :param api_version: the version of the API, where one is configured.
    """

    where: str = ""
    api_version: str | None = None

    def at(self, where: str, api_version: str | None = None) -> Self:
        """Give the dialect as it is spoken at one place."""
        return evolve(self, where=where, api_version=api_version)

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request, for the URL form of the place."""
        wire = super().write_request(request, model=model, stream=stream)
        return evolve(wire, route=azure_route(self.where, wire.route, model, self.api_version))

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one, but for the configured version."""
        return add_version(url, self.api_version)


def azure_route(base_url: str, route: str, model: str, api_version: str | None = None) -> str:
    """
    Say what is appended to a base URL.

    :param route: OpenAI's, as ``/chat/completions`` or ``/embeddings``.
    :param model: the name of the deployment.
    :param api_version: the configured one, if any.
    :raises InvalidRequest: such a name cannot stand in a URL.
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    version = api_version
    if path in ("", "/openai") and not (parts.hostname or "").endswith(_SERVICES):
        prefix = "" if path else "/openai"
        route = f"{prefix}/deployments/{quote_model(model, safe='')}{route}"
        version = api_version or DEPLOYMENTS_VERSION
    elif path.startswith("/openai/deployments/"):
        version = api_version or DEPLOYMENTS_VERSION
    elif path in ("", "/models"):
        route = route if path else f"/models{route}"
        version = api_version or MODELS_VERSION
    if version is None or "api-version" in parse_qs(parts.query):
        return route
    return f"{route}?{urlencode({'api-version': version})}"


def add_version(url: str, api_version: str | None) -> str:
    """Append a version, if one is configured, to a whole URL that has none."""
    parts = urlsplit(url)
    if api_version is None or "api-version" in parse_qs(parts.query):
        return url
    query = "&".join(filter(None, (parts.query, urlencode({"api-version": api_version}))))
    return parts._replace(query=query).geturl()
