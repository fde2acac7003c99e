"""Tests of :mod:`aiproxy.transport.images`, in memory."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aiproxy.errors import ConfigurationError, InternalError, InvalidRequest
from aiproxy.interfaces import IImageFetcher
from aiproxy.transport.images import ImageFetcher, ImageLimits
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import (
    MemoryConnection,
    MemoryTransport,
    MemoryUpstream,
    no_delayed_calls,
)

URL = "http://images.example.com/cat.png"
PUBLIC = "93.184.216.34"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
LIMITS = ImageLimits(count=3, each_bytes=1000, all_bytes=1500, seconds=10.0)


def head(content_type: str = "image/png", *lines: str, status: int = 200) -> bytes:
    """Write the head of an answer whose length is not told."""
    written = (f"HTTP/1.1 {status} What", f"Content-Type: {content_type}", *lines, "", "")
    return "\r\n".join(written).encode("ascii")


def answer(body: bytes, content_type: str = "image/png") -> bytes:
    """Write an answer whose length is told."""
    return head(content_type, f"Content-Length: {len(body)}") + body


def data_url(body: bytes, kind: str = "png") -> str:
    """Write an image as the fetcher should."""
    return f"data:image/{kind};base64,{b64encode(body).decode('ascii')}"


@implementer(IHostResolution)
@frozen
class Resolution:
    """A look-up that cannot be cancelled, like those of threads."""

    name: str

    def cancel(self) -> None:
        raise NotImplementedError


@implementer(IHostnameResolver)
class Zone:
    """
    Knows some names, and every address by itself.

    :param names: the addresses to answer with, a list for each look-up; without
        one more the look-up goes on for ever.
    :ivar asked: each name that was looked up.
    """

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self.names = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []
        self.waiting: list[IResolutionReceiver] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.asked.append(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        answers = self.names.get(hostName, [[hostName]])
        if not answers:
            self.waiting.append(resolutionReceiver)
            return resolution
        for text in answers.pop(0):
            resolutionReceiver.addressResolved(self.address(text, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution

    @staticmethod
    def address(text: str, port: int) -> IAddress:
        """Return an address as a resolver would; a path is a socket's."""
        if text.startswith("/"):
            return UNIXAddress(text)
        kind = IPv4Address if ip_address(text).version == 4 else IPv6Address
        return kind("TCP", text, port)


class ImagesTests(SynchronousTestCase):
    """A fetcher over a reactor in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.reactor = self.upstream.reactor
        self.fetcher = ImageFetcher(self.reactor, limits=LIMITS)
        self.serve({"images.example.com": [[PUBLIC]] * 100})

    def serve(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Let names have these addresses."""
        self.zone = Zone(names)
        self.reactor.installNameResolver(self.zone)

    def accept(self, attempt: int = -1) -> MemoryConnection:
        """Let an attempt to connect succeed."""
        protocol: Any = self.reactor.tcpClients[attempt][2].buildProtocol(None)
        connection = MemoryConnection(protocol, MemoryTransport(self.reactor, protocol))
        protocol.makeConnection(connection.transport)
        return connection

    def exchange(self, reply: bytes, url: str = URL) -> tuple[MemoryConnection, Deferred[Any]]:
        """Fetch one image that a server answers so."""
        fetching = self.fetcher.fetch([url])
        connection = self.accept()
        connection.send(reply)
        return connection, fetching

    def error(self, fetching: Deferred[Any], code: str) -> str:
        """Return the message of what a fetch failed with; nothing waits any more."""
        self.reactor.advance(0)
        error = self.failureResultOf(fetching, InvalidRequest).value
        assert isinstance(error, InvalidRequest)
        self.assertEqual((error.code, error.param, error.status), (code, "messages", 400))
        with no_delayed_calls(self.reactor):
            self.reactor.advance(0.3)
        return error.message

    def refusal(self, url: str) -> str:
        """Return the message for a URL that may not be fetched: nobody was connected to."""
        message = self.error(self.fetcher.fetch([url]), "invalid_image_url")
        self.assertEqual(self.upstream.attempts, 0)
        return message


class FetchTests(ImagesTests):
    """What goes well."""

    def test_interface(self) -> None:
        """It is what an adapter takes."""
        self.assertTrue(verifyObject(IImageFetcher, self.fetcher))

    def test_request(self) -> None:
        """A GET of just this URL, with nothing that names the caller or asks for more."""
        fetching = self.fetcher.fetch(["HTTP://Images.Example.com:8080/a//b;c/%7E.png?s=1&t#f"])
        self.assertEqual(self.reactor.tcpClients[0][:2], (PUBLIC, 8080))
        connection = self.accept()
        lines = connection.take().decode("ascii").split("\r\n")
        self.assertEqual(lines[0], "GET /a//b;c/%7E.png?s=1&t HTTP/1.1")
        self.assertEqual(
            sorted(lines[1:-2]),
            [
                "Accept-Encoding: identity",
                "Accept: image/*",
                "Connection: close",
                "Host: images.example.com:8080",
                "User-Agent: aiproxy",
            ],
        )
        connection.send(answer(PNG))
        self.assertEqual(list(self.successResultOf(fetching).values()), [data_url(PNG)])

    def test_closed(self) -> None:
        """The connection is not kept, and no timer is."""
        connection, fetching = self.exchange(answer(PNG))
        self.assertEqual(self.successResultOf(fetching), {URL: data_url(PNG)})
        with no_delayed_calls(self.reactor):
            self.reactor.advance(0)
        self.assertTrue(connection.transport.disconnected)

    def test_international(self) -> None:
        """A name beyond ASCII is looked up in its own way, and so is the path written."""
        self.serve({"xn--bcher-kva.example": [[PUBLIC]]})
        url = "http://b\u00fccher.example/\u00e4.png"
        fetching = self.fetcher.fetch([url])
        connection = self.accept()
        sent = connection.take()
        self.assertIn(b"GET /%C3%A4.png HTTP/1.1\r\n", sent)
        self.assertIn(b"\r\nHost: xn--bcher-kva.example\r\n", sent)
        connection.send(answer(PNG))
        self.assertEqual(self.successResultOf(fetching), {url: data_url(PNG)})

    def test_addresses(self) -> None:
        """A host may be a public address."""
        for host, address, port in (
            ("8.8.8.8", "8.8.8.8", 80),
            ("[2606:4700::1111]", "2606:4700::1111", 80),
            ("[2606:4700::1111]:81", "2606:4700::1111", 81),
        ):
            connection, fetching = self.exchange(answer(PNG), f"http://{host}")
            self.assertEqual(self.reactor.tcpClients[-1][:2], (address, port))
            self.assertIn(f"\r\nHost: {host}\r\n".encode("ascii"), connection.take())
            self.successResultOf(fetching)

    def test_kinds(self) -> None:
        """An image is what its first bytes say, whatever image its server calls it."""
        for kind, body in (
            ("jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF"),
            ("gif", b"GIF87a\x01\x00"),
            ("gif", b"GIF89a\x01\x00"),
            ("webp", b"RIFF\x0a\x00\x00\x00WEBPVP8 "),
            ("heic", b"\x00\x00\x00\x18ftypheic"),
            ("heif", b"\x00\x00\x00\x0aftypmif1"),
        ):
            for content_type in (f"image/{kind}", "Image/PNG ; charset=x", "image/jpg"):
                _, fetching = self.exchange(answer(body, content_type))
                self.assertEqual(self.successResultOf(fetching), {URL: data_url(body, kind)})

    def test_until_close(self) -> None:
        """An image whose length is not told ends with the connection."""
        connection, fetching = self.exchange(head() + PNG)
        self.assertNoResult(fetching)
        connection.end()
        self.assertEqual(self.successResultOf(fetching), {URL: data_url(PNG)})

    @given(st.binary(max_size=500), st.data())
    def test_splits(self, rest: bytes, data: st.DataObject) -> None:
        """However the bytes come, they arrive as they are."""
        self.setUp()
        wire = answer(PNG + rest)
        cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=5).map(sorted))
        fetching = self.fetcher.fetch([URL])
        connection = self.accept()
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            connection.send(wire[start:end])
        [written] = self.successResultOf(fetching).values()
        self.assertEqual(b64decode(written.partition(",")[2]), PNG + rest)

    def test_together(self) -> None:
        """Several are fetched at the same time, each once, and given back by their URLs."""
        urls = [URL, URL + "?2", URL, URL + "?3"]
        fetching = self.fetcher.fetch(urls)
        self.assertEqual(self.upstream.attempts, 3)
        for attempt in (2, 0, 1):
            self.assertNoResult(fetching)
            self.accept(attempt).send(answer(PNG + b"%d" % attempt))
        self.assertEqual(
            self.successResultOf(fetching),
            {
                URL: data_url(PNG + b"0"),
                URL + "?2": data_url(PNG + b"1"),
                URL + "?3": data_url(PNG + b"2"),
            },
        )

    def test_none(self) -> None:
        """Nothing is fetched when nothing is named."""
        self.assertEqual(self.successResultOf(self.fetcher.fetch([])), {})

    def test_next_address(self) -> None:
        """Of several addresses, a second is tried when the first says nothing for a while."""
        self.serve({"images.example.com": [["2606:4700::1111", PUBLIC]]})
        fetching = self.fetcher.fetch([URL])
        self.reactor.advance(0.3)
        self.assertEqual(
            [client[0] for client in self.reactor.tcpClients], ["2606:4700::1111", PUBLIC]
        )
        self.accept().send(answer(PNG))
        self.successResultOf(fetching)
        self.assertEqual(self.zone.asked, ["images.example.com"])


class GuardTests(ImagesTests):
    """What may not be fetched."""

    def test_urls(self) -> None:
        """A URL of another kind is refused before anything is looked up, and not shown."""
        for url in (
            "ftp://secret.example.com/",
            "file:///etc/secret",
            "//secret.example.com/",
            "http:secret.example.com",
            "http:///secret",
            "http://user:secret@images.example.com/",
            "http://secret@images.example.com/",
            "http://@images.example.com/secret",
            "http://user:se/cret@images.example.com/",
            "http://images.example.com:0/secret",
            "http://images.example.com:99999/secret",
            "http://images.example.com:+80/secret",
            "http://images.example.com:/secret",
            "http://images.example.com\\@secret.example.com/",
            "http://images.example.com/secret cat.png",
            "http://images.example.com/secret\r\nX-Evil: 1",
            "http://images.exa\tmple.com/secret",
            " http://images.example.com/secret",
            "http://[2606:4700::1111]secret.example.com/",
            "http://[2606:4700::1111%25eth0]/secret",
            "http://[v1.secret]/",
            "http://[secret/",
            "http://images.example.com./secret",
            "http://images%2eexample.com/secret",
            "http://images.example.com\uff0fsecret/",
            "http://secret\uff20images.example.com/",
            "http://images.example.com/secret" + "x" * 8192,
        ):
            message = self.refusal(url)
            self.assertIn("one of the images may not be fetched", message)
            self.assertNotIn("secret", message)
        self.assertEqual(self.zone.asked, [])

    def test_spellings(self) -> None:
        """An address that is not written as usual is refused, and so is a name without a dot."""
        for host in (
            *("2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "017700000001"),
            *("localhost", "metadata", "127.0.0.1.", "127\u30020\u30021", "\u2460\u2461"),
        ):
            self.refusal(f"http://{host}/")
        self.assertEqual(self.zone.asked, [])

    def test_private_addresses(self) -> None:
        """An address that is not public is refused, whichever way it is written."""
        for host in (
            *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0"),
            *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]"),
            *("[fd00:ec2::254]", "[2002:7f00:1::]", "127\u30020.0.1:80"),
        ):
            for scheme in ("http", "https"):
                self.refusal(f"{scheme}://{host}/")

    def test_private_names(self) -> None:
        """One address that is not public is enough, wherever it stands."""
        for addresses in (
            ["10.0.0.1"],
            [PUBLIC, "10.0.0.1"],
            ["10.0.0.1", PUBLIC],
            ["2606:4700::1111", "::ffff:10.0.0.1", PUBLIC],
            ["fe80::1%2"],
            [PUBLIC, "/run/docker.sock"],
        ):
            self.serve({"images.example.com": [addresses]})
            self.refusal(URL)

    def test_silent(self) -> None:
        """Nobody is told whether a name inside the network exists."""
        self.serve({"images.example.com": [["10.0.0.1"], []]})
        self.assertEqual(self.refusal(URL), self.refusal(URL))
        self.assertEqual(self.zone.asked, ["images.example.com"] * 2)

    def test_rebinding(self) -> None:
        """A name is looked up once: what it answers the next time does not count."""
        self.serve({"images.example.com": [[PUBLIC], ["127.0.0.1"]]})
        _, fetching = self.exchange(answer(PNG))
        self.assertEqual(self.successResultOf(fetching), {URL: data_url(PNG)})
        self.assertEqual(self.zone.asked, ["images.example.com"])
        self.assertEqual([client[0] for client in self.reactor.tcpClients], [PUBLIC])

    def test_checked_each_time(self) -> None:
        """What a name answered the first time does not count, either."""
        self.serve({"images.example.com": [[PUBLIC], ["127.0.0.1"]]})
        self.exchange(answer(PNG))
        self.error(self.fetcher.fetch([URL]), "invalid_image_url")
        self.assertEqual(self.upstream.attempts, 1)

    def test_allowed(self) -> None:
        """Who builds the fetcher may say which addresses are allowed."""
        allowed = {ip_address("10.0.0.1")}
        self.fetcher = ImageFetcher(self.reactor, allowed=allowed.__contains__)
        _, fetching = self.exchange(answer(PNG), "http://10.0.0.1/")
        self.successResultOf(fetching)
        self.error(self.fetcher.fetch(["http://8.8.8.8/"]), "invalid_image_url")

    def test_impossible_name(self) -> None:
        """A name that IDNA does not have is no name."""
        self.refusal("http://xn--a.example.com/")

    def test_far_too_many(self) -> None:
        """Far too many are refused before any of them is read, and so is one that is too long."""
        message = self.error(self.fetcher.fetch([f"é{n}" for n in range(4)]), "invalid_image_url")
        self.assertEqual(message, "a request may name at most 3 images by URL")
        self.refusal("http://example.com/" + "é" * 50_000)

    def test_count(self) -> None:
        """There are at most so many, and none is fetched of more."""
        urls = [f"{URL}?{number}" for number in range(4)]
        message = self.error(self.fetcher.fetch(urls), "invalid_image_url")
        self.assertEqual(message, "a request may name at most 3 images by URL")
        self.assertEqual(self.zone.asked, [])
        self.fetcher.fetch(urls[1:])
        self.assertEqual(self.upstream.attempts, 3)

    def test_all_are_read_first(self) -> None:
        """Nothing is looked up when one of the URLs cannot be."""
        fetching = self.fetcher.fetch([URL, "http://localhost/"])
        self.error(fetching, "invalid_image_url")
        self.assertEqual(self.zone.asked, [])

    def test_redirects(self) -> None:
        """A redirect leads nowhere."""
        for status in (300, 301, 302, 303, 304, 307, 308):
            reply = head("image/png", "Location: http://127.0.0.1/", status=status)
            attempts = self.upstream.attempts
            _, fetching = self.exchange(reply)
            message = self.error(fetching, "image_download_failed")
            self.assertIn("redirects", message)
            self.assertEqual(self.upstream.attempts, attempts + 1)


class FailureTests(ImagesTests):
    """What may be fetched and does not come."""

    def failed(self, reply: bytes) -> str:
        """Return the message for an answer that will not do; its connection is closed."""
        connection, fetching = self.exchange(reply)
        message = self.error(fetching, "image_download_failed")
        self.assertTrue(connection.transport.disconnected)
        return message

    def test_shown(self) -> None:
        """An error names the URL without its query, which may be a signature."""
        fetching = self.fetcher.fetch(["https://images.example.com:8080/cat.png?secret#secret"])
        self.upstream.refuse(ConnectionRefusedError())
        self.assertEqual(
            self.error(fetching, "image_download_failed"),
            "the image at https://images.example.com:8080/cat.png could not be downloaded: "
            "its server did not answer as it should",
        )

    def test_shown_shortened(self) -> None:
        """An error does not name all of a long URL."""
        fetching = self.fetcher.fetch([URL + "x" * 1000])
        self.upstream.refuse(ConnectionRefusedError())
        message = self.error(fetching, "image_download_failed")
        self.assertIn(f"the image at {URL}xxx", message)
        self.assertIn("x\u2026 could", message)
        self.assertLess(len(message), 250)

    def test_status(self) -> None:
        """Only a 200 is an image."""
        for status in (201, 204, 206, 403, 404, 500):
            self.assertIn(f"status {status}", self.failed(head(status=status) + PNG))

    def test_content_type(self) -> None:
        """What is called something else than an image is not read."""
        for content_type in ("text/html", "image/svg+xml", "application/json", "image"):
            self.assertIn("not a PNG", self.failed(head(content_type)))

    def test_unnamed_type(self) -> None:
        """Object stores do not know what they hold: the first bytes tell."""
        for content_type in ("application/octet-stream", "binary/octet-stream", ""):
            _, fetching = self.exchange(answer(PNG, content_type))
            self.assertEqual(self.successResultOf(fetching), {URL: data_url(PNG)})
            self.assertIn("not a PNG", self.failed(answer(b"AWS_SECRET", content_type)))

    def test_sniffed(self) -> None:
        """What is no image is not made one by its server's word."""
        for body in (
            *(b"", b"\x89PNG", b"<svg xmlns=", b"<html>", b"AWS_SECRET", PNG[1:], b" " + PNG),
            *(b"RIFF\x00\x00\x00\x00WAVEfmt ", b"\x00\x00\x00\x18ftypisom", b"\x1f\x8b\x08\x00"),
        ):
            self.assertIn("not a PNG", self.failed(answer(body)))

    def test_too_large(self) -> None:
        """An image that says so is not read."""
        self.assertIn("too large", self.failed(head("image/png", "Content-Length: 1001")))

    def test_too_large_unsaid(self) -> None:
        """An image that does not say so is read up to the bound."""
        connection, fetching = self.exchange(head() + PNG + bytes(1000 - len(PNG)))
        self.assertNoResult(fetching)
        connection.send(b"!")
        self.assertIn("too large", self.error(fetching, "image_download_failed"))
        self.assertTrue(connection.transport.disconnected)

    def test_just_so_large(self) -> None:
        """The bound itself is allowed."""
        body = PNG + bytes(1000 - len(PNG))
        _, fetching = self.exchange(answer(body))
        self.assertEqual(self.successResultOf(fetching), {URL: data_url(body)})

    def test_together_too_large(self) -> None:
        """The images of one call share a bound, told or not; the next call has its own."""
        for told in (True, False):
            fetching = self.fetcher.fetch([URL, URL + "?2"])
            first, second = self.accept(-2), self.accept(-1)
            first.send(answer(PNG + bytes(1000 - len(PNG))))
            rest = PNG + bytes(501 - len(PNG))
            second.send(answer(rest) if told else head() + rest[:-1])
            if not told:
                self.assertNoResult(fetching)
                second.send(rest[-1:])
            self.assertIn("too large", self.error(fetching, "image_download_failed"))
            self.assertTrue(second.transport.disconnected)

    def test_unreachable(self) -> None:
        """Nobody is told why a server does not answer."""
        fetching = self.fetcher.fetch([URL])
        self.upstream.refuse(ConnectionRefusedError())
        messages = {self.error(fetching, "image_download_failed")}
        for reply in (
            b"220 smtp.example.com ESMTP\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20000,
        ):
            messages.add(self.failed(reply))
        for reply in (b"", b"HTTP/1.1 200 OK\r\n", answer(PNG)[:-1]):
            connection, fetching = self.exchange(reply)
            connection.cut()
            messages.add(self.error(fetching, "image_download_failed"))
        [message] = messages
        self.assertNotIn("refused", message)

    def late(self, fetching: Deferred[Any]) -> None:
        """Check that a fetch fails after ten seconds, and not before."""
        self.reactor.pump([5.0, 4.9])
        self.assertNoResult(fetching)
        self.reactor.advance(0.1)
        message = self.error(fetching, "image_download_failed")
        self.assertIn("it took longer than 10 seconds", message)

    def test_late_name(self) -> None:
        """The look-up counts."""
        self.serve({"images.example.com": []})
        self.late(self.fetcher.fetch([URL]))
        self.assertEqual(self.upstream.attempts, 0)

    def test_late_connection(self) -> None:
        """So does connecting, which ends with it."""
        self.late(self.fetcher.fetch([URL]))
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)

    def test_late_answer(self) -> None:
        """So does waiting for the answer."""
        fetching = self.fetcher.fetch([URL])
        connection = self.accept()
        self.late(fetching)
        self.assertTrue(connection.transport.disconnected)

    def test_late_body(self) -> None:
        """So does the body, however steadily it comes."""
        connection, fetching = self.exchange(head() + PNG)
        for _ in range(9):
            self.reactor.advance(1.0)
            connection.send(b"more")
        self.assertNoResult(fetching)
        self.reactor.advance(1.0)
        self.assertIn("10 seconds", self.error(fetching, "image_download_failed"))
        self.assertTrue(connection.transport.disconnected)

    def test_late_resolution(self) -> None:
        """A name that is found when nobody waits any more leads nowhere."""
        self.serve({"slow.example.com": []})
        fetching = self.fetcher.fetch(["http://slow.example.com/"])
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        [receiver] = self.zone.waiting
        receiver.addressResolved(IPv4Address("TCP", PUBLIC, 80))
        receiver.resolutionComplete()
        with no_delayed_calls(self.reactor):
            self.reactor.advance(0.3)
        self.assertEqual(self.upstream.attempts, 0)

    def test_first_failure(self) -> None:
        """The first failure is the call's, and cancels the others wherever they are."""
        self.serve({"images.example.com": [[PUBLIC]] * 2, "slow.example.com": []})
        fetching = self.fetcher.fetch([URL, URL + "?2", "http://slow.example.com/"])
        first, second = self.accept(0), self.accept(1)
        first.send(head() + PNG)
        second.send(head(status=404))
        self.assertIn("status 404", self.error(fetching, "image_download_failed"))
        self.assertTrue(first.transport.disconnected)
        self.assertTrue(second.transport.disconnected)

    def test_cancel(self) -> None:
        """Cancelling closes all connections at once."""
        self.serve({"images.example.com": [[PUBLIC]] * 2, "slow.example.com": []})
        fetching = self.fetcher.fetch([URL, URL + "?2", "http://slow.example.com/"])
        first, second = self.accept(0), self.accept(1)
        first.send(head() + PNG)
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        with no_delayed_calls(self.reactor):
            self.reactor.advance(0)
        self.assertTrue(first.transport.disconnected)
        self.assertTrue(second.transport.disconnected)

    def test_cancel_connecting(self) -> None:
        """An attempt to connect is cancelled, too."""
        fetching = self.fetcher.fetch([URL])
        fetching.cancel()
        self.failureResultOf(fetching, CancelledError)
        self.assertTrue(self.reactor.connectors[-1].stoppedConnecting)
        with no_delayed_calls(self.reactor):
            self.reactor.advance(0.3)

    def test_bug(self) -> None:
        """A mistake of ours is not told as the server's."""

        def broken(address: object) -> bool:
            raise ZeroDivisionError

        error = self.failureResultOf(
            ImageFetcher(self.reactor, allowed=broken).fetch([URL]), InternalError
        ).value
        self.assertIsInstance(error.__cause__, ZeroDivisionError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_missing_bundle(self) -> None:
        """TLS files that are not there are told when the fetcher is made."""
        tls = TLSSettings(ca_bundle="/no/ca.pem")
        self.assertRaises(ConfigurationError, ImageFetcher, self.reactor, tls=tls)
