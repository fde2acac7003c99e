"""The upstream of the mixed soak, on real sockets: every fault is the one that it is called."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import redirect_stdout
from functools import partial
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bench.processes import find_free_port
from bench.soak_answers import Recital
from bench.soak_faults import FAULTS, GOOD, Answer, answer_well
from bench.soak_http import Answer as Received
from bench.soak_http import Client, write_request
from bench.soak_judge import Expected, find_problem
from bench.soak_upstream import Upstream

RECITAL = Recital("u1.1", 40)


def write_chat(*, stream: bool, path: str = "/steady/v1/chat/completions") -> bytes:
    """Write a request."""
    message = {"role": "user", "content": RECITAL.prompt}
    body = {"model": "chat", "messages": [message], "stream": stream}
    return write_request("POST", path, {}, json.dumps(body).encode())


def with_server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
    use: Callable[[Client], Coroutine[Any, Any, Any]],
) -> Any:
    """Serve a connection, and use it."""

    async def run() -> Any:
        port = find_free_port()
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        async with server, asyncio.timeout(20), Client(port) as client:
            return await use(client)

    return asyncio.run(run())


def meet(play: Callable[[Answer], Awaitable[bool]], *, stream: bool) -> str | None:
    """Get an answer; what is wrong with it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read(1))
        asked = {"model": "chat", "stream": stream}
        await play(Answer(writer, gone, Random(3), asked, RECITAL.text, stall_seconds=0.05))
        gone.cancel()
        writer.close()

    received: Received | None = with_server(serve, Client.read)
    if received is not None:
        # What only a proxy would say.
        received.headers = {**received.headers, "x-request-id": "r", "x-aiproxy-model": "m"}
    return find_problem(received, Expected("r", text=RECITAL.text, stream=stream))


#: What a client sees of each fault, in a stream and in a plain answer.
SEEN = {
    "close": ("no answer", "no answer"),
    "cut": ("without [DONE]", "no completion"),
    "cut_by_reset": ("without [DONE]", "no completion"),
    "end_too_soon": ("without [DONE]", "no completion"),
    "error": ("status 50", "status 50"),
    "error_inside": ("no stream", "no completion"),
    "garbage": ("no answer", "no answer"),
    "garbled": ("no events", "no completion"),
    "html": ("no stream", "no completion"),
    "never_done": ("without [DONE]", "nothing"),
    "rate_limit": ("status 429", "status 429"),
    "reset": ("no answer", "no answer"),
    "silent": ("no answer", "no answer"),
    "stall": ("without [DONE]", "no completion"),
}


class FaultTests(SynchronousTestCase):
    """Single answers."""

    def test_good(self) -> None:
        """A good answer is whole, at any speed."""
        for speed in GOOD:
            for stream in (True, False):
                problem = meet(partial(answer_well, speed=speed), stream=stream)
                self.assertIsNone(problem, (speed, stream))

    def test_bad(self) -> None:
        """Each fault spoils the answer in its own way."""
        self.assertEqual(set(SEEN), set(FAULTS))
        for name, seen in SEEN.items():
            for stream, why in zip((True, False), seen, strict=True):
                self.assertIn(why, meet(FAULTS[name], stream=stream) or "nothing", (name, stream))


class UpstreamTests(SynchronousTestCase):
    """The process's part."""

    def ask(self, *requests: bytes) -> list[Received | None]:
        """Ask over one connection."""

        async def use(client: Client) -> list[Received | None]:
            answers = []
            for request in requests:
                await client.send(request)
                answers.append(await client.read())
            return answers

        answers: list[Received | None] = with_server(Upstream("1").serve, use)
        return answers

    def test_steady(self) -> None:
        """Without faults all is well, and the connection is kept."""
        plain, stream, count = self.ask(
            write_chat(stream=False), write_chat(stream=True), b"GET /count HTTP/1.1\r\n\r\n"
        )
        assert plain is not None and stream is not None and count is not None
        self.assertEqual(plain.document()["choices"][0]["message"]["content"], RECITAL.text)
        self.assertEqual(stream.events()[-1], "[DONE]")
        self.assertEqual(count.document(), {"requests": 2, "open": 0, "left": 0})

    def test_seeded(self) -> None:
        """The same requests meet the same faults, in another process too."""
        request = write_chat(stream=False, path="/flaky/v1/chat/completions")

        def ask_one_by_one() -> list[int | None]:
            upstream = Upstream("7", stall_seconds=0.05)

            async def use(client: Client) -> int | None:
                await client.send(request)
                answer = await client.read()
                return None if answer is None else answer.status

            return [with_server(upstream.serve, use) for _ in range(8)]

        first = ask_one_by_one()
        self.assertEqual(first, ask_one_by_one())
        self.assertGreater(len(set(first)), 1)

    def test_left(self) -> None:
        """A caller that goes away in the middle is noticed."""
        upstream = Upstream("1")

        async def use(client: Client) -> bytes:
            await client.send(write_chat(stream=True))
            await client.read_head()
            client.finish()
            while (await client.read()) is not None:
                pass
            return upstream.count()

        self.assertEqual(json.loads(with_server(upstream.serve, use))["open"], 0)

    def test_stranger(self) -> None:
        """Going on with another answer than ours is complained about."""
        message = {"role": "user", "content": RECITAL.prompt}
        begun = {"role": "assistant", "content": "u9.9:0 u9.9:1"}
        body = {"model": "chat", "messages": [message, begun], "stream": False}
        request = write_request("POST", "/steady/v1/chat", {}, json.dumps(body).encode())
        output = io.StringIO()
        with redirect_stdout(output):
            self.ask(request)
        self.assertIn("u1.1 (/steady/v1/chat): we have never said", output.getvalue())
