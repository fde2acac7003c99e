"""Whether the server is alive and can serve."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from aiproxy.web.request import ClientRequest

__all__ = ["HealthRoutes"]


@frozen
class HealthRoutes:
    """
    The routes that need no key; they tell nothing of the configuration.

    :param unready: says why no new client should come here, if so.
    """

    unready: Callable[[], str | None]

    async def greet(self, request: ClientRequest) -> None:
        """``GET /``: what this is."""
        text = "aiproxy: OpenAI's HTTP API in front of every AI provider. Try GET /v1/models\n"
        request.write_body(text.encode(), "text/plain; charset=utf-8")

    async def ping(self, request: ClientRequest) -> None:
        """``GET /ping``."""
        request.write_body(b"OK", "text/plain; charset=utf-8")

    async def live(self, request: ClientRequest) -> None:
        """``GET /health/live`` and ``/health``: the process answers."""
        request.write_json({"status": "ok"})

    async def ready(self, request: ClientRequest) -> None:
        """``GET /health/ready``: clients may come."""
        why = self.unready()
        if why is None:
            request.write_json({"status": "ready"})
        else:
            request.write_json({"status": "not ready", "reason": why}, status=503)
