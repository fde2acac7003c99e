"""What ``aiproxy check`` prints: what the configuration comes to, with secrets masked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import attrs

from aiproxy.config.kinds import section_keys
from aiproxy.config.scalars import write_value
from aiproxy.config.schema import Config, Key, Limits, Model, Provider, Secret
from aiproxy.wire.urls import without_credentials

__all__ = ["describe"]


def describe(config: Config, now: datetime) -> str:
    """Return what ``config`` comes to, for a reader; tokens are fingerprints."""
    return "\n".join(_lines(config, now)) + "\n"


def _lines(config: Config, now: datetime) -> Iterator[str]:
    yield f"port: {config.port}"
    yield f"clients: {_clients(config)}"
    yield f"admin: {'ADMIN_TOKEN is set' if config.admin_token else 'off, ADMIN_TOKEN is not set'}"
    yield "providers:"
    for provider in config.providers.values():
        yield f"  {provider.name}: {_provider(provider)}"
    yield "models:"
    for model in config.models:
        yield f"  {model.name}: {_model(model)}"
    if config.groups:
        yield "groups:"
    for group in config.groups.values():
        yield f"  {group.name}: {group.strategy} of {', '.join(group.models)}"
    if config.keys:
        yield "keys:"
    for key in config.keys:
        yield f"  {key.name}: {_key(key, now)}"
    for name in ("server", "retry", "breaker", "timeouts"):
        yield f"{name}:"
        yield from _section(getattr(config, name))


def _clients(config: Config) -> str:
    if not config.requires_auth:
        return "no AUTH_TOKEN and no keys: for this machine only"
    tokens = len(config.auth_tokens)
    return f"{tokens} in AUTH_TOKEN, {len(config.keys)} in `keys`"


def _provider(provider: Provider) -> str:
    parts = [f"type {provider.type}"]
    if provider.base_url:
        parts.append(without_credentials(provider.base_url))
    parts.append(_tokens(provider.tokens))
    if provider.disabled:
        parts.append(f"OFF: {provider.disabled}")
    return ", ".join(parts)


def _model(model: Model) -> str:
    parts = [f"{model.upstream_model} of {model.provider}"]
    if model.kind != "chat":
        parts.append(model.kind)
    if model.url:
        parts.append(without_credentials(model.url))
    parts.append(_tokens(model.tokens))
    parts.append(f"priority {model.priority}")
    if model.model_size:
        parts.append(model.model_size)
    parts.extend(_limits(model.limits))
    if model.headers:
        parts.append(f"headers {', '.join(model.headers)}")
    if model.body:
        parts.append(f"body {', '.join(model.body)}")
    if model.fallbacks:
        parts.append(f"then {', '.join(model.fallbacks)}")
    if model.disabled:
        parts.append(f"OFF: {model.disabled}")
    return ", ".join(parts)


def _tokens(tokens: Iterable[Secret]) -> str:
    fingerprints = [token.fingerprint for token in tokens]
    return f"token {' '.join(fingerprints)}" if fingerprints else "no token"


def _limits(limits: Limits) -> Iterator[str]:
    for name, value in attrs.asdict(limits).items():
        if value is not None:
            yield f"{name} {value}"


def _key(key: Key, now: datetime) -> str:
    parts = ["all models" if key.models is None else f"models {', '.join(key.models)}"]
    parts.extend(_limits(key.limits))
    if key.expires is not None:
        end = key.expires.isoformat()
        parts.append(f"until {end}" if now < key.expires else f"OFF: expired {end}")
    return ", ".join(parts)


def _section(section: Any) -> Iterator[str]:
    for name, (_attribute, key) in section_keys(type(section)).items():
        yield f"  {name}: {write_value(key.kind, getattr(section, name))}"
