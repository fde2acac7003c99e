"""The object graph from a configuration and a reactor: the face for embedders."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from aiproxy.config.schema import Config, Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.errors import ConfigurationError, Problem
from aiproxy.gateway.body_log import BodyLog
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.gateway.gauges import read_gauges
from aiproxy.gateway.metrics import Dump, merge
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.tracing import Tracer
from aiproxy.gateway.usage import CallRecord
from aiproxy.interfaces import IProvider
from aiproxy.policy.access import Access
from aiproxy.policy.limit_book import LimitBook
from aiproxy.providers.discovery import Discovery
from aiproxy.providers.http import tls_settings
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.service import ProxyService
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from aiproxy.transport.images import ImageFetcher
from aiproxy.transport.socket_group import group_sockets
from aiproxy.transport.state import StateStore
from aiproxy.transport.tls import TLSSettings
from aiproxy.web.reload import Reload, unavailable

if TYPE_CHECKING:
    from aiproxy.web.routes import RoutesResource

__all__ = ["Counts", "Proxy", "in_thread"]

_NO_PROVIDERS: Mapping[str, IProvider] = {}


@frozen
class Counts:
    """
    The counts of limits, where they are those of several processes.

    :param book: holds them.
    :param cover: see :meth:`aiproxy.transport.state.StateStore.cover`, which is
        another process's here, and ``server.state`` with it.
    """

    book: LimitBook
    cover: Callable[[tuple[str, ...]], Deferred[None] | None]


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
    :raises ConfigurationError: a certificate's file cannot be used, a
        package's adapter cannot be loaded, or a drill's script has mistakes.
    :param access_token: what clients show where the configuration has neither
        ``AUTH_TOKEN`` nor ``keys``, for nobody comes in without a token; one
        is made up if it is not given.
    :param counts: what is counted together with other processes.
    :ivar reload: what ``POST /admin/reload`` does, and what it answers: 501, as
        long as nobody has said how the configuration is loaded anew.
    :ivar gather: returns what ``GET /metrics`` shows, if not only this process's.
    :ivar signatures: what models have signed.
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
        access_token: Secret | None = None,
        counts: Counts | None = None,
    ) -> None:
        reactor = group_sockets(reactor)
        self.reload: Reload = unavailable
        self.gather: Callable[[], Awaitable[Dump]] = self._read_metrics_soon
        self._made_up = access_token
        client = UpstreamClient(reactor, http=config.server.http, environment=environment)
        self.signatures = SignatureMemory()
        parts = ProviderParts(client, reactor, ImageFetcher(reactor), self.signatures, wall)
        self._registry = ProviderRegistry(parts, providers)
        self._wall = wall
        self._reactor = reactor
        self._client = client
        book = None if counts is None else counts.book
        self._dispatcher = Dispatcher(
            self._compile(config), reactor, wall=wall, report=report, book=book
        )
        self._discovery = Discovery(config, self._registry, reactor)
        shared = self._dispatcher.shared
        state: StateStore | None = None
        if counts is not None:
            shared.cover = counts.cover
        elif config.server.state is not None:
            state = StateStore(config.server.state, shared.book, reactor, wall, in_thread(reactor))
            shared.cover = state.cover
        self._resource: RoutesResource | None = None
        self._site: GatewaySite | None = None
        self.service = ProxyService(
            reactor,
            running=self._dispatcher.running,
            client=client,
            discovery=self._discovery,
            state=state,
            server=config.server,
        )

    @property
    def config(self) -> Config:
        """What calls that begin now are served by."""
        return self._dispatcher.plan.config

    @property
    def access_token(self) -> Secret | None:
        """
        The token that was made up; ``None`` where the configuration has its own.

        ``reveal()`` gives its text: what clients show.  No log has it.
        """
        return None if self.config.requires_auth else self._made_up

    def trace_by(self, tracer: Tracer | None) -> None:
        """Let calls that begin from now on be watched by a tracer."""
        self._dispatcher.tracer = tracer

    def keep_bodies(self, log: BodyLog | None) -> None:
        """Let a body log have what is said in calls that begin from now on."""
        self._dispatcher.bodies = log

    def change(self, config: Config) -> None:
        """
        Serve calls that begin from now on by another configuration.

        Those that run end as they began.  Limits, standing and connections live
        on.  ``server.http`` and ``server.state`` stay as they were at the start.

        :raises ConfigurationError: it cannot be used; then nothing has changed.
        """
        self._dispatcher.change(self._compile(config))
        self._discovery.change(config)
        if self.service.running:
            self._discovery.refresh()
        self.service.change(config.server)
        if self._site is not None:
            self._site.max_request_bytes = config.server.max_request_bytes

    def _compile(self, config: Config) -> Plan:
        self._load(config.models)
        tokens = config.auth_tokens
        if not config.requires_auth:
            if self._made_up is None:
                self._made_up = Secret(f"sk-aiproxy-{secrets.token_urlsafe(24)}")
            tokens = (self._made_up,)
        return Plan(config, Access(tokens, config.keys), self._registry)

    def _load(self, models: Iterable[Model]) -> None:
        """Load what models need now; what cannot be loaded is told with the first one's place."""
        loaded: set[TLSSettings] = set()
        problems: dict[str, Problem] = {}
        for model in models:
            tls, place = tls_settings(model), model.place
            try:
                if tls not in loaded:
                    loaded.add(tls)
                    self._client.load(tls)
                self._registry.find(model)
            except ConfigurationError as error:
                for found in error.problems:
                    problem = Problem(found.message, place.file, place.line)
                    problems.setdefault(found.message, problem)
        if problems:
            raise ConfigurationError(problems.values())

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
                metrics=lambda: self.gather(),
                reload=lambda: self.reload(),
            )
        return self._resource

    def site(self) -> GatewaySite:
        """Return the factory of an HTTP server that serves the routes, and nothing else."""
        if self._site is None:
            server = self.config.server
            resource = self.resource()
            most = server.max_request_bytes
            if server.http == "stock":
                self._site = StockSite(resource, self._reactor, max_request_bytes=most)
            else:
                hot = resource.hot_routes()
                self._site = LlhttpSite(resource, self._reactor, max_request_bytes=most, hot=hot)
            self._site.refused = self._dispatcher.account_uncalled
            self._site.describe = resource.describe_error
        return self._site

    def read_metrics(self) -> Dump:
        """Return the numbers of this process, as they are now."""
        shared = self._dispatcher.shared
        gauges = read_gauges(self._dispatcher.plan.config, shared, self._client.counts())
        return merge([self._dispatcher.metrics.dump(), gauges])

    async def _read_metrics_soon(self) -> Dump:
        return self.read_metrics()

    def _why_unready(self) -> str | None:
        if self.service.draining:
            return "the server is shutting down"
        if not self._dispatcher.plan.can_serve:
            return "there is no model that can be served"
        return None


def in_thread(reactor: Any) -> Callable[..., Deferred[Any]]:
    """Return what calls a function in a thread of the reactor's."""

    def call(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), function, *arguments)

    return call
