"""The kinds of clients in the mixed soak: what each does, well behaved or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from attrs import evolve, frozen

from bench.soak_answers import Recital
from bench.soak_http import write_request
from bench.soak_judge import Expected
from bench.soak_server import ADMIN_TOKEN, MAX_REQUEST_BYTES, SPARES, TOKEN
from bench.soak_user import User

__all__ = ["KINDS", "live"]

#: Longer than any call may take.
_GIVE_UP_SECONDS: Final = 40.0
#: What the kernel takes for a client that reads slowly. With less than loopback's
#: segments have room in, Linux sends one segment each 200 ms, at the persist timer.
_SLOW_BYTES: Final = 128 * 1024
#: Between two acts of a user.
_MOST_THOUGHT_SECONDS: Final = 0.1
#: Who guesses tokens is held back by address, so he has one of his own.
_GUESSER: Final = "127.0.0.2"
#: A request that did not come as a whole may have a line, and so may one that is refused
#: while it is read; one that did, has one.
_PERHAPS: Final = (0, 1)

Act: TypeAlias = Callable[[User], Awaitable[None]]


@frozen
class Kind:
    """
    A kind of client.

    :param weight: how often it comes, in relation to the others.
    """

    weight: float
    act: Act


KINDS: Final[dict[str, Kind]] = {}


def _kind(weight: float) -> Callable[[Act], Act]:
    def add(act: Act) -> Act:
        KINDS[act.__name__.strip("_")] = Kind(weight, act)
        return act

    return add


async def live(user: User, until: Callable[[], bool]) -> None:
    """Do one thing after the other, until it is over."""
    names = sorted(KINDS)
    weights = [KINDS[name].weight for name in names]
    while not until():
        user.begin()
        name = user.random.choices(names, weights)[0]
        try:
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await KINDS[name].act(user)
        except (OSError, TimeoutError) as error:
            user.ledger.blame(user.last, f"{type(error).__name__} {error}")
        await asyncio.sleep(user.random.uniform(0.0, _MOST_THOUGHT_SECONDS))


@_kind(8)
async def _plain(user: User) -> None:
    """Some requests over one connection."""
    async with user.connect() as client:
        for _ in range(user.random.randrange(1, 5)):
            asked = user.note("plain")
            request, expected = user.write_chat(asked, stream=False)
            await client.send(request)
            user.judge(asked, await client.read(), expected)


@_kind(10)
async def _stream(user: User) -> None:
    async with user.connect() as client:
        for _ in range(user.random.randrange(1, 3)):
            asked = user.note("stream")
            request, expected = user.write_chat(asked, stream=True)
            await client.send(request)
            answer = await client.read()
            user.judge(asked, answer, expected)
            if answer is None or not answer.whole:
                return


@_kind(6)
async def _left(user: User) -> None:
    """A stream or a plain answer that nobody waits for."""
    async with user.connect() as client:
        asked = user.note("left")
        stream = user.random.random() < 0.8
        await client.send(user.write_chat(asked, stream=stream)[0])
        if user.random.random() < 0.4:
            await asyncio.sleep(user.random.choice((0.0, 0.002, 0.02, 0.2, 1.2)))
            return
        answer = await client.read_head()
        if answer is None:
            user.ledger.blame(asked, "no answer")
            return
        asked.status = answer.status
        for _ in range(user.random.choice((0, 1, 3, 10))):
            await client.read_part(answer)


@_kind(2)
async def _slow(user: User) -> None:
    """Reads slower than the answer comes."""
    async with user.connect(buffer=_SLOW_BYTES) as client:
        asked = user.note("slow")
        model = user.random.choice(("steady/chat", "flaky/one"))
        stream = user.random.random() < 0.7
        request, expected = user.write_chat(asked, stream=stream, model=model, words=8000)
        await client.send(request)
        answer = await client.read_head()
        while answer is not None and await client.read_part(answer, 2048):
            await asyncio.sleep(0.002)
        user.judge(asked, answer, expected)


@_kind(1)
async def _wrong_key(user: User) -> None:
    async with user.connect(_GUESSER) as client:
        asked = user.note("wrong key")
        request, _ = user.write_chat(asked, stream=False, token="sk-guess")
        await client.send(request)
        user.judge(asked, await client.read(), Expected(asked.id, (401, 429)))


@_kind(2)
async def _limited(user: User) -> None:
    """Keys with limits of their own."""
    async with user.connect() as client:
        asked = user.note("limited")
        token = user.random.choice(("sk-soak-limited", "sk-soak-narrow"))
        stream = user.random.random() < 0.5
        request, expected = user.write_chat(asked, stream=stream, model="pair", token=token)
        await client.send(request)
        expected = evolve(expected, statuses=(200, 429))
        user.judge(asked, await client.read(), expected)


async def _ask_wrongly(user: User, kind: str, body: object, status: int, token: str) -> None:
    async with user.connect() as client:
        asked = user.note(kind)
        await client.send(user.write(asked, body, token))
        user.judge(asked, await client.read(), Expected(asked.id, (status,)))


@_kind(1)
async def _bad_json(user: User) -> None:
    body = user.random.choice((b"", b"{", b'{"model": 1}', b"[]", b"\xff\xfe", b"[" * 1000))
    await _ask_wrongly(user, "bad JSON", body, 400, TOKEN)


@_kind(1)
async def _unknown_model(user: User) -> None:
    model, token = user.random.choice((("no/such", TOKEN), ("pair", "sk-soak-picky")))
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    await _ask_wrongly(user, "unknown model", body, 404, token)


@_kind(1)
async def _spare(user: User) -> None:
    """A model that comes and goes with the reloads."""
    async with user.connect() as client:
        asked = user.note("spare")
        model = user.random.choice(SPARES)
        request, expected = user.write_chat(asked, stream=False, model=model)
        await client.send(request)
        user.judge(asked, await client.read(), evolve(expected, statuses=(200, 404)))


@_kind(1)
async def _oversize(user: User) -> None:
    async with user.connect() as client:
        asked = user.note("oversize")
        reading = asyncio.ensure_future(client.read())
        try:
            await client.send(user.write(asked, b" " * (MAX_REQUEST_BYTES + 1)))
        finally:
            user.judge(asked, await reading, Expected(asked.id, (413,)))


@_kind(2)
async def _vectors(user: User) -> None:
    async with user.connect() as client:
        asked = user.note("embeddings")
        text = Recital(str(asked.id), 1).prompt
        body = {"model": "steady/vectors", "input": [text] * user.random.randrange(1, 4)}
        await client.send(user.write(asked, body, path="/v1/embeddings"))
        user.judge(asked, await client.read(), Expected(asked.id))


@_kind(1)
async def _models(user: User) -> None:
    async with user.connect() as client:
        path, statuses = user.random.choice(
            (("/v1/models", (200,)), ("/v1/models/pair", (200,)), ("/v1/none", (404,)))
        )
        asked = user.note("models")
        await client.send(write_request("GET", path, user.write_headers(asked)))
        user.judge(asked, await client.read(), Expected(asked.id, statuses))


@_kind(1)
async def _scrape(user: User) -> None:
    """What has no access line."""
    async with user.connect() as client:
        path = user.random.choice(("/metrics", "/health", "/health/ready", "/ping"))
        asked = user.note("scrape", (0,))
        await client.send(write_request("GET", path, user.write_headers(asked, ADMIN_TOKEN)))
        user.judge(asked, await client.read(), Expected(asked.id))


@_kind(0.2)
async def _reload(user: User) -> None:
    async with user.connect() as client:
        asked = user.note("reload")
        await client.send(user.write(asked, b"", ADMIN_TOKEN, "/admin/reload"))
        user.judge(asked, await client.read(), Expected(asked.id))


@_kind(1)
async def _idle(user: User) -> None:
    """Connects, sends nothing or half of a request, and goes."""
    async with user.connect() as client:
        asked = user.note("idle", _PERHAPS)
        request, _ = user.write_chat(asked, stream=True)
        await client.send(request[: user.random.choice((0, 1, 100, len(request) - 1))])
        await asyncio.sleep(user.random.uniform(0.1, 3.0))


@_kind(1)
async def _half_open(user: User) -> None:
    """Sends its end together with the request, and still reads: that is going away."""
    async with user.connect() as client:
        asked = user.note("half open")
        await client.send(user.write_chat(asked, stream=True)[0])
        client.finish()
        answer = await client.read()
        asked.status = None if answer is None else answer.status


@_kind(1)
async def _pipelined(user: User) -> None:
    """Several requests at once, whose answers must come in their order."""
    async with user.connect() as client:
        sent = []
        for _ in range(user.random.randrange(2, 6)):
            asked = user.note("pipelined")
            stream = user.random.random() < 0.3
            sent.append((asked, *user.write_chat(asked, stream=stream, model="steady/chat")))
        await client.send(b"".join(request for _, request, _ in sent))
        for asked, _, expected in sent:
            user.judge(asked, await client.read(), expected)


@_kind(0.5)
async def _garbage(user: User) -> None:
    """Something that is not HTTP."""
    async with user.connect() as client:
        asked = user.note("garbage", nameless=True)
        await client.send(user.random.choice((b"\x16\x03\x01\x02\n\n", b"HELO soak\r\n\r\n")))
        user.judge(asked, await client.read(), Expected(None, (400,)))
