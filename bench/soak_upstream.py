"""
The upstream of the mixed soak: a process that has every kind of bad day on real sockets.

``python -m bench.soak_upstream PORT SEED``.  Below ``/steady`` all is well, but
not always fast; below ``/flaky`` two of five requests meet a fault.  Which one
depends on the seed, the request and how often it came, not on what else goes on.
What it prints is a fault of whoever asks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import OrderedDict
from collections.abc import Sequence
from random import Random
from typing import Any

from bench.soak_answers import Recital, find_recital
from bench.soak_faults import FAULTS, GOOD, Answer, CallerGone, answer_well

_FLAKY_SHARE = 0.4
#: The last requests, whose repeats are told apart.
_REMEMBERED = 10_000


class Upstream:
    """
    See the module.

    :param stall_seconds: how long it is silent, when it is.
    """

    def __init__(self, seed: str, stall_seconds: float = 4.0) -> None:
        self._seed = seed
        self._stall_seconds = stall_seconds
        self._times: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._counts = {"requests": 0, "open": 0, "left": 0}

    def count(self) -> bytes:
        """Count the requests that came, are under way, and were left by their caller, in JSON."""
        return json.dumps(self._counts).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while await self._serve_request(reader, writer):
                pass
        except (CallerGone, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serve one request; whether there may be another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, _ = head.split(" ", 2)
        if method == "GET":
            body = self.count()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return True
        length = next(
            int(line.split(":")[1])
            for line in head.splitlines()
            if line.lower().startswith("content-length:")
        )
        body = await reader.readexactly(length)
        self._counts["requests"] += 1
        self._counts["open"] += 1
        gone = asyncio.ensure_future(reader.read(1))
        try:
            return await self._answer(path, body, writer, gone)
        except (CallerGone, OSError):
            self._counts["left"] += 1
            raise
        finally:
            self._counts["open"] -= 1
            gone.cancel()
            await asyncio.wait((gone,))
            if not gone.cancelled() and not gone.exception() and gone.result():
                _complain(path, body, "another request came, while this one was under way")

    async def _answer(
        self, path: str, body: bytes, writer: asyncio.StreamWriter, gone: asyncio.Future[bytes]
    ) -> bool:
        asked: dict[str, Any] = json.loads(body)
        recital = find_recital(body)
        text = None if recital is None else _choose_text(asked, recital)
        if recital is None or text is None:
            _complain(path, body, "we have never said what we are to go on with")
            text, recital = "", Recital("unknown", 0)
        key = (path, recital.id)
        times = self._times[key] = self._times.pop(key, 0) + 1
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        random = Random(f"{self._seed} {path} {recital.id} {times}")
        answer = Answer(writer, gone, random, asked, text, self._stall_seconds)
        if path.endswith("/embeddings"):
            return await answer.write_vectors()
        flaky = path.startswith("/flaky") and random.random() < _FLAKY_SHARE
        if flaky:
            return await FAULTS[random.choice(sorted(FAULTS))](answer)
        return await answer_well(answer, random.choice(GOOD))


def _choose_text(asked: dict[str, Any], recital: Recital) -> str | None:
    """Choose what is said; ``None``: it goes on with another answer."""
    messages = asked.get("messages")
    if not messages:
        return recital.text
    last = messages[-1]
    if last["role"] == "assistant":
        return recital.after(last["content"])
    if len(messages) > 1:
        return recital.again_from(last["content"].rpartition("\n\n")[2])
    return recital.text


def _complain(path: str, body: bytes, problem: str) -> None:
    recital = find_recital(body)
    print(f"{recital and recital.id} ({path}): {problem}: {body[-500:]!r}", flush=True)


async def _run(port: int, seed: str) -> None:
    server = await asyncio.start_server(
        Upstream(seed).serve, "127.0.0.1", port, backlog=1024, limit=2**20
    )
    await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    """Serve until the process is ended."""
    port, seed = arguments
    asyncio.run(_run(int(port), seed))


if __name__ == "__main__":
    main(sys.argv[1:])
