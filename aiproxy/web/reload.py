"""``POST /admin/reload``: the configuration is loaded anew."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from aiproxy.errors import AIProxyError, OurError
from aiproxy.web.request import ClientRequest

__all__ = ["Reload", "ReloadRoute", "unavailable"]

#: Loads it, and returns what there is to say about it.
Reload = Callable[[], Awaitable[Mapping[str, object]]]

_log = Logger()


@frozen
class ReloadRoute:
    """
    A configuration that cannot be used changes nothing; the answer has every
    problem, with file and line.

    :param load: does it.
    """

    load: Reload

    async def reload(self, request: ClientRequest) -> None:
        """Answer when it is done."""
        request.write_json(await _shield(self.load))


async def unavailable() -> Mapping[str, object]:
    """Nobody has said how the configuration is loaded anew."""
    raise OurError(
        "this server does not know where its configuration comes from",
        code="reload_unavailable",
        status=501,
    )


def _shield(load: Reload) -> Deferred[Mapping[str, object]]:
    """Run it to its end also when the client leaves, which cancels who waits for it."""
    waiting: Deferred[Mapping[str, object]] = Deferred()

    async def run() -> None:
        try:
            report = await load()
        except Exception as error:
            if waiting.called and not isinstance(error, AIProxyError):
                _log.failure("reloading the configuration failed")
            waiting.errback(error)
        else:
            waiting.callback(report)

    Deferred.fromCoroutine(run())
    return waiting
