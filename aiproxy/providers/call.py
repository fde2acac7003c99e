"""What a provider is asked: one caller's request for one candidate."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from attrs import define

from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.redact import make_redactor
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.policy.routing import Candidate

__all__ = ["Call", "name_source"]


_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def _ignore(*_: object) -> None:
    """Nobody wants to know."""


@define
class Call:
    """
    One attempt.

    :param id: the request id, also sent upstream.
    :param request: the caller's request in the hub's JSON; never changed.
    :param candidate: the model, its endpoint and its credential.
    :param stream: whether the answer shall come as a stream.
    :param operation: what is asked for, of :mod:`aiproxy.dialects.operations`.
    :param connected: called when the connection to the upstream stands.
    :param sent: called when the request's last byte was written.
    :param headers: more of them, which are the gateway's own.
    :param queued: called with ``True`` when the call begins to wait for others of
        ours, before anything is sent, and with ``False`` when its turn has come.
    :param preparing: so, too, while what it needs is fetched elsewhere.
    """

    id: str
    request: ChatRequest
    candidate: Candidate
    stream: bool
    connected: Callable[[], None] = _ignore
    sent: Callable[[], None] = _ignore
    operation: str = CHAT
    headers: Mapping[str, str] = _NO_HEADERS
    queued: Callable[[bool], None] = _ignore
    preparing: Callable[[bool], None] = _ignore


def name_source(error: AIProxyError, candidate: Candidate) -> None:
    """Note in an error whose it is; an upstream that repeats our key is not repeated."""
    error.provider = error.provider or candidate.model.provider
    error.model = error.model or candidate.name
    token = candidate.token.reveal() if candidate.token else ""
    mask = candidate.made.get(name_source)
    if mask is None:
        secrets = (token, *candidate.model.find_secrets())
        mask = candidate.made[name_source] = make_redactor(secrets)
    error.message = mask(error.message)
    if token and token in error.message:
        # One so short stands within many a word, and is no word to mask in a code.
        error.message = re.sub(rf"(?<!\w){re.escape(token)}(?!\w)", "***", error.message)
    error.args = (error.message,)
    if isinstance(error.code, str):
        error.code = mask(error.code)
    if error.param is not None:
        error.param = mask(error.param)
