"""
Which candidates can serve a request, in which order: a pure function.

The plan of a request is the model and its fallbacks, or the members of a group
(or of a size class) by its strategy and then their fallbacks, each once; a
model with several tokens is a candidate for each of them.  Models that take no
body of the request's length are left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from attrs import Factory, field, frozen

from aiproxy.config.schema import Config, Model, fold_name
from aiproxy.config.secret import Secret
from aiproxy.config.sections import SIZES
from aiproxy.dialects.operations import ALL_IMAGES, CHAT, IMAGES
from aiproxy.errors import InvalidRequest, ModelNotFound, ModelUnavailable, RequestTooLarge
from aiproxy.policy.model_names import configured_name, not_found, offered_names, show_name
from aiproxy.policy.strategies import Member, order_group, order_size
from aiproxy.policy.traffic import Traffic
from aiproxy.wire.urls import without_credentials

__all__ = [
    "Candidate",
    "Candidates",
    "PlanEntry",
    "Situation",
    "find_candidates",
    "find_entries",
    "is_simple",
    "standing_key",
    "why_not",
]

#: Strategies by which members are first in turn, as in a size class.
_TAKE_TURNS = ("round_robin", "least_busy")

#: A name that is shorter was an alias to the Go proxy.
_ALIAS_CHARACTERS = 10

#: Model entries whose candidates are kept, a wildcard's for each name.
_MOST_MADE = 4096


@frozen
class Candidate:
    """
    One model entry with one credential.

    :param name: the configured name that answers; for a wildcard the concrete
        name that was asked for.
    :param operation: what it is asked for, of :mod:`aiproxy.dialects.operations`.
    :ivar limit_key: what its limits are found by; see :mod:`aiproxy.policy.limits`.
    :ivar standing_key: what its standing is found by; see :func:`standing_key`.
    :ivar upstream_model: what the upstream calls the model.
    :ivar made: what others have made of it, and need for each request; by whom.
    """

    model: Model
    name: str
    token: Secret | None = None
    operation: str = field(default=CHAT, eq=False)
    # No properties, nor cached ones: those make a slow attribute of each.
    limit_key: tuple[str, str, str] = field(init=False, eq=False, repr=False)
    standing_key: tuple[str, str, str] = field(init=False, eq=False, repr=False)
    upstream_model: str = field(init=False, eq=False, repr=False)
    made: dict[Any, Any] = field(init=False, factory=dict, eq=False, repr=False)

    @limit_key.default
    def _make_limit_key(self) -> tuple[str, str, str]:
        url = self.model.url or self.model.base_url or ""
        shown = without_credentials(url)
        credential = "" if self.token is None else self.token.fingerprint
        if shown != url:
            credential += Secret(url).fingerprint
        name = fold_name(self.name) if self.model.wildcard else self.name
        return name, shown, credential

    @standing_key.default
    def _make_standing_key(self) -> tuple[str, str, str]:
        return standing_key(self.limit_key, self.operation)

    @upstream_model.default
    def _name_upstream_model(self) -> str:
        return self.model.upstream_name(self.name)


def standing_key(limit_key: tuple[str, str, str], operation: str) -> tuple[str, str, str]:
    """
    Return what the standing of a candidate is found by, for an operation.

    What is beside chat is at another URL, and a key may have no right to it: how
    that fails says nothing of chat, and any caller can bring it about.
    """
    if operation == CHAT:
        return limit_key
    name, url, credential = limit_key
    return name, f"{url} {operation}", credential and f"{credential} {operation}"


@frozen
class Situation:
    """
    What a choice depends on beside the configuration.

    :param turn: counts up with each request; tokens rotate by it.
    :param body_bytes: the length of the request's body.
    :param traffic: what goes on at each model, by its name.
    :param chance: for weighted choices.
    """

    turn: int = 0
    body_bytes: int = 0
    traffic: Traffic = Factory(Traffic)
    chance: random.Random = Factory(random.Random)


class PlanEntry(NamedTuple):
    """
    A model entry of a plan.

    :param name: that it serves.
    :param turn: by which its tokens rotate.
    """

    model: Model
    name: str
    turn: int


class Candidates:
    """The candidates of each model entry, made once; a wildcard's names are bounded."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str, str], tuple[Candidate, ...]] = {}

    def find(
        self, model: Model, name: str, turn: int, operation: str = CHAT
    ) -> Sequence[Candidate]:
        """Return a model's candidates: one for each token, which take turns."""
        made = self._made.get((model.name, name, operation))
        if made is None:
            if len(self._made) >= _MOST_MADE:
                self._made.clear()
            tokens: Sequence[Secret | None] = model.tokens or (None,)
            made = tuple(Candidate(model, name, token, operation) for token in tokens)
            self._made[model.name, name, operation] = made
        if len(made) == 1:
            return made
        turn %= len(made)
        return made[turn:] + made[:turn]


def find_candidates(
    config: Config,
    requested: str,
    situation: Situation,
    allowed: Callable[[str], bool] = lambda name: True,
    operation: str = CHAT,
    candidates: Candidates | None = None,
) -> tuple[Candidate, ...]:
    """
    Return the plan for a request: at least one candidate.

    :param requested: the name in the caller's request.
    :param situation: what else the choice depends on.
    :param allowed: whether the caller may use a name; the others do not exist for him.
    :param operation: what is asked for; for images, ``all`` is every image model.
    :param candidates: of this configuration, where they are kept.
    :raises ModelNotFound: nothing has this name.
    :raises InvalidRequest: it is a model for something else.
    :raises RequestTooLarge: no model takes a body of this length.
    :raises ModelUnavailable: all that could serve it is off.
    """
    entries = find_entries(config, requested, situation, allowed, operation)
    if not entries and operation == IMAGES and requested == ALL_IMAGES:
        raise ModelNotFound("there is no model for images", param="model")
    if not entries:
        raise not_found(requested, filter(allowed, offered_names(config)))
    suited = [entry for entry in entries if _suits(entry.model, operation)]
    if not suited:
        what = "makes no images" if operation == IMAGES else "makes images, and nothing else"
        raise InvalidRequest(
            f"the model {show_name(requested)} {what}", param="model", code="model_not_supported"
        )
    fitting = [entry for entry in suited if _takes(entry.model, situation.body_bytes)]
    if not fitting:
        most = max(entry.model.max_request_length or 0 for entry in suited)
        raise RequestTooLarge(
            f"the model {show_name(requested)} takes requests of at most {most} bytes"
        )
    made = Candidates() if candidates is None else candidates
    found = [
        candidate
        for model, name, turn in fitting
        if model.disabled is None
        for candidate in made.find(model, name, turn, operation)
    ]
    if not found:
        first = fitting[0].model
        raise ModelUnavailable(
            f"the model {show_name(requested)} is configured, but off: {first.disabled}",
            model=first.name,
        )
    return tuple(found)


def is_simple(config: Config, model: Model) -> bool:
    """Whether a chat request for a model's name goes there in any situation, and only there."""
    return (
        model.disabled is None
        and model.kind == "chat"
        and len(model.tokens) < 2
        and not (model.wildcard or model.fallbacks or model.max_request_length is not None)
        and not (model.name in config.groups or model.name in SIZES)
        and config.find_model(model.name) is model
        and not config.server.legacy_aliases
    )


def find_entries(
    config: Config,
    requested: str,
    situation: Situation,
    allowed: Callable[[str], bool] = lambda name: True,
    operation: str = CHAT,
) -> list[PlanEntry]:
    """
    Return all that a name stands for, best first, each once.

    Some of them may not be able to serve it: :func:`why_not` says so.
    """
    if config.server.legacy_aliases:
        requested = _legacy_alias(config, requested)
    if operation == IMAGES and requested == ALL_IMAGES:
        return _image_entries(config, situation, allowed)
    return list(_entries(config, requested, situation)) if allowed(requested) else []


def why_not(model: Model, situation: Situation, operation: str) -> str | None:
    """Say why a model cannot serve a request, if so."""
    if not _suits(model, operation):
        return f"it is a model of the kind {model.kind}"
    if not _takes(model, situation.body_bytes):
        return f"it takes requests of at most {model.max_request_length} bytes"
    return model.disabled and f"it is off: {model.disabled}"


def _takes(model: Model, body_bytes: int) -> bool:
    """Whether a model takes a body of this length."""
    return model.max_request_length is None or body_bytes <= model.max_request_length


def _legacy_alias(config: Config, requested: str) -> str:
    """The Go proxy's rule: a short name that is no model's means SMALL."""
    if len(requested) >= _ALIAS_CHARACTERS or configured_name(config, requested) is not None:
        return requested
    return "SMALL"


def _suits(model: Model, operation: str) -> bool:
    """Whether a model is for an operation; what a wildcard stands for, nobody has said."""
    if operation == IMAGES:
        return model.kind == "image" or model.wildcard
    return model.kind == "chat"


def _image_entries(
    config: Config, situation: Situation, allowed: Callable[[str], bool]
) -> list[PlanEntry]:
    """Return every image model, best first."""
    models = [
        model
        for model in config.models
        if model.kind == "image" and not model.wildcard and allowed(model.name)
    ]
    models.sort(key=lambda model: model.priority)
    return [PlanEntry(model, model.name, situation.turn) for model in models]


def _entries(config: Config, requested: str, situation: Situation) -> Iterator[PlanEntry]:
    """Yield each model entry once."""
    seen: set[tuple[str, str]] = set()
    first = _resolve(config, requested, situation)
    if len(first) == 1 and not first[0].model.fallbacks:
        yield first[0]
        return
    fallbacks = [
        entry
        for one in first
        for name in one.model.fallbacks
        for entry in _resolve(config, name, situation)
    ]
    for entry in (*first, *fallbacks):
        if (entry.model.name, entry.name) not in seen:
            seen.add((entry.model.name, entry.name))
            yield entry


def _resolve(config: Config, requested: str, situation: Situation) -> Sequence[PlanEntry]:
    """Return what one name stands for, best first."""
    turn = situation.turn

    def members(found: Sequence[tuple[Model, str]], turn: int) -> list[tuple[Member, PlanEntry]]:
        return [
            (
                Member(model.priority, model.weight, situation.traffic.look(name)),
                PlanEntry(model, name, turn),
            )
            for model, name in found
        ]

    group = config.groups.get(requested)
    if group is not None:
        grouped = [entry for name in group.models for entry in _resolve_model(config, name)]
        # Who has every second turn would be asked with every second token only.
        rounds = turn // max(len(grouped), 1) if group.strategy in _TAKE_TURNS else turn
        return order_group(
            group.strategy, members(grouped, rounds), turn=turn, chance=situation.chance
        )
    if requested in SIZES:
        sized = [
            (model, model.name)
            for model in config.models
            if model.model_size == requested and not model.wildcard
        ]
        return order_size(members(sized, turn // max(len(sized), 1)))
    return [PlanEntry(model, name, turn) for model, name in _resolve_model(config, requested)]


def _resolve_model(config: Config, name: str) -> Iterator[tuple[Model, str]]:
    model = config.find_model(name)
    if model is not None and not name.endswith("/*"):
        yield model, name if model.wildcard else model.name
