"""
What a provider says that it offers, whatever shape its list has.

Sources: the providers' API references, "List models"; recorded traffic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.answers import load_answer
from aiproxy.errors import UpstreamFailed

__all__ = ["ListedModel", "list_route", "read_model_list"]

#: More than these are not told.
_MOST: Final = 5_000
#: A longer name is none.
_NAME_LIMIT: Final = 256

#: Where a list has its models, and where a model has its name and its room, first one first.
_LISTS: Final = ("data", "models", "result")
_NAMES: Final = ("id", "name")
_ROOMS: Final = (
    *("context_length", "max_context_length", "context_window", "inputTokenLimit"),
    *("max_input_tokens", "max_model_len"),
)


@frozen
class ListedModel:
    """
    One model of a provider's list.

    :param name: the upstream's.
    :param context_window: in tokens, where it is told.
    """

    name: str
    context_window: int | None = None


def list_route(dialect: str) -> str:
    """Return what is appended to a provider's base URL to ask for its models."""
    # A page holds 1,000 at most there, and 50 if nothing is said (Gemini API reference).
    return "/models?pageSize=1000" if dialect == "google" else "/models"


def read_model_list(body: bytes) -> list[ListedModel]:
    """
    Read a list.

    :raises UpstreamError: it is none.
    """
    document = load_answer(body)
    if isinstance(document, Mapping):
        document = next((document[name] for name in _LISTS if name in document), None)
    if not isinstance(document, list):
        raise UpstreamFailed("the provider's list of models is none")
    return list(_read(document))


def _read(told: list[Any]) -> Iterator[ListedModel]:
    seen = set()
    for entry in told[:_MOST]:
        if not isinstance(entry, Mapping):
            continue
        name = next((entry[field] for field in _NAMES if isinstance(entry.get(field), str)), "")
        # Gemini's, tuned models' too, which keep theirs.
        name = name.removeprefix("models/")
        if 0 < len(name) <= _NAME_LIMIT and name.isprintable() and name not in seen:
            seen.add(name)
            rooms = (entry.get(field) for field in _ROOMS)
            yield ListedModel(name, next((room for room in rooms if type(room) is int), None))
