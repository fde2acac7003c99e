"""What the samples say of an error."""

from __future__ import annotations

from typing import Any

from aiproxy.errors import AIProxyError


def describe_error(error: AIProxyError | None) -> dict[str, Any] | None:
    """Give what counts of an error."""
    if error is None:
        return None
    return {
        "class": type(error).__name__,
        "status": error.status,
        "message": error.message,
        "code": error.code,
        "param": error.param,
        "retry_after": error.retry_after,
    }
