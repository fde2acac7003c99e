"""Our HTTP face: every route, on Klein."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from klein import Klein

from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.dialects.images_face import ImagesFace, LegacyImageFace
from aiproxy.dialects.messages_face import MessagesFace
from aiproxy.dialects.model_lists import ListedModel
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, MODERATIONS, RERANK
from aiproxy.dialects.raw_face import RawFace
from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.gateway.metrics import Dump
from aiproxy.policy.throttle import AuthThrottle
from aiproxy.web.calls import CallRoute, PassedRoute
from aiproxy.web.edge import Edge
from aiproxy.web.envelopes import Envelope, anthropic_envelope, openai_envelope
from aiproxy.web.explain import ExplainRoute
from aiproxy.web.guard import AdminGuard, Guard, Turnstile
from aiproxy.web.health import HealthRoutes
from aiproxy.web.metrics import MetricsRoute
from aiproxy.web.models import ModelRoutes
from aiproxy.web.openapi import show_document
from aiproxy.web.reload import Reload, ReloadRoute, unavailable
from aiproxy.web.request import ClientRequest
from aiproxy.web.routes import Over, Route, RoutesResource, declare

__all__ = ["make_resource"]

#: Whose bodies pass to providers that speak OpenAI's API.
_PASSED = (
    RawFace(COMPLETIONS, "/completions"),
    RawFace(MODERATIONS, "/moderations"),
    RawFace(AUDIO, "/audio/transcriptions"),
    RawFace(AUDIO, "/audio/translations"),
    RawFace(AUDIO, "/audio/speech", as_it_comes=True),
    RawFace(RERANK, "/rerank"),
    ResponsesFace(),
)
#: And to Anthropic's.
_MESSAGES = (MessagesFace(), MessagesFace(route="/messages/count_tokens"))


async def _no_metrics() -> Dump:
    return {}


def make_resource(
    dispatcher: Dispatcher,
    *,
    wall: Callable[[], float],
    unready: Callable[[], str | None],
    discovered: Callable[[], Mapping[str, Iterable[ListedModel]]] = dict,
    metrics: Callable[[], Awaitable[Dump]] = _no_metrics,
    reload: Reload = unavailable,
) -> RoutesResource:
    """
    Make the resource that serves all routes.

    :param wall: seconds since the epoch.
    :param unready: says why no new client should come, if so.
    :param discovered: what is known of the providers' own lists of models.
    :param metrics: returns the numbers of now.
    :param reload: loads the configuration anew, and returns what there is to say about it.
    """
    app = Klein()
    edge = Edge(dispatcher)
    turnstile = Turnstile(AuthThrottle(), dispatcher.shared.clock.seconds)
    clients = Guard(turnstile, dispatcher, wall)
    operator = AdminGuard(turnstile, lambda: dispatcher.plan.config.admin_token)
    health = HealthRoutes(unready)
    models = ModelRoutes(lambda: dispatcher.plan, discovered)
    chat = CallRoute(dispatcher, OpenAIFace())

    over = _teller(dispatcher)

    def post(route: Route, *paths: str, envelope: Envelope = openai_envelope) -> None:
        declare(app, [*paths], "POST", route, edge, clients, envelope, over)

    def get(route: Route, *paths: str) -> None:
        declare(app, [*paths], "GET", route, edge, clients, over=over)

    post(chat.answer, "/v1/chat/completions", "/chat/completions", "/")
    post(CallRoute(dispatcher, EmbeddingsFace()).answer, "/v1/embeddings", "/embeddings")
    images = CallRoute(dispatcher, ImagesFace())
    post(images.answer, "/v1/images/generations", "/images/generations")
    post(CallRoute(dispatcher, LegacyImageFace()).answer, "/image")
    for face in _PASSED:
        post(PassedRoute(dispatcher, face).answer, f"/v1{face.route}", face.route)
    for face in _MESSAGES:
        passed = PassedRoute(dispatcher, face)
        post(passed.answer, f"/v1{face.route}", envelope=anthropic_envelope)
    get(models.list_models, "/v1/models", "/models")
    get(models.show_model, "/v1/models/<path:model>", "/models/<path:model>")
    explain = ExplainRoute(dispatcher).explain
    declare(app, ["/v1/route/explain"], "POST", explain, edge, operator, over=over)
    declare(app, ["/admin/reload"], "POST", ReloadRoute(reload).reload, edge, operator, over=over)
    declare(app, ["/metrics"], "GET", MetricsRoute(metrics).show, edge, operator)
    declare(app, ["/"], "GET", health.greet, edge)
    declare(app, ["/ping"], "GET", health.ping, edge)
    declare(app, ["/health", "/health/live"], "GET", health.live, edge)
    declare(app, ["/health/ready"], "GET", health.ready, edge)
    declare(app, ["/openapi.json"], "GET", show_document, edge, over=over)
    return RoutesResource(app, edge, over)


def _teller(dispatcher: Dispatcher) -> Over:
    """Return what accounts for a request that never became a call."""

    def over(request: ClientRequest, error: BaseException | None) -> None:
        dispatcher.account_uncalled(
            request.id,
            request.address,
            error,
            key=None if request.principal is None else request.principal.name,
            route=request.route,
            status=request.status,
        )

    return over
