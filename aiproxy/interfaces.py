"""
Every seam that is injected, faked or plugged in.

Twisted names stand under ``TYPE_CHECKING`` only, so that every floor may
import this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IPushProducer

    from aiproxy.dialects.dialect import AnswerReader
    from aiproxy.policy.routing import Candidate
    from aiproxy.providers.call import Call

__all__ = ["IBodyConsumer", "ICredentials", "IImageFetcher", "IProvider", "IReply"]


class IBodyConsumer(Interface):
    """
    Who takes an upstream's body as it arrives.

    Twisted has no such interface: its ``IConsumer`` cannot be told how a body
    ended.  The calls come in this order: ``begin`` once, ``received`` any
    number of times, then ``finished`` or ``failed`` once.  After the consumer
    has called ``producer.stopProducing()`` none of them comes any more.
    """

    def begin(producer: IPushProducer) -> None:
        """
        The body starts.

        :param producer: pauses and resumes the upstream; its
            ``stopProducing`` closes the upstream's connection at once.
        """

    def received(data: bytes) -> None:
        """Some bytes of the body; they may come while the producer is paused."""

    def finished() -> None:
        """The body has ended as its framing promised."""

    def failed(reason: Exception) -> None:
        """
        The body has ended early.

        :param reason: one of our errors, ready for the caller.
        """


class IReply(Interface):
    """An upstream's answer whose headers have arrived with a success status."""

    headers: Mapping[str, str] = Attribute(
        """The upstream's response headers, names in lower case, the first value of each."""
    )
    dialect: AnswerReader = Attribute("""Reads the body.""")
    streamed: bool = Attribute("""The body is an event stream (by its content type).""")

    dropped: tuple[str, ...] = Attribute(
        """What of the caller's request the provider was not told, for it has no such thing."""
    )

    def deliver(consumer: IBodyConsumer) -> None:
        """
        Start the body towards an :class:`IBodyConsumer`.  Called once, or else
        :meth:`abandon` is.
        """

    def abandon() -> None:
        """Close the upstream's connection without reading the body.  Harmless when repeated."""


class IProvider(Interface):
    """
    An AI provider: takes one call for one of its models, answers with a reply.

    The built-in ones are an endpoint, a dialect and credentials in
    ``providers/http.py``; a local model or a test's script is another.
    """

    def start(call: Call) -> Deferred[IReply]:
        """
        Send the call.

        The Deferred fires when the upstream's headers are in.  It fails only
        with :class:`aiproxy.errors.AIProxyError`, or with ``CancelledError``
        when it was cancelled: that closes the upstream's connection at once.
        """


class ICredentials(Interface):
    """What the requests of a provider's adapter show to be let in."""

    def show(candidate: Candidate) -> Mapping[str, str] | Deferred[Mapping[str, str]]:
        """
        Return the headers for a request, names in lower case: now, or later.

        Fails only with :class:`aiproxy.errors.AIProxyError`.
        """

    def renew(candidate: Candidate, shown: Mapping[str, str]) -> Deferred[Mapping[str, str] | None]:
        """
        Return other headers, for the upstream has answered 401 to ``shown``;
        ``None`` if there are none.  Fails as :meth:`show`.
        """


class IImageFetcher(Interface):
    """Fetches the images that a caller only names."""

    def fetch(urls: Sequence[str]) -> Deferred[Mapping[str, str]]:
        """
        Return a ``data:`` URL for each of the ``http`` or ``https`` URLs.

        Fails with :class:`aiproxy.errors.InvalidRequest` for what cannot be
        had, or must not be.  Cancelling it closes all connections.
        """
