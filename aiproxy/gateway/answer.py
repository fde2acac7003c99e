"""What a call came to, ready for the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import Factory, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IConsumer

from aiproxy.dialects.face import StreamWriter
from aiproxy.errors import AIProxyError
from aiproxy.gateway.watch import Watch
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import name_source
from aiproxy.transport.relay import StreamRelay

__all__ = ["PlainAnswer", "Served", "StreamedAnswer"]


@frozen
class Served:
    """
    Who answered.

    :param attempts: how many were asked, with the one that answered.
    :param headers: the upstream's headers that are for the caller.
    """

    candidate: Candidate
    attempts: int
    headers: Mapping[str, str] = Factory(dict)


@frozen
class PlainAnswer:
    """A whole answer, in the client's dialect."""

    served: Served
    body: bytes
    content_type: str = "application/json"


@frozen
class StreamedAnswer:
    """
    An answer whose first content is there and whose rest is on its way.

    It must be delivered, for it holds an upstream's connection.

    :param ended: called once, with the error where it was cut.
    """

    served: Served
    relay: StreamRelay
    writer: StreamWriter
    watch: Watch
    ended: Callable[[BaseException | None], None]

    async def deliver(self, client: IConsumer) -> None:
        """
        Write it to the client, whose backpressure goes to the upstream.

        A cut ends in an error event: the status was told long ago.

        :raises ClientStalled: the client does not read.
        """
        failure: BaseException | None = None
        try:
            await self.watch.wait(self.relay.attach(client))
        except AIProxyError as error:
            failure = error
            name_source(error, self.served.candidate)
            client.write(self.writer.fail(error))
        except (CancelledError, Exception) as error:
            failure = error
            raise
        finally:
            self.ended(failure)
