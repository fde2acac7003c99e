"""Tests of GigaChat's adapter, of its credentials and of :mod:`aiproxy.providers.oauth`."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.interfaces import ICredentials, IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.gigachat import GigaChatProvider
from aiproxy.providers.gigachat_credentials import GigaChatCredentials
from aiproxy.providers.oauth import AccessToken, TokenKeeper
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import (
    MemoryConnection,
    MemoryUpstream,
    RecordingConsumer,
    answer,
    no_delayed_calls,
)

MODEL = Model(
    "giga",
    "p",
    "gigachat",
    "gigachat",
    "GigaChat-2",
    base_url="http://127.0.0.1/api/v1",
    auth_url="http://127.0.0.2/api/v2/oauth",
    scope="GIGACHAT_API_B2B",
)
SECRET = Secret("client-id:client-secret")
BASIC = base64.b64encode(b"client-id:client-secret")
ANSWER = json.dumps(
    {"choices": [{"index": 0, "message": {"content": "спасибо"}, "finish_reason": "stop"}]}
).encode()
IMAGE = b"\x89PNG\r\n--not a boundary\r\n"
IMAGE_URL = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
NOW = 1_700_000_000.0


def head(status: int = 200) -> bytes:
    """Write the head of an answer after which the upstream closes."""
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n" % status


def token_answer(text: str, seconds: float = 1800) -> bytes:
    """Write an answer with a token that lasts so long from now."""
    told = {"access_token": text, "expires_at": int((NOW + seconds) * 1000)}
    return answer(json.dumps(told).encode(), head())


def with_image(url: str = IMAGE_URL, **more: Any) -> dict[str, Any]:
    """Make a message with an image."""
    image = {"type": "image_url", "image_url": {"url": url}}
    return {"role": "user", "content": [{"type": "text", "text": "see"}, image], **more}


class TokenKeeperTests(SynchronousTestCase):
    """How one token is kept."""

    def setUp(self) -> None:
        self.now = 0.0
        self.cancelled = 0
        self.asked: list[Deferred[AccessToken]] = []
        self.keeper = TokenKeeper(self.ask, lambda: self.now)

    def ask(self) -> Deferred[AccessToken]:
        """Note that a token is asked for."""

        def cancel(_: object) -> None:
            self.cancelled += 1

        asked: Deferred[AccessToken] = Deferred(cancel)
        self.asked.append(asked)
        return asked

    def give(self, text: str, expires: float = 1000) -> AccessToken:
        """Answer the newest request."""
        token = AccessToken(text, expires)
        self.asked[-1].callback(token)
        return token

    def test_once(self) -> None:
        """All who come before the answer share one request; later ones have its token."""
        waiting = [self.keeper.find() for _ in range(3)]
        self.assertEqual(len(self.asked), 1)
        token = self.give("a")
        for each in [*waiting, self.keeper.find()]:
            self.assertIs(self.successResultOf(each), token)
        self.assertEqual(len(self.asked), 1)
        self.assertNotIn("'a'", repr(token))

    def test_ahead(self) -> None:
        """It is replaced a minute before its end."""
        self.keeper.find()
        first = self.give("a")
        self.now = 939.9
        self.assertIs(self.successResultOf(self.keeper.find()), first)
        self.now = 940
        waiting = self.keeper.find()
        self.assertNoResult(waiting)
        second = self.give("b", 2000)
        self.assertIs(self.successResultOf(waiting), second)

    def test_make_do(self) -> None:
        """In its last minute it goes on where there is no other; not longer."""
        self.keeper.find()
        first = self.give("a")
        self.now = 970
        waiting = self.keeper.find()
        self.asked[-1].errback(errors.UpstreamFailed("down"))
        self.assertIs(self.successResultOf(waiting), first)
        waiting = self.keeper.find()
        self.now = 1000
        self.asked[-1].errback(errors.UpstreamFailed("down"))
        self.failureResultOf(waiting, errors.UpstreamFailed)

    def test_own_errors(self) -> None:
        """Each who waits has an error of his own, and the next one asks again."""
        waiting = [self.keeper.find() for _ in range(2)]
        self.asked[-1].errback(errors.UpstreamFailed("down", retry_after=3))
        first, second = (
            self.failureResultOf(each, errors.UpstreamFailed).value for each in waiting
        )
        self.assertIsNot(first, second)
        self.assertEqual((second.message, second.retry_after), ("down", 3))
        again = self.keeper.find()
        self.assertEqual(len(self.asked), 2)
        self.asked[-1].errback(ZeroDivisionError())
        self.failureResultOf(again, ZeroDivisionError)

    def test_cancelled(self) -> None:
        """One who leaves leaves alone; the last one ends the request."""
        first, second = self.keeper.find(), self.keeper.find()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(self.cancelled, 0)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.cancelled, 1)
        third = self.keeper.find()
        self.assertEqual(len(self.asked), 2)
        token = self.give("a")
        self.assertIs(self.successResultOf(third), token)

    def test_slow_cancellation(self) -> None:
        """Who comes while a request nobody waits for is ending asks anew."""
        ending: Deferred[AccessToken] = Deferred(lambda _: None)
        never: Deferred[AccessToken] = Deferred()
        source: Deferred[AccessToken] = ending.addBoth(lambda _: never)
        sources = [source]
        keeper = TokenKeeper(lambda: sources.pop() if sources else self.ask(), lambda: self.now)
        keeper.find().addErrback(lambda _: None).cancel()
        waiting = keeper.find()
        self.assertEqual(len(self.asked), 1)
        token = self.give("a")
        never.callback(AccessToken("old", 1000))
        self.assertIs(self.successResultOf(waiting), token)

    def test_leaving_together(self) -> None:
        """Who is told may cancel another one who waits."""
        first, second = self.keeper.find(), self.keeper.find()
        first.addCallback(lambda _: second.cancel())
        self.give("a")
        self.failureResultOf(second, CancelledError)

    def test_replace(self) -> None:
        """A refused token is replaced once, whoever says so."""
        self.keeper.find()
        self.give("a")
        both = [self.keeper.replace("a"), self.keeper.replace("a")]
        self.assertEqual(len(self.asked), 2)
        token = self.give("b")
        for each in (*both, self.keeper.replace("a"), self.keeper.find()):
            self.assertIs(self.successResultOf(each), token)
        self.assertEqual(len(self.asked), 2)

    def test_refused_is_no_makeshift(self) -> None:
        """A refused token does not go on where there is no other."""
        self.keeper.find()
        self.give("a")
        waiting = self.keeper.replace("a")
        self.asked[-1].errback(errors.UpstreamFailed("down"))
        self.failureResultOf(waiting, errors.UpstreamFailed)


class AdapterTestCase(SynchronousTestCase):
    """The adapter over upstreams in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.now = NOW
        client = UpstreamClient(self.upstream.reactor)
        self.credentials = GigaChatCredentials(
            client, wall=lambda: self.now, make_id=lambda: "id-of-the-request"
        )
        self.provider = GigaChatProvider(
            client, GigaChatDialect(), self.credentials, clock=self.upstream.reactor
        )
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def start(
        self,
        *messages: dict[str, Any],
        model: Model = MODEL,
        token: Secret | None = SECRET,
        stream: bool = False,
        **fields: Any,
    ) -> Deferred[IReply]:
        """Begin a call."""
        told = list(messages) or [{"role": "user", "content": "a secret prompt"}]
        request = {"messages": told, **fields}
        return self.provider.start(Call("r7", request, Candidate(model, "giga", token), stream))

    def next(self, sends: bytes) -> bytes:
        """Answer the next request; return it."""
        connection = self.upstream.accept()
        taken = connection.take()
        connection.send(sends)
        return taken

    def log_line(self) -> str:
        """Return all that was logged."""
        return repr(self.logged)


class CredentialsTests(AdapterTestCase):
    """How credentials are exchanged."""

    def test_token_request(self) -> None:
        """The token is asked for as it must be, and shown to the chat."""
        self.assertTrue(verifyObject(ICredentials, self.credentials))
        self.assertTrue(verifyObject(IProvider, self.provider))
        asked = self.start()
        taken = self.next(token_answer("tok-1"))
        self.assertTrue(taken.startswith(b"POST /api/v2/oauth HTTP/1.1\r\n"))
        front, _, body = taken.partition(b"\r\n\r\n")
        self.assertIn(b"authorization: basic " + BASIC.lower(), front.lower())
        self.assertIn(b"rquid: id-of-the-request", front.lower())
        self.assertIn(b"application/x-www-form-urlencoded", front)
        self.assertEqual(body, b"scope=GIGACHAT_API_B2B")
        taken = self.next(answer(ANSWER, head()))
        self.assertTrue(taken.startswith(b"POST /api/v1/chat/completions HTTP/1.1\r\n"))
        self.assertIn(b"authorization: bearer tok-1\r\n", taken.lower())
        self.successResultOf(asked).abandon()

    def test_ready_credentials(self) -> None:
        """Ready base64 is sent as it is; an own server's user has no scope."""
        self.start(token=Secret(BASIC.decode()))
        self.assertIn(b"Basic " + BASIC + b"\r\n", self.upstream.accept().take())
        own = evolve(MODEL, auth_url="http://127.0.0.3/api/v1/token")
        self.start(model=own, token=Secret("user:password"))
        taken = self.upstream.accept().take()
        self.assertIn(b"Basic " + base64.b64encode(b"user:password"), taken)
        self.assertTrue(taken.endswith(b"\r\n\r\n"))

    def test_both_shapes(self) -> None:
        """Its end is told in milliseconds or in seconds, or not at all."""
        for told, lasts in (
            ({"access_token": "t", "expires_at": int(NOW + 500) * 1000}, 500),
            ({"tok": "t", "exp": int(NOW + 500)}, 500),
            ({"tok": "t"}, 1800),
            ({"access_token": "t", "expires_at": True}, 1800),
        ):
            self.setUp()
            shown = self.credentials.show(Candidate(MODEL, "giga", SECRET))
            self.next(answer(json.dumps(told).encode(), head()))
            self.assertEqual(self.successResultOf(shown), {"authorization": "Bearer t"})
            self.now = NOW + lasts - 61
            again = self.credentials.show(Candidate(MODEL, "giga", SECRET))
            self.assertEqual(self.successResultOf(again), {"authorization": "Bearer t"})
            self.now = NOW + lasts - 59
            self.assertNoResult(self.credentials.show(Candidate(MODEL, "giga", SECRET)))

    def test_no_token(self) -> None:
        """An answer without a token that can be shown is the provider's failure."""
        for body in (b"<html>", b"[]", b"{}", b'{"tok": 1}', b'{"tok": "a\\r\\nx: y"}'):
            asked = self.start()
            self.next(answer(body, head()))
            error = self.failureResultOf(asked, errors.UpstreamFailed).value
            self.assertEqual((error.provider, error.model), ("p", "giga"))

    def test_errors(self) -> None:
        """What the token's server answers means; the credentials are in no message."""
        words = f"bad client-id:client-secret {BASIC.decode()}"
        for status, expected in (
            (400, errors.UpstreamAuthFailed),
            (401, errors.UpstreamAuthFailed),
            (403, errors.UpstreamAuthFailed),
            (413, errors.UpstreamAuthFailed),
            (404, errors.UpstreamModelNotFound),
            (429, errors.UpstreamRateLimited),
            (500, errors.UpstreamFailed),
        ):
            asked = self.start()
            body = json.dumps({"code": 6, "message": words}).encode()
            self.next(answer(body, head(status) + b"Retry-After: 5\r\n"))
            error = self.failureResultOf(asked, expected).value
            self.assertEqual(error.upstream_status, status)
            self.assertIn(f"status {status}, code 6", str(error))
            self.assertNotIn("client-secret", str(error.envelope()) + str(error))
            self.assertNotIn(BASIC.decode(), str(error.envelope()) + str(error))
            if status == 429:
                self.assertEqual(error.retry_after, 5)

    def test_unreachable(self) -> None:
        """A token's server that is not there is a failure to connect."""
        asked = self.start()
        self.upstream.refuse(ConnectionRefusedError())
        self.failureResultOf(asked, errors.ConnectFailed)

    def test_renewed(self) -> None:
        """After a 401 the call is sent once more with a fresh token, and not twice."""
        asked = self.start()
        self.next(token_answer("tok-1"))
        self.next(answer(b'{"status":401,"message":"Token has expired"}', head(401)))
        self.next(token_answer("tok-2"))
        taken = self.next(answer(ANSWER, head()))
        self.assertIn(b"Bearer tok-2\r\n", taken)
        self.successResultOf(asked).abandon()
        asked = self.start()
        self.assertIn(b"Bearer tok-2\r\n", self.next(answer(b"{}", head(401))))
        self.next(token_answer("tok-3"))
        self.next(answer(b"{}", head(401)))
        self.failureResultOf(asked, errors.UpstreamAuthFailed)

    def test_renewed_by_another(self) -> None:
        """Of two calls that are refused, one asks for the token that both get."""
        calls = []
        connections: list[MemoryConnection] = []
        for number in range(2):
            calls.append(self.start())
            if number == 0:
                self.next(token_answer("tok-1"))
            connections.append(self.upstream.accept())
        attempts = self.upstream.attempts
        connections[0].send(answer(b"{}", head(401)))
        token = self.upstream.accept()
        connections[1].send(answer(b"{}", head(401)))
        self.assertEqual(self.upstream.attempts, attempts + 1)
        token.send(token_answer("tok-2"))
        self.assertEqual(self.upstream.attempts, attempts + 3)
        shown = self.credentials.renew(
            Candidate(MODEL, "giga", SECRET), {"authorization": "Bearer tok-1"}
        )
        self.assertEqual(self.successResultOf(shown), {"authorization": "Bearer tok-2"})

    def test_nothing_to_exchange(self) -> None:
        """A header of the configuration's own, or no credentials at all, need no token."""
        for model, token in (
            (evolve(MODEL, headers={"authorization": "Bearer own"}), SECRET),
            (MODEL, None),
            (evolve(MODEL, auth_url=None), SECRET),
        ):
            candidate = Candidate(model, "giga", token)
            self.assertEqual(self.successResultOf(self.credentials.show(candidate)), {})
            self.assertIsNone(self.successResultOf(self.credentials.renew(candidate, {})))

    def test_cancelled(self) -> None:
        """A call that is given up closes the token's connection, if no other one waits."""
        first, second = self.start(), self.start()
        self.assertEqual(self.upstream.attempts, 1)
        connection = self.upstream.accept()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertFalse(connection.transport.aborted)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(connection.transport.aborted)


class UploadTests(AdapterTestCase):
    """Images become files."""

    def setUp(self) -> None:
        super().setUp()
        self.credentials.show(Candidate(MODEL, "giga", SECRET))
        self.next(token_answer("tok-1"))

    def upload(self, file: str = "file-1") -> bytes:
        """Take the next upload; return its request."""
        taken = self.next(answer(json.dumps({"id": file, "object": "file"}).encode(), head()))
        self.assertTrue(taken.startswith(b"POST /api/v1/files HTTP/1.1\r\n"), taken)
        return taken

    def test_upload(self) -> None:
        """The image is uploaded as a form, its file attached, and deleted after the answer."""
        asked = self.start(with_image(), model=evolve(MODEL, headers={"x-client-id": "c"}))
        front, _, form = self.upload().partition(b"\r\n\r\n")
        self.assertIn(b"bearer tok-1\r\n", front.lower())
        self.assertIn(b"x-client-id: c", front.lower())
        self.assertIn(b"accept: application/json", front.lower())
        boundary = front.partition(b"boundary=")[2].split(b"\r\n")[0]
        _, purpose, file, end = form.split(b"--" + boundary)
        self.assertEqual(
            purpose, b'\r\nContent-Disposition: form-data; name="purpose"\r\n\r\ngeneral\r\n'
        )
        self.assertIn(b'name="file"; filename="image.png"\r\nContent-Type: image/png\r\n', file)
        self.assertTrue(file.endswith(b"\r\n\r\n" + IMAGE + b"\r\n"))
        self.assertEqual(end, b"--\r\n")
        chat = self.next(answer(ANSWER, head()))
        [message] = json.loads(chat.partition(b"\r\n\r\n")[2])["messages"]
        self.assertEqual(message, {"role": "user", "content": "see", "attachments": ["file-1"]})
        attempts = self.upstream.attempts
        reply = self.successResultOf(asked)
        self.assertEqual(self.upstream.attempts, attempts)
        consumer = RecordingConsumer()
        reply.deliver(consumer)
        self.assertEqual(consumer.data, ANSWER)
        taken = self.next(answer(b'{"deleted": true}', head()))
        self.assertTrue(taken.startswith(b"POST /api/v1/files/file-1/delete HTTP/1.1\r\n"))
        with no_delayed_calls(self.upstream.reactor):
            self.assertEqual(self.provider._deletions, set())

    def test_several(self) -> None:
        """An image that is there twice is uploaded once; each file is deleted."""
        other = "data:image/jpeg;base64,AAAA"
        asked = self.start(with_image(), with_image(), with_image(other))
        self.upload("file-1")
        self.assertIn(b"image.jpg", self.upload("f/2"))
        chat = self.next(answer(b'{"status":500,"message":"x"}', head(500)))
        told = json.loads(chat.partition(b"\r\n\r\n")[2])["messages"]
        self.assertEqual(
            [message["attachments"] for message in told], [["file-1"], ["file-1"], ["f/2"]]
        )
        self.failureResultOf(asked, errors.UpstreamFailed)
        routes = {self.answer_attempt(place).split(b" ")[1] for place in (-2, -1)}
        self.assertEqual(routes, {b"/api/v1/files/file-1/delete", b"/api/v1/files/f%2F2/delete"})

    def answer_attempt(self, place: int) -> bytes:
        """Answer one of the newest connection attempts; return its request."""
        clients = self.upstream.reactor.tcpClients
        kept = list(clients)
        clients[:] = [*kept[:place], kept[place]] if place != -1 else kept
        try:
            return self.next(answer(b"{}", head()))
        finally:
            clients[:] = kept

    def test_deletion_fails(self) -> None:
        """A file that is not deleted is logged, and nobody's failure."""
        for end in ("refused", "late"):
            asked = self.start(with_image())
            self.upload()
            self.next(answer(ANSWER, head()))
            self.successResultOf(asked).abandon()
            if end == "refused":
                self.next(answer(b'{"message": "a secret prompt"}', head(403)))
            else:
                self.upstream.reactor.advance(30)
            self.assertEqual(self.provider._deletions, set())
            warnings = [each for each in self.logged if "error_type" in each]
            self.assertEqual(warnings[-1]["id"], "r7")
            self.logged.clear()

    def test_renewed(self) -> None:
        """An upload whose token has worn out is sent once more."""
        self.start(with_image())
        self.next(answer(b"{}", head(401)))
        self.next(token_answer("tok-2"))
        self.assertIn(b"Bearer tok-2\r\n", self.upload())

    def test_upload_fails(self) -> None:
        """An upload's error is the call's; an image that is too large fits nowhere else."""
        for status, expected in (
            (413, errors.UpstreamRefused),
            (400, errors.UpstreamRefused),
            (429, errors.UpstreamRateLimited),
        ):
            asked = self.start(with_image())
            self.next(answer(b'{"message": "no"}', head(status)))
            error = self.failureResultOf(asked, expected).value
            self.assertIs(type(error), expected)
            self.assertEqual((error.status, error.upstream_status), (status, status))
        for body in (b"", b"[]", b'{"id": 7}'):
            asked = self.start(with_image())
            self.next(answer(body, head()))
            self.failureResultOf(asked, errors.UpstreamFailed)

    def test_refused(self) -> None:
        """What cannot be an image, or too many of them, is refused before anything is sent."""
        attempts = self.upstream.attempts
        for messages in (
            [with_image(), with_image("data:image/png;base64,!")],
            [with_image("data:text/plain;base64,AAAA")],
            [with_image("data:image/png,AAAA")],
            [with_image("https://example.com/a.png")],
            [with_image()] * 11,
        ):
            self.failureResultOf(self.start(*messages), errors.InvalidRequest)
        self.assertEqual(self.upstream.attempts, attempts)

    def test_whole_url(self) -> None:
        """A model with a whole URL of its own has its files beside its chat."""
        model = evolve(MODEL, url="http://127.0.0.5/v1/chat/completions?x=1", base_url=None)
        self.start(with_image(), model=model)
        taken = self.next(answer(b'{"id": "f"}', head()))
        self.assertTrue(taken.startswith(b"POST /v1/files?x=1 HTTP/1.1\r\n"))
        taken = self.upstream.accept().take()
        self.assertTrue(taken.startswith(b"POST /v1/chat/completions?x=1 HTTP/1.1\r\n"))

    def test_phases(self) -> None:
        """An upload says that the provider was reached, not that the request was sent."""
        told: list[str] = []
        request = {"messages": [with_image()]}
        candidate = Candidate(MODEL, "giga", SECRET)
        call = Call("r7", request, candidate, False)
        call = evolve(call, connected=lambda: told.append("c"), sent=lambda: told.append("s"))
        self.provider.start(call)
        self.upload()
        self.assertEqual(told, ["c"])
        self.next(answer(ANSWER, head()))
        self.assertEqual(told, ["c", "c", "s"])


class Row17Tests(AdapterTestCase):
    """What the Go proxy did wrong: one client for all, whole answers in the log, raw tools."""

    def test_two_credentials(self) -> None:
        """Two credentials side by side have a token each, and are not mixed up."""
        other = Secret("other-id:other-secret")
        first, second = self.start(), self.start(token=other)
        self.assertEqual(self.upstream.attempts, 2)
        taken = self.next(token_answer("tok-other"))
        self.assertIn(base64.b64encode(b"other-id:other-secret"), taken)
        self.assertIn(b"Bearer tok-other\r\n", self.next(answer(ANSWER, head())))
        self.successResultOf(second).abandon()
        self.assertNoResult(first)
        again = self.start(token=other)
        self.assertIn(b"Bearer tok-other\r\n", self.next(answer(ANSWER, head())))
        self.successResultOf(again).abandon()
        for model in (
            evolve(MODEL, scope="GIGACHAT_API_CORP"),
            evolve(MODEL, auth_url="http://127.0.0.9/oauth"),
        ):
            self.start(token=other, model=model)
            self.assertIn(b"Basic ", self.upstream.accept().take())

    def test_nothing_logged(self) -> None:
        """Neither the prompt nor the answer, a token or a credential is logged."""
        asked = self.start()
        self.next(token_answer("tok-1"))
        self.next(answer(ANSWER, head()))
        consumer = RecordingConsumer()
        self.successResultOf(asked).deliver(consumer)
        self.assertEqual(consumer.data, ANSWER)
        self.now = NOW + 1790
        asked = self.start()
        self.next(answer(b'{"message": "client-secret"}', head(503)))
        self.next(answer(b'{"message": "a secret prompt"}', head(400)))
        self.failureResultOf(asked, errors.UpstreamRefused)
        self.assertIn("UpstreamFailed", self.log_line())
        for secret in ("a secret prompt", "спасибо", "tok-1", "client-secret", BASIC.decode()):
            self.assertNotIn(secret, self.log_line())

    def test_tools(self) -> None:
        """Tools are sent as functions, and the call that comes is a tool call."""
        parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
        function = {"name": "weather", "parameters": parameters}
        asked = self.start(tools=[{"type": "function", "function": function}])
        self.next(token_answer("tok-1"))
        call = {"name": "weather", "arguments": {"city": "Омск"}}
        message = {"role": "assistant", "content": "", "function_call": call}
        choice = {"index": 0, "message": message, "finish_reason": "function_call"}
        taken = self.next(answer(json.dumps({"choices": [choice]}).encode(), head()))
        body = json.loads(taken.partition(b"\r\n\r\n")[2])
        self.assertEqual(body["functions"], [function])
        self.assertNotIn("tools", body)
        reply = self.successResultOf(asked)
        consumer = RecordingConsumer()
        reply.deliver(consumer)
        [choice] = reply.dialect.read_reply(consumer.data)["choices"]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        [tool_call] = choice["message"]["tool_calls"]
        self.assertEqual(json.loads(tool_call["function"]["arguments"]), {"city": "Омск"})
