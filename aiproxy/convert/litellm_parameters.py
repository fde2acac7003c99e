"""``litellm_params`` and ``model_info``: how a deployment is called, and what it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from attrs import define, field

from aiproxy.config.kinds import HeadersKind
from aiproxy.config.reading import Place, Reading
from aiproxy.config.sections import Timeouts
from aiproxy.config.tree import Entry, MapNode
from aiproxy.convert.litellm_values import Findings, Value
from aiproxy.wire.durations import read_duration

__all__ = ["Parameters", "read_timeouts"]

_COUNTS: Final = {
    "rpm": "requests_per_minute",
    "tpm": "tokens_per_minute",
    "max_parallel_requests": "max_concurrent",
}
_HANDLED: Final = frozenset(
    (
        *(*_COUNTS, "weight", "order", "timeout", "stream_timeout"),
        *("headers", "extra_headers", "organization"),
    )
)
#: What a caller's request has to say itself.
_CALLERS: Final = frozenset(("model", "messages", "input", "prompt", "stream"))

_SPEND = "aiproxy counts tokens, not money"
_API_KEY = "a token of Entra ID has no use here; give an API key"
_INSTEAD: Final = {
    "max_retries": "set `retry.max_retries`, for all models",
    "num_retries": "set `retry.max_retries`, for all models",
    "retry_policy": "set `retry.max_retries`, for all errors",
    "allowed_fails": "set `breaker.failures`, for all models",
    "cooldown_time": "set `breaker.probe`, for all models",
    "fallbacks": "write them in `router_settings`",
    "drop_params": "not needed: what a provider has no word for is left out here, and named",
    "additional_drop_params": "not needed: what a provider has no word for is left out here",
    "allowed_openai_params": "not needed: the adapter knows what its provider takes",
    "mock_response": "the provider `demo` answers without any upstream",
    "tags": "aiproxy does not route by tags; keys have lists of `models`",
    "ssl_verify": "name the authorities in the provider's `ca_bundle`",
    "azure_ad_token": _API_KEY,
    "tenant_id": _API_KEY,
    "client_id": _API_KEY,
    "client_secret": _API_KEY,
    "max_budget": _SPEND,
    "budget_duration": _SPEND,
}
#: Of LiteLLM itself, or credentials for other APIs: no provider gets them as parameters.
_OWN: Final = re.compile(
    r"(aws|s3|gcs|vertex|azure|watsonx|litellm|langfuse|cache|auto_router|default_api_key)_.*"
    r"|(?!prompt_cache_key).*(_token|_key|_secret|_password|_credentials)|.*cost_per_.*"
    r"|prompt_(id|variables|version|label|spec)|mock_.*"
    r"|itpm|otpm|region_name|api_type|configurable_clientside_auth_params|use_in_pass_through"
    r"|use_litellm_proxy|merge_reasoning_content_in_choices|model_info|hf_model_name|guardrails"
    r"|initial_prompt_value|roles|final_prompt_value|bos_token|eos_token|supports_system_message"
    r"|max_file_size_mb|keepalive_seconds|complete_url|no-log|metadata|caching|base_model"
    r"|provider_affinity_header|allow_client_keepalive_override|deployment_id"
)
_ORGANIZATION: Final = "openai-organization"
_KEY_LIKE: Final = re.compile("auth|key|token|secret|cookie", re.IGNORECASE)
#: Of a whole request, in seconds, where nothing else is configured.
_TOTAL: Final = Timeouts().total
_MODES: Final = {"image_generation": "image", "image_edit": "image"}
#: Modes that need nothing: the route that a client asks tells what it wants.
_SERVED: Final = frozenset(
    (
        *("chat", "completion", "responses", "embedding", "moderation", "rerank"),
        *("audio_transcription", "audio_speech"),
    )
)
_INFO: Final = re.compile(
    "max_tokens|max_output_tokens|base_model|supports_.*|.*cost.*|db_model|version|description"
)
_LABEL: Final = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


@define
class Parameters:
    """
    Reads what belongs to one deployment.

    :param routing: what the group's strategy needs.
    :param label: the entry's ``id``.
    :param organizations: OpenAI's: each is a deployment of its own.
    """

    findings: Findings
    routing: dict[str, float] = field(factory=dict)
    label: str | None = None
    organizations: tuple[str, ...] = ()

    def read(self, params: Mapping[str, Value], info: Value | None) -> dict[str, Any]:
        """Return the keys of the model in our file."""
        keys: dict[str, Any] = {}
        for name, value in params.items():
            if name in ("rpm", "tpm", "weight", "order") and not value.variable:
                self.routing[name] = value.number()
            if name in _COUNTS:
                self.findings.put(keys, _COUNTS[name], value, Value.count)
        keys |= read_timeouts(params, self.findings)
        keys |= self._info(info.entries() if info else {})
        for name, part in (("headers", self._headers(params)), ("body", self._body(params))):
            if part:
                keys[name] = part
        return keys

    def _info(self, info: Mapping[str, Value]) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        for name, value in info.items():
            if name == "mode" and value.text in _MODES:
                keys["kind"] = _MODES[value.text]
            elif name == "max_input_tokens":
                self.findings.put(keys, "context_window", value, Value.count)
            elif name == "id" and _LABEL.fullmatch(value.text):
                self.label = value.text
            elif name == "order":
                self.routing.setdefault("order", value.number())
            elif name != "mode" or value.text not in _SERVED:
                known = _INFO.fullmatch(name)
                self.findings.leave_out(value, "not needed" if known else "has no counterpart")
        return keys

    def _headers(self, params: Mapping[str, Value]) -> dict[str, str]:
        headers: dict[str, str] = {}
        for name in ("headers", "extra_headers"):
            for header, value in params[name].entries().items() if name in params else ():
                self.findings.put(headers, header.lower(), value, partial(_header, header))
                if _KEY_LIKE.search(header):
                    self.findings.secret(value)
        if "organization" in params:
            several: dict[str, Any] = {}
            for item in params["organization"].items():
                self.findings.put(several, item.text, item, partial(_header, _ORGANIZATION))
            self.organizations = tuple(several.values())
        return headers

    def _body(self, params: Mapping[str, Value]) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for name, value in params.items():
            if name in _HANDLED:
                continue
            if name in _INSTEAD:
                self.findings.leave_out(value, _INSTEAD[name])
            elif name in _CALLERS:
                self.findings.leave_out(value, "is the caller's to say")
            elif _OWN.fullmatch(name):
                self.findings.leave_out(value, "is of LiteLLM alone, and has no counterpart")
            elif name == "extra_body" and value.is_mapping:
                for below, what in value.entries().items():
                    self.findings.put(body, below, what, Value.plain)
            else:
                self.findings.put(body, name, value, Value.plain)
                self.findings.check(value, "is laid over what the caller sends; LiteLLM's yields")
        return body


def _header(name: str, value: Value) -> str:
    """
    Return the value of a header.

    :raises ValueError: our own reader would not take it.
    """
    reading = Reading(None)
    HeadersKind().read(MapNode({name: Entry(0, value.node)}, 0), Place(), reading)
    if reading.problems:
        raise ValueError("is no header that can be set here")
    return value.written()


def read_timeouts(params: Mapping[str, Value], findings: Findings) -> dict[str, Any]:
    """
    Return ``timeouts`` for LiteLLM's two, nothing where there are none.

    Its ``timeout`` bounds a whole call, its ``stream_timeout`` the wait for a stream.
    """
    timeouts: dict[str, Any] = {}
    for name, keys in (("timeout", ("attempt",)), ("stream_timeout", ("headers", "first_token"))):
        for key in keys if name in params else ():
            findings.put(timeouts, key, params[name], Value.seconds)
    whole = timeouts.get("attempt", "")
    if whole and "$" not in whole and read_duration(whole) > _TOTAL:
        timeouts["total"] = whole
    return {"timeouts": timeouts} if timeouts else {}
