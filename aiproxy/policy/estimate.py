"""What a request may use of the limits, before anybody knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.operations import CHAT, EMBEDDINGS, MODERATIONS, RERANK
from aiproxy.dialects.raw import RAW_REQUEST, RawRequest

__all__ = ["estimate_prompt", "estimate_tokens"]

#: Tokens that an answer without a limit is reckoned with.
_ANSWER_TOKENS: Final = 1_000
#: What is answered with numbers alone.
_WITHOUT_WORDS: Final = frozenset({EMBEDDINGS, MODERATIONS, RERANK})
#: Tokens that a picture, a sound or another file is, whatever its size.
_FILE_TOKENS: Final = 1_000
_BYTES_PER_TOKEN: Final = 4

#: A shorter body has no file in it that would matter, and is not looked through.
_SHORT_BYTES: Final = 16 * 1024
#: A shorter text may be a link, or of any kind.
_LONG: Final = 1_024
#: Where files stand, in the words of all interfaces.
_FILE_FIELDS: Final = frozenset({"data", "file_data", "image_url", "url"})


def estimate_tokens(request: Mapping[str, Any], body_bytes: int, operation: str = CHAT) -> int:
    """
    Estimate the tokens of a request and its answer: the prompt's, and its limit.

    :param body_bytes: the length of the request's body.
    :param operation: of :mod:`aiproxy.dialects.operations`.
    """
    if operation != CHAT:
        raw = request.get(RAW_REQUEST)
        if isinstance(raw, RawRequest) and raw.only_counts:
            return 0
        if operation in _WITHOUT_WORDS:
            return estimate_prompt(request, body_bytes)
    most = (
        request.get("max_completion_tokens")
        or request.get("max_tokens")
        or request.get("max_output_tokens")
    )
    answer = most if isinstance(most, int) and most > 0 else _ANSWER_TOKENS
    n = request.get("n")
    if body_bytes < _SHORT_BYTES:
        prompt = body_bytes // _BYTES_PER_TOKEN
    else:
        prompt = estimate_prompt(request, body_bytes)
    return prompt + answer * (n if isinstance(n, int) and n > 0 else 1)


def estimate_prompt(request: Mapping[str, Any], body_bytes: int) -> int:
    """
    Estimate the tokens of a request: four bytes each, but for files.

    A picture of a megabyte is a thousand tokens to a model, not 350,000.

    :param body_bytes: the length of the request's body.
    """
    if body_bytes < _SHORT_BYTES:
        return body_bytes // _BYTES_PER_TOKEN
    raw = request.get(RAW_REQUEST)
    if isinstance(raw, RawRequest) and raw.form is not None:
        return _FILE_TOKENS
    files = file_bytes = 0
    left: list[Any] = [request.get("messages"), request.get("input")]
    while left:
        value = left.pop()
        if isinstance(value, list):
            if value and isinstance(value[0], (list, dict)):  # Not texts, nor a text's tokens.
                left += value
        elif isinstance(value, dict):
            for name, told in value.items():
                if isinstance(told, (list, dict)):
                    left.append(told)
                elif name in _FILE_FIELDS and isinstance(told, str) and len(told) >= _LONG:
                    files += 1
                    file_bytes += len(told)
    return max(body_bytes - file_bytes, 0) // _BYTES_PER_TOKEN + files * _FILE_TOKENS
