"""
A reactive AI proxy on Twisted: OpenAI's HTTP API in front of every provider.

``Proxy`` and ``load_config`` are the face for embedders, ``register_provider``
the one for adapters of one's own; ``errors`` is the tree of everything that can
go wrong.  Importing this package installs no
reactor and opens nothing.
"""

from aiproxy import errors
from aiproxy.config.load import load_config
from aiproxy.providers.registry import register_provider
from aiproxy.proxy import Proxy
from aiproxy.version import __version__

__all__ = ["Proxy", "__version__", "errors", "load_config", "register_provider"]
