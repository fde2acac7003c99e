"""The load and the upstream, in C and in Python: they do and count the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from bench.answers import EVENTS
from bench.processes import Running
from bench.rig import CountsDiffer, Rig
from bench.targets import Target

DIRECT = Target("direct", "the upstream", None)


class Cache(BaseHTTPRequestHandler):
    """Answers as the upstream would the request of number 0, and does not ask it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        body = b'{"content": "Answer 0000000000 it is far"}'
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class SlowTests(SynchronousTestCase):
    """Those in Python."""

    slow = True

    def setUp(self) -> None:
        """Start the upstream."""
        if not self.slow and shutil.which("cc") is None and shutil.which("gcc") is None:
            raise SkipTest("no C compiler")
        self.rig = Rig(self.slow)
        self.rig.__enter__()
        self.addCleanup(self.rig.__exit__, None, None, None)

    def ask(self, answer: str, *, cut_at: int = 0, image: bool = False) -> Sequence[int]:
        """Ask twelve times over three connections; answers, left ones, errors and events."""
        sample = self.rig.ask(
            DIRECT,
            self.rig.upstream,
            answer,
            connections=3,
            total=12,
            cut_at=cut_at,
            image=image,
        )
        times = [*sample.wholes, *sample.firsts, *sample.delays]
        self.assertTrue(all(0 < seconds < 30 for seconds in times))
        self.assertEqual(len(sample.wholes), sample.answers)
        self.assertEqual(len(sample.firsts), 0 if answer == "plain" else 12)
        self.assertEqual(len(sample.delays), sample.events if answer == "paced" else 0)
        return sample.answers, sample.cut, sample.errors, sample.events

    def test_plain(self) -> None:
        """Plain requests are answered and counted."""
        self.assertEqual(self.ask("plain"), (12, 0, 0, 0))
        counts = self.rig.count()
        self.assertEqual((counts["requests"], counts["repeated"], counts["open"]), (12, 0, 0))

    def test_image(self) -> None:
        """So are those with an image."""
        self.assertEqual(self.ask("plain", image=True), (12, 0, 0, 0))

    def test_stream(self) -> None:
        """Streams are read to their end."""
        self.assertEqual(self.ask("openai"), (12, 0, 0, 12 * EVENTS))

    def test_broken(self) -> None:
        """A stream without [DONE] is an error, though all its events came."""
        self.assertEqual(self.ask("gemini"), (0, 0, 12, 12 * EVENTS))

    def test_left(self) -> None:
        """Streams that are left midway end at the upstream too."""
        self.assertEqual(self.ask("paced", cut_at=1), (0, 12, 0, 12))
        self.assertEqual(self.rig.wait_until_quiet(), 0)
        self.assertEqual(self.rig.count()["cut"], 12)

    def test_repeated(self) -> None:
        """A request that the upstream sees again is found."""
        self.ask("plain")
        self.rig._next_number = 0
        self.assertRaises(CountsDiffer, self.ask, "plain")

    def test_cached(self) -> None:
        """An answer that the upstream did not give is found, and so is another request's."""
        server = HTTPServer(("127.0.0.1", 0), Cache)
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        cache = Running(os.getpid(), server.server_port)
        self.assertRaises(
            CountsDiffer, self.rig.ask, DIRECT, cache, "plain", connections=1, total=1
        )
        sample = self.rig.ask(DIRECT, cache, "plain", connections=1, total=5)
        self.assertEqual((sample.answers, sample.errors), (0, 5))


class CompiledTests(SlowTests):
    """Those in C."""

    slow = False
