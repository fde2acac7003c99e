"""Tests of :mod:`aiproxy.terminal.load`: against answers in memory, on a clock of the test's."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConnectFailed, StreamCut
from aiproxy.terminal.load import FirstFailed, Load
from aiproxy.terminal.load_checks import Answer
from aiproxy.terminal.load_plan import Plan, Target
from tests.terminal.memory_client import DONE, MemoryClient, write_delta

TARGET = Target("http://test/v1/chat/completions", {"authorization": "Bearer k"}, "m", "Speak.")
LIMITED = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'


class LoadTestCase(SynchronousTestCase):
    """Has a client whose requests the test answers."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.client = MemoryClient()

    def start(
        self, target: Target = TARGET, *, proven: bool = False, number: int = 1, **plan: Any
    ) -> tuple[Load, Deferred[None]]:
        """Start a load."""
        load = Load(self.clock, self.client, target, Plan(**plan), number=number, proven=proven)
        return load, load.run()

    def answer(self, place: int, *arguments: Any) -> None:
        """Answer a request, and let who waits for it go on."""
        self.client.requests[place].answer(*arguments)
        self.clock.advance(0)

    def assert_quiet(self) -> None:
        """Nothing waits for its time any more."""
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RequestTests(LoadTestCase):
    """What is asked."""

    def test_stream(self) -> None:
        """A stream is asked for with its usage."""
        self.start(requests=1)
        [request] = self.client.requests
        self.assertEqual(request.url, TARGET.url)
        self.assertEqual(request.request_headers, {"authorization": "Bearer k"})
        self.assertEqual(
            request.body,
            {
                "model": "m",
                "messages": [{"role": "user", "content": "Request 1. Speak."}],
                "stream": True,
                "stream_options": {"include_usage": True},
            },
        )

    def test_whole(self) -> None:
        """A whole answer is asked for without a word of streams, and with a bound."""
        self.start(evolve(TARGET, stream=False, max_tokens=9), requests=1)
        [request] = self.client.requests
        self.assertEqual(request.body.keys(), {"model", "messages", "max_tokens"})
        self.assertEqual(request.body["max_tokens"], 9)

    def test_each_differs(self) -> None:
        """No prompt comes twice, and each differs from its first words on."""
        self.start(requests=5, connections=5, number=700)
        prompts = [request.prompt for request in self.client.requests]
        self.assertEqual(prompts, [f"Request {number}. Speak." for number in range(700, 705)])


class ClosedLoopTests(LoadTestCase):
    """So many connections, and each asks anew when it has its answer."""

    def test_as_many_as_connections(self) -> None:
        """A request more is sent when one is answered, and not before."""
        load, over = self.start(requests=5, connections=2)
        self.clock.advance(10)
        self.assertEqual(len(self.client.requests), 2)
        self.answer(1)
        self.assertEqual(len(self.client.requests), 3)
        for place in (0, 2, 3):
            self.answer(place)
        self.assertNoResult(over)
        self.clock.advance(2)
        self.answer(4)
        self.successResultOf(over)
        self.assertEqual(len(self.client.requests), 5)
        self.assertEqual((load.started, load.finished, load.peak), (5, 5, 2))
        self.assertEqual(load.ended - load.began, 12)
        self.assertFalse(load.stopped)
        self.assert_quiet()

    def test_fewer_than_connections(self) -> None:
        """No more is asked than shall be."""
        _, over = self.start(requests=1, connections=8)
        self.answer(0)
        self.successResultOf(over)
        self.assertEqual(len(self.client.requests), 1)

    def test_time(self) -> None:
        """When the time is over none is started, and those on their way are waited for."""
        load, over = self.start(seconds=3, connections=2)
        self.clock.advance(2.9)
        self.answer(0)
        self.assertEqual(len(self.client.requests), 3)
        self.clock.advance(0.1)
        self.answer(1)
        self.assertNoResult(over)
        self.answer(2)
        self.successResultOf(over)
        self.assertEqual(load.finished, 3)

    def test_share(self) -> None:
        """How much is over is told by requests, or by time where more of that is over."""
        load, _ = self.start(requests=4, seconds=10)
        self.assertEqual(load.share, 0)
        self.answer(0)
        self.assertEqual(load.share, 0.25)
        self.clock.advance(6)
        self.assertEqual(load.share, 0.6)
        self.clock.advance(60)
        self.assertEqual(load.share, 1)

    def test_share_of_nothing(self) -> None:
        """Before its start nothing of a load is over."""
        self.assertEqual(Load(self.clock, self.client, TARGET, Plan(requests=3)).share, 0)

    def test_times(self) -> None:
        """A stream's first token, its longest gap, its end and its tokens are measured."""
        load, over = self.start(requests=1)
        [request] = self.client.requests
        self.clock.advance(1)
        request.begin()
        for pause, data in (
            (0.5, b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'),
            (0.25, write_delta("a")),
            (2, write_delta("b") + write_delta("c", usage={"completion_tokens": 7})),
            (0.125, DONE),
        ):
            self.clock.advance(pause)
            request.send(data)
        self.clock.advance(1)
        request.end()
        self.clock.advance(0)
        self.successResultOf(over)
        self.assertEqual(load.answers, [Answer(4.875, 1.75, 2, 7)])


class OpenLoopTests(LoadTestCase):
    """Requests on schedule, whatever the server does."""

    def test_schedule(self) -> None:
        """Requests are started though no answer comes."""
        load, over = self.start(requests=4, rate=2.0)
        for expected in (1, 2, 3, 4, 4):
            self.assertEqual(len(self.client.requests), expected)
            self.clock.advance(0.5)
        self.assertEqual(load.peak, 4)
        for request in self.client.requests:
            self.assertNoResult(over)
            request.answer()
        self.successResultOf(over)
        self.assertEqual([answer.total for answer in load.answers], [2.5, 2, 1.5, 1])
        self.assertEqual(load.late, [0, 0, 0, 0])
        self.assert_quiet()

    def test_answers_start_none(self) -> None:
        """An answer does not bring the next request forward."""
        load, over = self.start(requests=2, rate=1.0)
        self.answer(0)
        self.assertEqual(len(self.client.requests), 1)
        self.assertNoResult(over)
        self.clock.advance(1)
        self.answer(1)
        self.successResultOf(over)
        self.assertEqual(load.ended - load.began, 1)

    def test_late_generator(self) -> None:
        """Times count from when a request was due, and the generator's lateness is told."""
        load, over = self.start(requests=4, rate=1.0)
        self.answer(0)
        self.clock.advance(2.5)
        self.assertEqual(len(self.client.requests), 3)
        for place in (1, 2):
            self.answer(place)
        self.clock.advance(0.5)
        self.answer(3)
        self.successResultOf(over)
        self.assertEqual(load.late, [0, 1.5, 0.5, 0])
        self.assertEqual([answer.first for answer in load.answers], [0, 1.5, 0.5, 0])
        self.assertEqual([answer.total for answer in load.answers], [0, 1.5, 0.5, 0])

    def test_time(self) -> None:
        """The schedule ends with the time, and the load with the last answer."""
        load, over = self.start(seconds=1.0, rate=2.0)
        for _ in range(4):
            self.clock.advance(0.5)
        self.assertEqual(len(self.client.requests), 2)
        self.answer(0)
        self.assertNoResult(over)
        self.answer(1)
        self.successResultOf(over)
        self.assertEqual(load.ended - load.began, 2)

    def test_end_before_the_next_is_due(self) -> None:
        """A load whose time ends between two requests ends with its last answer."""
        _, over = self.start(seconds=1.5, rate=1.0)
        self.clock.advance(1)
        self.answer(0)
        self.clock.advance(0.2)
        self.answer(1)
        self.successResultOf(over)
        self.assert_quiet()

    def test_more_than_it_can(self) -> None:
        """A rate beyond the generator's leaves the reactor turns for the answers."""
        turns: list[int] = []

        def take_long() -> None:
            # Ten times as long as there is for a request.
            self.clock.callLater(0, lambda: turns.append(len(self.client.requests)))
            self.clock.rightNow += 0.01

        self.client.taken = take_long
        self.start(requests=100, rate=1000.0)
        self.clock.advance(0)
        self.assertEqual(list(dict.fromkeys(turns)), [1, 11, 100])


class FailureTests(LoadTestCase):
    """Answers that are not good."""

    def test_counted_by_kind(self) -> None:
        """Failures are counted by status and code, with words, and none is among the times."""
        load, over = self.start(requests=5)
        self.answer(0)
        self.answer(1, LIMITED, 429)
        self.answer(2, LIMITED, 429)
        self.answer(3, write_delta("half"))
        self.answer(4)
        self.successResultOf(over)
        self.assertEqual(load.failures, {"429 rate_limit_exceeded": 2, "200 no_done": 1})
        self.assertEqual(load.examples["429 rate_limit_exceeded"], "slow down")
        self.assertEqual(len(load.answers), 2)

    def test_first(self) -> None:
        """The first one that ends, if it has failed, ends all: the others are broken off."""
        load, over = self.start(requests=100, connections=3)
        self.answer(1, b'{"error": {"message": "who\\n are you", "code": "no"}}', 401)
        error = self.failureResultOf(over, FirstFailed).value
        self.assertEqual(str(error), "who are you (401 no)")
        self.assertEqual(len(self.client.requests), 3)
        self.assertEqual([one.closed for one in self.client.requests], [True, False, True])
        self.assertEqual(load.started, 3)
        self.assert_quiet()

    def test_first_in_an_open_loop(self) -> None:
        """The schedule ends too."""
        self.client = MemoryClient(ConnectFailed("test refused the connection"))
        _, over = self.start(requests=100, rate=10.0)
        error = self.failureResultOf(over, FirstFailed).value
        self.assertEqual(str(error), "test refused the connection (connection_failed)")
        self.assertEqual(len(self.client.requests), 1)
        self.assert_quiet()

    def test_first_of_a_proven_server(self) -> None:
        """Where the server has answered before, a first failure is one like others."""
        load, over = self.start(requests=2, proven=True)
        self.answer(0, LIMITED, 429)
        self.answer(1)
        self.successResultOf(over)
        self.assertEqual(load.failures.total(), 1)

    def test_at_once(self) -> None:
        """Thousands that fail at once need no deep stack."""
        self.client = MemoryClient(ConnectFailed("no"))
        load, over = self.start(requests=3000, proven=True)
        self.clock.pump([0] * 3000)
        self.successResultOf(over)
        self.assertEqual(load.failures, {"connection_failed": 3000})

    def test_cut(self) -> None:
        """A body that breaks off has failed with the status that it had."""
        load, over = self.start(requests=1, proven=True)
        [request] = self.client.requests
        request.begin()
        request.consumer.failed(StreamCut("it broke"))
        self.clock.advance(0)
        self.successResultOf(over)
        self.assertEqual(load.failures, {"200 stream_cut": 1})

    def test_timeout_before_the_answer(self) -> None:
        """A server that is silent is not waited for for ever."""
        load, over = self.start(requests=1, proven=True, timeout=5.0)
        self.clock.advance(4.9)
        self.assertNoResult(over)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.successResultOf(over)
        self.assertTrue(self.client.requests[0].closed)
        self.assertEqual(load.failures, {"timeout": 1})
        self.assertEqual(load.examples, {"timeout": "no end of the answer within 5 s"})

    def test_timeout_within_the_answer(self) -> None:
        """A stream that does not end is broken off, and the next is asked for."""
        load, _ = self.start(requests=2, proven=True, timeout=5.0)
        [request] = self.client.requests
        request.begin()
        request.send(write_delta("and"))
        self.clock.advance(5)
        self.clock.advance(0)
        self.assertTrue(request.closed)
        self.assertEqual(load.failures, {"timeout": 1})
        self.assertEqual(len(self.client.requests), 2)


class StopTests(LoadTestCase):
    """A load that ends early."""

    def test_closed_loop(self) -> None:
        """What is on its way is broken off and told, what there is stays."""
        load, over = self.start(requests=100, connections=3)
        self.answer(0)
        self.client.requests[1].begin()
        self.clock.advance(2)
        load.stop()
        self.successResultOf(over)
        self.assertEqual((len(load.answers), load.unfinished, load.stopped), (1, 3, True))
        self.assertEqual(load.ended - load.began, 2)
        self.assertEqual([one.closed for one in self.client.requests], [False, True, True, True])
        self.assertEqual(load.failures.total(), 0)
        self.assert_quiet()

    def test_open_loop(self) -> None:
        """The schedule ends."""
        load, over = self.start(requests=100, rate=1.0)
        self.clock.advance(1)
        load.stop()
        self.successResultOf(over)
        self.assertEqual(load.unfinished, 2)
        self.assert_quiet()

    def test_between_two_requests(self) -> None:
        """A connection that was about to ask does not."""
        load, over = self.start(requests=2)
        self.client.requests[0].answer()
        load.stop()
        self.clock.advance(0)
        self.successResultOf(over)
        self.assertEqual(len(self.client.requests), 1)

    def test_when_it_is_over(self) -> None:
        """A load that has ended was not stopped."""
        load, over = self.start(requests=1)
        self.answer(0)
        load.stop()
        self.successResultOf(over)
        self.assertFalse(load.stopped)
