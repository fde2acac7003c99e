"""Azure's adapter: every operation has the deployment in its URL."""

from __future__ import annotations

from attrs import define, evolve

from aiproxy.dialects.azure import add_version, azure_route
from aiproxy.dialects.dialect import Dialect, WireRequest
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.providers.call import Call
from aiproxy.providers.http import HTTPProvider

__all__ = ["AzureProvider"]


@define
class AzureProvider(HTTPProvider):
    """See the module; the dialect of chat knows its URLs by itself."""

    def _write(self, call: Call, request: ChatRequest, dialect: Dialect) -> WireRequest:
        wire = super()._write(call, request, dialect)
        model = call.candidate.model
        if call.operation == CHAT or model.url:
            return wire
        route = azure_route(
            model.base_url or "", wire.route, call.candidate.upstream_model, model.api_version
        )
        return evolve(wire, route=route)

    def _locate(self, call: Call, wire: WireRequest) -> str:
        url = super()._locate(call, wire)
        model = call.candidate.model
        return add_version(url, model.api_version) if model.url else url
