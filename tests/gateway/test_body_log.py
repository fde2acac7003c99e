"""Tests of :mod:`aiproxy.gateway.body_log`."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config
from aiproxy.config.secret import Secret
from aiproxy.config.sections import Server
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.errors import ConfigurationError, InvalidRequest
from aiproxy.gateway.answer import PlainAnswer, Served
from aiproxy.gateway.body_log import MOST_BYTES, BodyCopy, BodyLog
from aiproxy.gateway.dispatch import ClientCall
from aiproxy.policy.access import Principal

NOBODY: Served = None  # type: ignore[assignment]


class BodyLogTests(SynchronousTestCase):
    """Lines in a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.clock = Clock()
        self.config = Config(
            server=Server(body_log=str(self.path)), auth_tokens=(Secret("sesame"),)
        )

    def make(self, config: Config | None = None) -> BodyLog:
        """Make one that writes to the file."""
        log = BodyLog(config or self.config, self.clock, lambda: 1893456000.25)
        self.addCleanup(log.close)
        return log

    def begin(self, log: BodyLog, body: bytes = b'{"messages": [{"content": "Hi"}]}') -> BodyCopy:
        """Begin with a request."""
        call = ClientCall("r1", OpenAIFace(), Principal("team"), body, route="/v1/chat/completions")
        copy = log.begin(call)
        assert copy is not None
        call.body = b""  # As the exchange does, once it is read.
        return copy

    def read(self) -> list[dict[str, Any]]:
        """Return what was written by now."""
        self.clock.advance(0.1)
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def test_plain(self) -> None:
        """A line has the request and the whole answer, and only its owner may read it."""
        log = self.make()
        copy = self.begin(log)
        copy.answered(PlainAnswer(NOBODY, b'{"choices": [{"message": {"content": "Hello"}}]}'))
        copy.close()
        self.assertEqual(
            self.read(),
            [
                {
                    "time": "2030-01-01T00:00:00.250Z",
                    "id": "r1",
                    "key": "team",
                    "route": "/v1/chat/completions",
                    "request": {"messages": [{"content": "Hi"}]},
                    "answer": {"choices": [{"message": {"content": "Hello"}}]},
                }
            ],
        )
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & ~0o600, 0)

    def test_secrets(self) -> None:
        """What looks like a key is masked, as are the configuration's own, in pieces too."""
        copy = self.begin(self.make(), b'{"prompt": "sesame sk-proj-abcdefghijklmnop"}')
        client = copy.follow(StringTransport(), "text/event-stream")
        for piece in ("my ses", "ame, and sk-proj-abcdef", "ghijklmnop"):
            delta = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            client.write(b"data: " + json.dumps(delta).encode() + b"\n\n")
        copy.close()
        [line] = self.read()
        self.assertEqual(line["request"], {"prompt": "*** ***"})
        self.assertEqual(line["answer"], {"choices.0.delta.content": "my ***, and ***"})

    def test_stream(self) -> None:
        """A stream goes to the client as it is, with its producer."""
        transport = StringTransport()
        copy = self.begin(self.make())
        client = copy.follow(transport, "audio/mpeg")
        producer = StringTransport()
        client.registerProducer(producer, True)
        client.write(b"\x00\x01")
        self.assertEqual((transport.value(), transport.producer), (b"\x00\x01", producer))
        client.unregisterProducer()
        self.assertIsNone(transport.producer)
        copy.close()
        self.assertEqual([line["answer"] for line in self.read()], ["[audio/mpeg, 2 bytes]"])

    def test_gone(self) -> None:
        """The end of the client's connection is seen through it, as through others."""
        transport = StringTransport()
        client: Any = self.begin(self.make()).follow(transport, "text/event-stream")
        self.assertIs(client.channel, client)
        transport.channel = None  # type: ignore[attr-defined]
        self.assertIsNone(client.channel)

    def test_error(self) -> None:
        """An error is an answer; a call that has none is told of all the same."""
        log = self.make()
        copy = self.begin(log)
        copy.failed(InvalidRequest("no model"))
        copy.close()
        self.begin(log).close()
        self.assertEqual([line["answer"] for line in self.read()], [{"error": "no model"}, None])

    def test_not_json(self) -> None:
        """Of what is no JSON, or is too long, the size is noted."""
        log = self.make()
        copy = self.begin(log, b"--form\r\n")
        copy.answered(PlainAnswer(NOBODY, b"\xff\xd8", "image/jpeg"))
        copy.close()
        self.begin(log, b'"' + b"x" * MOST_BYTES + b'"').close()
        first, second = self.read()
        self.assertEqual(
            (first["request"], first["answer"]), ("[8 bytes]", "[image/jpeg, 2 bytes]")
        )
        self.assertEqual(second["request"], "[8,388,610 bytes]")

    def test_nobody_wants_it(self) -> None:
        """Without a file nothing is taken."""
        log = self.make(Config())
        call = ClientCall("r1", OpenAIFace(), Principal("team"), b"{}")
        self.assertIsNone(log.begin(call))
        log.reopen()

    def test_change(self) -> None:
        """Another configuration moves it, or ends it; a call that runs then is not written."""
        log = self.make()
        self.begin(log).close()
        other = Path(self.mktemp()).absolute()
        log.change(evolve(self.config, server=Server(body_log=str(other))))
        self.assertEqual(len(self.path.read_text().splitlines()), 1)
        running = self.begin(log)
        log.change(Config())
        running.close()
        self.assertEqual(other.read_text(), "")

    def test_no_place(self) -> None:
        """A place that there is not is refused with its key."""
        config = evolve(self.config, server=Server(body_log="/dev/null/bodies"))
        refused = self.assertRaises(ConfigurationError, self.make, config)
        self.assertIn("server.body_log: /dev/null/bodies is no place", str(refused))
