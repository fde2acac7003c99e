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

from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aiproxy.errors import AIProxyError, InternalError, MethodNotAllowed, RouteNotFound
from aiproxy.transport.http.llhttp_site import HotRoute, HotRoutes
from aiproxy.transport.http.request import LlhttpRequest
from aiproxy.transport.relay import ClientStalled
from aiproxy.web.cors import answer_headers
from aiproxy.web.edge import Edge
from aiproxy.web.envelopes import Envelope, openai_envelope
from aiproxy.web.guard import AdminGuard, Guard
from aiproxy.web.request import ClientRequest

__all__ = ["DeclaredRoute", "Over", "Route", "RoutesResource", "declare"]

Route: TypeAlias = Callable[[ClientRequest], Awaitable[None]]
Over: TypeAlias = Callable[[ClientRequest, BaseException | None], None]

_log = Logger()
#: What the official clients append to the base URL that they are given.
_WHAT_CLIENTS_APPEND = ("/chat/completions", "/embeddings", "/messages", "/models", "/responses")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@frozen
class DeclaredRoute:
    """
    A route at one path.

    :param path: as it is declared.
    :param edge: what holds for every route.
    :param guard: who may use it; ``None``: everybody.
    :param envelope: writes an error as the route's clients know it.
    :param over: called when a request is over that never became a call, with
        why it has no answer; ``None``: nobody is told.
    """

    route: Route
    path: str
    edge: Edge
    guard: Guard | AdminGuard | None = None
    envelope: Envelope = openai_envelope
    over: Over | None = None

    #: Whether pages of allowed origins may ask: what is the operator's is no page's.
    cross_origin: bool = field(init=False)

    @cross_origin.default
    def _is_cross_origin(self) -> bool:
        return not isinstance(self.guard, AdminGuard)

    async def answer(self, raw: Any, found: Mapping[str, str] = _NOTHING) -> None:
        """
        Answer one request, to the end.

        :param found: the variable parts of the path.
        """
        request = ClientRequest(raw, self.edge, found, self.envelope, self.path, self.cross_origin)
        failure: BaseException | None = None
        try:
            if self.guard is not None:
                request.principal = self.guard.admit(request)
            await self.route(request)
        except ClientStalled as stalled:
            failure = stalled
            request.abort()
        except AIProxyError as error:
            failure = error
            _write_error(request, error)
        except Exception as error:
            failure = error
            # Who has asked is gone, so we are cancelled; nobody else should do so.
            if not (request.gone and isinstance(error, CancelledError)):
                _log.failure("{path} failed (request {id})", path=request.path, id=request.id)
                _write_error(request, InternalError("an internal error; it is in the server's log"))
        request.finish()
        if self.over is not None and not request.called:
            self.over(request, failure)
        failure = None  # Its traceback holds this frame.

    def start(self, raw: LlhttpRequest) -> None:
        """Answer one request that has not come by way of Klein."""
        raw.answer_by(self.answer(raw))


def declare(
    app: Klein,
    paths: list[str],
    method: str,
    route: Route,
    edge: Edge,
    guard: Guard | AdminGuard | None = None,
    envelope: Envelope = openai_envelope,
    over: Over | None = None,
) -> None:
    """Declare a route at several paths; see :class:`DeclaredRoute`."""
    for path in paths:
        declared = DeclaredRoute(route, path, edge, guard, envelope, over)
        app.route(path, methods=[method], endpoint=f"{method} {path}")(_for_klein(declared))


def _for_klein(declared: DeclaredRoute) -> Callable[..., Coroutine[Any, Any, None]]:
    def answer(raw: IRequest, **found: str) -> Coroutine[Any, Any, None]:
        return declared.answer(raw, found)

    answer.declared = declared  # type: ignore[attr-defined]
    return answer


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

    :param edge: what holds for every route.
    :param over: called when a request is over that has found no route.
    """

    isLeaf = True

    def __init__(self, app: Klein, edge: Edge, over: Over | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._app = app
        self._edge = edge
        self._over = over
        self._klein = app.resource()

    def hot_routes(self) -> HotRoutes:
        """
        Return who answers each path that has no variable parts, as Klein has it.

        Such requests need not go through Klein: it would come to the same.
        """
        hot: dict[tuple[bytes, bytes], HotRoute] = {}
        for rule in self._app.url_map.iter_rules():
            if rule.arguments:
                continue
            declared = self._find_declared(rule.endpoint)
            for method in rule.methods or ():
                if method != "HEAD":
                    hot[method.encode(), rule.rule.encode()] = declared.start
        return hot

    def describe_error(
        self, error: AIProxyError, request_id: bytes, target: bytes, origin: bytes | None
    ) -> tuple[Mapping[bytes, bytes], bytes]:
        """Describe an error of a request that never came here, as its path's clients know it."""
        path = target.partition(b"?")[0].decode("utf-8", "replace")
        envelope: Envelope = openai_envelope
        cross_origin = True
        routes = self._app.url_map.bind("aiproxy")
        for method in () if "//" in path else routes.allowed_methods(path):
            beside = self._find_beside(path, method)
            envelope, cross_origin = beside.envelope, beside.cross_origin
        headers = {b"x-request-id": request_id}
        if envelope is not openai_envelope:
            headers[b"request-id"] = request_id
        if cross_origin and (origins := self._edge.origins):
            headers.update(answer_headers(origins, origin, headers))
        return headers, envelope(error)

    def render(self, request: IRequest) -> Any:
        """Answer a request."""
        if not request.postpath:
            # Below a prefix, /ai is as /ai/: Klein would redirect.
            request.postpath = [b""]
        problem = self._find_problem(request)
        if problem is None:
            # Klein refuses some in its own words; our routes don't depend on it.
            request.requestHeaders.setRawHeaders(b"host", [b"aiproxy"])
            return self._klein.render(request)
        client = ClientRequest(request, self._edge)
        failure: AIProxyError | None = problem
        if isinstance(problem, MethodNotAllowed):
            beside = self._find_beside(_read_path(request), problem.allowed[0])
            client.cross_origin, client.envelope = beside.cross_origin, beside.envelope
            if request.method == b"OPTIONS" and client.write_preflight(problem.allowed):
                failure = None
        if failure is not None:
            client.write_error(failure)
        client.finish()
        if self._over is not None:
            self._over(client, failure)
        return NOT_DONE_YET  # for it is done already

    def _find_declared(self, endpoint: str) -> DeclaredRoute:
        # What Klein makes of a handler keeps its attributes.
        declared: DeclaredRoute = self._app.endpoints[endpoint].declared  # type: ignore[attr-defined]
        return declared

    def _find_beside(self, path: str, method: str) -> DeclaredRoute:
        """Return the route at a path for another method."""
        endpoint, _ = self._app.url_map.bind("aiproxy").match(path, method)
        return self._find_declared(endpoint)

    def _find_problem(self, request: Any) -> AIProxyError | None:
        try:
            path = _read_path(request)
            if "//" in path:  # Klein would take it for /, or redirect.
                return _nothing_at(path)
            method = request.method.decode("ascii")
        except UnicodeDecodeError:
            return RouteNotFound("there is nothing at this path")
        routes = self._app.url_map.bind("aiproxy")
        if routes.test(path, method):
            return None
        allowed = routes.allowed_methods(path)
        if allowed:
            methods = " or ".join(sorted(allowed))
            message = f"{method[:20]} is not possible here, {methods} is"
            return MethodNotAllowed(message, allowed=allowed)
        return _nothing_at(path)


def _nothing_at(path: str) -> RouteNotFound:
    """Say that there is nothing, and what was meant: mostly a client's base URL is a wrong one."""
    if "//" in path:
        hint = "; it has two slashes in a row"
    elif path.rstrip("/").endswith(_WHAT_CLIENTS_APPEND):
        hint = "; the base URL of OpenAI's clients ends in /v1, that of Anthropic's has none"
    else:
        hint = ""
    return RouteNotFound(f"there is nothing at this path{hint}")


def _read_path(request: Any) -> str:
    return "/" + b"/".join(request.postpath).decode("utf-8")
