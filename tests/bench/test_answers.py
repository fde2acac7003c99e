"""The upstream's scripts and the clients' requests."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bench.answers import EVENT_BYTES, EVENTS, PACED_EVENTS, PLAIN_BYTES, Script, make_scripts
from bench.questions import IMAGE_BYTES, NUMBER, write_question
from bench.slow_upstream import Script as ReadScript

SCRIPTS = make_scripts()


def read_events(name: str) -> list[bytes]:
    """Read the data of a stream's events."""
    whole = b"".join(SCRIPTS[name].packets)
    return [line[6:] for line in whole.split(b"\n") if line.startswith(b"data: ")]


class ScriptsTests(SynchronousTestCase):
    """What stands in the answers."""

    def test_plain(self) -> None:
        """A plain answer is JSON of 800 bytes with the request's number."""
        head, _, body = SCRIPTS["plain"].packets[0].partition(b"\r\n\r\n")
        self.assertEqual((len(body), head.split()[-1]), (PLAIN_BYTES, b"%d" % PLAIN_BYTES))
        content = json.loads(body)["choices"][0]["message"]["content"]
        self.assertTrue(content.startswith(f"Answer {NUMBER.decode()} "))

    def test_streams(self) -> None:
        """Each event is JSON, and every mark comes once, in order."""
        for name, count in {"openai": 200, "gemini": 200, "anthropic": 200, "paced": 50}.items():
            events = [event.strip() for event in read_events(name)]
            data = [json.loads(event) for event in events if event != b"[DONE]"]
            marks = re.findall(r"e(\d{3})\.", json.dumps(data))
            self.assertEqual(marks, [f"{number:03}" for number in range(count)])
        self.assertEqual((EVENTS, PACED_EVENTS), (200, 50))

    def test_size(self) -> None:
        """OpenAI's events are of one size, the lines between them included."""
        sizes = {len(b"data: " + event + b"\n\n") for event in read_events("openai")[:EVENTS]}
        self.assertEqual(sizes, {EVENT_BYTES})

    def test_different(self) -> None:
        """No two events of a stream say the same."""
        for name in ("openai", "gemini", "anthropic", "paced"):
            texts = [re.sub(rb"e\d{3}\.", b"", event) for event in read_events(name)]
            said = [text for text in texts if b"@@" not in text or b"content" in text]
            self.assertGreater(len(set(said)), 0.9 * len(said))

    @given(st.lists(st.binary()), st.floats(0, 1000), st.booleans())
    def test_saved(self, packets: list[bytes], interval: float, hold: bool) -> None:
        """What is saved is read as it was, to the microsecond."""
        file = Path(self.mktemp())
        Script(packets, interval, hold).save(file)
        read = ReadScript(file.read_bytes())
        self.assertEqual((read.packets, read.hold), (packets, hold))
        self.assertLessEqual(abs(read.interval - interval), 1e-6)


class QuestionTests(SynchronousTestCase):
    """What is asked."""

    def test_framed(self) -> None:
        """The body is as long as the head says, and so it stays with the number filled in."""
        for image in (False, True):
            asked = write_question("plain", "m", image=image).replace(NUMBER, b"0000000007")
            head, _, body = asked.partition(b"\r\n\r\n")
            self.assertIn(b"Content-Length: %d" % len(body), head.split(b"\r\n"))
            self.assertIn("Ask plain 0000000007", json.dumps(json.loads(body)))
            self.assertEqual(len(body) > IMAGE_BYTES * 4 // 3, image)

    def test_stream(self) -> None:
        """A stream is asked for only where one is meant."""
        for stream in (False, True):
            body = json.loads(write_question("x", "m", stream=stream).partition(b"\r\n\r\n")[2])
            self.assertIs(body.get("stream", False), stream)
