"""A dry run of a choice: who would be asked, in which order, and why the others would not."""

from __future__ import annotations

from typing import Any

from aiproxy.config.schema import Config
from aiproxy.gateway.admission import Gate
from aiproxy.policy.model_names import not_found, offered_names
from aiproxy.policy.routing import Candidate, Candidates, Situation, find_entries, why_not

__all__ = ["explain"]


def explain(
    config: Config, gate: Gate, requested: str, situation: Situation, *, operation: str, tokens: int
) -> list[dict[str, Any]]:
    """
    Describe every candidate of a request, best first; nothing is taken.

    :param tokens: how many the request may use, roughly.
    :raises ModelNotFound: nothing has this name.
    """
    entries = find_entries(config, requested, situation, operation=operation)
    if not entries:
        raise not_found(requested, offered_names(config))
    patience = config.server.queue_timeout
    candidates = [
        candidate
        for model, name, turn in entries
        for candidate in Candidates().find(model, name, turn, operation)
    ]
    candidates.sort(key=gate.is_suspect)
    described = []
    for candidate in candidates:
        one = _describe(candidate, situation)
        reason = why_not(candidate.model, situation, operation)
        if reason is not None:
            one |= {"in": False, "reason": reason}
        elif held := gate.find_hold(candidate, tokens, patience):
            why = f"held back by {held.limit}"
            one |= {"in": False, "reason": why, "back_in_s": held.delay}
        described.append(one)
    return described


def _describe(candidate: Candidate, situation: Situation) -> dict[str, Any]:
    model = candidate.model
    flow = situation.traffic.look(candidate.name)
    return {
        "model": candidate.name,
        "provider": model.provider,
        "upstream_model": candidate.upstream_model,
        "token": candidate.token.fingerprint if candidate.token else None,
        "priority": model.priority,
        "running": flow.running,
        "first_token_s": flow.first_token,
        "in": True,
    }
