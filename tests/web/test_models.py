"""Tests of :mod:`aiproxy.web.models`."""

from __future__ import annotations

from klein import Klein

from aiproxy.dialects.model_lists import ListedModel
from aiproxy.policy.throttle import AuthThrottle
from aiproxy.web.edge import Edge
from aiproxy.web.guard import Guard, Turnstile
from aiproxy.web.models import ModelRoutes
from aiproxy.web.routes import RoutesResource, declare
from tests.sites import make_site
from tests.transport.http.clients import Client
from tests.web.serving import NOW, ServingTestCase

OURS = ["demo/echo", "scripted/one", "any/*", "team", "SMALL"]


class ModelsTests(ServingTestCase):
    """What a client can ask for."""

    def test_list(self) -> None:
        """Models, groups and sizes are listed."""
        for path in ("/v1/models", "/models"):
            document = self.ask("GET", path).json
            self.assertEqual(document["object"], "list")
            self.assertEqual(
                [model["id"] for model in document["data"]],
                OURS,
            )

    def test_show(self) -> None:
        """An id may hold slashes, escaped or not."""
        for name in ("scripted/one", "scripted%2Fone", "scripted%2fone"):
            model = self.ask("GET", f"/v1/models/{name}").json
            self.assertEqual(
                model,
                {
                    "id": "scripted/one",
                    "object": "model",
                    "created": 0,
                    "owned_by": "scripted",
                    "context_window": 4096,
                },
            )

    def test_virtual(self) -> None:
        """Groups and sizes are ours; a wildcard shows what it would serve."""
        for name in ("team", "SMALL"):
            self.assertEqual(self.ask("GET", f"/models/{name}").json["owned_by"], "aiproxy")
        self.assertEqual(self.ask("GET", "/models/any/a%2Fb").json["id"], "any/a/b")

    def test_unknown(self) -> None:
        """An unknown one is a 404 with the nearest names."""
        for name in ("demo/ech", "BIG"):
            answer = self.ask("GET", f"/v1/models/{name}")
            self.assertEqual((answer.status, answer.error["code"]), (404, "model_not_found"))
            self.assertEqual(answer.error["type"], "model_selection_error")
        self.assertIn("demo/echo", self.ask("GET", "/v1/models/demo/ech").error["message"])


class DiscoveredTests(ServingTestCase):
    """Models that only the providers know by name."""

    def test_listed(self) -> None:
        """They stand behind our own, once, and only for who may use them."""
        listed = [ListedModel("any/a", 7), ListedModel("scripted/one"), ListedModel("any/b")]
        app = Klein()
        routes = ModelRoutes(lambda: self.proxy._dispatcher.plan, lambda: {"any/*": listed})
        turnstile = Turnstile(AuthThrottle(), self.clock.seconds)
        guard = Guard(turnstile, self.proxy._dispatcher, lambda: NOW)
        edge = Edge(self.proxy._dispatcher)
        declare(app, ["/v1/models"], "GET", routes.list_models, edge, guard)
        site = make_site(RoutesResource(app, edge), self.clock, max_request_bytes=1_000)
        self.client = Client(site, self.clock)
        models = self.ask("GET", "/v1/models").json["data"]
        names = [model["id"] for model in models]
        self.assertEqual(names, [*OURS, "any/a", "any/b"])
        self.assertEqual([model.get("context_window") for model in models[-2:]], [7, None])
        self.assertEqual(models[-1]["owned_by"], "scripted")
        self.client.ask("GET", "/v1/models", "Authorization: Bearer sk-narrow")
        narrow = [model["id"] for model in self.client.answer().json["data"]]
        self.assertEqual(narrow, ["scripted/one", "any/*", "any/a", "any/b"])
