"""Who may use a route."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable

from attrs import frozen
from twisted.logger import Logger

from aiproxy.config.secret import Secret
from aiproxy.errors import AuthenticationFailed, LimitReached, RouteNotFound
from aiproxy.policy.access import Principal, token_digest
from aiproxy.policy.client_address import client_network
from aiproxy.policy.throttle import BLOCK_SECONDS, AuthThrottle
from aiproxy.web.edge import Planned
from aiproxy.web.request import ClientRequest

__all__ = ["AdminGuard", "Guard", "Turnstile"]

_log = Logger()
_OPERATOR = Principal("ADMIN_TOKEN")


@frozen
class Turnstile:
    """
    Where tokens are shown; behind all guards there is one.

    :param throttle: holds back who comes with too many that are wrong.
    :param clock: monotonic seconds.
    """

    throttle: AuthThrottle
    clock: Callable[[], float]

    def admit(
        self, request: ClientRequest, find: Callable[[bytes], Principal | None], wanted: str
    ) -> Principal:
        """
        Return who asks.

        A missing token guesses nothing: it counts, but the answer is always the
        same, for some clients show theirs only after it.

        :param find: returns whose token has a digest.
        :param wanted: what the error calls the token.
        :raises AuthenticationFailed: the token is missing or wrong.
        :raises LimitReached: there were too many of those.
        """
        token, address = _read_token(request), request.address
        if token:
            digest = token_digest(token)
            known = self.throttle.knows(address, digest)
            if not known:
                self._check(address)
            principal = find(digest)
            if principal is not None:
                if not known:
                    self.throttle.remember(address, digest)
                return principal
        if self.throttle.fail(address, self.clock()):
            _log.warn(
                "too many requests with a wrong token or none from {client}: "
                "those with a token not yet known from there are refused for {seconds:g} seconds",
                client=client_network(address),
                seconds=BLOCK_SECONDS,
            )
        raise AuthenticationFailed(f"a valid {wanted} token is required")

    def _check(self, address: str) -> None:
        wait = self.throttle.wait(address, self.clock())
        if wait:
            raise LimitReached(
                f"too many requests with a wrong token or none; wait {math.ceil(wait)} s",
                code="too_many_failed_authentications",
                retry_after=wait,
            )


@frozen
class Guard:
    """
    Looks at a request's token.

    :param turnstile: where it is shown.
    :param plans: has the plan of now, with the tokens that are valid.
    :param wall: seconds since the epoch.
    """

    turnstile: Turnstile
    plans: Planned
    wall: Callable[[], float]

    def admit(self, request: ClientRequest) -> Principal:
        """
        Return who asks.

        :raises AuthenticationFailed: for every reason the same.
        :raises LimitReached: as :meth:`Turnstile.admit`.
        """
        return self.turnstile.admit(request, self._find, "access")

    def _find(self, digest: bytes) -> Principal | None:
        return self.plans.plan.access.identify(digest, self.wall())


@frozen
class AdminGuard:
    """
    Lets the operator in, and nobody where there is no ``ADMIN_TOKEN``.

    :param turnstile: where a token is shown.
    :param token: the one that is valid now; ``None``: the admin routes are off.
    """

    turnstile: Turnstile
    token: Callable[[], Secret | None]

    def admit(self, request: ClientRequest) -> Principal:
        """
        Return who asks.

        :raises RouteNotFound: the admin routes are off.
        :raises AuthenticationFailed: the token is wrong.
        :raises LimitReached: as :meth:`Turnstile.admit`.
        """
        token = self.token()
        if token is None:
            raise RouteNotFound("this route is off, for ADMIN_TOKEN is not set")
        valid = token.digest

        def find(digest: bytes) -> Principal | None:
            return _OPERATOR if hmac.compare_digest(digest, valid) else None

        return self.turnstile.admit(request, find, "admin")


def _read_token(request: ClientRequest) -> str:
    scheme, _, token = (request.find_header(b"authorization") or b"").partition(b" ")
    if scheme.lower() == b"bearer" and (stripped := token.strip()):
        return stripped.decode("utf-8", "surrogateescape")
    return (request.header("x-api-key") or "").strip()
