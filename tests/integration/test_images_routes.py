"""
Images, from a client's request to the image: OpenAI's route and the Go proxy's.

In this process over a scripted provider, and through whole servers.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.schema import Config, Model, Retry, Server, Timeouts
from aiproxy.dialects.face import Face
from aiproxy.dialects.images import sniff
from aiproxy.dialects.images_face import ImagesFace, LegacyImageFace
from aiproxy.dialects.images_openai import OpenAIImages
from aiproxy.gateway.answer import PlainAnswer, StreamedAnswer
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.usage import CallRecord, Tokens
from aiproxy.policy.access import Access, Principal
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.testing import ScriptedProvider, ScriptedReply
from aiproxy.transport.client import UpstreamClient
from aiproxy.wire.json import dumps, loads
from tests.integration.servers import TOKEN, Connection, ServersTestCase, write_request
from tests.shown import show
from tests.transport.upstreams import SocketConnection

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 4


def as_base64(data: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(data).decode()


# --- in this process -----------------------------------------------------------------


def image_model(name: str, **more: Any) -> Model:
    """Make a model of the scripted provider."""
    timeouts = Timeouts(connect=1, headers=8, first_token=5, idle=15, attempt=6, total=60)
    settings = {"kind": "image", "timeouts": timeouts, **more}
    return Model(name, "scripted", "openai", "openai", name, **settings)


def reply(body: bytes, wanted: str | None = None) -> ScriptedReply:
    """Make an upstream's whole answer."""
    told = ScriptedReply(streamed=False, dialect=OpenAIImages(wanted))
    told.send(body)
    told.finish()
    return told


class DispatchTests(SynchronousTestCase):
    """Calls for images, as the gateway serves them."""

    def use(self, *answers: ScriptedReply | errors.AIProxyError, limit: int = 100_000) -> None:
        """Let the provider answer so from now on."""
        self.clock = Clock()
        self.provider = ScriptedProvider(*answers)
        config = Config(
            server=Server(max_response_bytes=limit),
            retry=Retry(max_retries=0),
            models=(
                image_model("second", priority=2),
                image_model("chat", kind="chat"),
                image_model("first"),
                image_model("third", priority=3),
            ),
        )
        registry = ProviderRegistry(
            ProviderParts(UpstreamClient(MemoryReactorClock()), self.clock),
            {"scripted": self.provider},
        )
        self.records: list[CallRecord] = []
        self.dispatcher = Dispatcher(
            Plan(config, Access(()), registry),
            self.clock,
            wall=lambda: 1_700_000_000.5,
            report=self.records.append,
        )

    def ask(
        self, face: Face, body: dict[str, Any] | bytes
    ) -> Deferred[PlainAnswer | StreamedAnswer]:
        """Begin a call."""
        written = body if isinstance(body, bytes) else dumps(body)
        call = ClientCall("r1", face, Principal("me"), written)
        return Deferred.fromCoroutine(self.dispatcher.answer(call))

    def plain(self, face: Face, body: dict[str, Any]) -> PlainAnswer:
        """Return the answer to a call."""
        answer = self.successResultOf(self.ask(face, body))
        assert isinstance(answer, PlainAnswer)
        return answer

    def test_bytes_as_json(self) -> None:
        """The image itself becomes OpenAI's answer; the call is one for images."""
        self.use(reply(PNG))
        answer = self.plain(ImagesFace(), {"model": "second", "prompt": "a cat"})
        expected = {"created": 1_700_000_000, "data": [{"b64_json": as_base64(PNG)}]}
        self.assertEqual(loads(answer.body), {**expected, "model": "second"})
        [call] = self.provider.calls
        self.assertEqual((call.call.operation, call.call.stream), ("images", False))

    def test_usage(self) -> None:
        """Tokens are counted by the names that images have for them."""
        usage = {"input_tokens": 9, "output_tokens": 272, "total_tokens": 281}
        self.use(reply(dumps({"data": [{"b64_json": as_base64(PNG)}], "usage": usage})))
        self.plain(ImagesFace(), {"model": "first", "prompt": "a cat"})
        [record] = self.records
        self.assertEqual(record.tokens, Tokens(9, 272))

    def test_all(self) -> None:
        """``all``, or no model at all, tries every image model in turn, by priority."""
        failed = errors.UpstreamFailed("down")
        link = reply(b'{"data": [{"url": "https://x.example/1.png"}]}', "b64_json")
        for body in (
            {"prompt": "p"},
            {"model": "", "inputs": "p"},
            {"model": "all", "prompt": "p"},
        ):
            self.use(failed, reply(dumps({"data": [{"b64_json": as_base64(JPEG)}]})))
            answer = self.plain(LegacyImageFace(), body)
            self.assertEqual((answer.body, answer.content_type), (JPEG, "image/jpeg"))
            self.assertEqual(answer.served.candidate.name, "second")
        self.use(failed, link, reply(PNG))
        answer = self.plain(LegacyImageFace(), {"prompt": "p"})
        self.assertEqual((answer.body, answer.content_type), (PNG, "image/png"))
        self.assertEqual((answer.served.candidate.name, answer.served.attempts), ("third", 3))

    def test_all_refuse(self) -> None:
        """What one of all refuses another may make; one that was chosen by name is the last."""
        refused = errors.UpstreamRefused("no such size")
        self.use(refused, errors.InvalidRequest("one image only"), reply(PNG))
        answer = self.plain(LegacyImageFace(), {"prompt": "p"})
        self.assertEqual((answer.served.candidate.name, answer.served.attempts), ("third", 3))
        content = errors.ContentRefused("not this")
        for body, answers, asked in (
            ({"prompt": "p"}, (refused, content, reply(PNG)), 2),
            ({"prompt": "p", "model": "first"}, (refused, reply(PNG)), 1),
        ):
            self.use(*answers)
            error = self.failureResultOf(self.ask(LegacyImageFace(), body)).value
            self.assertIs(error, answers[asked - 1])
            self.assertEqual(len(self.provider.calls), asked)

    def test_all_fail(self) -> None:
        """If none can, the last failure is told, never an empty answer."""
        self.use(*(errors.UpstreamRateLimited("slow", retry_after=wait) for wait in (9, 4, 7)))
        asked = self.ask(LegacyImageFace(), {"prompt": "p"})
        error = self.failureResultOf(asked, errors.UpstreamRateLimited).value
        self.assertEqual((error.status, error.retry_after), (429, 4))

    def test_silent(self) -> None:
        """A silent upstream has its time, and then the next one is asked."""
        self.use()
        asked = self.ask(LegacyImageFace(), {"prompt": "p"})
        self.clock.advance(6.1)
        self.assertEqual(len(self.provider.calls), 2)
        asked.cancel()
        self.failureResultOf(asked)

    def test_refused(self) -> None:
        """Chat models make no images; a mistake reaches no provider."""
        self.use()
        for face, body, code in (
            (ImagesFace(), {"model": "chat", "prompt": "p"}, "model_not_supported"),
            (ImagesFace(), {"model": "nobody", "prompt": "p"}, "model_not_found"),
            (ImagesFace(), {"model": "first"}, "missing_prompt"),
            (ImagesFace(), {"model": "first", "prompt": "p", "stream": True}, "invalid_request"),
        ):
            error = self.failureResultOf(self.ask(face, body), errors.CallerError).value
            self.assertEqual(error.code, code)
        self.assertEqual(len(self.provider.calls), 0)

    def test_large(self) -> None:
        """An answer over the bound is cut off."""
        self.use(reply(PNG), limit=500)
        asked = self.ask(ImagesFace(), {"model": "first", "prompt": "p"})
        self.failureResultOf(asked, errors.AnswerTooLarge)


# --- whole servers ------------------------------------------------------------------


def write_answer(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    """Write an upstream's answer."""
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def write_json(document: object, status: str = "200 OK") -> bytes:
    """Write an upstream's answer in JSON."""
    return write_answer(json.dumps(document).encode(), status=status)


def answer_to(path: str, body: bytes) -> bytes:
    """Answer as the provider whose path this is."""
    image = as_base64(PNG)
    inline = {"inlineData": {"mimeType": "image/png", "data": image}}
    link = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    message: dict[str, Any] = {"role": "assistant", "content": "", "images": [link]}
    if path.startswith("/giga/"):
        message = {"role": "assistant", "content": '<img src="f1" fuse="true"/>'}
    chat = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    if path == "/openai/images/generations" and json.loads(body).get("response_format") == "url":
        return write_json({"created": 5, "data": [{"url": "https://img.example/1.png"}]})
    found: dict[str, Callable[[], bytes]] = {
        "/openai/images/generations": lambda: write_json({"data": [{"b64_json": image}]}),
        "/together/images/generations": lambda: write_json({"data": [{"b64_json": image}]}),
        "/cf/ai/run/@cf/m": lambda: write_json({"result": {"image": image}, "success": True}),
        "/cf/ai/run/@cf/raw": lambda: write_answer(JPEG, "image/png"),
        "/hf/hf-inference/models/org/m": lambda: write_answer(JPEG, "image/jpeg"),
        "/google/models/m:generateContent": lambda: write_json(
            {"candidates": [{"content": {"parts": [inline]}, "finishReason": "STOP"}]}
        ),
        "/or/chat/completions": lambda: write_json(chat),
        "/oauth": lambda: write_json({"access_token": "t", "expires_at": 4_000_000_000_000}),
        "/giga/chat/completions": lambda: write_json(chat),
        "/giga/files/f1/content": lambda: write_answer(JPEG, "image/jpg"),
        "/air/imagine2": lambda: write_answer(PNG, "image/jpeg"),
        "/large/images/generations": lambda: write_answer(PNG * 200, "image/png"),
        "/busy/images/generations": lambda: write_json({"error": "slow"}, "429 Too Many Requests"),
        "/down/images/generations": lambda: write_answer(b"<html>", "text/html", "500 Oh"),
        "/small/images/generations": lambda: write_answer(b"quota is used up", "image/png"),
    }
    return found.get(path, lambda: write_json({"error": f"nothing at {path}"}, "404 No"))()


def respond(connection: SocketConnection) -> None:
    """Answer a request to the upstream; one path is never answered."""
    front, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
    path = front.split(b" ")[1].decode().partition("?")[0]
    if not path.startswith("/silent/"):
        connection.write(answer_to(path, body))
        connection.close()


#: Name of a model -> its provider: type and base path.
PROVIDERS = {
    "oa/gpt-image-1": ("openai", "/openai"),
    "oa2/dall-e-3": ("openai", "/openai"),
    "tg/flux": ("together", "/together"),
    "cf/@cf/m": ("cloudflare", "/cf/ai/v1"),
    "cf2/@cf/raw": ("cloudflare", "/cf/ai/run"),
    "hf2/org/m": ("huggingface", "/hf/v1"),
    "gg/m": ("google", "/google"),
    "or/google/m": ("openrouter", "/or"),
    "air/flux": ("airforce", "/air"),
    "giga/GigaChat": ("gigachat", "/giga"),
    "large/m": ("openai", "/large"),
    "busy/m": ("openai", "/busy"),
    "down/m": ("openai", "/down"),
    "small/m": ("openai", "/small"),
    "silent/m": ("openai", "/silent"),
}
#: Of which image each of these gives.
GIVES = {
    **dict.fromkeys(
        ("oa/gpt-image-1", "tg/flux", "cf/@cf/m", "gg/m", "or/google/m", "air/flux"), PNG
    ),
    **dict.fromkeys(("cf2/@cf/raw", "hf2/org/m", "giga/GigaChat"), JPEG),
}


class RoutesTestCase(ServersTestCase):
    """A server with image models of all providers."""

    async def serve_models(self, *names: str) -> int:
        """Start a server with these models, best first; return its port."""
        self.server_upstream, port = self.upstream(respond)
        providers, models = "", ""
        for place, name in enumerate(names, 1):
            provider = name.partition("/")[0]
            kind, path = PROVIDERS[name]
            base = f"http://127.0.0.1:{port}{path}"
            more = f", auth_url: 'http://127.0.0.1:{port}/oauth'" if kind == "gigachat" else ""
            providers += f"  {provider}: {{type: {kind}, base_url: '{base}', token: 'a:b'{more}}}\n"
            mark = "max_request_length: 0" if place % 2 else "kind: image"
            models += f"  - {{name: '{name}', provider: {provider}, priority: {place}, {mark}}}\n"
        self.write(
            f"providers:\n{providers}models:\n{models}"
            "  - {name: demo/echo, provider: demo}\n"
            "timeouts: {attempt: 500ms}\n"
            "retry: {max_retries: 0}\n"
            "server: {max_response_bytes: 100000}\n"
        )
        return (await self.serve()).port

    async def post(
        self, port: int, path: str, body: object, token: str | None = TOKEN
    ) -> Connection:
        """Ask; return the connection when the answer is whole."""
        return await self.ask(port, write_request("POST", path, body, token=token))


def parts(connection: Connection) -> tuple[bytes, bytes]:
    """Return the head, in lower case, and the body of an answer."""
    head, _, body = bytes(connection.received).partition(b"\r\n\r\n")
    return head.lower(), body


class ImageRouteTests(RoutesTestCase):
    """All providers, through both routes."""

    async def test_providers(self) -> None:
        """Each provider's image arrives, as JSON and as bytes with their real type."""
        port = await self.serve_models(*GIVES)
        for name, image in GIVES.items():
            answer = await self.post(
                port, "/v1/images/generations", {"model": name, "prompt": "a cat"}
            )
            head, body = parts(answer)
            self.assertEqual(answer.status, 200, (name, body))
            self.assertEqual(json.loads(body)["data"], [{"b64_json": as_base64(image)}], name)
            answer = await self.post(port, "/image", {"model": name, "inputs": "a cat"})
            head, body = parts(answer)
            self.assertEqual((answer.status, body == image), (200, True), name)
            self.assertIn(b"content-type: " + str(sniff(image)).encode(), head)
            show(PROVIDERS[name][0], "images")
        show("cloudflare native", "images")

    async def test_openai_client(self) -> None:
        """OpenAI's own client gets base64, and a URL where it asks for one."""
        port = await self.serve_models("oa/gpt-image-1", "oa2/dall-e-3")
        script = """
import json, sys
from openai import BadRequestError, OpenAI
client = OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
make = lambda model, **more: client.images.generate(model=model, prompt="a cat", **more)
out = {}
plain = make("oa/gpt-image-1", size="1024x1024")
out["b64"] = plain.data[0].b64_json
out["created"] = plain.created > 1_700_000_000
out["url"] = make("oa/gpt-image-1", response_format="url").data[0].url
out["link"] = make("oa2/dall-e-3", response_format="url").data[0].url
try:
    make("demo/echo")
except BadRequestError as error:
    out["error"] = error.code
print(json.dumps(out))
"""
        client = self.spawn([sys.executable, "-c", script, f"http://127.0.0.1:{port}/v1", TOKEN])
        self.assertEqual(await client.ended(30), 0, client.output)
        expected = {
            "b64": as_base64(PNG),
            "created": True,
            "url": f"data:image/png;base64,{as_base64(PNG)}",
            "link": "https://img.example/1.png",
            "error": "model_not_supported",
        }
        self.assertEqual(json.loads(client.output.splitlines()[-1]), expected)

    async def test_dropped(self) -> None:
        """What a provider has no field for is named."""
        port = await self.serve_models("tg/flux")
        body = {"model": "tg/flux", "prompt": "p", "style": "vivid", "user": "u"}
        head, _ = parts(await self.post(port, "/v1/images/generations", body))
        self.assertIn(b"x-aiproxy-dropped: style, user\r\n", head)

    async def test_bounded(self) -> None:
        """An image over the bound, and what is too small to be one, are errors."""
        port = await self.serve_models("large/m", "small/m")
        for name, code in (("large/m", "upstream_answer_too_large"), ("small/m", "upstream_error")):
            for path in ("/image", "/v1/images/generations"):
                answer = await self.post(port, path, {"model": name, "prompt": "p"})
                self.assertEqual(answer.status, 502)
                self.assertEqual(json.loads(parts(answer)[1])["error"]["code"], code)

    async def test_guarded(self) -> None:
        """Both routes need a token, and take POST alone."""
        port = await self.serve_models("oa/gpt-image-1")
        for path in ("/image", "/v1/images/generations"):
            answer = await self.post(port, path, {"prompt": "p"}, token=None)
            self.assertEqual(answer.status, 401)
            answer = await self.ask(port, write_request("GET", path))
            self.assertEqual(answer.status, 405)


class Row13Tests(RoutesTestCase):
    """What the Go proxy's ``/image`` got wrong."""

    async def test_body(self) -> None:
        """The upstream gets JSON, and nothing before it."""
        port = await self.serve_models("oa/gpt-image-1")
        await self.post(port, "/image", {"model": "oa/gpt-image-1", "prompt": "a cat"})
        [request] = self.server_upstream.requests
        body = request.partition(b"\r\n\r\n")[2]
        self.assertTrue(body.startswith(b"{"), body)
        self.assertEqual(json.loads(body), {"model": "gpt-image-1", "prompt": "a cat"})

    async def test_content_type(self) -> None:
        """A PNG is called one, whatever the upstream calls it."""
        port = await self.serve_models("air/flux", "cf2/@cf/raw")
        for name, kind in (("air/flux", b"png"), ("cf2/@cf/raw", b"jpeg")):
            answer = await self.post(port, "/image", {"model": name, "prompt": "p"})
            self.assertIn(b"content-type: image/" + kind + b"\r\n", parts(answer)[0])

    async def test_in_turn(self) -> None:
        """Every image model is tried: those that fail, are busy or silent are passed by."""
        port = await self.serve_models("down/m", "busy/m", "small/m", "silent/m", "tg/flux")
        for body in ({"prompt": "p"}, {"model": "all", "inputs": "p"}):
            answer = await self.post(port, "/image", body)
            head, image = parts(answer)
            self.assertEqual((answer.status, image == PNG), (200, True), head)
            self.assertIn(b"x-aiproxy-model: tg/flux\r\n", head)

    async def test_all_over_limit(self) -> None:
        """If all hold us back, that is what is told: 429 with an error, never an empty 200."""
        port = await self.serve_models("busy/m")
        answer = await self.post(port, "/image", {"prompt": "p"})
        self.assertEqual(answer.status, 429)
        error = json.loads(parts(answer)[1])["error"]
        self.assertEqual((error["type"], error["message"]), ("rate_limit_error", "slow"))
