"""The object graph from a configuration and a reactor: the face for embedders."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from aiproxy.config.schema import Config
from aiproxy.config.secret import Secret
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.gateway.gauges import read_gauges
from aiproxy.gateway.metrics import Dump, merge
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.usage import CallRecord
from aiproxy.interfaces import IProvider
from aiproxy.policy.access import Access
from aiproxy.providers.discovery import Discovery
from aiproxy.providers.http import tls_settings
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.service import ProxyService
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from aiproxy.transport.images import ImageFetcher
from aiproxy.transport.state import StateStore

if TYPE_CHECKING:
    from aiproxy.web.routes import RoutesResource

__all__ = ["Proxy"]

_NO_PROVIDERS: Mapping[str, IProvider] = {}


class Proxy:
    """
    An AI proxy, ready to be served.  Making one opens nothing.

    :param config: from :func:`aiproxy.load_config`.
    :param reactor: what everything runs on: ``IReactorTCP``, ``IReactorTime``
        and ``IReactorPluggableNameResolver`` in one.
    :param providers: adapters of one's own, by the name of the provider in the
        configuration.
    :param report: called with the record of each call when it is over.
    :param wall: seconds since the epoch.
    :param environment: names the HTTP proxies on the way to upstreams (``HTTPS_PROXY``, …).
    :raises ConfigurationError: a certificate's file cannot be used, or a
        package's adapter cannot be loaded.
    :ivar access_token: the token that was made up where the configuration has
        neither ``AUTH_TOKEN`` nor ``keys``: nobody comes in without one.
    :ivar service: its timers and connections live and die with it; it stops
        when the running calls are over.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        providers: Mapping[str, IProvider] = _NO_PROVIDERS,
        report: Callable[[CallRecord], None] = lambda record: None,
        wall: Callable[[], float] = time.time,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.config = config
        self.access_token: Secret | None = None
        tokens = config.auth_tokens
        if not config.requires_auth:
            self.access_token = Secret(f"sk-aiproxy-{secrets.token_urlsafe(24)}")
            tokens = (self.access_token,)
        client = UpstreamClient(reactor, http=config.server.http, environment=environment)
        for tls in {tls_settings(model) for model in config.models}:
            client.load(tls)
        parts = ProviderParts(client, reactor, ImageFetcher(reactor), SignatureMemory(), wall)
        registry = ProviderRegistry(parts, providers)
        for model in config.models:
            registry.find(model)  # What cannot be loaded is known now.
        plan = Plan(config, Access(tokens, config.keys), registry)
        self._wall = wall
        self._reactor = reactor
        self._client = client
        self._discovery = Discovery(config, registry, reactor)
        self._dispatcher = Dispatcher(plan, reactor, wall=wall, report=report)
        shared = self._dispatcher.shared
        state: StateStore | None = None
        if config.server.state is not None:
            state = StateStore(config.server.state, shared.book, reactor, wall, _in_thread(reactor))
            shared.cover = state.cover
        self._resource: RoutesResource | None = None
        self.service = ProxyService(
            reactor,
            running=self._dispatcher.running,
            client=client,
            discovery=self._discovery,
            state=state,
            drain_timeout=config.server.drain_timeout,
            shutdown_delay=config.server.shutdown_delay,
        )

    def resource(self) -> RoutesResource:
        """Return the resource of all routes; it can stand anywhere in a tree."""
        if self._resource is None:
            # Klein installs the default reactor when it is imported, and the
            # embedder may not have chosen his own yet when he imports us.
            from aiproxy.web.app import make_resource

            self._resource = make_resource(
                self._dispatcher,
                wall=self._wall,
                unready=self._why_unready,
                discovered=self._discovery.find,
                metrics=self._read_metrics,
            )
        return self._resource

    def site(self) -> GatewaySite:
        """Return the factory of an HTTP server that serves the routes, and nothing else."""
        server = self.config.server
        resource = self.resource()
        if server.http == "stock":
            return StockSite(resource, self._reactor, max_request_bytes=server.max_request_bytes)
        return LlhttpSite(
            resource,
            self._reactor,
            max_request_bytes=server.max_request_bytes,
            hot=resource.hot_routes(),
        )

    def _read_metrics(self) -> Dump:
        shared = self._dispatcher.shared
        gauges = read_gauges(self._dispatcher.plan.config, shared, self._client.counts())
        return merge([self._dispatcher.metrics.dump(), gauges])

    def _why_unready(self) -> str | None:
        if self.service.draining:
            return "the server is shutting down"
        if not self._dispatcher.plan.can_serve:
            return "there is no model that can be served"
        return None


def _in_thread(reactor: Any) -> Callable[..., Deferred[Any]]:
    """Return what calls a function in a thread of the reactor's."""

    def in_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    return in_thread
