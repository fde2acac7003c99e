"""
What to do after a failed attempt: repeat it, ask the next candidate, or tell the caller.

Everything here is a table of :mod:`aiproxy.errors` by who can do better.  A
repeat asks the same candidate again; to go on to the next one is no repeat.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.config.sections import Retry

__all__ = ["Again", "Next", "Stop", "backoff", "decide", "final_error", "may_try"]


@frozen
class Again:
    """
    The same candidate may be asked once more.

    :param delay: seconds to wait before.
    """

    delay: float


@frozen
class Next:
    """Not this candidate again; whoever else :func:`may_try` allows."""


@frozen
class Stop:
    """Nobody else: the error is for the caller."""


@frozen
class _Repeats:
    """
    How often a failure is worth a repeat.

    :param most: on one candidate; ``retry.max_retries`` bounds it as well.
    :param stays: even if another candidate is free.
    """

    most: float
    stays: bool = False


_NONE: Final = _Repeats(0)
#: A hiccup: most likely the same candidate answers.
_HICCUP: Final = _Repeats(1, stays=True)
#: A refusal that the provider itself wants to see again.
_WELCOME: Final = _Repeats(1, stays=True)
#: The answer was no use: another candidate's may be.
_USELESS: Final = _Repeats(1)
#: Overload, which time cures: as often as it is allowed, where nobody else is free.
_OVERLOAD: Final = _Repeats(math.inf)

#: Statuses of a hiccup: an error inside, timeout, conflict, too early, nginx's "client closed".
_HICCUP_STATUSES: Final = frozenset({500, 408, 409, 425, 499})

# The first row that fits counts, so an exception stands before its base class.
_TABLE: Final[tuple[tuple[type[errors.AIProxyError], _Repeats], ...]] = (
    # Who has been silent once is not waited for twice.
    (errors.UpstreamTimeout, _NONE),
    (errors.NetworkError, _HICCUP),
    (errors.UpstreamRateLimited, _OVERLOAD),
    (errors.StreamCut, _USELESS),
)

# Another candidate would be told the same, or must not be asked.
_FINAL: Final = (
    errors.UpstreamRefused,
    errors.AnswerTooLarge,
    errors.CallerError,
    errors.OurError,
    errors.ShuttingDown,
)

# All that a wait cures.
_BUSY: Final = (errors.UpstreamRateLimited, errors.LimitReached, errors.ModelUnavailable)


def decide(
    error: errors.AIProxyError,
    *,
    repeats: int,
    settings: Retry,
    others_free: bool,
    soonest_other: float | None,
    chance: random.Random,
) -> Again | Next | Stop:
    """
    Decide how to go on after a failed attempt, before the first byte for the caller.

    An :class:`Again` that the :class:`~aiproxy.policy.retry_budget.RetryBudget`
    refuses is a :class:`Next`.  Nothing is taken from it here.

    :param error: what the attempt has failed with.
    :param repeats: of this candidate, for this request, so far.
    :param others_free: whether another candidate could be asked now.
    :param soonest_other: seconds until another one is free; ``None``: nobody
        is left, or nobody knows.
    :param chance: for the jitter.
    """
    final = _is_final(error, reroute_refusals=settings.reroute_refusals)
    allowed = _find_repeats(error)
    if final and allowed is not _WELCOME:
        return Stop()
    if repeats >= min(allowed.most, settings.max_retries):
        return Stop() if final else Next()
    told = error.retry_after
    if not told:
        if others_free and not allowed.stays:
            return Next()
        return Again(backoff(repeats, settings, chance))
    # A time that the provider names is waited out in full, or not at all.
    sooner = others_free or (soonest_other is not None and soonest_other < told)
    return Next() if sooner or told > settings.max_delay else Again(told)


def backoff(repeats: int, settings: Retry, chance: random.Random) -> float:
    """
    Return the seconds to wait before a repeat: twice as long each time, with jitter.

    :param repeats: how many there were before.
    """
    # Beyond it 2**n is no float; the longest wait is reached long before.
    doubled = settings.base_delay * 2.0 ** min(repeats, 1_000)
    spread = chance.uniform(1 - settings.jitter, 1 + settings.jitter)
    return min(settings.max_delay, doubled) * spread


def may_try(
    model: Model,
    error: errors.AIProxyError,
    failed: Model,
    *,
    reroute_refusals: bool = False,
) -> bool:
    """
    Whether ``model`` may be asked after ``failed`` has answered with ``error``.

    A conversation that is too long goes to a model with more room; room that
    is not known counts as more.

    :param reroute_refusals: ``retry.reroute_refusals``: what a content policy
        has refused may go elsewhere.
    """
    if isinstance(error, errors.ContextTooLong):
        if model.name == failed.name:
            return False
        room, before = model.context_window, failed.context_window
        return room is None or before is None or room > before
    return not _is_final(error, reroute_refusals=reroute_refusals)


def final_error(
    failures: Sequence[errors.AIProxyError], *, soonest: float | None = None
) -> errors.AIProxyError:
    """
    Choose what the caller is told after each candidate has failed.

    The last failure, where that of a candidate that was asked says more than
    that another one is out.  If all of them are only busy or out, it tells when
    the first is free again; where nobody knows, or one is free already,
    ``retry_after`` is ``None``.

    :param failures: at least one, in order; of a candidate that was asked
        several times the last one.
    :param soonest: seconds from now until the first candidate of the plan may
        be asked; ``None``: as the failures tell, which was true when they came.
    """
    told = [error for error in failures if not isinstance(error, errors.ModelUnavailable)]
    last = (told or failures)[-1]
    if all(isinstance(error, _BUSY) for error in failures):
        if soonest is None:
            waits = [error.retry_after for error in failures if error.retry_after]
            soonest = min(waits, default=None)
        last.retry_after = soonest or None
    return last


def _is_final(error: errors.AIProxyError, *, reroute_refusals: bool) -> bool:
    if isinstance(error, errors.ContextTooLong):
        return False
    if isinstance(error, errors.ContentRefused):
        return not reroute_refusals
    return isinstance(error, _FINAL)


def _find_repeats(error: errors.AIProxyError) -> _Repeats:
    # Who says itself whether a repeat makes sense knows better (Anthropic).
    if isinstance(error, errors.UpstreamError) and error.should_retry is not None:
        if not error.should_retry:
            return _NONE
        if type(error) is errors.UpstreamRefused:
            return _WELCOME
    if isinstance(error, errors.UpstreamFailed):
        status = error.upstream_status or 200
        if status in _HICCUP_STATUSES:
            return _HICCUP
        # Without an error's status it was an answer: HTML, empty, truncated, broken off.
        return _OVERLOAD if status >= 500 else _USELESS
    return next((repeats for kind, repeats in _TABLE if isinstance(error, kind)), _NONE)
