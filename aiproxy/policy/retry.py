"""What to do after a failed attempt: the table of ``errors`` by who can do better."""

from __future__ import annotations

from collections.abc import Sequence

from aiproxy import errors
from aiproxy.config.schema import Model

__all__ = ["final_error", "may_try"]

# Another candidate would be told the same, or must not be asked.
_FINAL = (
    errors.ContentRefused,
    errors.UpstreamRefused,
    errors.AnswerTooLarge,
    errors.CallerError,
    errors.OurError,
    errors.ShuttingDown,
)


# All that a wait cures.
_BUSY = (errors.UpstreamRateLimited, errors.LimitReached)


def may_try(model: Model, error: errors.AIProxyError, failed: Model) -> bool:
    """
    Whether ``model`` may be asked after ``failed`` has answered with ``error``.

    A conversation that is too long goes to a model with more room; room that
    is not known counts as more.
    """
    if isinstance(error, errors.ContextTooLong):
        if model.name == failed.name:
            return False
        room, before = model.context_window, failed.context_window
        return room is None or before is None or room > before
    return not isinstance(error, _FINAL)


def final_error(failures: Sequence[errors.AIProxyError]) -> errors.AIProxyError:
    """
    Choose what the caller is told after each candidate has failed.

    If all of them hold us back, that: with the time of the one that is free
    first.  Otherwise the last failure.
    """
    last = failures[-1]
    if all(isinstance(error, _BUSY) for error in failures):
        told = [error.retry_after for error in failures if error.retry_after is not None]
        last.retry_after = min(told, default=None)
    return last
