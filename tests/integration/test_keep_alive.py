"""Comments to clients that wait, over real sockets: nothing between us closes what is silent."""

from __future__ import annotations

import json
import sys

from aiproxy.providers.chaos.script import ANSWER
from tests.integration.in_process import InProcessTestCase, read_text
from tests.integration.servers import TOKEN, Connection, write_request
from tests.integration.test_clients import PRELUDE

CONFIG = """
models:
  - {name: up0/one, provider: up0, fallbacks: [up1/one]}
  - {name: up1/one, provider: up1}
  - {name: up2/one, provider: up2}
retry: {max_retries: 0}
server: {keep_alive: SILENCE}
timeouts: {headers: 5m, first_token: 5m, idle: 1m, attempt: 5m}
"""
COMMENT = b": keep-alive\n\n"


class KeepAliveTests(InProcessTestCase):
    """A client that hears something every 15 seconds."""

    async def start_patient(self, *scripts: object, silence: str = "15s") -> None:
        """Start it all."""
        # A kept connection that is closed before an answer would be tried once more.
        await self.start(CONFIG.replace("SILENCE", silence), *scripts, reuse=False)

    async def ask_up0(self, **more: object) -> Connection:
        """Ask for a stream; return when the first upstream has the request."""
        client = await self.begin(**{"stream": True, **more})  # type: ignore[arg-type]
        await self.until(lambda: len(self.upstreams[0].requests) > 0)
        return client

    def stalls(self) -> bool:
        """Whether the first upstream waits."""
        connections = self.upstreams[0].connections
        return bool(connections) and connections[-1]._waiting is not None

    async def hear(self, client: Connection, count: int) -> None:
        """Let 15 seconds pass so often, each with a comment."""
        before = client.received.count(COMMENT)
        for number in range(1, count + 1):
            self.clock.advance(14.9)
            await self.clock.settle()
            self.assertEqual(client.received.count(COMMENT), before + number - 1)
            self.clock.advance(0.1)
            await self.until(lambda: client.received.count(COMMENT) == before + number)  # noqa: B023

    async def test_late(self) -> None:
        """The answer to a stream that is late begins with 200 and comments."""
        await self.start_patient([{"fault": "silent", "delay": 50}])
        client = await self.ask_up0()
        await self.hear(client, 3)
        head, _, body = bytes(client.received).partition(b"\r\n\r\n")
        self.assertEqual(client.status, 200)
        self.assertIn(b"text/event-stream", head)
        self.assertNotIn(b"x-aiproxy-model", head.lower())
        self.assertEqual(body.count(COMMENT), 3)
        self.clock.advance(5)
        stream = await client.end()
        self.assertEqual((read_text(stream), stream.count(COMMENT)), (ANSWER, 3))
        self.assertEqual(self.records[0].first_token, 50)

    async def test_late_error(self) -> None:
        """Where the answer does not come either, an error event does, without an end."""
        await self.start_patient([{"fault": "silent"}], [500])
        client = await self.ask_up0()
        await self.hear(client, 1)
        self.upstreams[0].connections[0].transport.abortConnection()
        stream = await client.end()
        self.assertIn(b'data: {"error":', stream)
        self.assertNotIn(b"[DONE]", stream)
        self.assertEqual(self.records[0].error, "upstream_error")

    async def test_error_in_time(self) -> None:
        """An error that comes before has its own status."""
        await self.start_patient([500], [500])
        client = await self.ask_up0()
        await client.end()
        self.assertEqual(client.status, 502)
        self.assertNotIn(COMMENT, client.received)

    async def test_silence(self) -> None:
        """A silence in the middle is bridged; what follows is whole."""
        await self.start_patient([{"fault": "stall", "after_events": 3, "delay": 40}])
        client = await self.ask_up0()
        await self.until(lambda: "lighthouse" in read_text(client.received))
        self.assertNotIn(COMMENT, client.received)
        await self.hear(client, 2)
        self.clock.advance(10)
        self.assertEqual(read_text(await client.end()), ANSWER)

    async def test_pings(self) -> None:
        """An upstream's own pings are not the client's: it hears ours."""
        late = {"fault": "late", "delay": 40, "ping_every": 4}
        await self.start_patient([late])
        client = await self.ask_up0()
        connection = self.upstreams[0].connections[0]
        for _ in range(10):
            await self.until(self.stalls)
            before = connection.sent
            self.clock.advance(4)
            await self.until(lambda: connection.sent > before)  # noqa: B023
        stream = await client.end()
        self.assertEqual((read_text(stream), stream.count(COMMENT)), (ANSWER, 2))

    async def test_takeover(self) -> None:
        """The wait for who goes on with a stream that was cut is bridged too."""
        await self.start_patient(
            [{"fault": "cut", "after_events": 5}], [{"fault": "silent", "delay": 31}]
        )
        client = await self.ask_up0()
        await self.until(lambda: len(self.upstreams[1].requests) == 1)
        await self.hear(client, 2)
        self.clock.advance(1)
        stream = await client.end()
        self.assertEqual(read_text(stream), ANSWER)
        self.assertTrue(self.records[0].rescued)

    async def test_plain(self) -> None:
        """A whole answer has nothing before it."""
        await self.start_patient([{"fault": "silent", "delay": 50}])
        client = await self.ask_up0(stream=False)
        self.clock.advance(49)
        await self.clock.settle()
        self.assertEqual(client.received, b"")
        self.clock.advance(1)
        self.assertNotIn(b"keep-alive\n", await client.end())

    async def test_never(self) -> None:
        """0s: nothing but the answer."""
        await self.start_patient([{"fault": "silent", "delay": 50}], silence="0s")
        client = await self.ask_up0()
        self.clock.advance(49)
        await self.clock.settle()
        self.assertEqual(client.received, b"")
        self.clock.advance(1)
        stream = await client.end()
        self.assertNotIn(COMMENT, stream)
        self.assertIn(b"x-aiproxy-model: up0/one", stream.lower())

    async def test_passed(self) -> None:
        """Bodies that pass through have nothing added."""
        await self.start_patient([{"fault": "stall", "after_events": 3, "delay": 40}])
        client = await self.begin_completion()
        await self.until(self.stalls)
        for _ in range(4):
            self.clock.advance(10)
            await self.clock.settle()
        self.assertNotIn(COMMENT, await client.end())
        self.assertIn(b"data: ", client.received)

    async def begin_completion(self) -> Connection:
        """Ask for a stream of the older kind, whose body passes through."""
        body = {"model": "up0/one", "prompt": "hi", "stream": True}
        return await self.connect(self.port, write_request("POST", "/v1/completions", body))

    async def test_openai_client(self) -> None:
        """OpenAI's own client reads the text past comments at both places, and an error after."""
        late = {"fault": "silent", "delay": 20}
        silent = {"fault": "stall", "after_events": 3, "delay": 20}
        await self.start_patient([late, silent, {"fault": "silent"}], [500])
        script = f"""{PRELUDE}
def read():
    messages = [{{"role": "user", "content": "hi"}}]
    for chunk in client.chat.completions.create(model="up0/one", messages=messages, stream=True):
        yield chunk.choices[0].delta.content or "" if chunk.choices else ""
out["texts"] = ["".join(read()) for _ in range(2)]
try:
    list(read())
except openai.APIError as error:
    out["error"] = str(error), error.code
print(json.dumps(out))
"""
        url = f"http://127.0.0.1:{self.port}/v1"
        client = self.spawn([sys.executable, "-c", script, url, TOKEN])
        first = self.upstreams[0]
        for number in range(1, 4):
            await self.until(lambda: len(first.requests) == number or client.status is not None, 30)  # noqa: B023
            self.assertIsNone(client.status, client.output)
            if number < 3:
                await self.until(self.stalls)
            self.clock.advance(15)
            await self.clock.settle()
            if number < 3:
                self.clock.advance(5)
        first.connections[-1].transport.abortConnection()
        self.assertEqual(await client.ended(30), 0, client.output)
        out = json.loads(client.output.splitlines()[-1])
        self.assertEqual(out["texts"], [ANSWER] * 2)
        self.assertEqual(out["error"][1], "upstream_error")
