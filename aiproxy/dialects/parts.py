"""Content parts of messages: the images, by their URLs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest

__all__ = ["image_links", "image_url", "with_images"]

#: Characters of all images that are put into a request, each as often as it is named.
_MOST_CHARACTERS: Final = 64 * 1024 * 1024


def image_links(request: ChatRequest) -> tuple[str, ...]:
    """Give the ``http`` and ``https`` URLs of a request's images, each once."""
    found = {url: None for part in _parts(request) if (url := _link(part)) is not None}
    return tuple(found)


def with_images(request: ChatRequest, images: Mapping[str, str]) -> ChatRequest:
    """
    Return the request with images in the place of their URLs.

    :param request: it is not changed.
    :param images: a ``data:`` URL for each of :func:`image_links`.
    :raises InvalidRequest: it would be too long with them.
    """
    told = (url for part in _parts(request) if (url := _link(part)) is not None)
    if sum(len(images[url]) for url in told) > _MOST_CHARACTERS:
        raise InvalidRequest(
            "the images of the request are too large together, each as often as it is named",
            param="messages",
            code="image_download_failed",
        )

    def filled(part: object) -> object:
        url = _link(part)
        if url is None or not isinstance(part, dict):
            return part
        told = part["image_url"]
        rest = told if isinstance(told, dict) else {}
        return {**part, "image_url": {**rest, "url": images[url]}}

    messages = [
        {**message, "content": [filled(part) for part in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in request["messages"]
    ]
    return {**request, "messages": messages}


def _parts(request: ChatRequest) -> Iterator[Any]:
    for message in request["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            yield from content


def image_url(part: object) -> str | None:
    """Return the URL of a part that is an image."""
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return None
    told = part.get("image_url")
    url = told.get("url") if isinstance(told, dict) else told
    return url if isinstance(url, str) else None


def _link(part: object) -> str | None:
    """Return the URL of a part that is an image on the web."""
    url = image_url(part)
    if url is not None and url[:8].lower().startswith(("http://", "https://")):
        return url
    return None
