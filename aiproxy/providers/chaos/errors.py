"""
The errors that a chaos upstream answers with, in the providers' own words.

Each stands for a row of what providers do on a bad day.  Where no provider is
named, the words are OpenAI's.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final

from attrs import Factory, frozen

__all__ = ["ERRORS", "ErrorAnswer", "make_error"]


@frozen
class ErrorAnswer:
    """
    An error.

    :param more: further fields of its body's ``error``.
    """

    status: int
    message: str
    type: str | None = None
    code: str | int | None = None
    more: Mapping[str, Any] = Factory(dict)
    headers: Mapping[str, str] = Factory(dict)

    @property
    def document(self) -> dict[str, Any]:
        """Its body."""
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return {"error": {**error, **self.more}}


_NO_HEADERS: Final[Mapping[str, str]] = {}
_INVALID: Final = "invalid_request_error"

#: By the name that a script calls them.
ERRORS: Final[Mapping[str, ErrorAnswer]] = {
    "rate_limit": ErrorAnswer(
        429, "Rate limit reached for requests", "requests", "rate_limit_exceeded"
    ),
    "quota": ErrorAnswer(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    # OpenRouter's.
    "no_credit": ErrorAnswer(402, "Insufficient credits. Add more to go on.", code=402),
    "request_too_large": ErrorAnswer(
        429,
        "Request too large for the model: Limit 30000, Requested 40000. "
        "The input or output tokens must be reduced in order to run successfully.",
        "tokens",
        "rate_limit_exceeded",
    ),
    "payload_too_large": ErrorAnswer(413, "Request body too large", _INVALID),
    "context_length": ErrorAnswer(
        400,
        "This model's maximum context length is 8192 tokens. Your messages resulted in 9000.",
        _INVALID,
        "context_length_exceeded",
    ),
    "content_policy": ErrorAnswer(
        400,
        "Your request was rejected as a result of our safety system.",
        _INVALID,
        "content_policy_violation",
    ),
    # OpenRouter's.
    "moderation": ErrorAnswer(
        403,
        "The model requires moderation. Your input was flagged.",
        code=403,
        more={"metadata": {"reasons": ["violence"], "flagged_input": "…"}},
    ),
    "bad_key": ErrorAnswer(401, "Incorrect API key provided: sk-…", _INVALID, "invalid_api_key"),
    "forbidden": ErrorAnswer(403, "Your account may not use this project.", "permission_error"),
    # Google's: a 400.
    "key_not_valid": ErrorAnswer(
        400,
        "API key not valid. Please pass a valid API key.",
        code=400,
        more={"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]},
    ),
    "no_model": ErrorAnswer(404, "The model `drill` does not exist.", _INVALID, "model_not_found"),
    "moved": ErrorAnswer(302, "It has moved", headers={"location": "https://elsewhere.invalid/"}),
    "bad_request": ErrorAnswer(400, "Invalid value for 'temperature': 9 is above 2.", _INVALID),
    "not_found": ErrorAnswer(404, "No such file: file-1", _INVALID),
    "unprocessable": ErrorAnswer(422, "Input should be less than 2: top_p", _INVALID),
    # Anthropic's.
    "overloaded": ErrorAnswer(529, "Overloaded", "overloaded_error"),
}


def make_error(
    name: str,
    *,
    message: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] = _NO_HEADERS,
    retry_after: float | None = None,
    told_by: str = "seconds",
    now: float = 0.0,
) -> ErrorAnswer:
    """
    Make an error.

    :param name: of :data:`ERRORS`, or a status.
    :param message: in place of its own; likewise ``code``.
    :param headers: besides its own.
    :param retry_after: seconds until a repeat makes sense.
    :param told_by: how it tells them.
    :param now: seconds since the epoch, for a date.
    """
    known = ERRORS.get(name)
    if known is None:
        kind = "server_error" if name >= "500" else _INVALID
        known = ErrorAnswer(int(name), f"The drill says {name}", kind)
    words = known.message if message is None else message
    more, fields = dict(known.more), dict(known.headers)
    if retry_after is not None:
        match told_by:
            case "seconds":
                fields["retry-after"] = f"{retry_after:g}"
            case "date":
                # Whole seconds, and read against the answer's own date.
                fields["date"] = formatdate(now, usegmt=True)
                fields["retry-after"] = formatdate(int(now) + retry_after, usegmt=True)
            case "ms":
                fields["retry-after-ms"] = f"{retry_after * 1_000:g}"
            case "body":
                # Google's RetryInfo.
                more["details"] = [{"retryDelay": f"{retry_after:g}s"}]
            case "words":
                words = f"{words}. Please try again in {retry_after:g}s."
    return ErrorAnswer(
        known.status,
        words,
        known.type,
        known.code if code is None else code,
        more,
        {**fields, **headers},
    )
