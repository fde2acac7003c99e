"""Tests of :mod:`aiproxy.web.openapi`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import schemathesis
from jsonschema_rs import Draft202012Validator

import aiproxy
from aiproxy.policy.throttle import MOST_FAILURES
from aiproxy.web.openapi import describe
from tests.transport.http.clients import Answer, Client
from tests.web.serving import TOKEN, ServingTestCase

ADMIN = "sk-admin"
CHAT = {"model": "scripted/one", "messages": [{"role": "user", "content": "hi"}]}


def find(document: Mapping[str, Any], part: Any) -> Any:
    """Return what a part of the document is, or refers to."""
    while isinstance(part, dict) and "$ref" in part:
        names = part["$ref"].removeprefix("#/").split("/")
        part = document
        for name in names:
            part = part[name]
    return part


def find_all(part: Any, name: str) -> Iterator[Any]:
    """Return each value under a name, however deep."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == name:
                yield value
            yield from find_all(value, name)
    elif isinstance(part, list):
        for value in part:
            yield from find_all(value, name)


class DocumentTests(ServingTestCase):
    """The document itself."""

    def setUp(self) -> None:
        super().setUp()
        self.document = self.ask_bare("GET", "/openapi.json").json

    def test_served(self) -> None:
        """Whoever asks has it, as JSON, always the same; it knows no configured name."""
        answer = self.ask_bare("GET", "/openapi.json")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.json, describe())
        self.assertNotIn(b"scripted", answer.body)
        self.assertEqual(answer.json["info"]["version"], aiproxy.__version__)

    def test_routes(self) -> None:
        """It has each declared route, and no other."""
        declared = {
            (method, re.sub("<(?:path:)?([a-z]+)>", r"{\1}", rule.rule))
            for rule in self.proxy.resource()._app.url_map.iter_rules()
            for method in rule.methods or ()
            if method != "HEAD"
        }
        self.assertIn(("GET", "/v1/models/{model}"), declared)
        described = {
            (method.upper(), path)
            for path, item in self.document["paths"].items()
            for method in item.keys() - {"parameters"}
        }
        self.assertEqual(described, declared)

    def test_valid(self) -> None:
        """It is OpenAPI's, its schemas are JSON Schema's, and no operation has another's name."""
        schemathesis.openapi.from_dict(self.document).validate()
        for schema in self.document["components"]["schemas"].values():
            Draft202012Validator({**schema, "components": self.document["components"]})
        names = list(find_all(self.document["paths"], "operationId"))
        self.assertEqual(len(names), len(set(names)))

    def test_references(self) -> None:
        """All that is referred to is there, and all components are referred to."""
        used = set(find_all(self.document, "$ref"))
        for security in find_all(self.document["paths"], "security"):
            used |= {f"#/components/securitySchemes/{name}" for one in security for name in one}
        there = {
            f"#/components/{kind}/{name}"
            for kind, components in self.document["components"].items()
            for name in components
        }
        self.assertEqual(used, there)

    def test_examples(self) -> None:
        """The example of each request is one that its schema takes."""
        count = 0
        for content in find_all(self.document["paths"], "application/json"):
            if "example" in content:
                validator = Draft202012Validator(
                    {**content["schema"], "components": self.document["components"]}
                )
                self.assertTrue(validator.is_valid(content["example"]), content)
                count += 1
        self.assertGreater(count, 20)


class AnswerTestCase(ServingTestCase):
    """Compares answers with what the document says of them."""

    def assert_described(self, method: str, path: str, answer: Answer) -> None:
        """The status, the headers and the body are as the document says."""
        document = describe()
        responses = document["paths"][path][method.lower()]["responses"]
        self.assertIn(str(answer.status), responses)
        response = find(document, responses[str(answer.status)])
        for name, told in response["headers"].items():
            header = find(document, told)
            self.assertTrue(name in answer.headers or not header["required"], name)
        schema = response["content"][answer.headers["content-type"]]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        validator.validate(answer.json)

    def assert_told(
        self, status: int, method: str, path: str, *headers: str, body: object = None
    ) -> None:
        """It is answered in this way, and described."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.ask_bare(method, path, *headers, body=data)
        self.assertEqual(answer.status, status)
        self.assert_described(method, path, answer)


class AnswerTests(AnswerTestCase):
    """What is answered when something is wrong is described."""

    tokens: Mapping[str, str] = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN}

    def test_errors(self) -> None:
        """Errors of all routes are, those of the HTTP server and Anthropic's too."""
        bearer, admin = f"Authorization: Bearer {TOKEN}", f"x-api-key: {ADMIN}"
        unknown = {**CHAT, "model": "nobody/none"}
        long = {**CHAT, "more": "x" * 100_000}
        for path in ("/v1/chat/completions", "/v1/messages", "/image", "/v1/responses"):
            self.assert_told(401, "POST", path)
            self.assert_told(400, "POST", path, bearer, body=[])
            self.assert_told(404, "POST", path, bearer, body={**unknown, "prompt": "a cat"})
            self.assert_told(415, "POST", path, bearer, "Content-Encoding: gzip", body=CHAT)
            self.client = Client(self.site, self.clock)
            self.assert_told(413, "POST", path, bearer, body=long)
            self.client = Client(self.site, self.clock)
            self.assert_told(431, "POST", path, bearer, f"x-long: {'x' * 70_000}")
            self.client = Client(self.site, self.clock)
        self.assert_told(400, "POST", "/v1/chat/completions", bearer, "x-aiproxy-timeout: soon")
        self.assert_told(401, "POST", "/v1/route/explain", bearer, body=CHAT)
        self.assert_told(404, "POST", "/v1/route/explain", admin, body=unknown)
        self.assert_told(415, "POST", "/v1/route/explain", admin, "Content-Encoding: br")
        self.assert_told(501, "POST", "/admin/reload", admin)

    def test_blocked(self) -> None:
        """So is who comes with too many wrong tokens, in each envelope."""
        wrong = "Authorization: Bearer sk-guess"
        for _ in range(MOST_FAILURES):
            self.assert_told(401, "GET", "/v1/models", wrong)
        self.assert_told(429, "GET", "/v1/models", wrong)
        self.assert_told(429, "POST", "/v1/messages", wrong)

    def test_stopping(self) -> None:
        """So is a server that stops."""
        self.begin_stream().say("one")
        self.proxy.service.startService()
        self.proxy.service.stopService()
        streaming, self.client = self.client, Client(self.site, self.clock)
        self.assert_told(503, "GET", "/health/ready")
        bearer = f"Authorization: Bearer {TOKEN}"
        self.assert_told(503, "POST", "/v1/chat/completions", bearer, body=CHAT)
        streaming.leave()


class NoOperatorTests(AnswerTestCase):
    """A server without ``ADMIN_TOKEN``."""

    def test_not_there(self) -> None:
        """The operator's routes are not there, as is described."""
        for method, path in (("GET", "/metrics"), ("POST", "/admin/reload")):
            self.assert_told(404, method, path)
