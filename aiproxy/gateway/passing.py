"""What is different for a call that is no chat, or whose bodies pass through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from aiproxy.dialects.operations import IMAGES, PASSED
from aiproxy.dialects.raw_stream import RawStreamReader
from aiproxy.errors import InvalidRequest
from aiproxy.gateway.plan import Plan
from aiproxy.interfaces import IProvider
from aiproxy.policy.routing import Candidate
from aiproxy.transport.relay import StreamRelay, Transcoder

__all__ = ["PassedRelay", "keep_able", "passed_headers"]

#: What an upstream says of the body, and of its limits.
_HEADERS = ("content-type", "content-disposition")
_LIMITS = "anthropic-ratelimit-"


def keep_able(
    plan: Plan,
    found: Sequence[tuple[Candidate, IProvider]],
    operation: str,
    allowed: Callable[[str], bool],
) -> list[tuple[Candidate, IProvider]]:
    """
    Return of the candidates those whose provider does what is asked for.

    An adapter says what it does beside chat by its ``operations``, as
    :class:`aiproxy.providers.http.HTTPProvider` has it; one that has none gets
    what can be translated, and nothing that passes through.

    :param allowed: whether the caller may use a name; the others do not exist for him.
    :raises InvalidRequest: there is none; it names the configured providers that do.
    """
    able = [(candidate, provider) for candidate, provider in found if _has(provider, operation)]
    if able:
        return able
    names = dict.fromkeys(
        model.provider
        for model in plan.config.models
        if model.disabled is None
        and allowed(model.name)
        and model.kind == ("image" if operation == IMAGES else "chat")
        and _has(plan.providers.find(model), operation)
    )
    others = f"of those configured these have: {', '.join(names)}" if names else "none here has"
    raise InvalidRequest(
        f"the provider {found[0][0].model.provider} of this model has no {operation}; {others}",
        param="model",
        code="model_not_supported",
    )


def _has(provider: IProvider | None, operation: str) -> bool:
    operations = getattr(provider, "operations", None)
    return operation not in PASSED if operations is None else operation in operations


def passed_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return of an upstream's headers those that are for the caller with a body as it came."""
    return {
        name: value
        for name, value in headers.items()
        if name in _HEADERS or name.startswith(_LIMITS)
    }


class PassedRelay(StreamRelay):
    """Relays a body that may not tell by itself where it ends: a cut is told to its reader."""

    def __init__(
        self,
        transcoder: Transcoder,
        clock: IReactorTime,
        reader: RawStreamReader,
        *,
        most_kept: int,
    ) -> None:
        super().__init__(transcoder, clock, most_kept=most_kept)
        self._reader = reader

    def failed(self, reason: Exception) -> None:
        """The body has ended early."""
        self._reader.cut()
        super().failed(reason)
