"""
From what is written to what it means: providers looked up, defaults and
inheritance filled in, keys found in the environment.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

import attrs
from attrs import define, field

from aiproxy.config.entries import (
    File,
    HttpClientEntry,
    KeyEntry,
    ModelEntry,
    ProviderEntry,
)
from aiproxy.config.environment import Environment
from aiproxy.config.known_providers import (
    GENERIC_DIALECT,
    KNOWN_PROVIDERS,
    PLUGIN_DIALECT,
    KnownProvider,
    find_known_provider,
)
from aiproxy.config.names import check_keys, check_names
from aiproxy.config.reading import Reading, missing_variables, nearest
from aiproxy.config.schema import (
    Config,
    Key,
    Limits,
    Model,
    Provider,
    Secret,
    Server,
)
from aiproxy.config.sources import Sources
from aiproxy.config.tokens import environment_tokens, written_tokens
from aiproxy.config.tree import shorten
from aiproxy.wire.urls import origin

__all__ = ["Resolver"]

#: Keys of a provider entry that only one type has.
_KEYS_OF_TYPE = {
    "auth_url": "gigachat",
    "scope": "gigachat",
    "account_id": "cloudflare",
    "api_version": "azure",
}
#: How a path ends where an API begins.
_VERSION = re.compile(r"/v[0-9][a-z0-9]*$")
#: Dialects whose adapters may know by themselves where to go.
_WITHOUT_URL = frozenset({"demo", PLUGIN_DIALECT})
_GIGACHAT_AUTH_URL = "https://ngw.devices.sberbank.ru:9443/api/v2/oauth"
_GIGACHAT_SCOPE = "GIGACHAT_API_PERS"
#: The Go proxy's scope, for a model in its form.
_GIGACHAT_GO_SCOPE = "GIGACHAT_API_CORP"


@define
class Resolver:
    """
    Resolves one file.

    :param reading: where mistakes go.
    :param environment: holds the tokens that are not written.
    :param folder: what file names in the configuration are relative to.
    :param sources: tells which files there are.
    """

    reading: Reading
    environment: Environment
    folder: str
    sources: Sources
    _file: File = field(init=False, factory=File)
    _providers: dict[str, Provider] = field(init=False, factory=dict)
    _tokenless: set[str] = field(init=False, factory=set)

    def resolve(self, file: File) -> Config:
        """Return the configuration; it may be used only if no problem was noted."""
        self._file = file
        for name, entry in file.providers.items():
            self._providers[name] = self._provider(name, entry)
        models = tuple(self._model(entry) for entry in file.models)
        groups = {name: attrs.evolve(group, name=name) for name, group in file.groups.items()}
        check_names(models, groups, self.reading)
        check_keys(file.keys, models, groups, self.reading)
        return Config(
            server=self._server(file.server),
            keys=tuple(_key(entry) for entry in file.keys),
            providers=self._providers,
            models=models,
            groups=groups,
            retry=file.retry,
            breaker=file.breaker,
            timeouts=file.timeouts,
        )

    # --- providers ------------------------------------------------------------------

    def _provider(self, name: str, entry: ProviderEntry) -> Provider:
        written_type = entry.type or name
        known = find_known_provider(written_type)
        if entry.type and known is None:
            # Any other type is somebody's own server: it would be asked in OpenAI's language.
            known = find_known_provider(written_type.lower())
            if known is not None:
                place = self.reading.find(entry.place, "type")
                self.reading.problem(place, f"is written `{known.name}`")
        type_name = known.name if known else written_type
        for key, its_type in _KEYS_OF_TYPE.items():
            if getattr(entry, key) is not None and type_name != its_type:
                place = self.reading.find(entry.place, key)
                self.reading.problem(place, f"is for providers of type {its_type} only")
        self._check_base_url(name, entry, known)
        tokens, missing = written_tokens(entry, self.reading)
        off = None
        if missing and not tokens:
            off = f"{missing_variables(missing)}; provider {shorten(name)} is off"
        elif not tokens:
            tokens = environment_tokens(known, self.environment, self.reading)
        gigachat = type_name == "gigachat"
        return Provider(
            name=name,
            type=type_name,
            dialect=known.dialect if known else GENERIC_DIALECT,
            base_url=entry.base_url or self._default_base_url(known, entry.account_id),
            tokens=tokens,
            headers=entry.headers,
            body=entry.body,
            timeouts=self._file.timeouts.overlaid(
                _attempt(entry.http_client_config), entry.timeouts
            ),
            pool_idle_timeout=entry.http_client_config.idle_conn_timeout_seconds or None,
            ca_bundle=self._existing_file(entry, "ca_bundle"),
            client_cert=self._existing_file(entry, "client_cert"),
            discover=entry.discover,
            auth_url=(entry.auth_url or _GIGACHAT_AUTH_URL) if gigachat else None,
            scope=(entry.scope or _GIGACHAT_SCOPE) if gigachat else None,
            api_version=entry.api_version,
            max_concurrent=entry.max_concurrent or None,
            disabled=off,
        )

    def _check_base_url(self, name: str, entry: ProviderEntry, known: KnownProvider | None) -> None:
        """Note a URL that is already one of chat: what is appended would stand there twice."""
        if known is not None and known.dialect == PLUGIN_DIALECT:
            return  # What an adapter of its own appends, nobody knows.
        if all(model.url for model in self._file.models if model.provider == name):
            return  # It stands in no request.
        route = known.chat_route if known else "/chat/completions"
        path = urlsplit(entry.base_url or "").path.rstrip("/")
        # A gateway may be at a path of one word, such as /chat.
        before = path.removesuffix(route)
        if before != path and (route.count("/") > 1 or _VERSION.search(before)):
            self.reading.problem(
                self.reading.find(entry.place, "base_url"),
                f"ends in `{route}`, which is appended to it: leave that out,"
                " or write it all as `url` of a model",
            )

    def _provider_of(self, entry: ModelEntry) -> Provider:
        """Return the model's provider entry, or the one that its type implies."""
        name = entry.provider
        if name not in self._providers:
            known = find_known_provider(name)
            name = known.name if known else name
        if name not in self._providers:
            place = self.reading.find(entry.place, "provider")
            self._providers[name] = self._provider(name, ProviderEntry(place=place))
        return self._providers[name]

    def _default_base_url(self, known: KnownProvider | None, account_id: str | None) -> str | None:
        if known is None or known.base_url is None:
            return None
        if "{account_id}" not in known.base_url:
            return known.base_url
        account_id = account_id or self.environment.variables.get("CLOUDFLARE_ACCOUNT_ID")
        return _with_account(known.base_url, account_id) if account_id else None

    def _existing_file(self, entry: ProviderEntry, key: str) -> str | None:
        name: str | None = getattr(entry, key)
        if name is None:
            return None
        path = os.path.join(self.folder, name)
        if not self.sources.is_file(Path(path)):
            self.reading.problem(self.reading.find(entry.place, key), "there is no such file")
        return path

    # --- models -----------------------------------------------------------------------

    def _model(self, entry: ModelEntry) -> Model:
        provider = self._provider_of(entry)
        tokens, missing = written_tokens(entry, self.reading)
        own_tokens = bool(tokens)
        off = f"{missing_variables(missing)}; the model is off" if missing and not tokens else None
        if not tokens and off is None:
            tokens, off = provider.tokens, provider.disabled
        url, scope = entry.url, provider.scope
        if (
            provider.type == "gigachat"
            and provider.name not in self._file.providers
            and own_tokens
            and ":" in tokens[0].reveal()
        ):
            url, scope = None, _GIGACHAT_GO_SCOPE
        if off is None:
            off = self._lack_of_token(entry, provider, tokens, url or provider.base_url)
        if off is None and provider.dialect not in _WITHOUT_URL and not (url or provider.base_url):
            self._note_lack_of_url(entry, provider)
        kind = entry.kind or ("image" if entry.max_request_length == 0 else "chat")
        idle = entry.http_client_config.idle_conn_timeout_seconds
        return Model(
            name=entry.name,
            provider=provider.name,
            provider_type=provider.type,
            dialect=provider.dialect,
            upstream_model=self._upstream_model(entry, provider),
            base_url=provider.base_url,
            url=url,
            tokens=tokens,
            kind=kind,
            headers={**provider.headers, **entry.headers},
            body={**provider.body, **entry.body},
            timeouts=provider.timeouts.overlaid(_attempt(entry.http_client_config), entry.timeouts),
            pool_idle_timeout=idle or provider.pool_idle_timeout,
            ca_bundle=provider.ca_bundle,
            client_cert=provider.client_cert,
            auth_url=provider.auth_url,
            scope=scope,
            api_version=provider.api_version,
            provider_max_concurrent=provider.max_concurrent,
            priority=entry.priority,
            weight=entry.weight,
            limits=_limits(entry),
            min_interval=entry.min_interval,
            max_request_length=entry.max_request_length or None,
            context_window=entry.context_window or None,
            model_size=entry.model_size,
            fallbacks=entry.fallbacks,
            reasoning=entry.reasoning,
            stream_upstream=entry.stream_upstream,
            disabled=off,
            place=entry.place,
        )

    def _lack_of_token(
        self,
        entry: ModelEntry,
        provider: Provider,
        tokens: tuple[Secret, ...],
        url: str | None,
    ) -> str | None:
        """Say that a token is needed and there is none; warn once for each provider."""
        known = KNOWN_PROVIDERS.get(provider.type)
        if tokens or known is None or not known.needs_token:
            return None
        if url is not None and known.base_url and origin(url) != origin(known.base_url):
            return None  # a server of one's own behind a well-known type
        variables = " or ".join(known.token_variables)
        reason = f"no token for provider {shorten(provider.name)}: set {variables}, or `token`"
        if provider.name not in self._tokenless:
            self._tokenless.add(provider.name)
            self.reading.warn(entry.place, f"{reason}; without it the model is off")
        return reason

    def _note_lack_of_url(self, entry: ModelEntry, provider: Provider) -> None:
        path = f"providers.{shorten(provider.name)}"
        urls = (f"{path}.{key}" for key in ("type", "base_url", "account_id"))
        if not self.reading.broken.isdisjoint(
            ("providers", path, *urls, f"{entry.place.path}.url")
        ):
            return  # it may be what could not be read
        name = shorten(provider.name)
        if provider.type == "cloudflare":
            message = (
                f"provider {name} needs `account_id` (or CLOUDFLARE_ACCOUNT_ID), or `base_url`"
            )
        else:
            message = f"provider {name} needs a `base_url`, or the model a `url`"
        if provider.type not in KNOWN_PROVIDERS:
            near = nearest(provider.type, [*self._file.providers, *KNOWN_PROVIDERS])
            message = f"{message}, for its type is not a known one{near}"
        self.reading.problem(entry.place, message)

    def _upstream_model(self, entry: ModelEntry, provider: Provider) -> str:
        wildcard = entry.name.endswith("/*")
        if "*" in (entry.name[:-2] if wildcard else entry.name):
            self.reading.problem(
                self.reading.find(entry.place, "name"),
                "has a `*`; such a name must end in `/*`, as in `groq/*`, and have no other",
            )
        if entry.upstream_model is not None:
            if wildcard and "*" not in entry.upstream_model:
                self.reading.problem(
                    self.reading.find(entry.place, "upstream_model"),
                    "needs a `*` for what the wildcard of the name stands for",
                )
            return entry.upstream_model
        if wildcard:
            return "*"
        name = entry.name
        known = KNOWN_PROVIDERS.get(provider.type)
        spellings = {provider.name, provider.type, *(known.aliases if known else ())}
        prefix, _, rest = name.partition("/")
        if rest and prefix in spellings:
            name = rest
        if provider.type == "cloudflare" and name.startswith(("cf/", "hf/")):
            return f"@{name}"  # the Go proxy's names leave the @ out
        return name

    # --- the rest ---------------------------------------------------------------------

    def _server(self, server: Server) -> Server:
        # systemd.exec(5): a list with colons; the first folder is ours.
        state = server.state or self.environment.variables.get("STATE_DIRECTORY", "").split(":")[0]
        access_log, body_log = server.access_log, server.body_log
        if access_log not in ("-", "syslog", "none"):
            access_log = os.path.join(self.folder, access_log)
        if body_log != "none":
            body_log = os.path.join(self.folder, body_log)
        return attrs.evolve(
            server,
            state=None if state in ("", "none") else os.path.join(self.folder, state),
            access_log=access_log,
            body_log=body_log,
        )


def _with_account(base_url: str, account_id: str) -> str:
    return base_url.replace("{account_id}", quote(account_id.strip(), safe=""))


def _attempt(http_client: HttpClientEntry) -> dict[str, float]:
    """``timeout_seconds`` as a layer of timeouts; 0 was no limit and says nothing here."""
    return {"attempt": http_client.timeout_seconds} if http_client.timeout_seconds else {}


def _limits(entry: ModelEntry | KeyEntry) -> Limits:
    return Limits(
        requests_per_minute=entry.requests_per_minute or None,
        requests_per_hour=entry.requests_per_hour or None,
        requests_per_day=entry.requests_per_day or None,
        tokens_per_minute=entry.tokens_per_minute or None,
        max_concurrent=entry.max_concurrent or None,
    )


def _key(entry: KeyEntry) -> Key:
    return Key(
        name=entry.name,
        digests=entry.hash if entry.token is None else (entry.token.digest,),
        models=entry.models,
        limits=_limits(entry),
        expires=entry.expires,
    )
