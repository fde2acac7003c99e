"""The names, labels and bounds of all metrics, which operators build on."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final, Literal

from attrs import frozen

__all__ = [
    "BY_NAME",
    "FAMILIES",
    "OVERHEAD_BOUNDS",
    "REQUEST_BOUNDS",
    "TTFT_BOUNDS",
    "Family",
]

#: Seconds: our own part is short, a model's answer is not.
OVERHEAD_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
)  # fmt: skip
TTFT_BOUNDS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
REQUEST_BOUNDS: Final = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0,
)  # fmt: skip


@frozen
class Family:
    """
    What one metric is.

    :param name: without the ``_total`` that a counter's samples have.
    :param bounds: the upper bounds of a histogram's buckets.
    :param join: puts a gauge's values in two processes together.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = ()
    join: Callable[[Any, Any], Any] = operator.add

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        if self.kind == "counter":
            return (f"{self.name}_total",)
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (self.name,)


FAMILIES: Final = (
    Family(
        "aiproxy_requests",
        "counter",
        ("model", "provider", "status"),
        "Requests that are over; status is empty where the client left before there was one.",
    ),
    Family(
        "aiproxy_errors",
        "counter",
        ("type", "provider"),
        "Requests without a whole answer, by the error that the client was told.",
    ),
    Family(
        "aiproxy_tokens",
        "counter",
        ("model", "kind"),
        "Tokens that upstreams have counted; cached are some of prompt, reasoning of completion.",
    ),
    Family(
        "aiproxy_request_seconds",
        "histogram",
        ("model",),
        "Time of a call to the end of its answer.",
        REQUEST_BOUNDS,
    ),
    Family(
        "aiproxy_time_to_first_token_seconds",
        "histogram",
        ("model",),
        "Time of a stream to its first content.",
        TTFT_BOUNDS,
    ),
    Family(
        "aiproxy_overhead_seconds",
        "histogram",
        ("model",),
        "Time of a call in which no upstream was waited for.",
        OVERHEAD_BOUNDS,
    ),
    Family(
        "aiproxy_attempts",
        "counter",
        ("model", "outcome"),
        "Requests to upstreams: answered, failed, cut, late or left.",
    ),
    Family(
        "aiproxy_takeovers",
        "counter",
        ("outcome",),
        "Streams that another model went on with: rescued, lost, or left by the client.",
    ),
    Family("aiproxy_open_streams", "gauge", (), "Streams that are being written."),
    Family("aiproxy_queue_length", "gauge", (), "Requests that wait for a limit."),
    Family(
        "aiproxy_limit_remaining",
        "gauge",
        ("model", "limit"),
        "What is left of a configured limit, over all keys of the model.",
        join=min,
    ),
    Family(
        "aiproxy_breaker_open",
        "gauge",
        ("model",),
        "1 while a model is passed by with all its keys.",
        join=max,
    ),
    Family(
        "aiproxy_pool_connections",
        "gauge",
        ("origin", "state"),
        "Connections to upstreams: active or idle.",
    ),
)

BY_NAME: Final = {family.name: family for family in FAMILIES}
