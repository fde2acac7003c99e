"""What a request may use of the limits, before anybody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["estimate_tokens"]

#: Tokens that an answer without a limit is reckoned with.
_ANSWER_TOKENS: Final = 1_000


def estimate_tokens(request: Mapping[str, Any], body_bytes: int) -> int:
    """
    Estimate the tokens of a request and its answer: four bytes each, and its limit.

    :param body_bytes: the length of the request's body.
    """
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    answer = most if isinstance(most, int) and most > 0 else _ANSWER_TOKENS
    n = request.get("n")
    return body_bytes // 4 + answer * (n if isinstance(n, int) and n > 0 else 1)
