"""Tests of :mod:`aiproxy.transport.failures`."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet import error as network
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import (
    RequestGenerationFailed,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)

from aiproxy.errors import (
    AIProxyError,
    AnswerTooLarge,
    ConnectFailed,
    InternalError,
    StreamCut,
    UpstreamFailed,
)
from aiproxy.transport.failures import (
    CertificateRefused,
    read_cut,
    read_failure,
    read_loss,
    read_refusal,
)

HOST = "api.example.com"


class ReadFailureTests(SynchronousTestCase):
    """What became of a request."""

    def read(self, reason: Exception) -> AIProxyError:
        return read_failure(Failure(reason), HOST)

    def test_no_connection(self) -> None:
        """Each way not to get a connection has its own words, with the host's name."""
        for reason, words in (
            (network.DNSLookupError("x"), "could not be resolved"),
            (network.ConnectionRefusedError(), "refused the connection"),
            (network.TimeoutError(), "in time"),
            (network.TCPTimedOutError(), "in time"),
            (network.NoRouteError(), "no route"),
            (network.ConnectError(), "could not be reached"),
            (CertificateRefused("has expired"), f"the certificate of {HOST} has expired"),
            (ValueError("invalid hostname"), "is not a name"),
            (RequestNotSent(), "before it was asked"),
        ):
            read = self.read(reason)
            self.assertIs(type(read), ConnectFailed)
            self.assertIn(HOST, str(read))
            self.assertIn(words, str(read))

    def test_port(self) -> None:
        """A port is no part of a name that nobody knows; it is of a server that does not answer."""
        for reason, words in (
            (network.DNSLookupError("x"), f"the name {HOST} could not be resolved"),
            (network.ConnectionRefusedError(), f"{HOST}:8000 refused the connection"),
        ):
            self.assertEqual(str(read_failure(Failure(reason), f"{HOST}:8000")), words)

    def test_tls(self) -> None:
        """TLS's failures carry OpenSSL's word for it."""
        for reason, words in (
            (SSL.Error([("SSL routines", "", "tlsv1 alert internal error")]), "internal error"),
            (SSL.Error([]), "the handshake broke off"),
            (SSL.SysCallError(-1, "Unexpected EOF"), "the handshake broke off"),
            (SSL.Error(), "the handshake broke off"),
        ):
            read = self.read(ResponseNeverReceived([Failure(reason)]))
            self.assertIs(type(read), ConnectFailed)
            self.assertEqual(read.message.partition("failed: ")[2][-len(words) :], words)

    def test_closed(self) -> None:
        """Without a byte the network is at fault, after one the upstream."""
        for reason in (network.ConnectionDone(), network.ConnectionLost()):
            for wrapper, error, words in (
                (ResponseNeverReceived, ConnectFailed, "before it answered"),
                (RequestTransmissionFailed, ConnectFailed, "before it answered"),
                (ResponseFailed, UpstreamFailed, "within its answer"),
            ):
                read = self.read(wrapper([Failure(reason)]))
                self.assertIs(type(read), error)
                self.assertIn(words, str(read))

    def test_tls_within_the_answer(self) -> None:
        """TLS can also break after the first bytes."""
        reason = SSL.Error([("SSL routines", "", "bad record mac")])
        read = self.read(ResponseFailed([Failure(reason)]))
        self.assertIs(type(read), UpstreamFailed)
        self.assertIn("bad record mac", str(read))

    def test_ours(self) -> None:
        """One of our own errors stays what it is, however deep it lies."""
        error = AnswerTooLarge("too large")
        for reason in (error, ResponseFailed([Failure(error)])):
            self.assertIs(self.read(reason), error)
            self.assertIs(read_cut(Failure(reason), HOST), error)

    def test_unknown(self) -> None:
        """What no row names is a bug of ours: the cause is kept, not shown."""
        for reason in (
            ZeroDivisionError("secret"),
            RequestGenerationFailed([Failure(ZeroDivisionError("secret"))]),
            ResponseFailed([Failure(ZeroDivisionError("secret"))]),
        ):
            read = self.read(reason)
            self.assertIsInstance(read, InternalError)
            self.assertIsInstance(read.__cause__, ZeroDivisionError)
            self.assertNotIn("secret", str(read.envelope()))

    def test_no_reason(self) -> None:
        """A wrapper without a reason is not looked into."""
        self.assertIsInstance(self.read(ResponseFailed([])), InternalError)

    def test_cut(self) -> None:
        """A body that ends early is a cut stream."""
        read = read_cut(Failure(ResponseFailed([Failure(network.ConnectionLost())])), HOST)
        self.assertIs(type(read), StreamCut)
        self.assertIn(HOST, str(read))

    def test_loss(self) -> None:
        """A connection's end is the network's before a byte came, and the upstream's after."""
        for heard, error, words in (
            (False, ConnectFailed, "before it answered"),
            (True, UpstreamFailed, "within its answer"),
        ):
            read = read_loss(Failure(network.ConnectionLost()), HOST, heard=heard)
            self.assertIs(type(read), error)
            self.assertIn(words, str(read))

    def test_cause(self) -> None:
        """What it was before is kept."""
        for reason in (network.DNSLookupError("x"), ValueError("x")):
            self.assertIs(self.read(reason).__cause__, reason)

    def test_refusal(self) -> None:
        """A head that nobody can read is the upstream's failure, with its status."""
        self.assertIsNone(read_refusal(200, []))
        self.assertIsNone(read_refusal(200, [b"", b" Identity", b"utf-8"]))
        self.assertIsNone(read_refusal(429, [b"gzip"]))
        for status, encodings in ((200, [b"gzip"]), (201, [b"identity", b"br"]), (600, [])):
            read = read_refusal(status, encodings)
            assert read is not None
            self.assertIs(type(read), UpstreamFailed)
            self.assertEqual(getattr(read, "upstream_status", None), status)
