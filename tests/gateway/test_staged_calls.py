"""Calls that go on stage by stage, and are left at any of them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.gateway.answer import PlainAnswer, StreamedAnswer
from aiproxy.gateway.exchange import ClientCall
from aiproxy.testing import ScriptedProvider, ScriptedReply, chat_answer, chat_stream
from aiproxy.transport.stages import run_staged
from aiproxy.wire.json import dumps
from tests.gateway.test_dispatch import ME, DispatchTestCase

#: So many times it waits for others, before anybody is asked and after.
_STAGES = 4


class StagedCallsTests(DispatchTestCase):
    """A call among others in one turn of the reactor."""

    def begin(self, *, stream: bool) -> Deferred[PlainAnswer | StreamedAnswer]:
        """Begin a call in a turn with others, whose upstream answers at once."""
        self.records.clear()
        reply = ScriptedReply(streamed=True) if stream else ScriptedReply.whole(chat_answer("Ho"))
        if stream:
            reply.send(*chat_stream("Ho"))
        self.use(ScriptedProvider(reply))
        self.stages = self.dispatcher.shared.stages
        self.stages.begin()
        body = dumps(
            {"model": "g", "messages": [{"role": "user", "content": "Hi"}], **_asks(stream)}
        )
        asked = self.dispatcher.answer(ClientCall("r1", OpenAIFace(), ME, body))
        return run_staged(self.stages, asked)

    def cancel_after(self, stages: int, running: Deferred[Any]) -> None:
        """Cancel it when so many stages have come."""

        def come(left: int) -> None:
            if not left:
                running.cancel()
            else:
                self.stages.later(lambda: come(left - 1))

        come(stages)

    def test_answered(self) -> None:
        """It waits for others, and is answered in the same turn."""
        for stream, kind in ((False, PlainAnswer), (True, StreamedAnswer)):
            running = self.begin(stream=stream)
            self.assertNoResult(running)
            self.assertEqual(self.provider.calls, [])
            self.stages.end()
            self.assertIsInstance(self.successResultOf(running), kind)

    def test_left(self) -> None:
        """Whichever stage it is left at: nothing runs on, and no connection is kept."""
        for stream in (False, True):
            for stages in range(_STAGES):
                running = self.begin(stream=stream)
                self.cancel_after(stages, running)
                self.stages.end()
                self.failureResultOf(running, CancelledError)
                self.assert_over(len(self.records[0].spent), "client_left")
                for call in self.provider.calls:
                    assert call.reply is not None
                    self.assertTrue(call.reply.stopped if stream else call.reply.delivered)
            running = self.begin(stream=stream)
            self.cancel_after(_STAGES, running)
            self.stages.end()
            self.assertIsInstance(self.successResultOf(running), (PlainAnswer, StreamedAnswer))


def _asks(stream: bool) -> dict[str, bool]:
    return {"stream": True} if stream else {}
