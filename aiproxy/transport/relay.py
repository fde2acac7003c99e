"""
From an upstream's body to a client's answer, with the client's backpressure.

The relay is the upstream's body consumer and the client's push producer, with
a transcoder between.  Pausing goes straight from the client's socket to the
upstream's; each piece that arrives is one write.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol
from weakref import ref

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime
from zope.interface import implementer

from aiproxy.errors import AIProxyError, InternalError, UpstreamFailed, UpstreamTimeout
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.deadline import Deadline

__all__ = ["ClientStalled", "StreamRelay", "Transcoder"]

#: A client that reads nothing for so long is given up.
_CLIENT_STALL_SECONDS = 120.0
#: The end of a body is awaited for so long once the transcoder says that it is finished.
_GRACE_SECONDS = 2.0
#: The end of a body, after the end of what it says, is awaited for so long:
#: then the connection can be used again.
_TAIL_SECONDS = 1.0


class ClientStalled(Exception):
    """The client has stopped reading: nobody can be told anything any more."""


class Transcoder(Protocol):
    """What stands between the two: pure, and fed by any split of the bytes."""

    #: There is something to tell the client: no other upstream can be asked any more.
    started: bool
    #: The answer is over: nothing that follows counts.
    ended: bool
    #: Why the answer is over without being whole.
    error: AIProxyError | None

    def feed(self, data: bytes) -> bytes:
        """Take some bytes of the body; give what goes to the client."""

    def close(self) -> bytes:
        """No more bytes come; give what goes to the client, or set ``error``."""

    @property
    def finished(self) -> bool:
        """The answer is complete; only what nobody needs may follow."""

    @property
    def patience(self) -> float | None:
        """How many seconds of silence are allowed now; ``None``: any."""


@implementer(IBodyConsumer, IPushProducer)
class StreamRelay:
    """
    Relays one body.

    Until the transcoder has started, what it gives is kept; then :attr:`started`
    fires, and :meth:`attach` brings the client.  Both Deferreds fail with one
    of our errors; cancelling either closes the upstream's connection at once.

    :param keeps_cut: what has come before a cut is to be written in any case.
    :param most_kept: bytes that may be kept while the transcoder has not started.
    :ivar started: fires when there is something for the client.
    :ivar done: fires when all was written to the client.
    """

    __slots__ = (
        "__weakref__",
        "_client",
        "_deadline",
        "_finishing",
        "_keeps_cut",
        "_kept",
        "_may_keep",
        "_over",
        "_paused",
        "_transcoder",
        "_upstream",
        "done",
        "started",
    )

    def __init__(
        self,
        transcoder: Transcoder,
        clock: IReactorTime,
        *,
        keeps_cut: bool = False,
        most_kept: int = sys.maxsize,
    ) -> None:
        stop = _stopper(self)
        self.started: Deferred[None] = Deferred(stop)
        self.done: Deferred[None] = Deferred(stop)
        self._transcoder = transcoder
        self._keeps_cut = keeps_cut
        self._deadline = Deadline(clock, self._quiet)
        self._upstream: IPushProducer | None = None
        self._client: IConsumer | None = None
        self._kept: list[bytes] = []
        self._may_keep = most_kept
        self._paused = False
        self._finishing = False
        self._over = False

    def attach(self, client: IConsumer) -> Deferred[None]:
        """Write to ``client`` from now on, which pauses us; return :attr:`done`."""
        if self._over:
            # Nothing is left to be paused: the client needs no producer.
            self._write_kept(client)
            self._settle(self._transcoder.error)
            return self.done
        self._client = client
        # Both may pause us, or stop us, on their way.
        client.registerProducer(self, True)
        self._write_kept(client)
        if not (self._over or self._paused or self._finishing):
            self._deadline.set(self._transcoder.patience)
        return self.done

    def stop(self) -> None:
        """Close the upstream's connection; nothing more is written.  Harmless when repeated."""
        self._over = True
        self._leave_client()
        self._release(at_once=True)

    # --- from the upstream ------------------------------------------------------

    def begin(self, producer: IPushProducer) -> None:
        """The body starts."""
        self._upstream = producer
        if self._over:
            producer.stopProducing()

    def received(self, data: bytes) -> None:
        """Some bytes of the body came, perhaps while we are paused."""
        if self._over:
            return
        transcoder = self._transcoder
        written = transcoder.feed(data)
        if written:
            if self._client is None:
                self._keep(written)
            else:
                self._client.write(written)
        if self._over:
            return
        if transcoder.ended:
            self._end(at_once=transcoder.error is not None)
        elif transcoder.finished:
            if not self._finishing:
                self._finishing = True
                if not self._paused:
                    self._deadline.set(_GRACE_SECONDS)
        elif self._client is not None and not self._paused:
            self._deadline.set(transcoder.patience)
        if transcoder.started and not self.started.called:
            self.started.callback(None)

    def finished(self) -> None:
        """The body has ended."""
        self._upstream = None
        if self._over:
            self._deadline.close()
        else:
            self._close()

    def failed(self, reason: Exception) -> None:
        """The body has ended early; that is no fault if all was said before."""
        self._upstream = None
        if self._over:
            self._deadline.close()
            return
        if isinstance(reason, AIProxyError) and not isinstance(reason, InternalError):
            self._close(reason)
        else:
            self._transcoder.error = _internal(reason)
            self._end(at_once=True)

    # --- from the client --------------------------------------------------------

    def pauseProducing(self) -> None:
        """The client does not read as fast as the upstream sends."""
        self._paused = True
        if self._upstream is not None and not self._over:
            self._upstream.pauseProducing()
            # What follows the finish waits in the socket: its grace begins anew later.
            self._deadline.set(_CLIENT_STALL_SECONDS)

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._paused = False
        if self._upstream is not None and not self._over:
            self._deadline.set(_GRACE_SECONDS if self._finishing else self._transcoder.patience)
            self._upstream.resumeProducing()

    def stopProducing(self) -> None:
        """
        The client is gone.  Twisted may say so twice.

        Whoever waits for :attr:`done` is cancelled by the request itself, which
        learns of it after us.
        """
        self._client = None
        self.stop()

    # --- inside -------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._client is None:
            self._kept.append(data)
        else:
            self._client.write(data)

    def _keep(self, data: bytes) -> None:
        """Keep what says nothing yet, in bounds: the upstream might never say anything."""
        self._kept.append(data)
        self._may_keep -= len(data)
        if self._may_keep < 0 and not self._transcoder.started:
            self._kept.clear()
            self._transcoder.error = UpstreamFailed(
                "the upstream's stream goes on and says nothing"
            )
            self._end(at_once=True)

    def _write_kept(self, client: IConsumer) -> None:
        kept, self._kept = self._kept, []
        if kept:
            client.write(b"".join(kept))

    def _close(self, reason: AIProxyError | None = None) -> None:
        """No more bytes come: let the transcoder say what that means."""
        written = self._transcoder.close()
        if self._transcoder.error is not None and reason is not None:
            self._transcoder.error = reason
        if written:
            self._write(written)
        self._end(at_once=True)

    def _end(self, *, at_once: bool) -> None:
        """The answer is over, with the transcoder's error or without."""
        self._over = True
        error = self._transcoder.error
        self._release(at_once=at_once)
        if self._client is not None:
            self._settle(error)
        elif not self.started.called:
            # Nothing was written: another upstream may still be asked.
            if error is None or (self._keeps_cut and self._transcoder.started):
                self.started.callback(None)
            else:
                self.started.errback(error)

    def _settle(self, error: AIProxyError | None) -> None:
        self._leave_client()
        if self.done.called:
            return
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)

    def _leave_client(self) -> None:
        client, self._client = self._client, None
        # After a client's loss Twisted's request has nobody to unregister from.
        if client is not None and getattr(client, "channel", client) is not None:
            client.unregisterProducer()

    def _release(self, *, at_once: bool) -> None:
        """Let go of the upstream: now, or when its body has ended in order."""
        self._deadline.cancel()
        upstream = self._upstream
        if upstream is None or at_once:
            # The two know each other.
            self._deadline.close()
            self._upstream = None
            if upstream is not None:
                upstream.stopProducing()
        else:
            if self._paused:
                upstream.resumeProducing()
            self._deadline.set(_TAIL_SECONDS)

    def _quiet(self) -> None:
        """The deadline has passed."""
        if self._over:
            self._release(at_once=True)
        elif self._paused:
            self._over = True
            self._release(at_once=True)
            self._leave_client()
            self.done.errback(ClientStalled())
        elif self._finishing:
            self._close()
        else:
            self._transcoder.error = UpstreamTimeout("the provider's stream went silent")
            self._end(at_once=True)


def _stopper(relay: StreamRelay) -> Callable[[object], None]:
    """Return what stops a relay, if it is still there: it holds what will call this."""
    known = ref(relay)

    def stop(_: object) -> None:
        relay = known()
        if relay is not None:
            relay.stop()

    return stop


def _internal(reason: Exception) -> AIProxyError:
    if isinstance(reason, AIProxyError):
        return reason
    return InternalError("the answer could not be relayed")
