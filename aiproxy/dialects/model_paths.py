"""The names of models in the paths of URLs."""

from __future__ import annotations

from urllib.parse import quote

from aiproxy.errors import InvalidRequest

__all__ = ["quote_model"]


def quote_model(model: str, safe: str = "/") -> str:
    """
    Write a model's name as a part of a path; a wildcard's is the caller's own text.

    :param safe: what is not escaped, beside letters, digits and ``-._~``.
    :raises InvalidRequest: it would lead elsewhere, for ``..`` is the way up, or is no text.
    """
    segments = model.split("/") if "/" in safe else [model]
    try:
        if not any(segment in ("", ".", "..") for segment in segments):
            return quote(model, safe=safe)
    except UnicodeEncodeError:
        pass
    raise InvalidRequest("the model's name cannot stand in a URL", param="model")
