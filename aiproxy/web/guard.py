"""Who may use a route."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import frozen

from aiproxy.errors import AuthenticationFailed
from aiproxy.policy.access import Access, Principal
from aiproxy.web.request import ClientRequest

__all__ = ["Guard"]


@frozen
class Guard:
    """
    Looks at a request's token.

    :param access: gives the tokens that are valid now: they change with the plan.
    :param wall: seconds since the epoch.
    """

    access: Callable[[], Access]
    wall: Callable[[], float]

    def admit(self, request: ClientRequest) -> Principal:
        """
        Return who asks.

        :raises AuthenticationFailed: for every reason the same.
        """
        token = _read_token(request)
        now = datetime.fromtimestamp(self.wall(), UTC)
        principal = self.access().identify(token, now) if token else None
        if principal is None:
            raise AuthenticationFailed("a valid access token is required")
        return principal


def _read_token(request: ClientRequest) -> str:
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return (request.header("x-api-key") or "").strip()
