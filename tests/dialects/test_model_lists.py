"""Tests of :mod:`aiproxy.dialects.model_lists`."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.model_lists import ListedModel, list_route, read_model_list
from aiproxy.errors import UpstreamError
from tests.dialects.recordings import read_recordings


class ModelListTests(SynchronousTestCase):
    """What providers say that they offer."""

    def read(self, document: object) -> list[ListedModel]:
        """Read a list."""
        return read_model_list(json.dumps(document).encode())

    def test_shapes(self) -> None:
        """OpenAI's, Gemini's, Cohere's and a bare list; each name once."""
        for document in (
            {"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"id": "a"}]},
            {"models": [{"name": "models/a"}, {"name": "models/b"}], "nextPageToken": "x"},
            {"models": [{"name": "a"}, {"name": "b", "id": 7}]},
            [{"id": "a", "name": "The A"}, {"id": "b"}, {"id": ""}, {"id": "x\n"}, "odd", {}],
        ):
            self.assertEqual([listed.name for listed in self.read(document)], ["a", "b"])

    def test_rooms(self) -> None:
        """The room for a conversation, whatever it is called."""
        told: list[dict[str, Any]] = [
            {"id": "a", "context_length": 1},
            {"id": "b", "max_context_length": 2},
            {"name": "models/c", "inputTokenLimit": 3},
            {"id": "d", "context_length": "many"},
        ]
        self.assertEqual([listed.context_window for listed in self.read(told)], [1, 2, 3, None])

    def test_no_list(self) -> None:
        """Anything else is an error."""
        others: tuple[object, ...] = ({}, {"data": {}}, "x", {"error": {"message": "no"}})
        for document in others:
            self.assertRaises(UpstreamError, self.read, document)
        self.assertRaises(UpstreamError, read_model_list, b"<html>")

    def test_routes(self) -> None:
        """Google tells 50 at a time if nobody asks for more."""
        self.assertEqual(list_route("openai"), "/models")
        self.assertEqual(list_route("google"), "/models?pageSize=1000")

    def test_recordings(self) -> None:
        """Every recorded list is read."""
        found = {}
        for recording in read_recordings("models", "anthropic", "mistral", "openrouter", "xai"):
            found[recording.provider] = read_model_list(recording.body)
        self.assertEqual(set(found), {"anthropic", "mistral", "openrouter", "xai"})
        names = {provider: [listed.name for listed in told] for provider, told in found.items()}
        self.assertIn("claude-opus-5", names["anthropic"])
        self.assertIn("anthropic/claude-sonnet-4", names["openrouter"])
        self.assertEqual(found["openrouter"][0].context_window, 1_000_000)
