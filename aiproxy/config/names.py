"""Checks of the configuration's names against each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiproxy.config.entries import KeyEntry
from aiproxy.config.reading import Place, Reading, nearest
from aiproxy.config.schema import Group, Model
from aiproxy.config.sections import SIZES
from aiproxy.config.tree import shorten

__all__ = ["check_keys", "check_names"]


def check_names(models: Iterable[Model], groups: Mapping[str, Group], reading: Reading) -> None:
    """Note names that are taken twice, and references to models that there are not."""
    models = tuple(models)
    virtual = _virtual_names(models, groups)
    first: dict[str, Place] = {}
    for model in models:
        place = reading.find(model.place, "name")
        name = shorten(model.name)
        if model.name in SIZES:
            reading.problem(place, f"`{name}` is the virtual model of `model_size`")
        if model.name in first:
            line = first[model.name].line
            reading.problem(place, f"a second model has the name `{name}`, first on line {line}")
        first.setdefault(model.name, place)
        for index, fallback in enumerate(model.fallbacks):
            place = reading.find(model.place, f"fallbacks[{index}]")
            _check_reference(fallback, place, models, virtual, reading)
    for group in groups.values():
        _check_group(group, models, groups, first, reading)


def _check_group(
    group: Group,
    models: tuple[Model, ...],
    groups: Mapping[str, Group],
    first: Mapping[str, Place],
    reading: Reading,
) -> None:
    if group.name in SIZES:
        reading.problem(group.place, "is the name of the virtual model of `model_size`")
    if group.name in first:
        line = first[group.name].line
        reading.problem(group.place, f"has the name of the model on line {line}")
    if not (group.models or reading.is_broken(f"{group.place.path}.models")):
        reading.problem(reading.find(group.place, "models"), "must name at least one model")
    for index, name in enumerate(group.models):
        place = reading.find(group.place, f"models[{index}]")
        if name in groups and name not in first:
            reading.problem(place, f"`{shorten(name)}` is a group; a group holds models")
        else:
            _check_reference(name, place, models, (), reading)


def _virtual_names(models: Iterable[Model], groups: Iterable[str]) -> tuple[str, ...]:
    return (*groups, *{model.model_size for model in models if model.model_size is not None})


def _check_reference(
    name: str,
    place: Place,
    models: tuple[Model, ...],
    virtual: Iterable[str],
    reading: Reading,
) -> None:
    """Note a name that no model serves and that is not one of ``virtual``."""
    if _may_be_lost(name, reading):
        return
    if name.endswith("/*"):
        reading.problem(place, f"`{shorten(name)}` is a wildcard; name one of its models")
    elif name not in virtual and not any(model.serves(name) for model in models):
        near = nearest(name, [*(model.name for model in models), *virtual])
        what = "model or group" if virtual else "model"
        reading.problem(place, f"there is no {what} `{shorten(name)}`{near}")


def _may_be_lost(name: str, reading: Reading) -> bool:
    """Whether ``name`` may be that of a model or group that could not be read."""
    lost = reading.lost.get("models[]", set()) | reading.lost.get("groups.NAME", set())
    if name in SIZES and (lost or reading.is_broken("models[].model_size")):
        return True
    return not reading.broken.isdisjoint(("models", "groups")) or any(
        one in ("", name) or (one.endswith("/*") and name.startswith(one[:-1])) for one in lost
    )


def check_keys(
    keys: Iterable[KeyEntry],
    models: Iterable[Model],
    groups: Mapping[str, Group],
    reading: Reading,
) -> None:
    """Note clients' keys that are incomplete, double, or allow what there is not."""
    models = tuple(models)
    virtual = _virtual_names(models, groups)
    names: set[str] = set()
    digests: dict[bytes, Place] = {}
    for key in keys:
        if key.name in names:
            message = f"a second key has the name `{shorten(key.name)}`"
            reading.problem(reading.find(key.place, "name"), message)
        names.add(key.name)
        unread = reading.is_broken(f"{key.place.path}.hash", f"{key.place.path}.token")
        if key.hash and key.token is not None:
            place = reading.find(key.place, "token")
            reading.problem(place, "stands beside `hash`; write one of them")
        elif not (key.hash or key.token is not None or unread):
            reading.problem(key.place, "needs either `hash` or `token`")
        for digest in key.hash if key.token is None else (key.token.digest,):
            if digest in digests and digests[digest] == key.place:
                reading.problem(reading.find(key.place, "hash"), "has the same hash twice")
            elif digest in digests:
                line = digests[digest].line
                reading.problem(key.place, f"has the same token as the key on line {line}")
            else:
                digests[digest] = key.place
        for index, name in enumerate(key.models or ()):
            place = reading.find(key.place, f"models[{index}]")
            if not name.endswith("*"):
                _check_reference(name, place, models, virtual, reading)
            elif not (_matches_any(name[:-1], models, virtual) or _any_lost(reading)):
                reading.problem(place, f"`{shorten(name)}` matches no model and no group")


def _any_lost(reading: Reading) -> bool:
    return reading.is_broken("models[].model_size") or not reading.broken.isdisjoint(
        ("models", "models[]", "groups", "groups.NAME")
    )


def _matches_any(prefix: str, models: Iterable[Model], virtual: Iterable[str]) -> bool:
    named = [*(model.name for model in models), *virtual]
    return any(name.startswith(prefix) for name in named) or any(
        model.serves(f"{prefix}x") for model in models
    )
