"""
What an error in Cloudflare's envelope means.

Source: Cloudflare's documentation of Workers AI ("Errors") and of AI Gateway
("Guardrails").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.errors import UpstreamError
from aiproxy.wire.json import JSONError, loads

__all__ = ["judge_envelope"]

#: What codes stand for, be the HTTP status what it may.
_STATUS: Final = {
    code: status
    for status, codes in {
        400: (3003, 3039, 5004, 5005, 5007, 5019),
        403: (3023, 3041, 5016, 5018),
        404: (3042,),
        408: (3007, 3008),
        # The request is too large.
        413: (3006,),
        # The day's quota is used up; there is no capacity.
        429: (3036, 3040),
    }.items()
    for code in codes
}
#: Codes that have a name in OpenAI's world: no such model; AI Gateway's guardrails.
_NAMES: Final = {
    code: name
    for name, codes in {"model_not_found": (3042, 5007), "content_filter": (2016, 2017)}.items()
    for code in codes
}


def judge_envelope(
    status: int | None, body: bytes, headers: Mapping[str, str] | None = None
) -> UpstreamError | None:
    """
    Decide what an envelope's error means, ``None`` if there is none in it.

    :param status: the HTTP status, ``None`` inside a 200; an error's code is
        more telling.
    :param headers: the answer's, names in lower case.
    """
    told = _find_error(body)
    if told is None:
        return None
    code = told.get("code")
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    known = code if type(code) is int else 0
    facts = read_facts({"error": {"message": told.get("message"), "code": _NAMES.get(known, code)}})
    error = judge(_STATUS.get(known, status), facts, headers)
    if status is not None:
        error.upstream_status = status
    return error


def _find_error(body: bytes) -> Mapping[str, Any] | None:
    """Find an envelope's first error; AI Gateway's list may be called ``error``."""
    try:
        document = loads(body)
    except JSONError:
        return None
    if not isinstance(document, Mapping):
        return None
    for name in ("errors", "error"):
        told = document.get(name)
        if isinstance(told, list) and told:
            return told[0] if isinstance(told[0], Mapping) else {"message": told[0]}
    failed = document.get("success") is False and not document.get("error")
    return {} if failed else None
