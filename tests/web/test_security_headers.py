"""What every answer says to browsers."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from zope.interface import directlyProvides

from tests.transport.http.clients import Answer, Client, ClientTransport
from tests.web.serving import TOKEN, ScriptedReply, ServingTestCase

HSTS = "strict-transport-security"


class TLSClient(Client):
    """A client whose connection has TLS, as far as the server can see."""

    def __attrs_post_init__(self) -> None:
        channel: Any = self.site.buildProtocol(None)
        self.channel = channel
        self.transport = ClientTransport(self.clock, channel)
        directlyProvides(self.transport, ISSLTransport)
        channel.makeConnection(self.transport)


class SecurityHeadersTests(ServingTestCase):
    """OWASP's REST Security Cheat Sheet."""

    def answers(self) -> list[Answer]:
        """Return answers of every kind."""
        answers = [
            self.ask("GET", "/v1/models"),
            self.ask("GET", "/v1/models/demo/echo"),
            self.ask_bare("GET", "/v1/models"),
            self.ask("GET", "/nothing"),
            self.ask("HEAD", "/ping"),
            self.chat(),
        ]
        reply = self.begin_stream(ScriptedReply())
        reply.end()
        answers.append(self.client.answer())
        self.client.send(b"nonsense\r\n\r\n")  # the HTTP layer's own answer
        answers.append(self.client.answer())
        statuses = [answer.status for answer in answers]
        self.assertEqual(statuses, [200, 200, 401, 404, 200, 200, 200, 400])
        return answers

    def test_everywhere(self) -> None:
        """No answer is a document, none is shown in a frame, none says where somebody was."""
        for answer in self.answers():
            headers = answer.headers
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(
                headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'"
            )
            self.assertEqual(headers["x-frame-options"], "DENY")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertNotIn(HSTS, headers)
            self.assertNotIn(TOKEN, str(headers))

    def test_within_tls(self) -> None:
        """Within TLS no browser shall come without it, for a year."""
        self.client = TLSClient(self.site, self.clock)
        for answer in self.answers():
            self.assertEqual(answer.headers[HSTS], "max-age=31536000")

    def test_cached(self) -> None:
        """Answers are not stored; a stream may not be held back either."""
        *answers, stream, refusal = self.answers()
        for answer in (*answers, refusal):
            self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(stream.headers["cache-control"], "no-cache")
        self.assertEqual(stream.headers["x-accel-buffering"], "no")
