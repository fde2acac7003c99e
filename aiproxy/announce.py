"""What a server says of itself when it has started: what a newcomer sees."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from aiproxy import __version__
from aiproxy.config.load import Loaded
from aiproxy.config.secret import Secret

__all__ = ["announce"]

_log = Logger()


def announce(loaded: Loaded, where: Sequence[str], token: Secret | None) -> None:
    """
    Say what is served and where; on a first run, how to try it.

    :param where: URLs, or names of sockets, and where else they are.
    :param token: the one that was made up.
    """
    for warning in loaded.warnings:
        _log.warn("{warning}", warning=str(warning))
    config = loaded.config
    served = sum(model.disabled is None for model in config.models)
    off = len(config.models) - served
    _log.info(
        "aiproxy {version} serves {count} model{s} on {where}{off}; configuration: {file}",
        version=__version__,
        count=served,
        s="" if served == 1 else "s",
        where=", ".join(where),
        off=f"; {off} more {'is' if off == 1 else 'are'} off" if off else "",
        file=loaded.file or "none, the built-in one",
    )
    if token is None:
        return
    _log.warn("AUTH_TOKEN is not set: this run's access token is {token}", token=token.reveal())
    model = next((one.name for one in config.models if not (one.wildcard or one.disabled)), None)
    url = next((url for url in where if url.startswith("http:")), None)
    if model is not None and url is not None:
        _log.info("Try it:\n{curl}", curl=_curl(url, token.reveal(), model))


def _curl(url: str, token: str, model: str) -> str:
    body = (
        f'{{"model":"{model}","stream":true,'
        '"messages":[{"role":"user","content":"Hello from aiproxy, word by word"}]}'
    )
    return (
        f"curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {token}'"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )
