"""What ``--listen tls:…`` says: where to listen, and with which certificate."""

from __future__ import annotations

import os

from twisted.internet.abstract import isIPv6Address
from twisted.internet.endpoints import _parse, quoteStringArgument

from aiproxy.config.reading import nearest
from aiproxy.transport.server_tls import ServerTLSSettings

__all__ = ["read_tls_endpoint"]

_NAMES = ("port", "interface", "backlog", "certKey", "privateKey", "clientCA", "clients")
_CLIENTS = ("required", "optional")


def read_tls_endpoint(description: str) -> tuple[str, ServerTLSSettings]:
    r"""
    Read a description such as ``tls:8443:certKey=chain.pem:privateKey=key.pem``.

    Names and escapes are those of Twisted's ``ssl:`` (a colon is ``\:``), and as
    there one of ``certKey`` and ``privateKey`` is enough where a file has both.
    With ``clientCA`` clients have to show a certificate of that authority, or may,
    with ``clients=optional``.  Files are found from the current folder.

    :return: the description of the endpoint beneath TLS, and the settings for it.
    :raises ValueError: with the reason.
    """
    try:
        (_, *positional), named = _parse(description)
    except RuntimeError:
        raise ValueError("it ends with a backslash, which escapes nothing") from None
    for name in named:
        if name not in _NAMES:
            raise ValueError(f"unknown parameter {name}{nearest(name, _NAMES)}")
    if len(positional) + ("port" in named) != 1:
        raise ValueError("it needs one port; all else is NAME=VALUE, such as certKey=chain.pem")
    port = named["port"] if "port" in named else positional[0]
    return _write_plain(port, named), _read_settings(named)


def _write_plain(port: str, named: dict[str, str]) -> str:
    if not _is_number(port, 65535):
        raise ValueError(f"the port must be a number from 0 to 65535, not {port!r}")
    interface = named.get("interface", "")
    text = f"{'tcp6' if isIPv6Address(interface) else 'tcp'}:{port}"
    if interface:
        text += f":interface={quoteStringArgument(interface)}"
    if "backlog" in named:
        if not _is_number(named["backlog"], 65535):
            raise ValueError("backlog must be a number")
        text += f":backlog={named['backlog']}"
    return text


def _read_settings(named: dict[str, str]) -> ServerTLSSettings:
    certificate = named.get("certKey") or named.get("privateKey")
    key = named.get("privateKey")
    authority = named.get("clientCA")
    clients = named.get("clients", "required")
    if not certificate:
        raise ValueError("it names no certificate: add certKey=FILE, and privateKey=FILE")
    if authority == "":
        # Who asks for certificates must not get a server that lets everybody in.
        raise ValueError("clientCA names no file")
    if clients not in _CLIENTS:
        raise ValueError(f"clients must be required or optional{nearest(clients, _CLIENTS)}")
    if "clients" in named and authority is None:
        raise ValueError("clients says nothing without clientCA=FILE")
    return ServerTLSSettings(
        os.path.abspath(certificate),
        private_key=os.path.abspath(key) if key else None,
        client_ca=os.path.abspath(authority) if authority else None,
        clients_optional=clients == "optional",
    )


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= most
