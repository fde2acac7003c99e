"""What is said of a key that is none where it stands: which is meant, or where it belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from aiproxy.config.reading import Place, nearest

__all__ = ["Homes", "find_homes", "say_unknown"]

#: The sections that have a key, by its name: ``models[]``, or nothing for the file itself.
Homes: TypeAlias = Mapping[str, tuple[str, ...]]

_LITELLM: Final = frozenset(
    ("model_list", "litellm_settings", "general_settings", "router_settings")
)
#: What others have in their file, and who is told it here.
_OUTSIDE: Final = MappingProxyType(
    {
        "port": "set PORT in the environment, or give --addr",
        "auth_token": "set AUTH_TOKEN in the environment",
        "auth_tokens": "set AUTH_TOKEN in the environment",
        "admin_token": "set ADMIN_TOKEN in the environment",
        "host": "give --addr",
        "addr": "give --addr",
        "address": "give --addr",
        "listen": "give --listen",
        "workers": "give --workers",
    }
)
#: Other gateways' words for our keys.
_WORDS: Final = MappingProxyType(
    {
        "api_base": "base_url",
        "api_key": "token",
        "endpoint": "base_url",
        "max_parallel_requests": "max_concurrent",
        "model": "name",
        "model_name": "name",
        "num_retries": "max_retries",
        "order": "priority",
        "routing_strategy": "strategy",
        "rpm": "requests_per_minute",
        "timeout": "timeouts",
        "tpm": "tokens_per_minute",
    }
)
#: Parameters of requests, which a file may lay over them.
_PARAMETERS: Final = frozenset(
    ("frequency_penalty", "max_tokens", "presence_penalty", "seed", "stop", "temperature", "top_p")
)


def find_homes(paths: Iterable[str]) -> Homes:
    """Return the sections of keys, from their paths such as ``models[].priority``."""
    homes: dict[str, tuple[str, ...]] = {}
    for path in paths:
        section, _, name = path.rpartition(".")
        homes[name] = (*homes.get(name, ()), section)
    return homes


def say_unknown(name: str, section: Place, keys: Iterable[str], homes: Homes) -> str:
    """
    Return what to say of ``name``, which is none of ``keys``.

    :param section: where those are.
    """
    return f"unknown key; {_advice(name, section.key, tuple(keys), homes)}"


def _advice(name: str, section: str, keys: tuple[str, ...], homes: Homes) -> str:
    if not section and name in _LITELLM:
        return "it is one of LiteLLM's: `aiproxy convert` makes a configuration of its file"
    if section in ("", "server") and name in _OUTSIDE:
        return _OUTSIDE[name]
    if name in homes:
        return f"it belongs to {_list(_closest(homes[name], section))}"
    if "body" in keys and name in _PARAMETERS:
        return f"below `body` it is laid over requests: `body: {{{name}: …}}`"
    word = _WORDS.get(name, "")
    if word in keys:
        return f"did you mean `{word}`?"
    near = nearest(name, keys)
    if near:
        return near.removeprefix("; ")
    if word in homes:
        return f"did you mean `{word}` of {_list(_closest(homes[word], section))}?"
    return f"the keys here are {', '.join(keys)}"


def _closest(homes: tuple[str, ...], section: str) -> tuple[str, ...]:
    """Return those below ``section``, if there are any."""
    below = tuple(home for home in homes if section and home.startswith(f"{section}."))
    return below or homes


def _list(homes: tuple[str, ...]) -> str:
    names = [f"`{home}`" if home else "the top level" for home in sorted(homes, key=bool)]
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
