"""Our HTTP face: every route, on Klein."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from klein import Klein
from twisted.web.resource import IResource

from aiproxy.dialects.model_lists import ListedModel
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.web.calls import CallRoute
from aiproxy.web.guard import Guard
from aiproxy.web.health import HealthRoutes
from aiproxy.web.models import ModelRoutes
from aiproxy.web.routes import RoutesResource, declare

__all__ = ["make_resource"]


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
    health = HealthRoutes(unready)
    models = ModelRoutes(lambda: dispatcher.plan, discovered)
    chat = CallRoute(dispatcher, OpenAIFace())

    declare(app, ["/v1/chat/completions", "/chat/completions", "/"], "POST", chat.answer, clients)
    declare(app, ["/v1/models", "/models"], "GET", models.list_models, clients)
    declare(
        app, ["/v1/models/<path:model>", "/models/<path:model>"], "GET", models.show_model, clients
    )
    declare(app, ["/"], "GET", health.greet)
    declare(app, ["/ping"], "GET", health.ping)
    declare(app, ["/health", "/health/live"], "GET", health.live)
    declare(app, ["/health/ready"], "GET", health.ready)
    return RoutesResource(app)
