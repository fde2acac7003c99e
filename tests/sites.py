"""Which HTTP parts the tests run over: ``AIPROXY_TEST_HTTP`` says it, llhttp or stock."""

from __future__ import annotations

import os
from typing import Any, Final

from twisted.web.resource import IResource

from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from aiproxy.web.routes import RoutesResource

__all__ = ["HTTP", "make_site", "over_http"]

#: Which one it is.
HTTP: Final = os.environ.get("AIPROXY_TEST_HTTP", "llhttp")


def make_site(resource: IResource, reactor: Any, *, max_request_bytes: int) -> GatewaySite:
    """Make the factory of a server."""
    if HTTP == "stock":
        return StockSite(resource, reactor, max_request_bytes=max_request_bytes)
    hot = resource.hot_routes() if isinstance(resource, RoutesResource) else {}
    return LlhttpSite(resource, reactor, max_request_bytes=max_request_bytes, hot=hot)


def over_http(configuration: str) -> str:
    """Let the server of a configuration, and its client of upstreams, be of these parts too."""
    before, section, after = configuration.partition("server: {")
    assert section, configuration
    return f"{before}{section}http: {HTTP}, {after}"
