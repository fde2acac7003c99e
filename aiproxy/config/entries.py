"""
The configuration as it is written: one class for each mapping of the file.

:mod:`aiproxy.config.resolve` makes :mod:`aiproxy.config.schema` of it.
Sections whose written form is their resolved one stand there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from aiproxy.config import kinds, scalars
from aiproxy.config.kinds import key
from aiproxy.config.reading import Place
from aiproxy.config.scalars import MissingSecret
from aiproxy.config.secret import Secret
from aiproxy.config.sections import SIZES, Breaker, Group, Retry, Server, Timeouts

__all__ = ["File", "HttpClientEntry", "KeyEntry", "ModelEntry", "ProviderEntry"]

Token: TypeAlias = Secret | MissingSecret


def _limit(counted: str) -> Any:
    """Return a field for a limit of a key or a model."""
    return field(default=0, metadata=key(scalars.count, f"{counted}; 0: no limit."))


@frozen
class HttpClientEntry:
    """``http_client_config``, as in the Go proxy; zeros mean nothing is set."""

    timeout_seconds: float | None = field(
        default=None,
        metadata=key(
            scalars.seconds,
            "The Go proxy's name for `timeouts.attempt`, which wins where both are set.",
        ),
    )
    idle_conn_timeout_seconds: float | None = field(
        default=None,
        metadata=key(scalars.seconds, "How long an idle connection is kept.", default="`90`"),
    )


@frozen
class KeyEntry:
    """``keys[]``: a client's key."""

    name: str = field(metadata=key(scalars.text, "What logs call it.", required=True))
    hash: tuple[bytes, ...] = field(
        default=(),
        repr=False,
        metadata=key(
            kinds.OneOrMoreKind(scalars.sha256),
            "`sha256:` and the 64 hex digits of the token's SHA-256, of each where there are"
            " several; this or `token`.",
        ),
    )
    token: Secret | None = field(
        default=None, metadata=key(scalars.secret, "The token itself; this or `hash`.")
    )
    models: tuple[str, ...] | None = field(
        default=None,
        metadata=key(
            kinds.ListKind(scalars.text),
            "Models and groups it may use; a name may end in `*`.",
            default="all",
        ),
    )
    requests_per_minute: int = _limit("Requests in any minute")
    requests_per_hour: int = _limit("Requests in any hour")
    requests_per_day: int = _limit("Requests in any day")
    tokens_per_minute: int = _limit("Tokens in any minute")
    max_concurrent: int = _limit("Requests at the same time")
    expires: datetime | None = field(
        default=None,
        metadata=key(
            scalars.moment, "ISO 8601 date or time (UTC unless it says) from which it is void."
        ),
    )
    place: Place = field(factory=Place)


@frozen
class ProviderEntry:
    """``providers.NAME``."""

    type: str | None = field(
        default=None,
        metadata=key(scalars.text, "A type of the table below.", default="the entry's name"),
    )
    base_url: str | None = field(
        default=None,
        metadata=key(scalars.url, "The adapter appends the route to it.", default="by type"),
    )
    token: Token | None = field(
        default=None,
        metadata=key(scalars.token, "The key for the provider.", default="the type's variable"),
    )
    tokens: tuple[Token, ...] = field(
        default=(), metadata=key(kinds.ListKind(scalars.token), "Several keys, used in rotation.")
    )
    headers: Mapping[str, str] = field(
        factory=dict, repr=False, metadata=key(kinds.headers, "Added to every request.")
    )
    body: Mapping[str, Any] = field(
        factory=dict, repr=False, metadata=key(kinds.json_object, "Laid over every request's body.")
    )
    ca_bundle: str | None = field(
        default=None,
        metadata=key(
            scalars.text,
            "PEM file with the authorities to trust; relative to the configuration file.",
            default="the system's",
        ),
    )
    client_cert: str | None = field(
        default=None,
        metadata=key(
            scalars.text,
            "PEM file with our certificate and key; relative to the configuration file.",
        ),
    )
    discover: bool = field(
        default=False,
        metadata=key(
            scalars.boolean,
            "Ask the provider for its models; `/v1/models` lists them where a wildcard serves it.",
        ),
    )
    timeouts: Mapping[str, float] = field(
        factory=dict,
        metadata=key(
            kinds.PartialKind(Timeouts),
            "Keys of `timeouts`, laid over the global ones.",
            default="the global ones",
        ),
    )
    http_client_config: HttpClientEntry = field(
        factory=HttpClientEntry,
        metadata=key(kinds.SectionKind(HttpClientEntry), "As in the Go proxy.", default="none"),
    )
    auth_url: str | None = field(
        default=None,
        metadata=key(
            scalars.url,
            "`gigachat`: where access tokens come from.",
            default="`https://ngw.devices.sberbank.ru:9443/api/v2/oauth`",
        ),
    )
    scope: str | None = field(
        default=None,
        metadata=key(scalars.text, "`gigachat`: the scope.", default="`GIGACHAT_API_PERS`"),
    )
    account_id: str | None = field(
        default=None,
        metadata=key(
            scalars.text,
            "`cloudflare`: the account, needed only without `base_url`.",
            default="`$CLOUDFLARE_ACCOUNT_ID`",
        ),
    )
    api_version: str | None = field(
        default=None, metadata=key(scalars.text, "`azure`: the `api-version` of the query.")
    )
    max_concurrent: int = field(
        default=0,
        metadata=key(
            scalars.count,
            "Calls at the same time for each token, whatever the model; more wait. 0: no limit.",
        ),
    )
    place: Place = field(factory=Place)


@frozen
class ModelEntry:
    """``models[]``: also all that the Go proxy's file has."""

    name: str = field(
        metadata=key(
            scalars.text,
            "What clients call it; a name that ends in `/*` serves any model of the provider.",
            required=True,
        )
    )
    provider: str = field(
        metadata=key(scalars.text, "An entry of `providers`, or a type.", required=True)
    )
    upstream_model: str | None = field(
        default=None,
        metadata=key(
            scalars.text,
            "What the provider calls it; for a wildcard a pattern with `*`.",
            default="the name without its `provider/`",
        ),
    )
    url: str | None = field(
        default=None,
        metadata=key(scalars.url, "The whole URL, in place of the provider's `base_url`."),
    )
    token: Token | None = field(
        default=None,
        metadata=key(scalars.token, "The key for this model.", default="the provider's"),
    )
    tokens: tuple[Token, ...] = field(
        default=(),
        metadata=key(
            kinds.ListKind(scalars.token),
            "Several keys, used in rotation.",
            default="the provider's",
        ),
    )
    priority: int = field(default=1, metadata=key(scalars.count, "Lower is tried first."))
    weight: float = field(
        default=1.0, metadata=key(scalars.weight, "Share within a `weighted` group.")
    )
    requests_per_minute: int = _limit("Requests in any minute")
    requests_per_hour: int = _limit("Requests in any hour")
    requests_per_day: int = _limit("Requests in any day")
    tokens_per_minute: int = _limit("Tokens in any minute")
    max_concurrent: int = _limit("Requests at the same time")
    min_interval: float = field(
        default=0.0, metadata=key(scalars.duration, "Requests are spaced by this; it is no limit.")
    )
    max_request_length: int | None = field(
        default=None,
        metadata=key(
            scalars.size,
            "Longest body; an explicit 0 marks an image model, as in the Go proxy.",
        ),
    )
    context_window: int | None = field(
        default=None, metadata=key(scalars.count, "Tokens that it can take in; 0: unknown.")
    )
    kind: str | None = field(
        default=None,
        metadata=key(scalars.choice("chat", "image"), "`chat` or `image`.", default="`chat`"),
    )
    model_size: str | None = field(
        default=None,
        metadata=key(
            scalars.choice(*SIZES, any_case=True),
            "`SMALL` or `BIG`: a member of that virtual model.",
        ),
    )
    fallbacks: tuple[str, ...] = field(
        default=(),
        metadata=key(
            kinds.ListKind(scalars.text), "Models or groups that stand in when it cannot answer."
        ),
    )
    reasoning: bool = field(
        default=False, metadata=key(scalars.boolean, "It reasons: `timeouts.reasoning` applies.")
    )
    stream_upstream: bool = field(
        default=False,
        metadata=key(scalars.boolean, "Ask for plain answers as streams too, and fold them."),
    )
    timeouts: Mapping[str, float] = field(
        factory=dict,
        metadata=key(
            kinds.PartialKind(Timeouts),
            "Keys of `timeouts`, laid over the provider's.",
            default="the provider's",
        ),
    )
    http_client_config: HttpClientEntry = field(
        factory=HttpClientEntry,
        metadata=key(
            kinds.SectionKind(HttpClientEntry), "As in the Go proxy.", default="the provider's"
        ),
    )
    headers: Mapping[str, str] = field(
        factory=dict,
        repr=False,
        metadata=key(
            kinds.headers, "Added to its requests, over the provider's.", default="the provider's"
        ),
    )
    body: Mapping[str, Any] = field(
        factory=dict,
        repr=False,
        metadata=key(
            kinds.json_object,
            "Laid over its requests' body, over the provider's.",
            default="the provider's",
        ),
    )
    place: Place = field(factory=Place)


@frozen
class File:
    """The whole file."""

    server: Server = field(
        factory=Server,
        metadata=key(kinds.SectionKind(Server), "Our own HTTP face.", default="see below"),
    )
    keys: tuple[KeyEntry, ...] = field(
        default=(),
        metadata=key(
            kinds.ListKind(kinds.SectionKind(KeyEntry)), "Clients' keys, besides `AUTH_TOKEN`."
        ),
    )
    providers: Mapping[str, ProviderEntry] = field(
        factory=dict,
        metadata=key(
            kinds.NamedSectionsKind(kinds.SectionKind(ProviderEntry)),
            "Providers, by a name of your choice.",
            default="by type",
        ),
    )
    models: tuple[ModelEntry, ...] = field(
        default=(),
        metadata=key(kinds.ListKind(kinds.SectionKind(ModelEntry)), "What clients can ask for."),
    )
    groups: Mapping[str, Group] = field(
        factory=dict,
        metadata=key(
            kinds.NamedSectionsKind(kinds.SectionKind(Group)), "Virtual models.", default="none"
        ),
    )
    retry: Retry = field(
        factory=Retry,
        metadata=key(
            kinds.SectionKind(Retry),
            "Repeats; the environment's `RETRY_*` win.",
            default="see below",
        ),
    )
    breaker: Breaker = field(
        factory=Breaker,
        metadata=key(kinds.SectionKind(Breaker), "When to pass by.", default="see below"),
    )
    timeouts: Timeouts = field(
        factory=Timeouts,
        metadata=key(kinds.SectionKind(Timeouts), "Bounds by phase.", default="see below"),
    )
