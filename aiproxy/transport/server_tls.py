"""TLS towards clients, with certificates that are renewed while it is spoken."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from aiproxy.errors import ConfigurationError
from aiproxy.transport.server_context import Identity, make_context
from aiproxy.transport.tls_connection import ServerTLSFactory

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

__all__ = ["ServerTLS", "ServerTLSSettings"]

#: So many seconds lie between two looks at the files, at least.
_LOOK_SECONDS = 5.0
#: Who renews by himself has done so before: certbot does it 30 days ahead.
_WARN_DAYS = 14


@frozen
class ServerTLSSettings:
    """
    The files of TLS towards clients, all in PEM form.

    :param certificate: the certificate, and then its chain.
    :param private_key: its key; ``None``: it is in the same file.
    :param client_ca: the authorities of clients' certificates; ``None``: clients
        are not asked for any.
    :param clients_optional: a client without a certificate is let in, too.
    """

    certificate: str
    private_key: str | None = None
    client_ca: str | None = None
    clients_optional: bool = False


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """
    The server's side of TLS under one :class:`ServerTLSSettings`.

    Files that have changed are read again when a connection comes, so renewals
    need no signal.  Running connections go on with what they began with.

    :param clock: measures the time between two looks at the files.
    :param wall: tells the time, in seconds since 1970.
    :raises ConfigurationError: a file is missing or is not what it should be.
    """

    _log = Logger()

    def __init__(
        self,
        settings: ServerTLSSettings,
        clock: IReactorTime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wall = wall
        self._stamps = self._stamp()
        self._look_at = clock.seconds() + _LOOK_SECONDS
        self._identity, self._context = self._load()
        self._warn()

    def factory(self, wrapped: IProtocolFactory) -> IProtocolFactory:
        """Return a factory of connections within TLS, on which another's protocols speak."""
        return ServerTLSFactory(self, wrapped, self._clock)

    def reload(self) -> None:
        """
        Read the files again, for connections that come from now on.

        :raises ConfigurationError: they cannot be used; the old ones go on.
        """
        self.prepare()()

    def prepare(self) -> Callable[[], None]:
        """
        Read the files again, and return what puts them to use.

        :raises ConfigurationError: they cannot be used.
        """
        # Before they are read: what is written meanwhile is seen at the next look.
        self._stamps = self._stamp()
        identity, context = self._load()
        return lambda: self._use(identity, context)

    def _use(self, identity: Identity, context: SSL.Context) -> None:
        self._context = context
        before, self._identity = self._identity, identity
        if identity.certificate != before.certificate:
            self._log.info(
                "TLS: {file} has a new certificate, valid until {until:%Y-%m-%d}",
                file=self._settings.certificate,
                until=identity.certificate.not_valid_after_utc,
            )
        self._warn()

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin TLS on a connection."""
        now = self._clock.seconds()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            if self._stamp() != self._stamps:
                self._renew()
        return SSL.Connection(self._context, None)

    def _renew(self) -> None:
        try:
            self.reload()
        except ConfigurationError as error:
            # Once: the files are looked into again when they have changed again.
            self._log.error("TLS: the old certificate goes on:\n{error}", error=error)

    def _load(self) -> tuple[Identity, SSL.Context]:
        settings = self._settings
        key = settings.private_key or settings.certificate
        identity = Identity.load(settings.certificate, key, settings.client_ca)
        return identity, make_context(identity, clients_optional=settings.clients_optional)

    def _stamp(self) -> list[object]:
        """Return what is another when a file, or what a link leads to, is another."""
        settings = self._settings
        files = (settings.certificate, settings.private_key, settings.client_ca)
        return [_stamp(file) for file in files if file is not None]

    def _warn(self) -> None:
        certificate = self._identity.certificate
        now = datetime.datetime.fromtimestamp(self._wall(), datetime.UTC)
        left = certificate.not_valid_after_utc - now
        if now < certificate.not_valid_before_utc:
            text = "is not valid before {since:%Y-%m-%d %H:%M} UTC"
        elif left < datetime.timedelta(0):
            text = "has expired on {until:%Y-%m-%d}"
        elif left < datetime.timedelta(days=_WARN_DAYS):
            text = "expires on {until:%Y-%m-%d}"
        else:
            return
        self._log.warn(
            "TLS: the certificate in {file} " + text,
            file=self._settings.certificate,
            since=certificate.not_valid_before_utc,
            until=certificate.not_valid_after_utc,
        )


def _stamp(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
