"""What is wrong with a request, in the words that all faces and dialects have for it."""

from __future__ import annotations

from aiproxy.errors import InvalidRequest

__all__ = ["cannot", "missing", "wrong_type", "wrong_value"]


def missing(param: str, message: str) -> InvalidRequest:
    """Make the error for a field that there has to be, and that is not there or empty."""
    return InvalidRequest(message, param=param, code=f"missing_{param}")


def wrong_type(param: str, wanted: str) -> InvalidRequest:
    """Make the error for a field that a face itself reads."""
    return InvalidRequest(f"{param} must be {wanted}", param=param, code="invalid_type")


def wrong_value(param: str, wanted: str) -> InvalidRequest:
    """Make the error for what no dialect could understand."""
    return InvalidRequest(f"{param} must be {wanted}", param=param, code="invalid_value")


def cannot(provider: str, param: str, what: str) -> InvalidRequest:
    """Make the error for what a provider has no words for."""
    return InvalidRequest(f"{provider} takes no {what}", param=param, code="unsupported_value")
