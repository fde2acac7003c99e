"""What a probe asks: each model with each of its keys, one tiny question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from aiproxy.config.schema import Config, Model
from aiproxy.dialects.operations import CHAT, EMBEDDINGS, IMAGES
from aiproxy.policy.routing import Candidate

__all__ = ["LIST", "Question", "find_questions"]

#: What is asked beside a chat: a wildcard's provider is, for its models.
LIST: Final = "list"


@frozen
class Question:
    """
    What is asked of one model with one key.

    :param key: the key's number, from 1, where the model has several.
    :param skipped: why it is not asked.
    """

    candidate: Candidate
    operation: str = CHAT
    key: int | None = None
    skipped: str | None = None


def find_questions(
    config: Config, *, only: Sequence[str] = (), images: bool = False
) -> list[Question]:
    """
    Return what there is to ask, in the order of the configuration.

    :param only: names of models, also such as a wildcard serves; ``groq/*``
        means all that begin so.  Without any, all models are meant.
    :param images: ask for images too, which costs money.
    :raises ValueError: a name means nothing.
    """
    if only:
        chosen = dict(pair for name in only for pair in _choose(config, name))
    else:
        chosen = {model.name: model for model in config.models}
    return [question for name in chosen for question in _questions(chosen[name], name, images)]


def _choose(config: Config, name: str) -> list[tuple[str, Model]]:
    if name.endswith("*"):
        begins = name[:-1]
        found = [(one.name, one) for one in config.models if one.name.startswith(begins)]
    else:
        model = config.find_model(name)
        found = [] if model is None else [(name, model)]
    if not found:
        raise ValueError(f"there is no model {name}")
    return found


def _questions(model: Model, name: str, images: bool) -> Iterator[Question]:
    operation, skipped = CHAT, None
    if model.disabled is not None:
        skipped = f"off: {model.disabled}"
    elif model.kind == "image":
        operation, skipped = IMAGES, None if images else "image"
    elif name == model.name and model.wildcard:
        operation = LIST
    elif "embed" in model.upstream_name(name).lower():
        operation = EMBEDDINGS  # Only their names tell.
    if skipped is not None:
        yield Question(Candidate(model, name), operation, skipped=skipped)
        return
    several = len(model.tokens) > 1
    for number, token in enumerate(model.tokens or (None,), 1):
        yield Question(Candidate(model, name, token), operation, number if several else None)
