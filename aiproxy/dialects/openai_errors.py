"""
What an error of an OpenAI-compatible provider means: who has to act.

:mod:`aiproxy.dialects.openai_facts` finds what is said, :func:`judge` decides
by the tables here.  A caller's mistake keeps the provider's words and status;
everything else is the operator's or the provider's, and no caller ever gets a
401 or a 403 for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aiproxy import errors
from aiproxy.dialects.delays import retry_delay
from aiproxy.dialects.openai_facts import Facts, read_facts

__all__ = ["judge", "judge_choice"]

# --- codes and types ---------------------------------------------------------------

_CREDIT_CODES: Final = frozenset(
    {
        *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
        "1113",  # Z.ai
    }
)
_CONTEXT_CODES: Final = frozenset(
    {"context_length_exceeded", "string_above_max_length", "TOO_MANY_TOKENS"}
)
_CONTENT_CODES: Final = frozenset(
    {
        *("content_filter", "content_policy_violation", "moderation_blocked", "invalid_prompt"),
        "ResponsibleAIPolicyViolation",  # Azure
        "data_inspection_failed",  # Alibaba
        "1301",  # Z.ai
    }
)
_KEY_CODES: Final = frozenset(
    {
        *("invalid_api_key", "invalid_authentication", "account_deactivated"),
        *("API_KEY_INVALID", "API_KEY_EXPIRED"),  # Google
    }
)
_MODEL_CODES: Final = frozenset(
    {
        *("model_not_found", "model_not_available", "model_decommissioned", "model_not_supported"),
        *("invalid_model", "unknown_model"),
        "DeploymentNotFound",  # Azure
    }
)

# --- words, where there is no code ---------------------------------------------------


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_CREDIT: Final = (
    r"insufficient (?:balance|credits?|funds)",
    r"credit balance is too low",
    r"used all available credits",
    r"spending limit",
    r"no resource package",
)
_CREDIT_WORDS: Final = _words(*_CREDIT)
#: In a 400 somewhere else they may be the caller's own ("Invalid value: 'insufficient balance'").
_FIRST_CREDIT_WORDS: Final = _words(*(rf"[a-z ]{{0,40}}{one}" for one in _CREDIT))
_CONTEXT_WORDS: Final = _words(
    r"context (?:length|window|limit)",
    r"maximum (?:context|prompt|input) length",
    r"exceeds the maximum number of tokens",
    r"too many tokens",
    r"(?:prompt|input|request) (?:is |was )?too (?:long|large)",
    r"reduce the length",
)
#: A 429 that no wait cures; "too many tokens" in others is a matter of waiting.
_TOO_LARGE_WORDS: Final = _words(r"request too large", r"tokens must be reduced")
_CONTENT_WORDS: Final = _words(
    r"(?:content|usage) (?:management )?(?:policy|policies|guidelines)",
    r"\bmoderation\b",
    r"(?:input|prompt|content|messages?|request) (?:was |were |is |has been )?flagged",
    r"safety[ _](?:system|check|filter)",
    r"content exists risk",
    r"inappropriate content",
    r"unsafe or sensitive",
)
#: First in what is said, for elsewhere they may be the caller's own.
_FIRST_KEY_WORDS: Final = _words(
    r"(?:(?:the|your) )?api[ _-]?key"
    r" (?:not valid|is invalid|is not valid|expired|has expired|provided)",
    r"(?:incorrect|invalid|missing) api[ _-]?key",
)
#: A model that is not there, whatever the status.
_NO_MODEL_WORDS: Final = _words(
    # In one sentence; the full stop in a model's name ends none.
    r"\bmodel\b(?:[^.]|\.(?! )){0,120}?\b(?:not exist|not found|decommissioned|was removed)\b",
    r"not a valid model",
    r"\bmodels/[^\s`]{1,200}`? (?:is |was )?not found",
    r"(?:unknown|invalid|no such) model\b",
    r"deployment .{0,200}?does not exist",
)
#: What a 404 says beside that when it is not about something in the request.
_NOWHERE_WORDS: Final = _words(
    r"\bmodel\b.{0,200}?(?:\bno longer\b|\bdeprecated\b|\bnot (?:supported|available)\b)",
    r"^model: ",
    r"no (?:allowed )?(?:endpoints?|providers?) (?:found|are available|available)(?! that support)",
    r"^(?:(?:resource|page|path|route|404 page) )?not found\.?$",
    r"(?:unknown|invalid) (?:request )?url",
)

#: Other words for an end that is none: DeepSeek's, Z.ai's, vLLM's and OpenRouter's.
_BROKEN_OFF: Final = frozenset({"error", "abort", "network_error", "insufficient_system_resource"})

#: 4xx that are the provider's own trouble: timeout, conflict, too early, client closed request.
_PASSING: Final = frozenset({408, 409, 425, 499})
#: 4xx that say that the URL or the method is not theirs.
_NOWHERE: Final = frozenset({405, 410})


def judge(
    status: int | None, facts: Facts, headers: Mapping[str, str] | None = None
) -> errors.UpstreamError:
    """
    Decide what an error means.

    :param status: the HTTP status, ``None`` for an error inside a 200.
    :param headers: the answer's, names in lower case; those of a 200 tell
        nothing about an error inside of it.
    """
    stands_for = facts.status if status is None else status
    error = _judge(stands_for or 502, facts, headers or {})
    error.upstream_status = stands_for
    return error


def judge_choice(choice: Mapping[str, Any]) -> errors.UpstreamError | None:
    """Find the error in one choice of an answer (OpenRouter), or in its finish reason."""
    error = choice.get("error")
    if error:
        return judge(None, read_facts({"error": error}))
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason in _BROKEN_OFF:
        return errors.UpstreamFailed(f"the upstream broke its answer off: {reason}")
    return None


def _judge(status: int, facts: Facts, headers: Mapping[str, str]) -> errors.UpstreamError:
    words, names, code, param = facts.words, facts.names, facts.code, facts.param
    message = words or f"the upstream answered with an error (status {status}) and no explanation"

    if (
        status == 402
        or names & _CREDIT_CODES
        or (status in (403, 429) and _CREDIT_WORDS.search(words))
        or (status == 400 and _begins(_FIRST_CREDIT_WORDS, facts))
    ):
        return errors.UpstreamOutOfCredit("the upstream account has no credit left", code=code)
    if _is_too_long(status, names, words):
        return errors.ContextTooLong(message, param=param)
    if status == 429:
        return errors.UpstreamRateLimited(message, code=code, retry_after=_delay(facts, headers))
    if names & _CONTENT_CODES or (
        status in (400, 403) and (facts.flagged or _CONTENT_WORDS.search(words))
    ):
        # A number is only the status again (OpenRouter's 403).
        return errors.ContentRefused(
            message, code=code if isinstance(code, str) else None, param=param
        )
    if status in (401, 403) or names & _KEY_CODES or _begins(_FIRST_KEY_WORDS, facts):
        # In our words, for the provider's echo parts of the key.
        return errors.UpstreamAuthFailed("the upstream refused our credentials")
    if 300 <= status < 400 or status in _NOWHERE:
        return errors.UpstreamModelNotFound(
            f"the upstream has moved, or is not at the configured URL (status {status})"
        )
    if status == 404 and not (facts.spoken or names or _NO_MODEL_WORDS.search(words)):
        return errors.UpstreamModelNotFound(
            "the upstream has nothing at the configured URL (status 404): is its base_url right?"
        )
    if (
        names & _MODEL_CODES
        or _NO_MODEL_WORDS.search(words)
        or (
            status == 404
            and (not (facts.spoken and words) or param == "model" or _NOWHERE_WORDS.search(words))
        )
    ):
        return errors.UpstreamModelNotFound(message)
    if 400 <= status < 500 and status not in _PASSING:
        return errors.UpstreamRefused(message, code=code, status=status, param=param)
    return errors.UpstreamFailed(message, code=code, retry_after=_delay(facts, headers))


def _begins(pattern: re.Pattern[str], facts: Facts) -> bool:
    """Whether an error that is not about a field begins so: our account is at stake."""
    return facts.param is None and any(map(pattern.match, (facts.message, facts.raw)))


def _is_too_long(status: int, names: frozenset[str], words: str) -> bool:
    """Whether the conversation does not fit; Azure says so with a 408 or a 500 (recorded)."""
    if status == 413 or names & _CONTEXT_CODES:
        return True
    if status == 429:
        return _TOO_LARGE_WORDS.search(words) is not None
    return status not in (401, 403, 404) and _CONTEXT_WORDS.search(words) is not None


def _delay(facts: Facts, headers: Mapping[str, str]) -> float | None:
    return retry_delay({**facts.headers, **headers}, told=facts.delay, words=facts.words)
