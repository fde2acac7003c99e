"""
One call, from the plan to the answer.

Before the first byte for the client any failure may go to the next candidate;
after it, another one goes on where a stream was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, field

from aiproxy.config.schema import Config
from aiproxy.dialects.face import Face, StreamWriter, WrittenAnswer
from aiproxy.dialects.operations import ALL_IMAGES, CHAT, IMAGES, PASSED
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.gateway.answer import PlainAnswer, Served
from aiproxy.gateway.asking import AskPlain, GoOn, OpenStream
from aiproxy.gateway.attempt import Asked, Attempt, Pipe
from aiproxy.gateway.entrance import Entrance, Found
from aiproxy.gateway.failover import Failover
from aiproxy.gateway.notes import Notes
from aiproxy.gateway.passing import passed_headers
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.takeover import GiveUp, Takeover
from aiproxy.gateway.tracing import CallTrace
from aiproxy.gateway.usage import SAID, CallRecord
from aiproxy.gateway.watch import Watch
from aiproxy.policy.access import Principal
from aiproxy.policy.estimate import estimate_tokens
from aiproxy.policy.routing import Candidate
from aiproxy.providers.http import read_rate_limits

__all__ = ["ClientCall", "Exchange"]


@define
class ClientCall:
    """
    One caller's request.

    :param id: the request's id.
    :param face: what the caller speaks.
    :param principal: who asks.
    :param body: the request as it came.
    :param caller: among whom turns are fair: a key's name, or an address.
    :param timeout: seconds that the caller is ready to wait, if it says so.
    :param client: the caller's address.
    :param route: the path that it has come to, as it is declared.
    :param belongs_to: the headers of its trace context, if there is one.
    """

    id: str
    face: Face
    principal: Principal
    body: bytes = field(repr=False)
    caller: str = ""
    timeout: float | None = None
    client: str | None = None
    route: str | None = None
    belongs_to: Mapping[str, str] | None = None


class Exchange:
    """
    One call, as it goes on.

    :param found: who may be asked, best first.
    :ivar record: what it comes to.
    :ivar watch: bounds all of it.
    :ivar trace: who watches it, if anybody does.
    """

    __slots__ = (
        "_call",
        "_config",
        "_created",
        "_cut",
        "_found",
        "_notes",
        "_pipe",
        "_request",
        "_shared",
        "clock",
        "entrance",
        "failover",
        "record",
        "timeouts",
        "trace",
        "watch",
    )

    def __init__(
        self,
        shared: Shared,
        config: Config,
        call: ClientCall,
        request: ChatRequest,
        found: Sequence[Found],
        record: CallRecord,
        trace: CallTrace | None = None,
    ) -> None:
        total = found[0][0].model.timeouts.total
        self.record = record
        self.trace = trace
        self.watch = Watch(shared.timeouts.find(min(total, call.timeout or total)))
        self.clock = shared.clock
        self.timeouts = shared.timeouts
        self._shared = shared
        self._config = config
        self._call = call
        self._request = request
        body_bytes, call.body = len(call.body), b""  # It was read, and may be long.
        self._found = list(found)
        if len(found) > 1:
            self._found.sort(key=lambda one: shared.gate.is_suspect(one[0]))
        self._created = int(shared.wall())
        self._pipe: Pipe | None = None
        #: Whose streams were cut, the oldest first.
        self._cut: list[Candidate] = []
        server = config.server
        self._notes = Notes(
            shared.clock, wanted=server.explain and call.face.operation == CHAT and record.stream
        )
        asked = Asked(
            call.id,
            call.face.operation,
            request,
            server.max_response_bytes,
            server.max_event_bytes,
            trace,
            body_bytes,
        )
        self.entrance = Entrance(
            shared,
            config,
            self.watch,
            requested=request["model"],
            caller=call.caller,
            tokens=estimate_tokens(request, body_bytes, call.face.operation),
        )
        self.failover = Failover(
            shared, config, asked, self.entrance, self.watch, record, self._notes.add
        )

    async def answer_plain(self) -> PlainAnswer:
        """
        Ask until somebody gives a whole answer.

        :raises AIProxyError: for the caller.
        """
        if self._call.principal.limits is not None:
            await self.entrance.admit_key(self._call.principal)
        operation, requested = self._call.face.operation, self._request["model"]
        tries_all = operation == IMAGES and requested == ALL_IMAGES
        asking = AskPlain(self._write, tries_all)
        attempt, written = await self.failover.run(self._found[:], asking)
        await self._shared.stages.next()
        self.failover.leave(attempt, "answered")
        self.record.answered(attempt.usage)
        return PlainAnswer(self.served(attempt), written.body, written.content_type)

    async def open_stream(self) -> Attempt:
        """
        Ask until somebody's stream has its first content.

        :raises AIProxyError: for the caller.
        """
        if self._call.principal.limits is not None:
            await self.entrance.admit_key(self._call.principal)
        attempt = await self.failover.run(self._found[:], self._opening())
        self._pipe = attempt.pipe
        self.record.first_token = self.clock.seconds()
        return attempt

    async def go_on(self, cut: Attempt, error: AIProxyError) -> Attempt:
        """
        Let somebody else go on with a stream that was cut.

        :raises AIProxyError: nobody can; for the caller.
        """
        pipe = cut.pipe
        if self.watch.over is not None:
            raise error
        self.failover.failed(cut, error)
        if pipe is None or pipe.takeover is None:
            raise error
        takeover = pipe.takeover
        step = takeover.cut(error, cut.usage)
        if isinstance(step, GiveUp):
            raise step.error
        others = self._others(cut.candidate)
        asking = GoOn(takeover, pipe, self.failover, self._tell)
        if not asking.keep(others):
            raise takeover.give_up(error)
        try:
            return await self.failover.run(others, asking)
        except AIProxyError:
            if self.watch.over is not None:
                raise
            raise takeover.give_up(error) from None
        finally:
            self.record.takeovers = takeover.takeovers

    def _others(self, cut: Candidate) -> list[Found]:
        """Return who may go on: those that were not cut yet, then the others, the oldest first."""
        self._cut = [*(one for one in self._cut if one != cut), cut]
        others = [found for found in self._found if found[0] not in self._cut]
        if self._config.retry.max_retries:
            again = [found for found in self._found if found[0] in self._cut]
            others += sorted(again, key=lambda found: self._cut.index(found[0]))
        return others

    def served(self, attempt: Attempt) -> Served:
        """Note who answers, for the caller and for the record."""
        model, reply = attempt.candidate.model, attempt.reply
        assert reply is not None  # It has answered.
        self.record.served_by, self.record.provider = model.name, model.provider
        headers = read_rate_limits(reply.headers)
        if self._call.face.operation in PASSED:
            headers |= passed_headers(reply.headers)
        if reply.dropped:
            headers["x-aiproxy-dropped"] = ", ".join(reply.dropped)
        return Served(attempt.candidate, self.record.attempts, headers)

    def leave(self, *, whole: bool) -> None:
        """
        The call is over, however: note what it has used, and let others in.

        :param whole: it has its whole answer.
        """
        self.failover.close(whole=whole)
        takeover = None if self._pipe is None else self._pipe.takeover
        if takeover is not None and takeover.takeovers:
            self.record.rescued = takeover.rescued
            self.record.read_usage(takeover.usage)
        elif self.record.stream or not whole:
            told = [one.tokens for one in self.record.spent if one.outcome in SAID]
            self.record.tokens = told[-1] if told else self.record.tokens
        used: int | None = self.record.tokens.prompt + self.record.tokens.completion
        if not used and any(one.outcome != "failed" for one in self.record.spent):
            used = None  # Something was said, and nobody has told what it costs.
        self.entrance.leave(used, asked=bool(self.record.attempts))

    @property
    def writer(self) -> StreamWriter:
        """What writes to the caller; one of its own before anybody has answered."""
        pipe = self._pipe or self.make_pipe(self._found[0][0])
        return pipe.writer

    def make_pipe(self, candidate: Candidate) -> Pipe:
        """Make the caller's side of a stream that begins with this candidate."""
        writer = self._call.face.stream_writer(
            self._request,
            identity=f"chatcmpl-{self._call.id}",
            created=self._created,
            model=candidate.name,
        )
        retry = self._config.retry
        takeover: Takeover | None = None
        if self._call.face.operation == CHAT:
            takeover = Takeover(
                self._request,
                capabilities=self._shared.capabilities,
                enabled=retry.takeover,
                reroutes_refusals=retry.reroute_refusals,
            )
        return Pipe(writer, takeover)

    def _write(self, candidate: Candidate, answer: ChatAnswer) -> WrittenAnswer:
        return self._call.face.write_answer(
            answer,
            identity=f"chatcmpl-{self._call.id}",
            created=self._created,
            model=candidate.name,
        )

    def take_notes(self) -> bytes:
        """Return what happened since the last time, as comments of a stream."""
        return self._notes.take()

    def _tell(self, attempt: Attempt, what: str) -> None:
        """Note what becomes of an attempt, and how long the call has waited for that."""
        self._notes.add_after_wait(f"{attempt.candidate.name} {what}")

    def _opening(self) -> OpenStream:
        group = self._config.groups.get(self._request["model"])
        return OpenStream(
            self.watch,
            self.failover,
            self.entrance,
            self._shared,
            self.make_pipe,
            None if group is None else group.hedge,
            self._request["model"],
            self._tell,
        )
