"""Who may use a route."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from attrs import frozen

from aiproxy.config.secret import Secret
from aiproxy.errors import AuthenticationFailed, RouteNotFound
from aiproxy.policy.access import Access, Principal
from aiproxy.web.request import ClientRequest

__all__ = ["AdminGuard", "Guard"]


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
        principal = self.access().identify(token, self.wall()) if token else None
        if principal is None:
            raise AuthenticationFailed("a valid access token is required")
        return principal


@frozen
class AdminGuard:
    """
    Lets the operator in, and nobody where there is no ``ADMIN_TOKEN``.

    :param token: the one that is valid now; ``None``: the admin routes are off.
    """

    token: Callable[[], Secret | None]

    def admit(self, request: ClientRequest) -> Principal:
        """
        Return who asks.

        :raises RouteNotFound: the admin routes are off.
        :raises AuthenticationFailed: the token is wrong.
        """
        token = self.token()
        if token is None:
            raise RouteNotFound("there is nothing at this path")
        shown = hashlib.sha256(_read_token(request).encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(shown, token.digest):
            raise AuthenticationFailed("a valid admin token is required")
        return Principal("ADMIN_TOKEN")


def _read_token(request: ClientRequest) -> str:
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return (request.header("x-api-key") or "").strip()
