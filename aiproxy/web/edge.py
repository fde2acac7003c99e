"""What the configuration says about requests and answers of every route alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiproxy.config.sections import Server
from aiproxy.policy.client_address import LOCAL, TrustedProxies
from aiproxy.transport.http.request import LlhttpRequest

__all__ = ["Edge"]


class Edge:
    """
    Between our routes and the world.

    :param server: returns the section that is valid now: it changes with the plan.
    """

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server
        self._networks: tuple[str, ...] = ()
        self._proxies = TrustedProxies(())

    @property
    def origins(self) -> Sequence[str]:
        """The origins whose pages may call."""
        return self._server().cors

    def find_address(self, raw: Any) -> str:
        """Return who sends a request, Twisted's or ours; ``local`` without a network."""
        peer = str(getattr(raw.getClientAddress(), "host", LOCAL))
        networks = self._server().trusted_proxies
        if not networks:
            return peer
        if networks is not self._networks:
            self._networks, self._proxies = networks, TrustedProxies(networks)
        return self._proxies.find_client(peer, _read_forwarded(raw))


def _read_forwarded(raw: Any) -> list[str]:
    name = b"x-forwarded-for"
    if isinstance(raw, LlhttpRequest):
        values = raw.getHeaders(name)
    else:
        values = raw.requestHeaders.getRawHeaders(name, [])
    return [value.decode("latin-1") for value in values]
