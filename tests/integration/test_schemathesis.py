"""The description of our HTTP face against a whole server: schemathesis looks for disagreements."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

from aiproxy.web.openapi import describe
from tests.integration.servers import TOKEN, ServersTestCase
from tests.integration.test_faces import (
    MESSAGE,
    RESPONSE,
    answer,
    answer_events,
    answer_json,
    message_events,
    response_events,
)
from tests.sites import over_http
from tests.transport.upstreams import SocketConnection

ADMIN_TOKEN = "sk-admin"

CONFIG = """
server: {trusted_proxies: [127.0.0.1], access_log: none}
breaker: {failures: 1000000}
retry: {max_retries: 0}
providers:
  claude: {type: anthropic, base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  gpt: {type: openai, base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
models:
  - {name: demo/echo, provider: demo}
  - {name: my-claude, provider: claude}
  - {name: my-gpt, provider: gpt}
  - {name: my-painter, provider: gpt, kind: image}
groups:
  team: {models: [demo/echo, my-gpt]}
"""

#: What schemathesis shall do.
SETTINGS = f"""
workers = 1
continue-on-failure = true
warnings = false
hooks = {json.dumps(str(Path(__file__).with_name("schemathesis_hooks.py")))}

[generation]
max-examples = 20
deterministic = true
database = "none"
with-security-parameters = false

[phases.stateful]
enabled = false

[phases.coverage]
# QUERY is a method that our HTTP server does not know.
unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]

[checks.not_a_server_error]
# Who gives a call a microsecond is told that it is over.
expected-statuses = ["2xx", "4xx", 504]

[auth.openapi]
token = {{bearer = "{TOKEN}"}}
apiKey = {{api_key = "{TOKEN}"}}
adminToken = {{bearer = "{ADMIN_TOKEN}"}}
adminApiKey = {{api_key = "{ADMIN_TOKEN}"}}
"""

CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "ignored_auth", "unsupported_method"),
)
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(24)).decode()
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def respond(path: str, head: bytes, body: bytes) -> bytes:
    """Answer as the providers do."""
    route = path.partition("?")[0].removeprefix("/v1/")
    if route.startswith("audio/"):
        return answer(b"ID3\x04", "audio/mpeg") if "speech" in route else answer_json({"text": "a"})
    request = json.loads(body)
    streamed = request.get("stream") is True
    if route == "messages/count_tokens":
        return answer_json({"input_tokens": 3})
    if route == "messages":
        return answer_events(*message_events()) if streamed else answer_json(MESSAGE)
    if route == "responses":
        return answer_events(*response_events()) if streamed else answer_json(RESPONSE)
    if route == "chat/completions":
        return answer_chat(request, streamed)
    if route == "embeddings":
        return answer_json(embed(request))
    if route == "images/generations":
        return answer_json({"created": 1, "data": [{"b64_json": PIXEL}] * (request.get("n") or 1)})
    return answer_json({"id": "x", "results": []})


def answer_chat(request: dict[str, Any], streamed: bool) -> bytes:
    """Say hi, as often as was asked."""
    said = "delta" if streamed else "message"
    choices = [
        {"index": n, said: {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        for n in range(request.get("n") or 1)
    ]
    document = {"id": "x", "created": 1, "choices": choices, "usage": USAGE}
    if not streamed:
        return answer_json({**document, "object": "chat.completion"})
    events = b"data: " + json.dumps(document).encode() + b"\n\ndata: [DONE]\n\n"
    return answer(events, "text/event-stream")


def embed(request: dict[str, Any]) -> dict[str, Any]:
    """Give as many vectors as there are inputs."""
    told = request["input"]
    many = isinstance(told, list) and not isinstance(told[0], int)
    vectors = [
        {"object": "embedding", "index": n, "embedding": [0.5]}
        for n in range(len(told) if many else 1)
    ]
    return {"object": "list", "data": vectors, "usage": USAGE}


class SchemathesisTests(ServersTestCase):
    """It asks each route in many ways, allowed and not."""

    timeout = 300  # seconds

    async def test_conformance(self) -> None:
        """No answer is one that the description does not have, and what it forbids is refused."""

        def take(connection: SocketConnection) -> None:
            head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
            connection.write(respond(head.split(b" ")[1].decode(), head, body))
            connection.close()

        _, port = self.upstream(take)
        self.write(over_http(CONFIG.replace("PORT", str(port))))
        server = await self.serve(env={"ADMIN_TOKEN": ADMIN_TOKEN})
        self.write(SETTINGS, "schemathesis.toml")
        told = self.folder / "answers.txt"
        command = [
            *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
            *("--config-file", str(self.folder / "schemathesis.toml"), "run"),
            *("--checks", ",".join(CHECKS), f"{server.url}/openapi.json"),
        ]
        run = self.spawn(command, {"ANSWERS": str(told)})
        self.assertEqual(await run.ended(250), 0, run.output)
        # Answers that are all errors would prove little.
        answers = told.read_text(encoding="utf-8").splitlines()
        self.assertGreater(len(answers), 2000)
        good = {
            f"{method.upper()} {path} 200"
            for path, item in describe()["paths"].items()
            for method in item.keys() - {"parameters"}
        }
        # Schemathesis does not ask for the document itself again.
        self.assertEqual(good - {*answers}, {"GET /openapi.json 200"})
        self.assertNotIn("Traceback", server.output)
