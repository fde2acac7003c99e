"""LiteLLM's lists of fallbacks, at the models that they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from aiproxy.convert.litellm_names import Names
from aiproxy.convert.litellm_values import Value

__all__ = ["add_fallbacks"]


def add_fallbacks(fallbacks: Mapping[str, Value], names: Names) -> bool:
    """
    Write ``fallbacks`` at the models.

    LiteLLM has lists by the reason: what fails, what is too long, what is refused.  Ours is one,
    in that order: a conversation that is too long goes to those of it that have more room.

    :param fallbacks: by LiteLLM's names of the lists.
    :return: whether refusals may go to fallbacks.
    """
    found: dict[str, list[str]] = {}
    defaults: list[str] = []
    if "default_fallbacks" in fallbacks:
        defaults = list(_targets(fallbacks["default_fallbacks"], names))
    for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        for item in fallbacks[kind].items() if kind in fallbacks else ():
            if not item.is_mapping:
                names.findings.leave_out(item, "is no mapping of a model to its fallbacks")
            for name, value in item.entries().items():
                targets = list(_targets(value, names))
                if name == "*":
                    defaults += targets
                elif name not in names.members:
                    names.findings.leave_out(value, "there is no such model to fall back from")
                else:
                    found.setdefault(name, []).extend(targets)
                if kind != "fallbacks" and targets:
                    names.findings.check(value, "they are asked after any failure")
    for name, members in names.members.items():
        # A member's fallbacks are asked after all members of the group.
        wanted = [target for target in found.get(name, defaults) if target != name]
        for member in members:
            if wanted and "fallbacks" not in names.models[member]:
                names.models[member]["fallbacks"] = [
                    target.replace("$", "$$") for target in dict.fromkeys(wanted)
                ]
    return "content_policy_fallbacks" in fallbacks


def _targets(value: Value, names: Names) -> Iterator[str]:
    for item in value.items():
        if names.knows(item.text):
            yield item.text
        else:
            names.findings.leave_out(item, "there is no such model to fall back to")
