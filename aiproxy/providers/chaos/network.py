"""
A network in memory: connections to one factory, without a socket.

Both ends behave as TCP's do: what is written arrives in a later turn, an end
that does not read holds the other's producer back, an end in order comes
after the bytes, a reset before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    UserError,
)
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.providers.chaos.upstream import ChaosUpstream

__all__ = ["MemoryNetwork"]

#: As much as Twisted takes and keeps of a socket.
_BUFFER_BYTES: Final = 65_536
_ADDRESS: Final = IPv4Address("TCP", "127.0.0.1", 80)


@implementer(ITCPTransport)
class _End:
    """One end of a connection."""

    def __init__(self, clock: IReactorTime) -> None:
        self.connected = True
        self.disconnecting = False
        self.producer: Any = None
        self.peer: _End
        self.protocol: Any = None
        self._clock = clock
        self._unsent = bytearray()
        self._reads = True
        self._streaming = False
        self._turn: IDelayedCall | None = None

    # --- writing ------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.connected and not self.disconnecting:
            self._unsent += data
            if len(self._unsent) > _BUFFER_BYTES and self.producer is not None and self._streaming:
                self.producer.pauseProducing()
            self._schedule()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer, self._streaming = producer, streaming
        if not self.connected:
            producer.stopProducing()
        elif not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None
        if self.disconnecting:
            self._schedule()

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._schedule()

    def abortConnection(self) -> None:
        self.disconnecting = True
        self._clock.callLater(0, self._lose, ConnectionAborted(), ConnectionLost())

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    def _schedule(self) -> None:
        if self._turn is None and self.connected:
            self._turn = self._clock.callLater(0, self._send)

    def _send(self) -> None:
        self._turn = None
        peer = self.peer
        if self._unsent:
            if not peer._reads:
                return
            data = bytes(self._unsent[:_BUFFER_BYTES])
            del self._unsent[: len(data)]
            if not peer.disconnecting:
                peer.protocol.dataReceived(data)
        if self._unsent:
            self._schedule()
        elif self.producer is not None:
            self.producer.resumeProducing()
        elif self.disconnecting:
            self._lose(ConnectionDone(), ConnectionDone())

    def _lose(self, ours: Exception, theirs: Exception) -> None:
        for end, reason in ((self, ours), (self.peer, theirs)):
            if end.connected:
                end.connected = False
                if end._turn is not None:
                    end._turn.cancel()
                    end._turn = None
                if end.producer is not None:
                    end.producer.stopProducing()
                end.protocol.connectionLost(Failure(reason))

    # --- reading --------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        self._reads = True
        if self.peer._unsent:
            self.peer._schedule()

    def stopProducing(self) -> None:
        self.loseConnection()

    # --- what TCP has besides ---------------------------------------------------------------

    def getPeer(self) -> IPv4Address:
        return _ADDRESS

    def getHost(self) -> IPv4Address:
        return _ADDRESS

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None: ...


@implementer(IConnector)
class _Connector:
    """One attempt to connect."""

    def __init__(self, network: MemoryNetwork, factory: Any) -> None:
        self._network = network
        self._factory = factory
        self._attempt: IDelayedCall | None = None

    def connect(self) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._attempt = self._network.callLater(0, self._arrive)

    def stopConnecting(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()
            self._fail(UserError())

    def disconnect(self) -> None:
        self.stopConnecting()

    def getDestination(self) -> IAddress:
        return _ADDRESS

    def _arrive(self) -> None:
        self._attempt = None
        upstream = self._network.upstream
        if upstream.next.fault == "refuse":
            upstream.take()
            self._fail(ConnectionRefusedError())
            return
        ours, theirs = _End(self._network.clock), _End(self._network.clock)
        ours.peer, theirs.peer = theirs, ours
        theirs.protocol = upstream.buildProtocol(_ADDRESS)
        ours.protocol = self._factory.buildProtocol(_ADDRESS)
        theirs.protocol.makeConnection(theirs)
        ours.protocol.makeConnection(ours)

    def _fail(self, reason: Exception) -> None:
        self._attempt = None
        self._factory.clientConnectionFailed(self, Failure(reason))
        self._factory.doStop()


@implementer(IReactorTime, IReactorPluggableNameResolver, IHostnameResolver)
class MemoryNetwork:
    """
    What an :class:`~aiproxy.transport.client.UpstreamClient` takes for a
    reactor: every name and port is the one upstream.
    """

    def __init__(self, clock: IReactorTime, upstream: ChaosUpstream) -> None:
        self.clock = clock
        self.upstream = upstream
        self.nameResolver = self

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self.clock.seconds()

    def callLater(
        self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object
    ) -> IDelayedCall:
        """See ``IReactorTime``."""
        return self.clock.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See ``IReactorTime``."""
        return self.clock.getDelayedCalls()

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """Keep our own."""
        return self

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Find the one upstream, or nothing where the script says so."""
        resolution = _Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        if self.upstream.next.fault == "dns":
            self.upstream.take()
        else:
            resolutionReceiver.addressResolved(_ADDRESS)
        resolutionReceiver.resolutionComplete()
        return resolution

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """Connect to the one upstream, or be refused."""
        connector = _Connector(self, factory)
        connector.connect()
        return connector


@implementer(IHostResolution)
class _Resolution:
    """Was done when it began."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None: ...
