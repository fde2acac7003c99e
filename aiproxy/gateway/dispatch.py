"""Who takes calls: each is read, planned, admitted, and accounted for when it is over."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aiproxy.config.schema import LONGEST_NAME
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError, InvalidRequest
from aiproxy.gateway.answer import PlainAnswer, StreamedAnswer
from aiproxy.gateway.body_log import BodyLog
from aiproxy.gateway.entrance import Found
from aiproxy.gateway.exchange import ClientCall, Exchange
from aiproxy.gateway.explain import explain
from aiproxy.gateway.metrics import Metrics
from aiproxy.gateway.passing import keep_able
from aiproxy.gateway.patience import Unsettled, settled_within
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.running import RunningCalls
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.tracing import CallTrace, PassedOn, Tracer
from aiproxy.gateway.usage import CallRecord
from aiproxy.policy.estimate import estimate_tokens
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.model_names import configured_name
from aiproxy.policy.routing import Situation
from aiproxy.transport.stages import run_staged

__all__ = ["ClientCall", "Dispatcher"]


class Dispatcher:
    """
    Serves calls.

    :param plan: the first one; a reload brings others.
    :param clock: for all timeouts.
    :param wall: seconds since the epoch, for ``created``.
    :param report: called with each call's record when it is over.
    :param book: owns the limits' state, if that is not this process's alone.
    :ivar plan: what calls that begin now are served by; :meth:`change` replaces it.
    :ivar tracer: watches calls; ``None``: nobody does.
    :ivar bodies: keeps what is said; ``None``: nobody does.
    """

    _log = Logger()

    def __init__(
        self,
        plan: Plan,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        report: Callable[[CallRecord], None] = lambda record: None,
        book: LimitBook | None = None,
    ) -> None:
        book = LimitBook() if book is None else book
        self.shared = Shared(clock, wall, book=book)
        self.change(plan)
        self.running = RunningCalls()
        self.tracer: Tracer | None = None
        self.bodies: BodyLog | None = None
        self.metrics = Metrics(lambda name: configured_name(self.plan.config, name))
        self._report = report

    def change(self, plan: Plan) -> None:
        """Serve calls that begin from now on by another plan; what was learned outlives it."""
        self.plan = plan
        self.shared.standings.change(plan.config.breaker)

    async def answer(self, call: ClientCall) -> PlainAnswer | StreamedAnswer:
        """
        Answer a request.

        Cancelling it closes the upstream's connection at once.

        :raises AIProxyError: for the caller.
        """
        now = self.shared.clock.seconds()
        record = CallRecord(call.id, call.principal.name, now, client=call.client, route=call.route)
        plan, operation = self.plan, call.face.operation
        trace: CallTrace | None = None
        if self.tracer is not None:
            trace = self.tracer.begin(record, operation, call.belongs_to or {})
        elif call.belongs_to is not None:
            trace = PassedOn(call.belongs_to)
        try:
            request = call.face.read_request(call.body)
            record.stream = request.get("stream") is True
            requested = request["model"]
            if call.principal.models is not None and request.get("models"):
                # OpenRouter asks these where the model fails, which a caller can bring about.
                raise InvalidRequest(
                    "with a key for some models only, `model` names one of them, and `models` none",
                    param="models",
                    code="model_not_allowed",
                )
            found = plan.find_simple(requested, call.principal, operation)
            if found is not None:
                record.model = requested
            else:
                found = self._find(plan, call, requested)
                record.model = configured_name(plan.config, requested)
            exchange = Exchange(self.shared, plan.config, call, request, found, record, trace)
            self.running.begin(exchange.watch)
            self.metrics.open_streams += record.stream
        except AIProxyError as error:
            self._finish(record, error, trace)
            raise
        try:
            await self.shared.stages.next()
            if not record.stream:
                answer = await exchange.answer_plain()
                self._settle(exchange, None)
                return answer
            ended = partial(self._settle, exchange)
            opening = run_staged(self.shared.stages, exchange.open_stream())
            # Who waits for long has to hear something, and then errors come as events.
            seconds = plan.config.server.keep_alive if operation == CHAT else 0.0
            try:
                queue = self.shared.timeouts.find(seconds) if seconds else None
                attempt = await settled_within(opening, queue)
            except Unsettled:
                record.status = 200  # Its head is out before anybody has answered.
                return StreamedAnswer(None, exchange, opening, ended, seconds)
            served = exchange.served(attempt)
            return StreamedAnswer(served, exchange, succeed(attempt), ended, seconds)
        except (CancelledError, Exception) as error:
            self._settle(exchange, error)
            raise

    def explain(self, request: ChatRequest, body_bytes: int) -> list[dict[str, Any]]:
        """
        Say who would be asked for a chat request, and why the others would not.

        :param body_bytes: the length of its body.
        """
        # As the next request will find it.
        chance = random.Random()
        chance.setstate(self.shared.chance.getstate())
        turn = self.shared.traffic.next_turn(request["model"])
        situation = Situation(turn, body_bytes, self.shared.traffic, chance)
        return explain(
            self.plan.config,
            self.shared.gate,
            request["model"],
            situation,
            operation=CHAT,
            tokens=estimate_tokens(request, body_bytes),
        )

    def _find(self, plan: Plan, call: ClientCall, requested: str) -> list[Found]:
        operation = call.face.operation
        shared = self.shared
        turn = shared.traffic.turn(requested[:LONGEST_NAME])  # It is kept, whatever was asked for.
        situation = Situation(turn, len(call.body), shared.traffic, shared.chance)
        found = plan.find(requested, situation, call.principal, operation)
        if operation == CHAT:
            return found
        return keep_able(plan, found, operation, call.principal.may_use)

    def _settle(self, exchange: Exchange, error: BaseException | None) -> None:
        exchange.leave(whole=error is None)
        self.running.end(exchange.watch)
        self.metrics.open_streams -= exchange.record.stream
        self._finish(exchange.record, error, exchange.trace)

    def _finish(
        self, record: CallRecord, error: BaseException | None, trace: CallTrace | None
    ) -> None:
        record.end(self.shared.clock.seconds(), error)
        if trace is not None:
            trace.end(record)
        self._account(record)

    def account_uncalled(
        self,
        id: str,
        client: str,
        error: BaseException | None,
        *,
        key: str | None = None,
        route: str | None = None,
        status: int | None = None,
    ) -> None:
        """
        Account for a request that never became a call.

        :param error: why it has no answer, if so.
        :param status: of its answer, where that is not the error's.
        """
        now = self.shared.clock.seconds()
        record = CallRecord(id, key, now, client=client, route=route, status=status)
        record.end(now, error)
        record.ended = None  # Nobody has looked at the clock when it began.
        self._account(record)

    def _account(self, record: CallRecord) -> None:
        self.metrics.observe(record)
        try:
            self._report(record)
        except Exception:
            # The answer is the caller's, whatever becomes of the record.
            self._log.failure("the report of request {id} failed", id=record.id)
