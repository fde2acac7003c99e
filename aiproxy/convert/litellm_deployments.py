"""``model_list`` of a LiteLLM configuration: each entry is one deployment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from aiproxy.config.known_providers import find_known_provider
from aiproxy.config.secret import read_secret
from aiproxy.config.sections import SIZES
from aiproxy.convert.litellm_parameters import Parameters
from aiproxy.convert.litellm_providers import (
    OWN_SERVER,
    UPSTREAMS,
    WITHOUT_ADAPTER,
    Upstream,
    default_base_url,
    find_upstream,
    fit_base_url,
    type_at,
)
from aiproxy.convert.litellm_values import Findings, Value
from aiproxy.wire.urls import without_credentials

__all__ = ["Deployment", "Deployments", "Server", "is_name"]

#: Limits may also stand beside ``litellm_params``.
_BESIDE = frozenset(("rpm", "tpm", "max_parallel_requests"))
#: What stands between the prefix and the deployment for the API to use.
_API_PREFIXES = ("responses/", "o_series/", "gpt5_series/", "chat/", "converse/")


@frozen
class Server:
    """Where deployments are asked: what becomes an entry of ``providers``."""

    type: str
    base_url: str | None = None
    api_version: str | None = None


@frozen
class Deployment:
    """
    One deployment.

    :param name: what clients call it; others may have the same name.
    :param upstream_model: what the provider calls it, as our file has it.
    :param keys: its keys in our file, but for name, provider and token.
    :param routing: ``weight``, ``rpm``, ``tpm`` and ``order``, as far as they are written.
    :param everything: it is ``*``: any model of any provider.
    :param label: what tells it from others of the same name; the entry's ``id``.
    """

    name: str
    value: Value = field(eq=False)
    server: Server
    upstream_model: str
    token: str | None
    keys: Mapping[str, Any]
    routing: Mapping[str, float]
    everything: bool = False
    label: str | None = None


@define
class Deployments:
    """
    Reads the list.

    :param credentials: ``credential_list`` by name, each the values it stands for.
    :param defaults: ``default_litellm_params``.
    """

    findings: Findings
    credentials: Mapping[str, Mapping[str, Value]]
    defaults: Mapping[str, Value]

    def read(self, model_list: Value) -> list[Deployment]:
        """Return what can be taken over."""
        return [deployment for item in model_list.items() for deployment in self._read(item)]

    def _read(self, item: Value) -> Iterator[Deployment]:
        entry = item.entries()
        name, params = entry.pop("model_name", None), entry.pop("litellm_params", None)
        if not item.is_mapping:
            self.findings.mistake(item, "must be a mapping with `model_name` and `litellm_params`")
        elif name is None or not name.text:
            self.findings.mistake(item, "needs a `model_name`")
        elif params is None or not params.is_mapping or "model" not in params.entries():
            self.findings.mistake(item, "needs `litellm_params` with a `model`")
        elif self._is_sayable(name):
            info = entry.pop("model_info", None)
            for key in sorted(entry.keys() - _BESIDE):
                self.findings.leave_out(entry.pop(key), "has no counterpart")
            below = {**self.defaults, **entry, **params.entries()}
            yield from self._deployments(item, name.text, below, info)

    def _is_sayable(self, name: Value) -> bool:
        if not is_name(name.text):
            self.findings.leave_out(name, "no model can have this name here; the entry is left out")
            return False
        if "*" in name.text.removesuffix("/*") and name.text != "*":
            self.findings.leave_out(
                name,
                "a name with a `*` must end in `/*`, as in `groq/*`, and have no other; "
                "the entry is left out",
            )
            return False
        return True

    def _deployments(
        self, item: Value, name: str, params: dict[str, Value], info: Value | None
    ) -> Iterator[Deployment]:
        params = {**self._credential(params), **params}
        model, custom = params.pop("model"), params.pop("custom_llm_provider", None)
        prefix, upstream_model = find_upstream(model.text, custom.text if custom else None)
        api_base = params.pop("api_base", None) or params.pop("base_url", None)
        params.pop("base_url", None)
        upstream = self._upstream(model, prefix, api_base)
        if upstream is None:
            return
        server = self._server(model, prefix, upstream, api_base, params.pop("api_version", None))
        if server is None or not self._names_match(model, name, upstream_model):
            return
        token = self._token(params.pop("api_key", None), upstream, server)
        parameters = Parameters(self.findings)
        keys = parameters.read(params, info)
        deployment = Deployment(
            name=name,
            value=item,
            server=server,
            upstream_model=self._upstream_model(model, upstream_model, server, api_base),
            token=token,
            keys=keys,
            routing=parameters.routing,
            everything=model.text == "*",
            label=parameters.label,
        )
        for organization in parameters.organizations or (None,):
            yield deployment if organization is None else _of(organization, deployment)

    def _credential(self, params: dict[str, Value]) -> Mapping[str, Value]:
        name = params.pop("litellm_credential_name", None)
        if name is None:
            return {}
        if name.text not in self.credentials:
            self.findings.leave_out(name, "`credential_list` has no such credential")
        return self.credentials.get(name.text, {})

    def _upstream(self, model: Value, prefix: str, api_base: Value | None) -> Upstream | None:
        """Return what the prefix means; ``None``, noted, where there is nothing for it."""
        if prefix in UPSTREAMS:
            return UPSTREAMS[prefix]
        if prefix in WITHOUT_ADAPTER or api_base is None:
            known = f"for the provider `{prefix}`" if prefix else "whose provider is not told"
            hint = ""
            if prefix == "vertex_ai":
                hint = "; with a GEMINI_API_KEY the provider `google` serves the same models"
            elif prefix not in WITHOUT_ADAPTER:
                hint = "; if it has OpenAI's API, give it an `api_base`"
            self.findings.leave_out(model, f"a model {known} is left out{hint}")
            return None
        self.findings.check(model, "its server is taken to have OpenAI's API")
        return Upstream(OWN_SERVER)

    def _server(
        self,
        model: Value,
        prefix: str,
        upstream: Upstream,
        api_base: Value | None,
        version: Value | None,
    ) -> Server | None:
        type_name, base_url = upstream.type, upstream.base_url
        if api_base is not None and api_base.variable:
            base_url = f"{api_base.written()}{upstream.tail}"
            if upstream.tail:
                self.findings.check(
                    api_base, f"the variable must not end in `{upstream.tail}`, nor in a slash"
                )
        elif api_base is not None:
            try:
                base_url = fit_base_url(api_base.text, upstream).replace("$", "$$")
            except ValueError as error:
                self.findings.leave_out(api_base, f"{error}; the entry is left out")
                return None
            if without_credentials(base_url) != base_url:
                self.findings.secret(api_base)
        if base_url is None and type_name == OWN_SERVER:
            self.findings.leave_out(model, "needs an `api_base`; the entry is left out")
            return None
        if type_name == "openai" and base_url:
            type_name = OWN_SERVER if api_base and api_base.variable else type_at(base_url)
        elif prefix == "azure_ai" and api_base and not api_base.variable:
            type_name = type_at(api_base.text)
        if base_url == default_base_url(type_name):
            base_url = None
        if version is not None and (type_name != "azure" or not version.text.isprintable()):
            self.findings.leave_out(version, "only Azure has versions here")
            version = None
        return Server(type_name, base_url, version.written() if version else None)

    def _names_match(self, model: Value, name: str, upstream_model: str) -> bool:
        if not (upstream_model and upstream_model.isprintable()):
            self.findings.leave_out(model, "does not name a model; the entry is left out")
            return False
        if ("*" in name) == ("*" in upstream_model):
            return True
        self.findings.leave_out(
            model, "`model_name` and `model` need a `*` both, or neither; the entry is left out"
        )
        return False

    def _upstream_model(
        self, model: Value, name: str, server: Server, api_base: Value | None
    ) -> str:
        for prefix in _API_PREFIXES:
            if name.startswith(prefix):
                name = name.removeprefix(prefix)
                self.findings.check(model, f"`{prefix}` is left out: the client chooses the API")
        if server.type == "fireworks" and "*" in name:
            self.findings.check(model, "clients must give the whole name, `accounts/…`")
        elif server.type == "fireworks" and not name.startswith("accounts/") and "#" not in name:
            name = f"accounts/fireworks/models/{name}"
        elif server.type == "huggingface" and api_base is None and name.count("/") == 2:
            # LiteLLM's huggingface/PROVIDER/ORG/MODEL is ORG/MODEL:PROVIDER at the router.
            provider, _, name = name.partition("/")
            name = f"{name}:{provider}"
        return name.replace("$", "$$")

    def _token(self, api_key: Value | None, upstream: Upstream, server: Server) -> str | None:
        variable = upstream.token_variable if api_key is None else api_key.variable
        if variable:
            known = find_known_provider(server.type)
            # The only variable that our type reads by itself need not be written.
            implied = known is not None and known.token_variables == (variable,)
            return None if implied else f"${{{variable}}}"
        if api_key is None:
            return None
        try:
            read_secret(api_key.text)
        except ValueError as error:
            self.findings.leave_out(api_key, str(error))
            return None
        self.findings.secret(api_key)
        return api_key.written()


def is_name(name: str) -> bool:
    """Whether a model or group may be called so."""
    return name not in SIZES and name.isprintable()


def _of(organization: str, deployment: Deployment) -> Deployment:
    headers = {**deployment.keys.get("headers", {}), "openai-organization": organization}
    return evolve(deployment, keys={**deployment.keys, "headers": headers})
