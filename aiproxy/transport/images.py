"""
Images that a caller only names by a URL, for providers that do not fetch them.

The caller chooses where we connect, so the guard stands in the way (SSRF):

- the URL (:mod:`aiproxy.policy.image_urls` reads it): ``http`` or ``https`` with
  any port, without credentials; the host is a name with a dot, or an address in
  its one usual spelling;
- the address: whatever the name resolves to has to be allowed, all of it, and
  the connection goes to just these addresses: the guard sits in the resolver
  that the connection itself asks, so there is no second look-up to be answered
  otherwise.  TLS still verifies the name;
- the request: a GET without anything of the caller's but host, path and query.
  Nothing follows redirects, keeps cookies or knows of proxies;
- the answer: bounded in bytes and time, an image by its first bytes.

What the guard refuses and what no name server knows look the same to the
caller, and so do all ways in which a server can fail to answer.

Any port will do: only public hosts are asked, and no line of the request is the
caller's to write.  Two things are not bounded here: how many calls
fetch at the same time, and how long a look-up occupies one of the reactor's
threads after nobody waits for it any more.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from attrs import define, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, FirstError, fail, gatherResults
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IPushProducer,
    IReactorTime,
)
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

from aiproxy.dialects.images import sniff
from aiproxy.errors import AIProxyError, InternalError, InvalidRequest
from aiproxy.interfaces import IBodyConsumer, IImageFetcher
from aiproxy.policy.addresses import IPAddress, is_public
from aiproxy.policy.image_urls import ImageURL, invalid_image_url, read_image_url
from aiproxy.transport.deadline import Deadline
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.guard import GuardedReactor
from aiproxy.transport.http.agent import UpstreamAgent
from aiproxy.transport.http.routes import Routes
from aiproxy.transport.http.stock_client import NoCookies, ReadyURL, StockResponse
from aiproxy.transport.pool import UpstreamPool
from aiproxy.transport.tls import TLSSettings, UpstreamTrust

__all__ = ["ImageFetcher", "ImageLimits"]

_MIB = 1024 * 1024
_PLATFORM = TLSSettings()
_USER_AGENT = b"aiproxy"
#: What models take.
_KINDS = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "webp", "gif", "heic", "heif"))
#: What servers call images; object stores do not know, and the first bytes decide anyway.
_MEDIA_TYPES = _KINDS | {"image/jpg", "", "application/octet-stream", "binary/octet-stream"}
_NO_IMAGE = "it is not a PNG, JPEG, WebP, GIF or HEIF image"
_TOO_LARGE = "it is too large, or all images of the request together are"


@frozen
class ImageLimits:
    """
    How much one call may fetch.

    :param count: URLs.
    :param each_bytes: bytes of one image.
    :param all_bytes: bytes of all images together.
    :param seconds: for each image, from the look-up of its host to its last byte.
    """

    count: int = 16
    each_bytes: int = 20 * _MIB
    all_bytes: int = 40 * _MIB
    seconds: float = 10.0


_LIMITS = ImageLimits()


@implementer(IImageFetcher)
class ImageFetcher:
    """
    See :class:`aiproxy.interfaces.IImageFetcher`.  Making one opens nothing.

    :param reactor: as for :class:`~aiproxy.transport.client.UpstreamClient`.
    :param allowed: which addresses may be connected to.
    :param tls: whom to trust; not the settings of any provider.
    :raises ConfigurationError: a file of ``tls`` cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        allowed: Callable[[IPAddress], bool] = is_public,
        limits: ImageLimits = _LIMITS,
        tls: TLSSettings = _PLATFORM,
    ) -> None:
        self._clock: IReactorTime = reactor
        self._reactor = GuardedReactor(reactor, allowed)
        self._limits = limits
        self._trust = UpstreamTrust(tls)
        self._connections = UpstreamPool(reactor)

    def fetch(self, urls: Sequence[str]) -> Deferred[Mapping[str, str]]:
        """
        Fetch all images at the same time; the first that cannot be had cancels the others.

        The Deferred fails with :class:`InvalidRequest`, its ``code`` being
        ``invalid_image_url`` for what may not be fetched, and
        ``image_download_failed`` for what did not come.
        """
        try:
            if len(set(urls)) > self._limits.count:
                raise invalid_image_url(
                    f"a request may name at most {self._limits.count} images by URL"
                )
            sources = {url: read_image_url(url) for url in urls}
        except InvalidRequest:
            return fail(Failure())
        budget = _Budget(self._limits.all_bytes)
        fetching = [self._fetch(source, budget) for source in sources.values()]

        def give_up(failure: Failure) -> Failure:
            for each in fetching:
                each.cancel()
            assert isinstance(failure.value, FirstError)
            return failure.value.subFailure

        gathered = gatherResults(fetching, consumeErrors=True)
        return gathered.addCallbacks(
            lambda images: dict(zip(sources, images, strict=True)), give_up
        )

    def _fetch(self, source: ImageURL, budget: _Budget) -> Deferred[str]:
        """Fetch one image within its time.  Cancelling the Deferred closes the connection."""
        stopped: Exception | None = None

        def stop(why: Exception) -> None:
            nonlocal stopped
            stopped = why
            downloading.cancel()

        def settle(outcome: str | Failure) -> str | Failure:
            deadline.cancel()
            # What Twisted makes of a cancellation has many names.
            return outcome if stopped is None else Failure(stopped)

        late = source.failed(f"it took longer than {self._limits.seconds:g} seconds")
        deadline = Deadline(self._clock, lambda: stop(late))
        deadline.set(self._limits.seconds)
        downloading = Deferred.fromCoroutine(self._download(source, budget))
        result: Deferred[str] = Deferred(lambda _: stop(CancelledError()))
        downloading.addBoth(settle).chainDeferred(result)
        return result

    async def _download(self, source: ImageURL, budget: _Budget) -> str:
        # Callers name the hosts: what is known of one is forgotten with its image.
        endpoints = UpstreamEndpoints(self._reactor, self._trust)
        routes = Routes(self._connections, lambda _: endpoints)
        agent = UpstreamAgent(routes, _PLATFORM, 0.0, _USER_AGENT, persistent=False)
        client = HTTPClient(agent, cookiejar=NoCookies())
        try:
            response = await client.get(
                ReadyURL.from_text(source.url),
                headers=Headers({b"accept": [b"image/*"]}),
                allow_redirects=False,
                unbuffered=True,
                reactor=cast(Any, self._clock),
            )
            return await self._take(response, source, budget)
        except (InvalidRequest, InternalError):
            raise
        except AIProxyError as error:
            # HostnameEndpoint's: there is no address, or the name can have none.
            if isinstance(error.__cause__, DNSLookupError | ValueError):
                raise source.refused() from None
            raise source.failed("its server did not answer as it should") from None

    async def _take(self, response: IResponse, source: ImageURL, budget: _Budget) -> str:
        """Return an answer's body as a ``data:`` URL."""
        answer = StockResponse(response, source.shown)
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        length = response.length if isinstance(response.length, int) else 0
        if 300 <= answer.status <= 399:
            why = "it redirects, which is not followed"
        elif answer.status != 200:
            why = f"its server answered with status {answer.status}"
        elif media_type.strip().lower() not in _MEDIA_TYPES:
            why = _NO_IMAGE
        elif length > min(self._limits.each_bytes, budget.left):
            why = _TOO_LARGE
        else:
            body = _Body(source, self._limits.each_bytes, budget)
            answer.deliver(body)
            return _write_data_url(await body.whole, source)
        answer.abandon()
        raise source.failed(why)


@define
class _Budget:
    """Bytes that the images of a call may still have."""

    left: int


@implementer(IBodyConsumer)
class _Body:
    """
    An image's bytes as they come, within their bounds.

    :ivar whole: all of them; fails with our errors.
    """

    def __init__(self, source: ImageURL, limit_bytes: int, budget: _Budget) -> None:
        self.whole: Deferred[bytes] = Deferred(lambda _: self._producer.stopProducing())
        self._producer: IPushProducer
        self._source = source
        self._left = limit_bytes
        self._budget = budget
        self._pieces: list[bytes] = []

    def begin(self, producer: IPushProducer) -> None:
        self._producer = producer

    def received(self, data: bytes) -> None:
        self._left -= len(data)
        self._budget.left -= len(data)
        if self._left < 0 or self._budget.left < 0:
            # Who delivers closes the connection, and tells us that it failed.
            raise self._source.failed(_TOO_LARGE)
        self._pieces.append(data)

    def finished(self) -> None:
        self.whole.callback(b"".join(self._pieces))

    def failed(self, reason: Exception) -> None:
        self._pieces.clear()
        self.whole.errback(reason)


def _write_data_url(image: bytes, source: ImageURL) -> str:
    """
    Write an image as what it is by its first bytes, whatever its server calls it.

    :raises InvalidRequest: it is no image that we know.
    """
    kind = sniff(image)
    if kind not in _KINDS:
        raise source.failed(_NO_IMAGE)
    return f"data:{kind};base64,{b64encode(image).decode('ascii')}"
