"""
The sections of the configuration whose written form is their resolved one.

Durations are seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from attrs import field, frozen

from aiproxy.config import kinds, scalars
from aiproxy.config.kinds import key
from aiproxy.config.reading import Place

__all__ = [
    "SIZES",
    "STRATEGIES",
    "Breaker",
    "Group",
    "Hedge",
    "Retry",
    "Server",
    "Timeouts",
]

#: The virtual models of ``model_size``; no model or group may have their names.
SIZES = ("SMALL", "BIG")


@frozen
class Server:
    """``server``: our own HTTP face."""

    max_request_bytes: int = field(
        default=32 * 2**20, metadata=key(scalars.positive_size, "Longest body of a request.")
    )
    max_response_bytes: int = field(
        default=64 * 2**20,
        metadata=key(scalars.positive_size, "Longest plain answer of an upstream."),
    )
    max_event_bytes: int = field(
        default=32 * 2**20,
        metadata=key(
            scalars.positive_size,
            "Longest single event of a stream; the stream itself has no bound.",
        ),
    )
    drain_timeout: float = field(
        default=30.0,
        metadata=key(scalars.duration, "How long running requests may go on after a stop."),
    )
    shutdown_delay: float = field(
        default=0.0,
        metadata=key(
            scalars.duration, "How long `/health/ready` answers 503 before the socket closes."
        ),
    )
    http: str = field(
        default="llhttp",
        metadata=key(scalars.choice("llhttp", "stock"), "HTTP parser: `llhttp` or `stock`."),
    )
    access_log: str = field(
        default="-",
        metadata=key(
            scalars.text,
            "Where access lines go: `-` (standard output), a file, `syslog` or `none`.",
        ),
    )
    log_format: str = field(
        default="text",
        metadata=key(scalars.choice("text", "json"), "Form of access lines: `text` or `json`."),
    )
    body_log: str = field(
        default="none",
        metadata=key(
            scalars.text,
            "File that gets what clients ask and what they are answered, without keys; `none`.",
        ),
    )
    state: str | None = field(
        default=None,
        metadata=key(
            scalars.text,
            "Folder for the counts of hours and days; `none` turns it off.",
            default="`$STATE_DIRECTORY`, else none",
        ),
    )
    cors: tuple[str, ...] = field(
        default=(),
        metadata=key(
            kinds.ListKind(scalars.cors_origin),
            'Origins whose pages may call from a browser; `"*"` allows all.',
        ),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        metadata=key(
            kinds.ListKind(scalars.network), "Networks whose `X-Forwarded-For` is believed."
        ),
    )
    legacy_aliases: bool = field(
        default=False,
        metadata=key(
            scalars.boolean,
            "The Go proxy's rule that a short unknown model name means `SMALL`.",
        ),
    )
    keep_alive: float = field(
        default=15.0,
        metadata=key(
            scalars.duration,
            "A comment goes to a client that waits for a stream after this silence; 0s: never.",
        ),
    )
    queue_timeout: float = field(
        default=0.0,
        metadata=key(
            scalars.duration, "How long a request may wait for one of aiproxy's own limits."
        ),
    )
    explain: bool = field(
        default=False,
        metadata=key(scalars.boolean, "Comments in streams tell about attempts and waits."),
    )


@frozen
class Timeouts:
    """``timeouts``: how long each phase of a call may take, in seconds."""

    connect: float = field(
        default=10.0,
        metadata=key(scalars.positive_duration, "To connect: name, TCP and TLS."),
    )
    headers: float = field(
        default=30.0,
        metadata=key(
            scalars.positive_duration, "From the last byte of the request to the answer's headers."
        ),
    )
    first_token: float = field(
        default=10.0,
        metadata=key(
            scalars.positive_duration,
            "From the last byte of the request to a stream's first content.",
        ),
    )
    idle: float = field(
        default=15.0, metadata=key(scalars.positive_duration, "Silence within a stream.")
    )
    reasoning: float = field(
        default=120.0,
        metadata=key(
            scalars.positive_duration,
            "Takes the place of `headers`, `first_token` and `idle` while a model reasons "
            "or calls tools.",
        ),
    )
    attempt: float = field(
        default=120.0, metadata=key(scalars.positive_duration, "One attempt at a plain answer.")
    )
    total: float = field(
        default=600.0,
        metadata=key(scalars.positive_duration, "The caller's request with all its attempts."),
    )

    def overlaid(self, *layers: Mapping[str, float]) -> Timeouts:
        """Return these with what each of ``layers`` says laid over them, in turn."""
        changed: dict[str, float] = {}
        for layer in layers:
            changed.update(layer)
        return attrs.evolve(self, **changed)


@frozen
class Retry:
    """``retry``: repeats on one candidate, and what may be taken over."""

    max_retries: int = field(
        default=3,
        metadata=key(scalars.count, "Repeats on one candidate; the next one is no repeat."),
    )
    base_delay: float = field(
        default=1.0,
        metadata=key(scalars.duration, "Wait before the first repeat; then it doubles."),
    )
    max_delay: float = field(
        default=30.0, metadata=key(scalars.duration, "Longest wait before a repeat.")
    )
    jitter: float = field(
        default=0.1, metadata=key(scalars.fraction, "Share by which a wait varies at random.")
    )
    takeover: bool = field(
        default=True,
        metadata=key(scalars.boolean, "Another candidate continues a stream that was cut."),
    )
    reroute_refusals: bool = field(
        default=False,
        metadata=key(
            scalars.boolean, "A refusal by a content policy may go to the next candidate."
        ),
    )


@frozen
class Breaker:
    """``breaker``: when a candidate that fails is passed by."""

    failures: int = field(
        default=5,
        metadata=key(
            scalars.positive_count, "This many failures in a row within `window` open the breaker."
        ),
    )
    window: float = field(
        default=30.0, metadata=key(scalars.positive_duration, "The time in which failures count.")
    )
    probe: float = field(
        default=3.0,
        metadata=key(
            scalars.positive_duration,
            "One live request at most this often tries an open candidate.",
        ),
    )


@frozen
class Hedge:
    """``groups.NAME.hedge``: a second candidate starts where the first is slow."""

    after: float | str = field(
        metadata=key(
            scalars.lateness,
            "Start the next candidate when there is no content after this time, or after"
            " what `p95` of the last answers of the first one took.",
            required=True,
        )
    )
    budget_per_minute: int = field(
        default=10, metadata=key(scalars.count, "At most this many hedges a minute.")
    )


STRATEGIES = ("priority", "weighted", "round_robin", "least_busy", "fastest")


@frozen
class Group:
    """``groups.NAME``: a virtual model, served by the first of its members that can."""

    models: tuple[str, ...] = field(
        metadata=key(kinds.ListKind(scalars.text), "Names of models.", required=True)
    )
    strategy: str = field(
        default="priority",
        metadata=key(
            scalars.choice(*STRATEGIES),
            "`priority`, `weighted`, `round_robin`, `least_busy` or `fastest`.",
        ),
    )
    hedge: Hedge | None = field(
        default=None,
        metadata=key(kinds.SectionKind(Hedge), "A second candidate starts where one is slow."),
    )
    name: str = ""
    place: Place = field(factory=Place, eq=False, repr=False)
