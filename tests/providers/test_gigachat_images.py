"""Tests of :mod:`aiproxy.providers.gigachat_images`."""

from __future__ import annotations

import base64
import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.images import ImagesReader
from aiproxy.dialects.operations import IMAGES
from aiproxy.interfaces import IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.gigachat_images import DrawnReply, draw
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from tests.dialects.recordings import read_recordings
from tests.providers.test_gigachat import MODEL, head
from tests.transport.upstreams import MemoryUpstream, RecordingConsumer, answer

JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 40
USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chat(text: str, reason: str = "stop") -> bytes:
    """Write a chat's answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    document = {"choices": [{**choice, "finish_reason": reason}], "usage": USAGE}
    return answer(json.dumps(document).encode(), head())


class DrawTestCase(SynchronousTestCase):
    """A call for images over an upstream in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.provider = HTTPProvider(UpstreamClient(self.upstream.reactor), GigaChatDialect())
        self.told: list[str] = []

    async def send(self, call: Call, wire: WireRequest) -> UpstreamResponse:
        """Send a request as the provider's adapter does."""
        return await self.provider._send(call, wire)

    def start(self, model: Model = MODEL, **fields: Any) -> Deferred[IReply]:
        """Begin a call."""
        request = {"model": "giga", "prompt": "кот", "response_format": "b64_json", **fields}
        candidate = Candidate(model, "giga", Secret("tok-1"))
        call = Call(
            "r7",
            request,
            candidate,
            stream=False,
            operation=IMAGES,
            sent=lambda: self.told.append("sent"),
        )
        return Deferred.fromCoroutine(draw(self.send, call))

    def next(self, sends: bytes) -> tuple[str, Any]:
        """Answer the next request; return its first line and its body."""
        connection = self.upstream.accept()
        front, _, body = connection.take().partition(b"\r\n\r\n")
        self.assertIn(b"authorization: bearer tok-1", front.lower())
        connection.send(sends)
        return front.split(b"\r\n")[0].decode(), json.loads(body) if body else None

    def read(self, drawing: Deferred[IReply]) -> dict[str, Any]:
        """Return the hub's answer, which is there."""
        return self.answer(self.successResultOf(drawing))

    def answer(self, reply: IReply) -> dict[str, Any]:
        """Return the hub's answer of a reply."""
        return reply.dialect.read_reply(self.successResultOf(collect(reply, 1_000_000)))


class DrawTests(DrawTestCase):
    """From the prompt to the bytes."""

    def test_drawn(self) -> None:
        """The chat is asked to draw, the file that it names is fetched, and comes as wanted."""
        drawing = self.start(n=2, size="1024x1024", temperature=0.5)
        line, body = self.next(chat('Вот: <img src="f-1.2_a" fuse="true"/> и всё'))
        self.assertEqual(line, "POST /api/v1/chat/completions HTTP/1.1")
        expected = {
            "model": "GigaChat-2",
            "messages": [{"role": "user", "content": "кот"}],
            "function_call": "auto",
            "temperature": 0.5,
        }
        self.assertEqual(body, expected)
        self.assertNoResult(drawing)
        line, body = self.next(answer(JPEG, head()))
        self.assertEqual((line, body), ("GET /api/v1/files/f-1.2_a/content HTTP/1.1", None))
        reply = self.successResultOf(drawing)
        self.assertTrue(verifyObject(IReply, reply))
        self.assertEqual((reply.dropped, reply.streamed), (("n", "size"), False))
        image = base64.b64encode(JPEG).decode()
        self.assertEqual(self.answer(reply), {"data": [{"b64_json": image}], "usage": USAGE})
        self.assertEqual(self.told, ["sent"])

    def test_as_url(self) -> None:
        """Whoever wants a URL gets a data: URL."""
        drawing = self.start(response_format="url")
        self.next(chat('<img src="f" />'))
        self.next(answer(JPEG, head()))
        [image] = self.read(drawing)["data"]
        self.assertEqual(
            image, {"url": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()}
        )

    def test_several(self) -> None:
        """Each file is fetched once."""
        drawing = self.start()
        self.next(chat('<img src="a"/><img src="b" fuse="true"/><img src="a"/>'))
        for name in "ab":
            line, _ = self.next(answer(JPEG + name.encode(), head()))
            self.assertIn(f"/files/{name}/content", line)
        self.assertEqual(len(self.read(drawing)["data"]), 2)

    def test_whole_url(self) -> None:
        """A chat with a whole URL of its own has its files beside it."""
        drawing = self.start(evolve(MODEL, url="http://127.0.0.1/own/chat/completions"))
        self.assertEqual(
            self.next(chat('<img src="f"/>'))[0], "POST /own/chat/completions HTTP/1.1"
        )
        self.assertEqual(self.next(answer(JPEG, head()))[0], "GET /own/files/f/content HTTP/1.1")
        self.read(drawing)

    def test_second_version(self) -> None:
        """The v2 API names its files apart; they are v1's."""
        drawing = self.start(evolve(MODEL, base_url="http://127.0.0.1/api/v2"))
        message = {
            "role": "assistant",
            "content": [{"files": [{"id": "f2", "mime": "image/jpeg"}]}],
        }
        told = {"messages": [message], "finish_reason": "stop"}
        line, body = self.next(answer(json.dumps(told).encode(), head()))
        self.assertEqual(line, "POST /api/v2/chat/completions HTTP/1.1")
        self.assertEqual(body["messages"], [{"role": "user", "content": [{"text": "кот"}]}])
        self.assertEqual(body["tool_config"], {"mode": "forced", "tool_name": "image_generate"})
        self.assertEqual(body["tools"], [{"image_generate": {}}])
        self.assertEqual(
            self.next(answer(JPEG, head()))[0], "GET /api/v1/files/f2/content HTTP/1.1"
        )
        self.read(drawing)

    def test_recorded(self) -> None:
        """The recorded drawing was asked for like this, and its file is the one fetched."""
        seen = 0
        for recording in read_recordings("chat-v2", "gigachat"):
            body = recording.request["body"]
            if not isinstance(body, dict) or body.get("tools") != [{"image_generate": {}}]:
                continue
            [message] = body["messages"]
            model = evolve(MODEL, upstream_model=body["model"], base_url="http://127.0.0.1/api/v2")
            drawing = self.start(model, prompt=message["content"][0]["text"])
            _, asked = self.next(answer(recording.body, head()))
            self.assertEqual(asked, body)
            said = json.loads(recording.body)
            [file] = said["messages"][0]["content"][0]["files"]
            self.assertIn(f"/files/{file['id']}/content", self.next(answer(JPEG, head()))[0])
            usage = self.read(drawing)["usage"]
            self.assertEqual(usage["prompt_tokens"], said["usage"]["input_tokens"])
            seen += 1
        self.assertGreater(seen, 0)


class FailureTests(DrawTestCase):
    """What can go wrong."""

    def test_words(self) -> None:
        """Only words are a failure, a refusal is one."""
        for text, reason, expected in (
            ("жаль", "stop", errors.UpstreamFailed),
            ("", "stop", errors.UpstreamFailed),
            ('<img alt="x">', "stop", errors.UpstreamFailed),
            ("нельзя", "blacklist", errors.ContentRefused),
        ):
            drawing = self.start()
            self.next(chat(text, reason))
            error = self.failureResultOf(drawing, expected).value
            self.assertIn(text if "<" not in text else "drawn", error.message)

    def test_wrong_answers(self) -> None:
        """What is no answer is the provider's failure."""
        odd = (
            b'{"choices": [1, {"message": 2}]}',
            b'{"messages": [{"content": [1, {"files": [1]}]}]}',
        )
        for body in (b"", b"[]", b"{}", b"<html>", *odd):
            drawing = self.start()
            self.next(answer(body, head()))
            self.failureResultOf(drawing, errors.UpstreamFailed)

    def test_statuses(self) -> None:
        """Either request's status counts, with the limits that it tells."""
        refusal = answer(
            b'{"status":429,"message":"slow"}', head(429) + b"X-RateLimit-Limit: 5\r\n"
        )
        drawing = self.start()
        self.next(refusal)
        error = self.failureResultOf(drawing, errors.UpstreamRateLimited).value
        self.assertEqual(error.rate_limits, {"x-ratelimit-limit": "5"})
        drawing = self.start()
        self.next(chat('<img src="f"/>'))
        self.next(answer(b'{"status":500,"message":"storage"}', head(500)))
        self.failureResultOf(drawing, errors.UpstreamFailed)

    def test_no_image(self) -> None:
        """A file that is no image is a failure; an error is what it says."""
        for body in (b"some text" * 99, b'{"file": 1}', b""):
            drawing = self.start()
            self.next(chat('<img src="f"/>'))
            self.next(answer(body, head()))
            self.failureResultOf(drawing, errors.UpstreamFailed)

    def test_cancelled(self) -> None:
        """Who leaves closes whichever connection there is."""
        for files in (False, True):
            drawing = self.start()
            connection = self.upstream.accept()
            if files:
                connection.send(chat('<img src="f"/>'))
                connection = self.upstream.accept()
                connection.send(head() + b"Content-Length: 99\r\n\r\n\xff\xd8\xff")
            drawing.cancel()
            self.failureResultOf(drawing, CancelledError)
            transport = connection.transport
            self.assertTrue(transport.disconnecting if files else transport.aborted)


class ReplyTests(SynchronousTestCase):
    """A reply that is all here."""

    def test_bound(self) -> None:
        """A consumer that has enough is given no more; pauses change nothing."""
        reply = DrawnReply(b"12345", ImagesReader())
        self.assertTrue(verifyObject(IPushProducer, reply))
        reply.pauseProducing()
        self.failureResultOf(collect(reply, 4), errors.AnswerTooLarge)
        reply = DrawnReply(b"12345", ImagesReader())
        reply.resumeProducing()
        consumer = RecordingConsumer()
        reply.deliver(consumer)
        self.assertEqual(consumer.data, b"12345")
        reply.abandon()
