"""One process that serves: the proxy, its logs and its certificates."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IStreamServerEndpoint

from aiproxy import __version__
from aiproxy.config.load import Loaded
from aiproxy.config.secret import Secret
from aiproxy.errors import ConfigurationError, Problem
from aiproxy.garbage import GarbageCollector
from aiproxy.gateway.access_log import AccessLog
from aiproxy.gateway.body_log import BodyLog
from aiproxy.listening import ListenError, Place, refuse_unguarded
from aiproxy.proxy import Counts, Proxy
from aiproxy.service import Listener, ProxyService
from aiproxy.telemetry.setup import make_tracer
from aiproxy.transport.server_tls import ServerTLS

__all__ = ["Server"]

#: What is only looked at when the process starts.
_AT_START = ("http", "state")


class Server:
    """
    See the module.  Making one opens nothing.

    :param listen: makes the endpoint of a place.
    :param access_token: see :class:`~aiproxy.proxy.Proxy`.
    :param counts: so, too.
    :raises ConfigurationError: it cannot be served by that.
    :raises ListenError: nor there, or nobody would guard it.
    :ivar service: listens, and ends in order.
    """

    def __init__(
        self,
        loaded: Loaded,
        reactor: Any,
        places: Sequence[Place],
        listen: Callable[[Place], IStreamServerEndpoint],
        *,
        access_token: Secret | None = None,
        counts: Counts | None = None,
    ) -> None:
        config = loaded.config
        self.loaded = loaded
        self._places = places
        self._at_start = config.server
        self._log = AccessLog(config.server, reactor, time.time)
        self._bodies = BodyLog(config, reactor, time.time)
        self.proxy = Proxy(
            config, reactor, report=self._log.finished, access_token=access_token, counts=counts
        )
        self.proxy.keep_bodies(self._bodies)
        site = self.proxy.site()
        self._certificates: list[ServerTLS] = []
        listeners = []
        for place in places:
            factory: Any = site
            if place.tls is not None:
                certificate = ServerTLS(place.tls, reactor)
                self._certificates.append(certificate)
                factory = certificate.factory(site)
            listeners.append(Listener(place.name, listen(place), factory))
        # Not before: of what is no endpoint nobody can say how far it reaches.
        refuse_unguarded(places, config)
        self.service: ProxyService = self.proxy.service
        self.service.site = site
        self.service.listeners = listeners

    def run(self, reactor: Any) -> None:
        """Do what is to be done when the reactor runs, and when it has ended."""
        # Not before: under twistd a fork and the loss of privileges lie behind us then.
        reactor.callWhenRunning(self.reopen)
        reactor.callWhenRunning(self._trace, reactor)
        collector = GarbageCollector(reactor, lambda: self.service.calls)
        reactor.callWhenRunning(collector.start)
        reactor.addSystemEventTrigger("after", "shutdown", collector.stop)
        reactor.addSystemEventTrigger("after", "shutdown", self.close)

    def _trace(self, reactor: Any) -> None:
        tracer = make_tracer(os.environ, __version__)
        if tracer is not None:
            self.proxy.trace_by(tracer)
            reactor.addSystemEventTrigger("after", "shutdown", tracer.close)

    def change(self, loaded: Loaded) -> list[str]:
        """
        Serve what comes from now on by another configuration.

        :return: the keys that have changed and are only looked at when the process starts.
        :raises ConfigurationError: it cannot be used; the old one goes on.
        """
        config, before = loaded.config, self.proxy.config
        try:
            refuse_unguarded(self._places, config)
        except ListenError as error:
            raise ConfigurationError([Problem(str(error))]) from None
        renewals = [certificate.prepare() for certificate in self._certificates]
        try:
            self._log.change(config.server)
            self._bodies.change(config)
            self.proxy.change(config)
        except ConfigurationError:
            self._log.change(before.server)
            self._bodies.change(before)
            raise
        for renew in renewals:
            renew()
        self.loaded = loaded
        return [
            f"server.{key}"
            for key in _AT_START
            if getattr(config.server, key) != getattr(self._at_start, key)
        ]

    async def use(self, loaded: Loaded) -> list[str]:
        """As :meth:`change`."""
        return self.change(loaded)

    def reopen(self) -> None:
        """Open the logs anew."""
        self._log.reopen()
        self._bodies.reopen()

    def close(self) -> None:
        """Write the logs' last lines, and give them back."""
        self._log.close()
        self._bodies.close()
