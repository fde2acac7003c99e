"""What is not counted but read, when somebody asks for the metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from aiproxy.config.schema import Config, Limits, Model
from aiproxy.dialects.operations import CHAT, EMBEDDINGS, IMAGES, PASSED
from aiproxy.gateway.metrics import Dump
from aiproxy.gateway.shared import Shared
from aiproxy.policy.limits import limit_key
from aiproxy.policy.routing import Candidate, standing_key
from aiproxy.transport.pool import ConnectionCounts

__all__ = ["read_gauges"]

#: Scheme, host and port.
_Origin: TypeAlias = tuple[bytes, bytes, int]

_NO_LIMITS = Limits()
_OPERATIONS = (CHAT, EMBEDDINGS, IMAGES, *PASSED)


def read_gauges(
    config: Config, shared: Shared, connections: Mapping[_Origin, ConnectionCounts]
) -> Dump:
    """
    Read what there is now.

    A wildcard has no limits and no breaker of its own, only its concrete
    models have: they are left out.

    :param connections: to upstreams, by origin.
    """
    models = [model for model in config.models if not (model.wildcard or model.disabled)]
    limits: dict[tuple[str, str], int] = {}
    for model in models:
        for limit, left in _remaining(model, shared):
            limits[model.name, limit] = limits.get((model.name, limit), 0) + left
    pool: list[tuple[list[str], Any]] = []
    for origin, counts in connections.items():
        name = _write_origin(origin)
        pool += [([name, "active"], counts.open - counts.idle), ([name, "idle"], counts.idle)]
    return {
        "aiproxy_queue_length": [([], shared.gate.waiting)],
        "aiproxy_limit_remaining": [(list(labels), left) for labels, left in limits.items()],
        "aiproxy_breaker_open": [([model.name], int(_is_out(model, shared))) for model in models],
        "aiproxy_pool_connections": pool,
    }


def _candidates(model: Model) -> list[Candidate]:
    return [Candidate(model, model.name, token) for token in model.tokens or (None,)]


def _remaining(model: Model, shared: Shared) -> Iterator[tuple[str, int]]:
    if model.limits == _NO_LIMITS:
        return
    now, wall = shared.clock.seconds(), shared.wall()
    for candidate in _candidates(model):
        admission = shared.book.find(
            limit_key(candidate),
            model.limits,
            now,
            wall,
            min_interval=model.min_interval,
            max_wait=model.min_interval,
        )
        yield from admission.remaining(now, wall).items()


def _is_out(model: Model, shared: Shared) -> bool:
    keys = [limit_key(one) for one in _candidates(model)]
    return any(
        all(shared.standings.is_open(standing_key(key, operation)) for key in keys)
        for operation in _OPERATIONS
    )


def _write_origin(origin: _Origin) -> str:
    scheme, host, port = origin
    name = host.decode("ascii", "replace")
    return f"{scheme.decode('ascii')}://{f'[{name}]' if ':' in name else name}:{port}"
