"""
What clients can ask for: the models, groups and aliases of a LiteLLM configuration.

Deployments of one name become a group of that name; its members get names of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.config.known_providers import find_known_provider
from aiproxy.convert.litellm_deployments import Deployment, Server, is_name
from aiproxy.convert.litellm_providers import OWN_SERVER, labels_of, prefix_of
from aiproxy.convert.litellm_values import Findings, Value

__all__ = ["Names"]

#: A share that comes to nothing as long as the others can be asked; ours must be above 0.
_NEXT_TO_NOTHING: Final = 0.001


@define
class Names:
    """
    Collects ``providers``, ``models`` and ``groups``.

    :param strategy: of groups.
    :param of_all: keys of models that say nothing else.
    """

    findings: Findings
    strategy: str = "weighted"
    of_all: Mapping[str, Any] = field(factory=dict)
    providers: dict[str, dict[str, Any]] = field(factory=dict)
    models: dict[str, dict[str, Any]] = field(factory=dict)
    groups: dict[str, dict[str, Any]] = field(factory=dict)
    #: The models that each name of LiteLLM's stands for.
    members: dict[str, list[str]] = field(factory=dict)
    _servers: dict[Server, str] = field(factory=dict)

    def add(self, deployments: Iterable[Deployment]) -> None:
        """Take in all deployments."""
        deployments = tuple(deployments)
        tokens = self._name_servers(deployments)
        by_name: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            by_name.setdefault(deployment.name, []).append(deployment)
        taken = set(by_name)
        for name, same in by_name.items():
            if name == "*":
                continue  # for the last, when it is known what else there is
            if name.endswith("/*"):
                self._add_wildcard(name, same, tokens)
            elif len(same) == 1:
                self._add_model(name, same[0], tokens)
                self.members[name] = [name]
                if same[0].label:
                    self.findings.leave_out(
                        same[0].value, "its `id` is not needed: it names the members of groups"
                    )
            else:
                self._add_group(name, same, tokens, taken)
        for deployment in by_name.get("*", ()):
            self._add_everything(deployment, tokens)

    # --- providers ----------------------------------------------------------------------

    def _name_servers(self, deployments: Iterable[Deployment]) -> Mapping[Server, bool]:
        """Name the servers, write their entries, and say which of them has one token for all."""
        tokens: dict[Server, set[str | None]] = {}
        for deployment in deployments:
            tokens.setdefault(deployment.server, set()).add(deployment.token)
        types = Counter(server.type for server in tokens)
        for server in tokens:
            self._servers[server] = name = self._server_name(server, types[server.type] == 1)
            entry: dict[str, Any] = {}
            if server.type not in (OWN_SERVER, name):
                entry["type"] = server.type
            if server.base_url:
                entry["base_url"] = server.base_url
            if server.api_version:
                entry["api_version"] = server.api_version
            if len(tokens[server]) == 1 and (token := next(iter(tokens[server]))):
                entry["token"] = token
            if entry:
                self.providers[name] = entry
        return {server: len(of_one) == 1 for server, of_one in tokens.items()}

    def _server_name(self, server: Server, alone: bool) -> str:
        if server.type and (alone or server.base_url is None):
            wanted = [server.type]
        else:
            start = f"{server.type}-" if server.type else ""
            wanted = [f"{start}{label}" for label in labels_of(server.base_url or "")]
        wanted += [f"{wanted[-1]}-{number}" for number in range(2, len(self._servers) + 4)]
        return next(
            name
            for name in wanted
            if name not in self._servers.values()
            and (name == server.type or find_known_provider(name) is None)
        )

    # --- models and groups --------------------------------------------------------------

    def _add_model(
        self,
        name: str,
        deployment: Deployment,
        shared: Mapping[Server, bool],
        routing: Mapping[str, float] | None = None,
    ) -> None:
        model: dict[str, Any] = {
            "name": name.replace("$", "$$"),
            "provider": self._servers[deployment.server],
        }
        if deployment.upstream_model != "*":
            model["upstream_model"] = deployment.upstream_model
        if deployment.token and not shared[deployment.server]:
            model["token"] = deployment.token
        self.models[name] = {**model, **(routing or {}), **self.of_all, **deployment.keys}

    def _add_wildcard(
        self, name: str, same: list[Deployment], shared: Mapping[Server, bool]
    ) -> None:
        """A group cannot hold wildcards; but one may have several tokens."""
        first = same[0]
        self._add_model(name, first, shared)
        self.members[name] = [name]
        tokens = [first.token]
        for other in same[1:]:
            alike = (other.server, other.upstream_model, other.keys) == (
                *(first.server, first.upstream_model, first.keys),
            )
            if alike and other.token and first.token:
                tokens.append(other.token)
            else:
                self.findings.leave_out(
                    other.value, "a second entry for the same wildcard; a group holds models only"
                )
        tokens = list(dict.fromkeys(tokens))
        if len(tokens) > 1:
            self.models[name].pop("token")
            self.models[name]["tokens"] = tokens

    def _add_everything(self, deployment: Deployment, shared: Mapping[Server, bool]) -> None:
        """``*`` serves ``openai/…``, ``groq/…`` and so on; here that is a wildcard for each."""
        own = self._servers[deployment.server]
        providers = [own]
        if deployment.everything:
            providers += [server.type for server in self._servers if server == Server(server.type)]
        for provider in dict.fromkeys(providers):
            wildcard = f"{prefix_of(provider)}/*"
            if wildcard not in self.models:
                if provider == own:
                    self._add_model(wildcard, deployment, shared)
                else:
                    self.models[wildcard] = {"name": wildcard, "provider": provider}
                self.members[wildcard] = [wildcard]
        told = (
            "a bare `*` has no counterpart: clients must put the provider before the model, as in"
        )
        more = "; add wildcards for providers that this file does not name"
        self.findings.check(
            deployment.value,
            f"{told} `{prefix_of(own)}/NAME`{more if deployment.everything else ''}",
        )

    def _add_group(
        self, name: str, same: list[Deployment], shared: Mapping[Server, bool], taken: set[str]
    ) -> None:
        strategy, routings = self._routings(same)
        names: list[str] = []
        for deployment, routing in zip(same, routings, strict=True):
            member = _member_name(name, deployment, self._servers[deployment.server], taken)
            taken.add(member)
            names.append(member)
            self._add_model(member, deployment, shared, routing)
        self.members[name] = names
        self.groups[name] = _group(strategy, names)

    def _routings(self, same: list[Deployment]) -> tuple[str, list[dict[str, float]]]:
        """Return the strategy, and what each member needs for it."""
        orders = [deployment.routing.get("order") for deployment in same]
        written = [order for order in orders if order is not None]
        if written:
            if self.strategy not in ("weighted", "priority"):
                self.findings.check(
                    same[0].value,
                    f"`order` goes before the strategy, which would be {self.strategy}",
                )
            last = max(written) + 1
            return "priority", [
                {"priority": int(last if order is None else order)} for order in orders
            ]
        if self.strategy != "weighted":
            return self.strategy, [{} for _ in same]
        # LiteLLM goes by the first of the three that the first deployment has.
        by = next((key for key in ("weight", "rpm", "tpm") if key in same[0].routing), None)
        if by is None:
            return "weighted", [{} for _ in same]
        weights = [deployment.routing.get(by, 0.0) for deployment in same]
        for deployment, weight in zip(same, weights, strict=True):
            if not weight:
                self.findings.check(
                    deployment.value, f"without its `{by}` it is asked when the others cannot be"
                )
        return "weighted", [{"weight": _short(weight or _NEXT_TO_NOTHING)} for weight in weights]

    # --- other names --------------------------------------------------------------------

    def add_alias(self, alias: str, target: str, value: Value) -> None:
        """Let clients ask for ``target`` as ``alias`` too."""
        if alias in self.models or alias in self.groups or not self.knows(target):
            self.findings.leave_out(value, "the name is taken, or there is no such model")
        elif not is_name(alias) or "*" in alias:
            self.findings.leave_out(value, "no model can have this name here")
        elif target in self.groups:
            self.groups[alias] = {**self.groups[target]}
            self.members[alias] = self.members[target]
        else:
            self.groups[alias] = _group("priority", [target])
            self.members[alias] = self.members.get(target, [])

    def knows(self, name: str) -> bool:
        """Whether a group, an alias or a fallback may name it."""
        if name in self.models or name in self.groups:
            return not name.endswith("/*")
        wildcards = [model[:-1] for model in self.models if model.endswith("/*")]
        return any(
            name.startswith(start) and name not in (start, f"{start}*") for start in wildcards
        )


def _group(strategy: str, names: Iterable[str]) -> dict[str, Any]:
    return {"strategy": strategy, "models": [name.replace("$", "$$") for name in names]}


def _member_name(name: str, deployment: Deployment, provider: str, taken: set[str]) -> str:
    def candidates() -> Iterator[str]:
        yield f"{name}@{deployment.label or provider}"
        for number in range(2, len(taken) + 3):
            yield f"{name}@{deployment.label or provider}-{number}"

    return next(candidate for candidate in candidates() if candidate not in taken)


def _short(number: float) -> float:
    return int(number) if number.is_integer() else number
