"""How often somebody may come with a token that is not valid."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from attrs import Factory, define

from aiproxy.policy.client_address import client_network

__all__ = ["BLOCK_SECONDS", "MOST_FAILURES", "AuthThrottle"]

#: So many failures within such a time block an address, and for how long.
MOST_FAILURES: Final = 20
WINDOW_SECONDS: Final = 60.0
BLOCK_SECONDS: Final = 60.0

#: What is remembered of each kind; the oldest is forgotten.
_MOST_REMEMBERED: Final = 10_000


@define
class _Failures:
    """
    What went wrong from one address.

    :ivar times: when, of those that still count.
    :ivar blocked_until: nothing counts until then.
    """

    times: list[float] = Factory(list)
    blocked_until: float = 0.0

    def matter(self, now: float) -> bool:
        """Whether they still have a meaning."""
        recent = bool(self.times) and self.times[-1] > now - WINDOW_SECONDS
        return recent or self.blocked_until > now


class AuthThrottle:
    """
    Holds back who tries one token after the other.

    An address is a client's, or of IPv6 its network.  When it is blocked, the
    tokens that were good from there go on working: behind one address there may
    be many clients, and one that is broken does not lock the others out.  Any
    other token is not even looked at, so nobody learns whether it is right.

    Times are those of one monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._known: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    def knows(self, address: str, digest: bytes) -> bool:
        """Whether a token was good from there before."""
        return (client_network(address), digest) in self._known

    def remember(self, address: str, digest: bytes) -> None:
        """A token is good."""
        self._known[client_network(address), digest] = None
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    def wait(self, address: str, now: float) -> float:
        """Return for how many seconds an address is blocked; 0: it is not."""
        if not self._failures:
            return 0.0
        failures = self._failures.get(client_network(address))
        return 0.0 if failures is None else max(0.0, failures.blocked_until - now)

    def fail(self, address: str, now: float) -> bool:
        """Count a token that is wrong or missing; return whether that has blocked the address."""
        self._forget(now)
        client = client_network(address)
        failures = self._failures.setdefault(client, _Failures())
        self._failures.move_to_end(client)
        if len(self._failures) > _MOST_REMEMBERED:
            self._failures.popitem(last=False)
        if failures.blocked_until > now:
            return False
        failures.times = [time for time in failures.times if time > now - WINDOW_SECONDS]
        failures.times.append(now)
        if len(failures.times) < MOST_FAILURES:
            return False
        failures.times = []
        failures.blocked_until = now + BLOCK_SECONDS
        return True

    def _forget(self, now: float) -> None:
        while self._failures:
            oldest = next(iter(self._failures))
            if self._failures[oldest].matter(now):
                break
            del self._failures[oldest]
