"""
The provider type ``chaos``: an upstream in this process, for drills.

All of the real way is taken, from the HTTP client and its pool to the
dialect; only the sockets are missing.  The script stands in the ``body`` of
the provider or the model, under ``chaos``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from aiproxy.config.schema import Model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import ConfigurationError, Problem
from aiproxy.interfaces import IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.providers.chaos.network import MemoryNetwork
from aiproxy.providers.chaos.script import ScriptError
from aiproxy.providers.chaos.upstream import ChaosUpstream
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient

__all__ = ["ChaosProvider"]

#: Never sent: the upstream has its script already.
_KEY: Final = "chaos"


@implementer(IProvider)
class ChaosProvider:
    """
    Serves one model, by its own script.

    :param clock: for all of the upstream's waits.
    :raises ConfigurationError: the model's script is none.
    :ivar upstream: what answers.
    """

    def __init__(self, clock: IReactorTime, model: Model) -> None:
        script = model.body.get(_KEY, ())
        try:
            # Connections that nobody keeps leave no timers behind.
            self.upstream = ChaosUpstream(
                script, clock=clock, name=model.name, keep_alive=False, records=False
            )
        except ScriptError as error:
            raise ConfigurationError(
                Problem(f"model {model.name}: body.{_KEY}: {mistake}") for mistake in error.mistakes
            ) from error
        client = UpstreamClient(MemoryNetwork(clock, self.upstream))
        self._http = HTTPProvider(client, OpenAIDialect())

    def start(self, call: Call) -> Deferred[IReply]:
        """Send the call to the upstream."""
        return self._http.start(
            evolve(call, candidate=evolve(call.candidate, model=self._at(call)))
        )

    def _at(self, call: Call) -> Model:
        model = call.candidate.model
        body: Mapping[str, object] = {k: v for k, v in model.body.items() if k != _KEY}
        # With TLS only where that shall fail.
        scheme = "https" if self.upstream.next.fault == "tls" else "http"
        return evolve(model, url=None, base_url=f"{scheme}://drill.invalid/v1", body=body)
