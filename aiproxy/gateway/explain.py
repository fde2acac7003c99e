"""A dry run of a choice: who would be asked, in which order, and why the others would not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiproxy.config.schema import Config
from aiproxy.gateway.admission import Gate
from aiproxy.policy.routing import Candidate, Situation, find_entries, why_not, with_tokens

__all__ = ["explain"]


def explain(
    config: Config, gate: Gate, requested: str, situation: Situation, *, operation: str, tokens: int
) -> list[dict[str, Any]]:
    """
    Describe every candidate of a request, best first; nothing is taken.

    :param tokens: how many the request may use, roughly.
    """
    return [
        described
        for model, name in find_entries(config, requested, situation, operation=operation)
        for candidate in with_tokens(model, name, situation.turn)
        for described in _describe(candidate, gate, situation, operation, tokens)
    ]


def _describe(
    candidate: Candidate, gate: Gate, situation: Situation, operation: str, tokens: int
) -> Iterator[dict[str, Any]]:
    model = candidate.model
    flow = situation.traffic.look(candidate.name)
    described: dict[str, Any] = {
        "model": candidate.name,
        "provider": model.provider,
        "upstream_model": candidate.upstream_model,
        "token": candidate.token.fingerprint if candidate.token else None,
        "priority": model.priority,
        "running": flow.running,
        "first_token_s": flow.first_token,
        "in": True,
    }
    reason = why_not(model, situation, operation)
    if reason is not None:
        yield {**described, "in": False, "reason": reason}
        return
    held = gate.find_hold(candidate, tokens)
    if held is not None:
        reason = f"held back by {held.limit}"
        described |= {"in": False, "reason": reason, "back_in_s": held.delay}
    yield described
