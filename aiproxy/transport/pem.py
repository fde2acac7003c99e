"""Certificates and keys in files of PEM form, and what to say of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

__all__ = ["Unusable", "check_key", "read_certificates", "read_file", "read_key"]


class Unusable(Exception):
    """A file cannot be used; the text says why and holds nothing of it."""


def read_file(path: str) -> bytes:
    """
    Return what a file holds.

    :raises Unusable: it is not there, or not for us.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unusable(error.strerror or "cannot be read") from None


def read_certificates(data: bytes) -> list[x509.Certificate]:
    """
    Return all certificates, at least one.

    :raises Unusable: there is none, or a broken one.
    """
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise Unusable("holds no certificate in PEM form, or a broken one") from None


def read_key(data: bytes) -> PrivateKeyTypes:
    """
    Return the private key; certificates may stand beside it.

    :raises Unusable: there is none, a broken one, or one that is encrypted.
    """
    try:
        return load_pem_private_key(data, password=None)
    except TypeError:
        raise Unusable("the private key is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Unusable("holds no private key in PEM form, or a broken one") from None


def check_key(key: PrivateKeyTypes, certificate: x509.Certificate) -> None:
    """
    See that a key is that of a certificate.

    :raises Unusable: it is not.
    """
    if certificate.public_key() != key.public_key():
        raise Unusable("the private key belongs to another certificate than the first")
