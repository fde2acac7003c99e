"""
The one shape of a route, and how routes are declared on Klein.

A route is ``async def (request) -> None``.  What surrounds it is here: the
guard, our errors as answers, the end of the answer, and the client's going,
which cancels it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aiproxy.errors import AIProxyError, InternalError, MethodNotAllowed, RouteNotFound
from aiproxy.transport.relay import ClientStalled
from aiproxy.web.guard import AdminGuard, Guard
from aiproxy.web.request import ClientRequest, Envelope, write_envelope

__all__ = ["Route", "RoutesResource", "declare"]

Route: TypeAlias = Callable[[ClientRequest], Awaitable[None]]

_log = Logger()
_NOTHING: Mapping[str, str] = MappingProxyType({})


def declare(
    app: Klein,
    paths: list[str],
    method: str,
    route: Route,
    guard: Guard | AdminGuard | None = None,
    envelope: Envelope = write_envelope,
) -> None:
    """
    Declare a route.

    :param guard: who may use it; ``None``: everybody.
    :param envelope: writes an error as the route's clients know it.
    """

    def answer(raw: IRequest, **found: str) -> Coroutine[Any, Any, None]:
        return serve(raw, route, guard, found, envelope)

    for path in paths:
        app.route(path, methods=[method], endpoint=f"{method} {path}")(answer)


async def serve(
    raw: IRequest,
    route: Route,
    guard: Guard | AdminGuard | None = None,
    found: Mapping[str, str] = _NOTHING,
    envelope: Envelope = write_envelope,
) -> None:
    """
    Run a route for one request, to the end of its answer.

    :param found: the variable parts of the path.
    """
    request = ClientRequest(raw, found, envelope)
    raw.notifyFinish().addErrback(_note_gone, request)  # type: ignore[attr-defined]
    try:
        if guard is not None:
            request.principal = guard.admit(request)
        await route(request)
    except ClientStalled:
        request.abort()
    except AIProxyError as error:
        _write_error(request, error)
    except Exception as error:
        # Klein cancels when the client is gone; nobody else should.
        if not (request.gone and isinstance(error, CancelledError)):
            _log.failure("{path} failed (request {id})", path=request.path, id=request.id)
            _write_error(request, InternalError("an internal error; it is in the server's log"))
    request.finish()


def _note_gone(_: object, request: ClientRequest) -> None:
    request.gone = True


def _write_error(request: ClientRequest, error: AIProxyError) -> None:
    if request.gone:
        return
    if request.started:
        # Too late for a status: an end without its framing is an error to all.
        request.abort()
    else:
        request.write_error(error)


class RoutesResource(Resource):
    """
    Klein's resource, behind which nothing answers in HTML.

    Klein's own pages for paths that it does not know, cannot decode or would
    redirect are replaced by errors of ours, before it is asked.
    """

    isLeaf = True

    def __init__(self, app: Klein) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._app = app
        self._klein = app.resource()

    def render(self, request: IRequest) -> Any:
        """Answer a request."""
        problem = self._find_problem(request)
        if problem is None:
            # Klein refuses some in its own words; our routes don't depend on it.
            request.requestHeaders.setRawHeaders(b"host", [b"aiproxy"])
            return self._klein.render(request)
        client = ClientRequest(request)
        client.write_error(problem)
        client.finish()
        return NOT_DONE_YET  # for it is done already

    def _find_problem(self, request: Any) -> AIProxyError | None:
        try:
            segments = request.postpath
            if b"" in segments[:-1]:  # Klein would take // for /
                return RouteNotFound("there is nothing at this path")
            path = "/" + b"/".join(segments).decode("utf-8")
            method = request.method.decode("ascii")
        except UnicodeDecodeError:
            return RouteNotFound("there is nothing at this path")
        routes = self._app.url_map.bind("aiproxy")
        if routes.test(path, method):
            return None
        allowed = routes.allowed_methods(path)
        if allowed:
            return MethodNotAllowed(f"{method[:20]} is not possible here", allowed=allowed)
        return RouteNotFound("there is nothing at this path")
