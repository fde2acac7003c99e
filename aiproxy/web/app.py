"""Our HTTP face: every route, on Klein."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from klein import Klein
from twisted.web.resource import IResource

from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.dialects.images_face import ImagesFace, LegacyImageFace
from aiproxy.dialects.messages_face import MessagesFace
from aiproxy.dialects.model_lists import ListedModel
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, MODERATIONS, RERANK
from aiproxy.dialects.raw_face import RawFace
from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.web.calls import CallRoute, PassedRoute
from aiproxy.web.envelopes import anthropic_envelope
from aiproxy.web.explain import ExplainRoute
from aiproxy.web.guard import AdminGuard, Guard
from aiproxy.web.health import HealthRoutes
from aiproxy.web.models import ModelRoutes
from aiproxy.web.routes import RoutesResource, declare

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


def make_resource(
    dispatcher: Dispatcher,
    *,
    wall: Callable[[], float],
    unready: Callable[[], str | None],
    discovered: Callable[[], Mapping[str, Iterable[ListedModel]]] = dict,
) -> IResource:
    """
    Make the resource that serves all routes.

    :param wall: seconds since the epoch.
    :param unready: says why no new client should come, if so.
    :param discovered: what is known of the providers' own lists of models.
    """
    app = Klein()
    clients = Guard(lambda: dispatcher.plan.access, wall)
    operator = AdminGuard(lambda: dispatcher.plan.config.admin_token)
    health = HealthRoutes(unready)
    models = ModelRoutes(lambda: dispatcher.plan, discovered)
    chat = CallRoute(dispatcher, OpenAIFace())

    declare(app, ["/v1/chat/completions", "/chat/completions", "/"], "POST", chat.answer, clients)
    embeddings = CallRoute(dispatcher, EmbeddingsFace())
    images = CallRoute(dispatcher, ImagesFace())
    declare(app, ["/v1/embeddings", "/embeddings"], "POST", embeddings.answer, clients)
    declare(app, ["/v1/images/generations", "/images/generations"], "POST", images.answer, clients)
    declare(app, ["/image"], "POST", CallRoute(dispatcher, LegacyImageFace()).answer, clients)
    for face in _PASSED:
        passed = PassedRoute(dispatcher, face)
        declare(app, [f"/v1{face.route}", face.route], "POST", passed.answer, clients)
    for face in _MESSAGES:
        passed = PassedRoute(dispatcher, face)
        declare(app, [f"/v1{face.route}"], "POST", passed.answer, clients, anthropic_envelope)
    declare(app, ["/v1/models", "/models"], "GET", models.list_models, clients)
    declare(
        app, ["/v1/models/<path:model>", "/models/<path:model>"], "GET", models.show_model, clients
    )
    declare(app, ["/v1/route/explain"], "POST", ExplainRoute(dispatcher).explain, operator)
    declare(app, ["/"], "GET", health.greet)
    declare(app, ["/ping"], "GET", health.ping)
    declare(app, ["/health", "/health/live"], "GET", health.live)
    declare(app, ["/health/ready"], "GET", health.ready)
    return RoutesResource(app)
