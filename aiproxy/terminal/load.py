"""
A load on an OpenAI-compatible server, and a look at every one of its answers.

A closed loop has so many connections, and each asks anew when it has its
answer: a slow server is asked less.  An open loop asks on schedule whatever
the server does, and counts from when a request was due: a server that stalls
cannot hide what would have come meanwhile ("coordinated omission").
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.interfaces import IBodyConsumer
from aiproxy.terminal.load_checks import Answer, Failed, StreamCheck, WholeCheck, read_reason
from aiproxy.terminal.load_plan import Client, Plan, Target
from aiproxy.transport.client import UpstreamResponse

__all__ = ["FirstFailed", "Load"]


class FirstFailed(Exception):
    """The first request that ended has failed: the others would, too."""


class Load:
    """
    One load, from its first request to its last answer.

    :param client: keeps connections as many as there are requests at once.
    :param number: the first request's; the others follow.
    :param proven: the server has answered well before, so that a first failure
        is one like others.
    :ivar answers: the good ones.
    :ivar failures: how many there are of each kind; ``examples`` has words for each.
    :ivar late: by how many seconds each request of an open loop was started late.
    :ivar repeated: requests that were sent a second time, for the server had closed
        a kept connection without a byte of an answer.
    :ivar peak: requests that were on their way at once.
    :ivar unfinished: requests that :meth:`stop` broke off.
    :ivar stopped: it was, before its end.
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Client,
        target: Target,
        plan: Plan,
        *,
        number: int = 0,
        proven: bool = False,
    ) -> None:
        self.clock = clock
        self.client = client
        self.target = target
        self.plan = plan
        self.answers: list[Answer] = []
        self.failures: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.late: list[float] = []
        self.started = self.peak = self.repeated = self.unfinished = 0
        self.began = self.ended = 0.0
        self.stopped = False
        self._number = number
        self._proven = proven
        self._asked: set[_Request] = set()
        self._all_started = False
        self._timer: IDelayedCall | None = None
        self._over: Deferred[None] | None = None

    @property
    def finished(self) -> int:
        """How many requests have ended."""
        return len(self.answers) + self.failures.total()

    @property
    def share(self) -> float:
        """How much of it is over, from 0 to 1."""
        requests, seconds = self.plan.requests, self.plan.seconds
        of_requests = self.finished / requests if requests else 0.0
        of_time = (self.clock.seconds() - self.began) / seconds if seconds else 0.0
        return min(max(of_requests, of_time), 1.0)

    def run(self) -> Deferred[None]:
        """
        Ask.

        The Deferred fires when all has ended, or was stopped.

        :raises FirstFailed: it says why, on one line.
        """
        self.began = self.ended = self.clock.seconds()
        over = self._over = Deferred()
        if self.plan.rate is not None:
            self._keep_up(self.plan.rate)
        else:
            for _ in range(self.plan.connections):
                self._go_on()
        return over

    def stop(self) -> None:
        """End early: break off what is on its way.  Harmless when there is no load any more."""
        if self._over is not None:
            self.stopped = True
            self.unfinished = len(self._asked)
            self.ended = self.clock.seconds()
            self._end()

    def request_ended(self, request: _Request, answer: Answer | Failed) -> None:
        """Count it, and go on."""
        self._asked.discard(request)
        self.ended = self.clock.seconds()
        if isinstance(answer, Answer):
            self.answers.append(answer)
        else:
            self.failures[answer.kind] += 1
            self.examples.setdefault(answer.kind, answer.words)
            if self.finished == 1 and not self._proven:
                self._end(FirstFailed(f"{answer.words} ({answer.kind})"))
                return
        if self.plan.rate is None:
            # In a turn of its own: one that fails at once would ask within its own asking.
            self.clock.callLater(0, self._go_on)
        else:
            self._settle()

    def _go_on(self) -> None:
        """Use a connection of a closed loop."""
        now = self.clock.seconds()
        if self._has_more(now):
            self._ask(now)
        else:
            self._settle()

    def _keep_up(self, rate: float) -> None:
        """Start what is due; what becomes due meanwhile waits for a turn of the reactor."""
        self._timer = None
        now = self.clock.seconds()
        while self._has_more(due := self.began + self.started / rate):
            if due > now:
                delay = max(0.0, due - self.clock.seconds())
                self._timer = self.clock.callLater(delay, self._keep_up, rate)
                return
            self.late.append(self.clock.seconds() - due)
            self._ask(due)
        self._settle()

    def _has_more(self, when: float) -> bool:
        """Whether a request is to start at that time; when there is none, there never is."""
        requests, seconds = self.plan.requests, self.plan.seconds
        enough = requests is not None and self.started >= requests
        late = seconds is not None and when - self.began >= seconds
        self._all_started = enough or late or self._over is None
        return not self._all_started

    def _ask(self, due: float) -> None:
        request = _Request(self, due)
        self._asked.add(request)
        self.peak = max(self.peak, len(self._asked))
        body = self.target.write(self._number + self.started)
        self.started += 1
        request.start(body)

    def _settle(self) -> None:
        """End, if nothing is on its way any more."""
        if self._all_started and not self._asked:
            self._end()

    def _end(self, error: FirstFailed | None = None) -> None:
        over, self._over = self._over, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked, self._asked = self._asked, set()
        for request in asked:
            request.leave()
        if over is not None:
            over.callback(None) if error is None else over.errback(error)


@implementer(IBodyConsumer)
class _Request:
    """One request on its way, and who takes its answer: no Deferred for a chunk."""

    __slots__ = (
        "_asked",
        "_check",
        "_connections",
        "_due",
        "_load",
        "_producer",
        "_status",
        "_timer",
    )

    def __init__(self, load: Load, due: float) -> None:
        self._load: Load | None = load
        self._due = due
        self._status = self._connections = 0
        self._producer: IPushProducer | None = None

    def start(self, body: bytes) -> None:
        """Send it."""
        load = self._load
        assert load is not None
        self._timer = load.clock.callLater(load.plan.timeout, self._expire)
        target = load.target
        self._asked: Deferred[Any] = load.client.request(
            "POST",
            target.url,
            headers=target.headers,
            body=body,
            connected=self._connected,
            sent=_nothing,
        )
        self._asked.addCallbacks(self._answered, self._refused)

    def leave(self) -> None:
        """Nobody wants it any more."""
        self._load = None
        if self._timer.active():
            self._timer.cancel()
        if self._producer is None:
            self._asked.cancel()
        else:
            self._producer.stopProducing()

    def _connected(self) -> None:
        self._connections += 1
        if self._connections > 1 and self._load is not None:
            self._load.repeated += 1

    def _answered(self, response: UpstreamResponse) -> None:
        assert self._load is not None
        self._status = response.status
        streams = response.status == 200 and self._load.target.stream
        self._check = StreamCheck() if streams else WholeCheck(response.status)
        response.deliver(self)

    def begin(self, producer: IPushProducer) -> None:
        self._producer = producer

    def received(self, data: bytes) -> None:
        assert self._load is not None
        self._check.feed(data, self._load.clock.seconds())

    def finished(self) -> None:
        assert self._load is not None
        check, due = self._check, self._due
        failed = check.judge()
        if failed is not None:
            self._tell(failed)
            return
        total = self._load.clock.seconds() - due
        first = None if check.first is None else check.first - due
        self._tell(Answer(total, first, check.gap, check.tokens))

    def failed(self, reason: Exception) -> None:
        self._tell(read_reason(self._status, reason))

    def _refused(self, failure: Failure) -> None:
        if self._load is not None:
            self._tell(read_reason(0, failure.value))

    def _expire(self) -> None:
        load = self._load
        assert load is not None
        self.leave()
        seconds = load.plan.timeout
        load.request_ended(self, Failed("timeout", f"no end of the answer within {seconds:g} s"))

    def _tell(self, answer: Answer | Failed) -> None:
        load, self._load = self._load, None
        assert load is not None
        self._timer.cancel()
        load.request_ended(self, answer)


def _nothing() -> None: ...
