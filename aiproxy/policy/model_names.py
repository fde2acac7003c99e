"""The names of models that a client can ask for, and what to say of one that is none of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from aiproxy.config.schema import Config
from aiproxy.config.sections import SIZES
from aiproxy.errors import ModelNotFound

__all__ = ["configured_name", "not_found", "offered_names", "show_name"]

#: A name that a caller made up is repeated to him no longer than this.
_SHOWN_CHARACTERS = 80


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
        return f"; did you mean {' or '.join(by_lower[name] for name in close)}?"
    shown = ", ".join(names[:10])
    more = ", …" if len(names) > 10 else ""
    return f"; there are: {shown}{more}" if names else "; none is configured"


def show_name(requested: str) -> str:
    """Quote a name as the caller wrote it, and no more of it than is needed."""
    if len(requested) > _SHOWN_CHARACTERS:
        requested = requested[:_SHOWN_CHARACTERS] + "…"
    return repr(requested)
