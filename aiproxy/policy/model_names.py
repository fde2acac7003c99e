"""The names of models that a client can ask for, and what to say of one that is none of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from aiproxy.config.schema import Config
from aiproxy.config.sections import SIZES
from aiproxy.errors import ModelNotFound

__all__ = ["configured_name", "not_found", "offered_names", "show_name"]

#: A name that a caller made up is repeated to him no longer than this.
_SHOWN_CHARACTERS = 80
_PLAIN_NAME = re.compile(r"[\w.:-]{1,60}", re.ASCII)


def offered_names(config: Config) -> list[str]:
    """Return what a client can ask for: models, groups, size classes; wildcards as written."""
    sizes = {model.model_size for model in config.models}
    return [
        *(model.name for model in config.models),
        *config.groups,
        *(size for size in SIZES if size in sizes),
    ]


def configured_name(config: Config, requested: str) -> str | None:
    """Return the name in the configuration that serves ``requested``: a wildcard's as written."""
    if requested in config.groups or requested in SIZES:
        return requested
    model = config.find_model(requested)
    return None if model is None else model.name


def not_found(requested: str, offered: Iterable[str]) -> ModelNotFound:
    """Say that there is no such model, and which are nearest to it."""
    message = f"there is no model {show_name(requested)}"
    if requested.endswith("/*"):
        return ModelNotFound(f"{message}: name one of its models", param="model")
    return ModelNotFound(f"{message}{_nearest(requested, list(offered))}", param="model")


def _nearest(requested: str, names: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in reversed(names)}
    close = get_close_matches(requested[:200].lower(), by_lower, n=3, cutoff=0.5)
    if close:
        meant = [by_lower[name] for name in close]
        return f"; did you mean {' or '.join(meant)}?{_fill_star(requested, meant)}"
    shown = ", ".join(names[:10])
    more = ", …" if len(names) > 10 else ""
    star = _fill_star(requested, names[:10])
    return f"; there are: {shown}{more}{star}" if names else "; none is configured"


def _fill_star(requested: str, names: Sequence[str]) -> str:
    """Say how one asks for what the first wildcard among some names serves."""
    wildcard = next((name for name in names if name.endswith("/*")), None)
    if wildcard is None:
        return ""
    name = requested.rpartition("/")[2]
    if not _PLAIN_NAME.fullmatch(name):
        name = "NAME"
    return f" (for the star write what the provider calls the model: {wildcard[:-1]}{name})"


def show_name(requested: str) -> str:
    """Quote a name as the caller wrote it, and no more of it than is needed."""
    if len(requested) > _SHOWN_CHARACTERS:
        requested = requested[:_SHOWN_CHARACTERS] + "…"
    return repr(requested)
