"""Who may come in, and what he may use."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable

from attrs import frozen

from aiproxy.config.schema import Key, Limits
from aiproxy.config.secret import Secret

__all__ = ["Access", "Principal", "token_digest"]


@frozen
class Principal:
    """
    A client that has shown a valid token.

    :param name: what logs call it: the key's name, or ``AUTH_TOKEN``.
    :param models: as :attr:`aiproxy.config.schema.Key.models`.
    :param limits: of the key, if it has any.
    :param key: the key's name; of ``AUTH_TOKEN``, which many may share, ``None``.
    """

    name: str
    models: tuple[str, ...] | None = None
    limits: Limits | None = None
    key: str | None = None

    def may_use(self, requested: str) -> bool:
        """Whether the model or group ``requested`` is one of those allowed."""
        if self.models is None:
            return True
        return any(
            requested.startswith(name[:-1]) if name.endswith("*") else requested == name
            for name in self.models
        )


@frozen
class _Entry:
    digest: bytes
    principal: Principal
    #: Seconds since the epoch.
    expires: float = math.inf


def _limits(key: Key) -> Limits | None:
    return None if key.limits == Limits() else key.limits


class Access:
    """
    The tokens that are valid.

    :param tokens: those of ``AUTH_TOKEN``, or the one that was made up.
    :param keys: the configuration's ``keys``.
    """

    def __init__(self, tokens: Iterable[Secret], keys: Iterable[Key] = ()) -> None:
        owner = Principal("AUTH_TOKEN")
        entries = [_Entry(token.digest, owner) for token in tokens]
        entries += [
            _Entry(
                digest,
                Principal(key.name, key.models, _limits(key), key.name),
                math.inf if key.expires is None else key.expires.timestamp(),
            )
            for key in keys
            for digest in key.digests
        ]
        self._entries: dict[bytes, list[_Entry]] = {}
        for entry in entries:
            self._entries.setdefault(entry.digest, []).append(entry)

    def identify(self, digest: bytes, now: float) -> Principal | None:
        """
        Return whose token this is; ``None`` where it is nobody's, or void.

        Digests are looked up and compared: how long that takes depends on the
        digest, of which nobody can choose the beginning, and not on the token.

        :param digest: of the token.
        :param now: seconds since the epoch.
        """
        found: Principal | None = None
        for entry in self._entries.get(digest, ()):
            if hmac.compare_digest(digest, entry.digest) and now < entry.expires:
                found = entry.principal
        return found


def token_digest(token: str) -> bytes:
    """Return a token as it is compared: :attr:`aiproxy.config.secret.Secret.digest`."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
