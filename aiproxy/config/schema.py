"""
The configuration as the rest of aiproxy sees it: frozen, checked, resolved.

Durations are seconds, sizes bytes.  A :class:`Model` carries all that is
needed to call it, whatever of it was written at the model, at its provider or
nowhere; nobody below has to look at the file's own form again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen

from aiproxy.config.reading import Place
from aiproxy.config.secret import Secret
from aiproxy.config.sections import Breaker, Group, Hedge, Retry, Server, Timeouts
from aiproxy.wire.urls import find_credentials, is_key_like, without_credentials

__all__ = [
    "LONGEST_NAME",
    "Breaker",
    "Config",
    "Group",
    "Hedge",
    "Key",
    "Limits",
    "Model",
    "Provider",
    "Retry",
    "Secret",
    "Server",
    "Timeouts",
    "fold_name",
]

#: Dialects whose providers speak OpenAI's too: whether they do at a base URL.
_TWO_WAYS: Mapping[str, Callable[[str], bool]] = {
    "anthropic": lambda base_url: False,
    "cohere": lambda base_url: "/compatibility/" in base_url,
    "google": lambda base_url: base_url.endswith("/openai"),
    "cloudflare": lambda base_url: (
        not base_url.endswith(("/ai/run", "/workers-ai", "/workers-ai/run"))
    ),
}

#: A wildcard serves no longer names: callers make them up, and they are kept.
LONGEST_NAME: Final = 512

_EMPTY: Mapping[str, Any] = MappingProxyType({})


def fold_name(name: str) -> str:
    """
    Return what is one for all ways to write a model's name behind a wildcard.

    Azure, HuggingFace and others take it in any case, Gemini with or without
    ``models/``: else each way would have the model's limits once more.
    """
    return name.lower().replace("/models/", "/", 1)


def _hide_credentials(url: str | None) -> str:
    return repr(url and without_credentials(url))


@frozen
class Limits:
    """What may go through a model or a key; ``None`` is no limit."""

    requests_per_minute: int | None = None
    requests_per_hour: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None


@frozen
class Key:
    """
    A client's key.

    :param digests: the SHA-256 of each of its tokens, to be compared in constant
        time: while one is changed for another, both are valid.
    :param models: names of models or groups, wildcards that end in ``*``; ``None``
        allows all.
    """

    name: str
    digests: tuple[bytes, ...] = field(repr=False)
    models: tuple[str, ...] | None = None
    limits: Limits = field(factory=Limits)
    expires: datetime | None = None


@frozen
class Provider:
    """
    A provider entry, or one that a model implies by naming a type.

    :param type: the canonical type; as written for a type that is not known.
    :param dialect: the conversion that it needs.
    :param base_url: ``None`` where only models with a ``url`` of their own use it.
    :param max_concurrent: calls that go on at a time for each of its tokens.
    :param disabled: why it is off: a token's variable is missing.
    """

    name: str
    type: str
    dialect: str
    base_url: str | None = field(default=None, repr=_hide_credentials)
    tokens: tuple[Secret, ...] = ()
    headers: Mapping[str, str] = field(default=_EMPTY, repr=False)
    body: Mapping[str, Any] = field(default=_EMPTY, repr=False)
    timeouts: Timeouts = field(factory=Timeouts)
    pool_idle_timeout: float | None = None
    ca_bundle: str | None = None
    client_cert: str | None = None
    discover: bool = False
    auth_url: str | None = field(default=None, repr=_hide_credentials)
    scope: str | None = None
    api_version: str | None = None
    max_concurrent: int | None = None
    disabled: str | None = None


@frozen
class Model:
    """
    A model with everything that a call needs, resolved.

    :param provider: the name of its entry in :attr:`Config.providers`.
    :param provider_type: that entry's type, canonical.
    :param dialect: the conversion that its provider needs.
    :param upstream_model: what the upstream calls it; for a wildcard a pattern
        with ``*``, see :meth:`upstream_name`.
    :param base_url: the route is appended to it, unless there is a ``url``.
    :param url: the whole URL, as in the Go proxy.
    :param tokens: the keys to rotate; empty where the provider needs none.
    :param kind: ``chat`` or ``image``.
    :param headers: added to each request; names in lower case.
    :param body: laid over each request's body.
    :param pool_idle_timeout: seconds that a connection is kept; ``None``: the pool's.
    :param provider_max_concurrent: calls that go on at a time for each token
        of its provider, whatever the model; further ones wait.
    :param max_request_length: bytes of the body.
    :param context_window: tokens.
    :param min_interval: seconds between two requests.
    :param disabled: why it cannot be called, for a human; ``None`` if it can.
    """

    name: str
    provider: str
    provider_type: str
    dialect: str
    upstream_model: str
    base_url: str | None = field(default=None, repr=_hide_credentials)
    url: str | None = field(default=None, repr=_hide_credentials)
    tokens: tuple[Secret, ...] = ()
    kind: str = "chat"
    headers: Mapping[str, str] = field(default=_EMPTY, repr=False)
    body: Mapping[str, Any] = field(default=_EMPTY, repr=False)
    timeouts: Timeouts = field(factory=Timeouts)
    pool_idle_timeout: float | None = None
    ca_bundle: str | None = None
    client_cert: str | None = None
    auth_url: str | None = field(default=None, repr=_hide_credentials)
    scope: str | None = None
    api_version: str | None = None
    provider_max_concurrent: int | None = None
    priority: int = 1
    weight: float = 1.0
    limits: Limits = field(factory=Limits)
    min_interval: float = 0.0
    max_request_length: int | None = None
    context_window: int | None = None
    model_size: str | None = None
    fallbacks: tuple[str, ...] = ()
    reasoning: bool = False
    stream_upstream: bool = False
    disabled: str | None = None
    place: Place = field(factory=Place, eq=False, repr=False)

    @property
    def wildcard(self) -> bool:
        """Whether the name ends in ``/*``: it serves any model of its provider."""
        return self.name.endswith("/*")

    @property
    def speaks_openai(self) -> bool:
        """Whether it is asked by OpenAI's chat completions: some have another way beside them."""
        if self.dialect not in _TWO_WAYS:
            return self.dialect == "openai"
        where = (self.url or self.base_url or "").partition("?")[0].rstrip("/")
        if self.url is not None:
            return where.endswith("/chat/completions")
        return _TWO_WAYS[self.dialect](where)

    def serves(self, requested: str) -> bool:
        """Whether a request for the model ``requested`` is one for this entry."""
        if not self.wildcard:
            return requested == self.name
        prefix = self.name[:-1]
        return requested.startswith(prefix) and len(prefix) < len(requested) <= LONGEST_NAME

    def find_secrets(self) -> Iterator[str]:
        """Find what an upstream is shown and nobody else may see: keys, in headers and URLs too."""
        for token in self.tokens:
            yield token.reveal()
            if self.auth_url:  # An id, which is none, and a secret.
                yield token.reveal().partition(":")[2]
        for name, value in self.headers.items():
            if is_key_like(name):
                yield value.rpartition(" ")[2]  # Without a scheme, as `Bearer` is one.
        for url in filter(None, (self.base_url, self.url, self.auth_url)):
            yield from find_credentials(url)

    def upstream_name(self, requested: str) -> str:
        """Return what the upstream calls ``requested``, which this entry :meth:`serves`."""
        if not self.wildcard:
            return self.upstream_model
        return self.upstream_model.replace("*", requested[len(self.name) - 1 :], 1)


@frozen
class Config:
    """
    The whole configuration.

    :param providers: by name; only those that models use, or the file names.
    :param groups: by name.
    :param auth_tokens: client tokens from ``AUTH_TOKEN``; all are valid.
    :param admin_token: from ``ADMIN_TOKEN``; ``None`` turns the admin routes off.
    :param port: from ``PORT``, for a start without an explicit endpoint.
    :param first_run: no configuration file was given or found.
    """

    server: Server = field(factory=Server)
    keys: tuple[Key, ...] = ()
    providers: Mapping[str, Provider] = _EMPTY
    models: tuple[Model, ...] = ()
    groups: Mapping[str, Group] = _EMPTY
    retry: Retry = field(factory=Retry)
    breaker: Breaker = field(factory=Breaker)
    timeouts: Timeouts = field(factory=Timeouts)
    auth_tokens: tuple[Secret, ...] = ()
    admin_token: Secret | None = None
    port: int = 8080
    first_run: bool = False
    _by_name: Mapping[str, Model] = field(init=False, repr=False, eq=False)
    #: By :func:`fold_name`, for who asks a wildcard for one of these.
    _by_folded: Mapping[str, Model] = field(init=False, repr=False, eq=False)
    #: Those with the longest prefix first.
    _wildcards: tuple[Model, ...] = field(init=False, repr=False, eq=False)

    @_by_name.default
    def _index(self) -> Mapping[str, Model]:
        return {model.name: model for model in reversed(self.models) if not model.wildcard}

    @_by_folded.default
    def _fold(self) -> Mapping[str, Model]:
        return {fold_name(name): model for name, model in self._by_name.items()}

    @_wildcards.default
    def _sort(self) -> tuple[Model, ...]:
        wildcards = [model for model in self.models if model.wildcard]
        return tuple(sorted(wildcards, key=lambda model: -len(model.name)))

    @property
    def requires_auth(self) -> bool:
        """Whether clients have a token or key to show."""
        return bool(self.auth_tokens or self.keys)

    def find_model(self, requested: str) -> Model | None:
        """
        Return the model entry that serves the name ``requested``.

        The exact name first, then the wildcard with the longest prefix, unless
        there is an entry of that provider for the name, but for how it is
        written; groups and ``SMALL`` and ``BIG`` are not models.
        """
        model = self._by_name.get(requested)
        if model is None and self._wildcards:
            model = next((one for one in self._wildcards if one.serves(requested)), None)
            if model is not None:
                own = self._by_folded.get(fold_name(requested))
                return own if own is not None and own.provider == model.provider else model
        return model
