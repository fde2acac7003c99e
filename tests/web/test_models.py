"""Tests of :mod:`aiproxy.web.models`."""

from __future__ import annotations

from tests.web.serving import ServingTestCase


class ModelsTests(ServingTestCase):
    """What a client can ask for."""

    def test_list(self) -> None:
        """Models, groups and sizes are listed."""
        for path in ("/v1/models", "/models"):
            document = self.ask("GET", path).json
            self.assertEqual(document["object"], "list")
            self.assertEqual(
                [model["id"] for model in document["data"]],
                ["demo/echo", "scripted/one", "any/*", "team", "SMALL"],
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
