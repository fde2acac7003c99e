"""What stands in a conversation of its earlier turns, in whatever state the caller sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiproxy.wire.json import JSONError, loads

__all__ = ["find_extra", "read_arguments"]


def find_extra(holder: Mapping[str, Any], provider: str) -> Mapping[str, Any]:
    """Return what the caller has kept of a provider's own in a message or a call."""
    extra = holder.get("extra_content")
    told = extra.get(provider) if isinstance(extra, Mapping) else None
    return told if isinstance(told, Mapping) else {}


def read_arguments(told: Any) -> dict[str, Any]:
    """Read a call's arguments; what another model has garbled is kept as a text."""
    if not isinstance(told, str):
        return dict(told) if isinstance(told, Mapping) else {}
    try:
        arguments = loads(told) if told.strip() else {}
    except JSONError:
        return {"arguments": told}
    return arguments if isinstance(arguments, dict) else {"arguments": arguments}
