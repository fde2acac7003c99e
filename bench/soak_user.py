"""One user of the mixed soak: his requests, each noted, and what is to be expected of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

from attrs import define, field

from aiproxy.providers.chaos.script import ANSWER as DRILL_ANSWER
from bench.soak_answers import Recital
from bench.soak_http import Answer, Client, write_request
from bench.soak_judge import Expected, find_problem
from bench.soak_ledger import Asked, Ledger
from bench.soak_server import TOKEN

__all__ = ["User"]

#: Somebody is left to answer, whatever happens.
_SURE: Final = (
    *("steady/chat", "SMALL", "flaky/one", "flaky/two", "flaky/folded", "flaky/limited"),
    *("pair", "hedged", "drill/primary", "drill/backup"),
)
_ALONE: Final = "flaky/alone"
#: So many flaky ones come before a steady one that an answer may be taken over too often.
_LONG_PLANS: Final = ("pair", "hedged")
_CHAT: Final = "/v1/chat/completions"


@define
class User:
    """
    See the module.

    :param seed: of all his choices.
    :param number: of this user; his requests have it in their ids.
    :ivar random: his choices in what he does now.
    :ivar last: what he asked last.
    """

    port: int
    ledger: Ledger
    seed: str
    number: int
    random: Random = field(init=False, factory=Random)
    last: Asked = field(init=False, factory=lambda: Asked(None, "nothing yet"))
    _turn: int = field(init=False, default=0)
    _requests: int = field(init=False, default=0)

    def begin(self) -> None:
        """Begin something new, whose choices do not depend on how the last thing went."""
        self._turn += 1
        self._requests = 0
        self.random = Random(f"{self.seed} {self.number} {self._turn}")

    def connect(self, address: str | None = None, buffer: int | None = None) -> Client:
        """Open a connection."""
        return Client(self.port, address, buffer)

    def note(self, kind: str, lines: Sequence[int] = (1,), *, nameless: bool = False) -> Asked:
        """Note a request, and give it an id, but for one that cannot tell it."""
        self._requests += 1
        request_id = None if nameless else f"u{self.number}.{self._turn}.{self._requests}"
        self.last = Asked(request_id, kind, lines)
        self.ledger.asked.append(self.last)
        return self.last

    def write(self, asked: Asked, body: object, token: str = TOKEN, path: str = _CHAT) -> bytes:
        """Write a request whose body is JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return write_request("POST", path, self.write_headers(asked, token), data)

    def write_headers(self, asked: Asked, token: str = TOKEN) -> Mapping[str, str]:
        """Write who asks."""
        return {"Authorization": f"Bearer {token}", "X-Request-Id": str(asked.id)}

    def judge(self, asked: Asked, answer: Answer | None, expected: Expected) -> None:
        """Note an answer, and what is wrong with it."""
        asked.status = None if answer is None else answer.status
        self.ledger.blame(asked, find_problem(answer, expected))

    def write_chat(
        self, asked: Asked, *, stream: bool, model: str = "", words: int = 0, token: str = TOKEN
    ) -> tuple[bytes, Expected]:
        """Write a request for a chat, and what is to be expected."""
        random = self.random
        if not model:
            model = _ALONE if random.random() < 0.1 else random.choice(_SURE)
        recital = Recital(str(asked.id), words or random.choice((1, 8, 30, 120)))
        message = {"role": "user", "content": recital.prompt}
        body: dict[str, Any] = {"model": model, "messages": [message], "stream": stream}
        if stream and random.random() < 0.3:
            body["stream_options"] = {"include_usage": True}
        text = DRILL_ANSWER if model.startswith("drill/") else recital.text
        statuses = (200, 429, 500, 502, 503, 504) if model == _ALONE else (200,)
        may_break = model == _ALONE or model in _LONG_PLANS
        return self.write(asked, body, token), Expected(asked.id, statuses, text, stream, may_break)
