"""
A reactive AI proxy on Twisted: OpenAI's HTTP API in front of every provider.

``Proxy`` and ``load_config`` are the face for embedders, ``register_provider``
the one for adapters of one's own; ``errors`` is the tree of everything that can
go wrong.  Importing this package installs no reactor and opens nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiproxy.version import __version__

if TYPE_CHECKING:
    from aiproxy import errors
    from aiproxy.config.load import load_config
    from aiproxy.providers.registry import register_provider
    from aiproxy.proxy import Proxy

__all__ = ["Proxy", "__version__", "errors", "load_config", "register_provider"]

_HOMES = {
    "Proxy": "aiproxy.proxy",
    "load_config": "aiproxy.config.load",
    "register_provider": "aiproxy.providers.registry",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: a command such as ``aiproxy health`` needs nearly nothing."""
    if name == "errors":
        return import_module("aiproxy.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
