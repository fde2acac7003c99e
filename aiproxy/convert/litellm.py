"""
A LiteLLM ``config.yaml`` as a configuration of ours.

No I/O: parsed YAML goes in, the sections of our file and what there is to say of them come out.
Sources: LiteLLM's pages "Overview", "All settings", "File Management" and "Router - Load
Balancing" (docs.litellm.ai/docs/proxy/configs, …/config_settings, …/config_management,
…/routing), and its examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from aiproxy.convert.litellm_deployments import Deployments
from aiproxy.convert.litellm_fallbacks import add_fallbacks
from aiproxy.convert.litellm_names import Names
from aiproxy.convert.litellm_settings import Settings
from aiproxy.convert.litellm_values import Findings, Note, Value
from aiproxy.errors import ConfigurationError

__all__ = ["Converted", "convert", "included"]

_LISTS: Final = ("model_list", "credential_list")
_SECTIONS: Final = ("litellm_settings", "router_settings", "general_settings")
_INSTEAD: Final = {
    "guardrails": "there are no guardrails here; a proxy before aiproxy, or the client, has them",
    "mcp_servers": "aiproxy passes tools on to models and calls none itself",
    "callback_settings": "there are no callbacks",
}


@frozen
class Converted:
    """
    What has become of a file.

    :param sections: of our file, in their order.
    """

    sections: Mapping[str, Any]
    notes: tuple[Note, ...]


def included(main: Value) -> tuple[Value, ...]:
    """Return the names of the files that ``include`` names, relative to the file's folder."""
    value = main.entries().get("include")
    return tuple(value.items()) if value is not None else ()


def convert(documents: Iterable[Value], findings: Findings) -> Converted:
    """
    Convert a configuration.

    :param documents: the main file, then those that it includes.
    :param findings: may hold what reading them has brought to light.
    :raises ConfigurationError: with every mistake for which LiteLLM would not take it either.
    """
    settings, names = Settings(findings), Names(findings)
    sections = _join(documents, findings)
    if "models" in sections and "model_list" not in sections:
        message = "such a file is ours, or the Go proxy's: `aiproxy check` reads it as it is"
        findings.mistake(sections["models"][0], message)
    model_lists = sections.pop("model_list", ())
    credentials = _credentials(sections.pop("credential_list", ()), findings)
    for values in sections.values():
        for replaced in values[:-1]:
            findings.leave_out(replaced, "an included file has the same section")
    single = {name: values[-1] for name, values in sections.items()}
    settings.read({name: single.pop(name) for name in _SECTIONS if name in single})
    for name, value in single.items():
        _leave_out(name, value, findings)
    reader = Deployments(findings, credentials, settings.defaults)
    names.strategy, names.of_all = settings.strategy, settings.of_models
    names.add([deployment for part in model_lists for deployment in reader.read(part)])
    for alias, value in settings.aliases.items():
        _add_alias(alias, value, names)
    keys = {name: dict(section) for name, section in settings.keys.items()}
    if add_fallbacks(settings.fallbacks, names):
        keys.setdefault("retry", {})["reroute_refusals"] = True
    if findings.problems:
        raise ConfigurationError(sorted(findings.problems, key=lambda p: (p.file, p.line or 0)))
    written: dict[str, Any] = {
        "server": keys.get("server"),
        "providers": names.providers,
        "models": list(names.models.values()),
        "groups": names.groups,
        "retry": keys.get("retry"),
        "breaker": keys.get("breaker"),
        "timeouts": keys.get("timeouts"),
    }
    kept = {name: section for name, section in written.items() if section or name == "models"}
    return Converted(kept, findings.notes)


def _join(documents: Iterable[Value], findings: Findings) -> dict[str, list[Value]]:
    """Join files as LiteLLM does: lists are appended, anything else of a later file replaces."""
    joined: dict[str, list[Value]] = {}
    for number, document in enumerate(documents):
        if not document.is_mapping:
            findings.mistake(document, "must be a mapping with `model_list` and settings")
        for name, value in document.entries().items():
            if name == "include":
                if number:
                    findings.leave_out(value, "is read in the main file only, by LiteLLM too")
            elif name in _LISTS and not value.is_list:
                findings.mistake(value, "must be a list")
            else:
                joined.setdefault(name, []).append(value)
    return joined


def _credentials(lists: Iterable[Value], findings: Findings) -> dict[str, Mapping[str, Value]]:
    credentials: dict[str, Mapping[str, Value]] = {}
    for item in (item for part in lists for item in part.items()):
        entry = item.entries()
        name, values = entry.get("credential_name"), entry.get("credential_values")
        if name is None or values is None or not values.is_mapping:
            findings.mistake(item, "needs a `credential_name` and `credential_values`")
        else:
            credentials[name.text] = values.entries()
    return credentials


def _add_alias(alias: str, value: Value, names: Names) -> None:
    entry = value.entries()
    target = entry.get("model", value)
    if "hidden" in entry and entry["hidden"].is_true:
        names.findings.check(entry["hidden"], "`/v1/models` lists it all the same")
    names.add_alias(alias, target.text, value)


def _leave_out(name: str, value: Value, findings: Findings) -> None:
    if name == "environment_variables":
        variables = ", ".join(value.entries())
        findings.leave_out(value, f"set them in the environment, or in `.env`: {variables}")
    else:
        findings.leave_out(value, _INSTEAD.get(name, "has no counterpart"))
