"""What every answer of ours carries, whoever writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from uuid import uuid4

__all__ = ["COMMON_HEADERS", "choose_request_id"]

#: Headers of each answer, the errors of the HTTP layer included.
COMMON_HEADERS: Mapping[bytes, bytes] = MappingProxyType(
    {
        b"server": b"aiproxy",
        b"x-content-type-options": b"nosniff",
        b"cache-control": b"no-store",
    }
)

_REQUEST_ID = re.compile(rb"[\w.-]{1,128}")


def choose_request_id(told: bytes | None) -> bytes:
    """Return the caller's ``x-request-id`` if it is fit, else one of ours."""
    if told is not None and _REQUEST_ID.fullmatch(told):
        return told
    return uuid4().hex.encode()
