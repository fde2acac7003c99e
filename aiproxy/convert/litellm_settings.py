"""
The settings of a LiteLLM configuration, but for ``model_list``.

``router_settings`` go before ``litellm_settings`` where both say the same (LiteLLM's page "All
settings").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.convert.litellm_parameters import read_timeouts
from aiproxy.convert.litellm_values import Findings, Value

__all__ = ["Settings"]

_BY_CALLS = "running calls count, not the tokens of the last minute"
_STRATEGIES: Final = {
    "simple-shuffle": ("weighted", None),
    "least-busy": ("least_busy", None),
    "latency-based-routing": ("fastest", None),
    "usage-based-routing": ("least_busy", _BY_CALLS),
    "usage-based-routing-v2": ("least_busy", _BY_CALLS),
    "cost-based-routing": ("priority", "prices are not known: give each member its `priority`"),
}
_FALLBACKS: Final = (
    *("fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks"),
)
_REDIS = "not needed: one server counts for all its workers, without Redis"
_DATABASE = "not needed: there is no database; clients' keys stand under `keys:`"
_MONEY = "aiproxy counts tokens, not money"
_ALERTS = "let Prometheus alert, from `/metrics`"
_CACHE = "answers are not cached"
_OTHER = "has no counterpart"
#: What there is in the place of a setting, by the beginning of its name; the first counts.
_INSTEAD: Final = {
    "redis_": _REDIS,
    "cache_responses": _CACHE,
    "caching_groups": _CACHE,
    "cache": _CACHE,
    "database_": _DATABASE,
    "store_model_in_db": _DATABASE,
    "allow_requests_on_db": _DATABASE,
    "use_redis_transaction_buffer": _DATABASE,
    "alert": _ALERTS,
    "spend_report_frequency": _ALERTS,
    "max_fallbacks": "not needed: each fallback is asked once",
    "enable_pre_call_checks": "not needed: who is busy, or has no room, is passed by anyway",
    "enable_weighted_failover": "not needed: the other members of a group are asked anyway",
    "retry_policy": "`retry.max_retries` is for all errors",
    "model_group_retry_policy": "`retry.max_retries` is for all models",
    "allowed_fails_policy": "`breaker.failures` is for all errors",
    "disable_cooldowns": "the breaker cannot be turned off; raise `breaker.failures`",
    "provider_budget_config": _MONEY,
    "max_budget": _MONEY,
    "budget_duration": _MONEY,
    "drop_params": "not needed: what a provider has no word for is left out, and named",
    "modify_params": "not needed: the adapters do it",
    "set_verbose": "not needed: `/v1/route/explain` tells why a model is asked, or not",
    "debug_level": "not needed: `/v1/route/explain` tells why a model is asked, or not",
    "turn_off_message_logging": "not needed: prompts and answers are never logged",
    "background_health_checks": "not needed: the breaker tries who failed with live requests",
    "health_check": "not needed: the breaker tries who failed with live requests",
    "use_x_forwarded_for": "name the networks of your proxies in `server.trusted_proxies`",
    "global_max_parallel_requests": "set `max_concurrent` at the models, or at `keys[]`",
    "max_parallel_requests": "set `max_concurrent` at the models, or at `keys[]`",
    "ssl_verify": "name the authorities in the providers' `ca_bundle`",
    "ssl_certificate": "name the file in the providers' `client_cert`",
    "custom_auth": "clients show `AUTH_TOKEN`, or a key of `keys:`",
    "enable_jwt_auth": "clients show `AUTH_TOKEN`, or a key of `keys:`",
    "default_team_settings": "clients' keys stand under `keys:`, with limits of their own",
    "key_generation_settings": "`aiproxy key new` makes keys",
    "key_management_s": "a secret may be the name of a file: `file:/run/secrets/NAME`",
    "allowed_ips": "let the firewall, or the proxy before aiproxy, do it",
    "completion_model": "clients name their model",
    "disable_spend_logs": "not needed: there are none",
}
_CALLBACKS: Final = {
    "prometheus": "not needed: `/metrics` is built in; set ADMIN_TOKEN",
    "otel": "install the extra `otel` and set OTEL_EXPORTER_OTLP_ENDPOINT",
}


@define
class Settings:
    """
    Reads the settings.

    :param strategy: of groups.
    :param of_models: what all models have that say nothing else.
    :param keys: sections of our file.
    :param fallbacks: all lists of fallbacks, by the names in :data:`_FALLBACKS`.
    :param aliases: ``model_group_alias``.
    :param defaults: ``default_litellm_params``.
    """

    findings: Findings
    strategy: str = "weighted"
    of_models: dict[str, Any] = field(factory=dict)
    keys: dict[str, dict[str, Any]] = field(factory=dict)
    fallbacks: dict[str, Value] = field(factory=dict)
    aliases: dict[str, Value] = field(factory=dict)
    defaults: dict[str, Value] = field(factory=dict)

    def read(self, sections: Mapping[str, Value]) -> None:
        """Read ``litellm_settings``, ``router_settings`` and ``general_settings``."""
        parts = {}
        for section in ("litellm_settings", "router_settings", "general_settings"):
            value = sections.get(section)
            if value is not None and not value.is_mapping:
                self.findings.mistake(value, "must be a mapping")
            parts[section] = value.entries() if value is not None else {}
        shared = parts["litellm_settings"]
        if "request_timeout" in shared:
            shared["timeout"] = shared.pop("request_timeout")
        for name in sorted(shared.keys() & parts["router_settings"].keys()):
            self.findings.leave_out(shared.pop(name), "`router_settings` say it too")
        self._read_router({**shared, **parts["router_settings"]})
        self._read_general(parts["general_settings"])

    def _put(self, section: str, key: str, value: Value, read: Callable[[Value], object]) -> None:
        self.findings.put(self.keys.setdefault(section, {}), key, value, read)

    def _read_router(self, settings: Mapping[str, Value]) -> None:
        timeouts = read_timeouts(settings, self.findings)
        if timeouts:
            self.keys |= timeouts
        for name, value in settings.items():
            if name == "routing_strategy":
                self._read_strategy(value)
            elif name == "num_retries":
                self._put("retry", "max_retries", value, _count)
            elif name == "retry_after":
                self._put("retry", "base_delay", value, Value.seconds)
            elif name == "allowed_fails":
                # LiteLLM lets so many pass in a minute; ours opens at the last of a row.
                self._put("breaker", "failures", value, _next)
                self.keys["breaker"].setdefault("window", "1m")
            elif name == "cooldown_time":
                self._put("breaker", "probe", value, Value.seconds)
            elif name in _FALLBACKS:
                self.fallbacks[name] = value
            elif name == "model_group_alias":
                self.aliases = value.entries()
            elif name == "default_litellm_params":
                self.defaults = value.entries()
            elif name == "default_max_parallel_requests":
                self.findings.put(self.of_models, "max_concurrent", value, Value.count)
            elif name == "json_logs" and value.is_true:
                self.keys.setdefault("server", {})["log_format"] = "json"
            elif name in ("callbacks", "success_callback", "failure_callback", "service_callbacks"):
                self._read_callbacks(value)
            elif name not in ("timeout", "stream_timeout"):
                self._leave_out(name, value)

    def _read_strategy(self, value: Value) -> None:
        if value.text in _STRATEGIES:
            self.strategy, remark = _STRATEGIES[value.text]
            if remark:
                self.findings.check(value, f"groups have the strategy {self.strategy}: {remark}")
        else:
            self.findings.leave_out(value, "groups have the strategy weighted, LiteLLM's default")

    def _read_callbacks(self, value: Value) -> None:
        for item in value.items():
            self.findings.leave_out(item, _CALLBACKS.get(item.text, "there are no callbacks"))

    def _leave_out(self, name: str, value: Value) -> None:
        instead = next((text for start, text in _INSTEAD.items() if name.startswith(start)), _OTHER)
        self.findings.leave_out(value, instead)

    def _read_general(self, settings: Mapping[str, Value]) -> None:
        for name, value in settings.items():
            if name == "master_key":
                what = f"the value of {value.variable}" if value.variable else "this key"
                self.findings.leave_out(
                    value,
                    f"set AUTH_TOKEN to {what}, so that clients can go on; for `/metrics` and the"
                    " admin routes set an ADMIN_TOKEN, another one",
                )
            elif name in ("max_request_size_mb", "max_response_size_mb"):
                key = name.replace("_size_mb", "_bytes")
                self._put("server", key, value, _mebibytes)
            else:
                self._leave_out(name, value)


def _count(value: Value) -> int | str:
    return 0 if value.text == "0" else value.count()


def _mebibytes(value: Value) -> str:
    return f"{value.count()}MiB"


def _next(value: Value) -> int:
    """
    Return the number after a whole one.

    :raises ValueError: it is none, or a variable.
    """
    count = _count(value)
    if isinstance(count, str):
        raise ValueError("is a variable; set `breaker.failures` to one more than it has")
    return count + 1
