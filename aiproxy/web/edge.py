"""What the configuration says about requests and answers of every route alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from aiproxy.gateway.plan import Plan
from aiproxy.policy.client_address import LOCAL, TrustedProxies
from aiproxy.transport.http.request import LlhttpRequest

__all__ = ["Edge", "Planned", "read_values"]


class Planned(Protocol):
    """
    Who has the plan that is valid now, as :class:`aiproxy.gateway.dispatch.Dispatcher` has it.

    A reload replaces it.
    """

    plan: Plan


class Edge:
    """
    Between our routes and the world.

    :param plans: has the plan that is valid now.
    """

    def __init__(self, plans: Planned) -> None:
        self._plans = plans
        self._networks: tuple[str, ...] = ()
        self._proxies = TrustedProxies(())

    @property
    def origins(self) -> Sequence[str]:
        """The origins whose pages may call."""
        return self._plans.plan.config.server.cors

    def find_address(self, raw: Any) -> str:
        """Return who sends a request, Twisted's or ours; ``local`` without a network."""
        peer = str(getattr(raw.getClientAddress(), "host", LOCAL))
        networks = self._plans.plan.config.server.trusted_proxies
        if not networks:
            return peer
        if networks is not self._networks:
            self._networks, self._proxies = networks, TrustedProxies(networks)
        forwarded = [value.decode("latin-1") for value in read_values(raw, b"x-forwarded-for")]
        return self._proxies.find_client(peer, forwarded)


def read_values(raw: Any, name: bytes) -> Sequence[bytes]:
    """
    Return all values of a header of a request, Twisted's or ours.

    :param name: in lower case.
    """
    if isinstance(raw, LlhttpRequest):
        return raw.getHeaders(name)
    values: Sequence[bytes] = raw.requestHeaders.getRawHeaders(name, [])
    return values
