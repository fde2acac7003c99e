"""Who may come in, and what he may use."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from aiproxy.config.schema import Key, Limits
from aiproxy.config.secret import Secret

__all__ = ["Access", "Principal"]


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
    expires: datetime | None = None


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
        self._entries = [_Entry(token.digest, owner) for token in tokens]
        self._entries += [
            _Entry(key.digest, Principal(key.name, key.models, _limits(key), key.name), key.expires)
            for key in keys
        ]

    def identify(self, token: str, now: datetime) -> Principal | None:
        """
        Return whose token this is; ``None`` where it is nobody's, or void.

        Digests are compared, all of them and in constant time, so that nothing
        of a token shows in how long it takes.

        :param now: with a time zone.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        found: Principal | None = None
        for entry in self._entries:
            same = hmac.compare_digest(digest, entry.digest)
            if same and (entry.expires is None or now < entry.expires):
                found = entry.principal
        return found
