"""
From OpenAI's content parts to Anthropic's blocks: texts, images, documents.

Source: Anthropic API reference, "Messages"; "Vision", "PDF support", "Files API".
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.refusals import cannot, wrong_value

__all__ = ["Block", "is_blank", "write_part"]

#: A block of a message.
Block = dict[str, Any]

_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^;,]*)*;base64,", re.IGNORECASE)
#: Blocks of Anthropic's own that may stand among the parts as they are, and what they must hold.
_NATIVE: Final = {
    "image": "source",
    "document": "source",
    "search_result": "source",
    "tool_reference": "tool_name",
    "container_upload": "file_id",
}


def is_blank(text: str) -> bool:
    """Whether Anthropic refuses a text for saying nothing."""
    return not text or text.isspace()


def write_part(part: Any, where: str, dropped: set[str]) -> Block | None:
    """
    Write one content part; ``None`` for a blank text.

    :param where: its place in the request.
    :param dropped: takes the names of what is not in the block.
    :raises InvalidRequest: Anthropic has no words for it.
    """
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str):
        raise wrong_value(where, "a part with a type")
    told = part.get(kind)
    if kind in ("text", "refusal") and isinstance(told, str):
        block: Block | None = None if is_blank(told) else {"type": "text", "text": told}
    elif kind in _NATIVE and part.get(_NATIVE[kind]):
        return dict(part)
    elif kind == "image_url":
        if isinstance(told, Mapping):
            if told.get("detail") not in (None, "auto"):
                dropped.add("image_url.detail")
            told = told.get("url")
        block = _block(_source(told, where), None)
    elif kind == "file" and isinstance(told, Mapping):
        block = _file(told, where)
    else:
        raise cannot("anthropic", where, f"content parts of the type {kind!r}")
    if part.get("cache_control"):
        if block is None:
            dropped.add("messages[].content[].cache_control")
        else:
            block["cache_control"] = part["cache_control"]
    return block


def _file(told: Mapping[str, Any], where: str) -> Block:
    """Write a file: an image, or a document with its name."""
    data, name, file_id = (told.get(key) for key in ("file_data", "filename", "file_id"))
    guessed = mimetypes.guess_type(name)[0] if isinstance(name, str) else None
    if not isinstance(data, str):
        if not isinstance(file_id, str):
            raise wrong_value(where, "a part with file_data or a file_id")
        linked = ":" in file_id
        source = _source(file_id, where) if linked else {"type": "file", "file_id": file_id}
    elif data[:5].lower() == "data:":
        source = _source(data, where)
    else:
        source = _inline(guessed or "application/pdf", data, where)
    block = _block(source, guessed or "application/pdf")
    if block["type"] == "document" and isinstance(name, str) and name:
        block["title"] = name
    return block


def _block(source: Block, guessed: str | None) -> Block:
    """Write an image or a document; what tells no type is what was guessed, or an image."""
    kind = str(source.get("media_type") or guessed or "image/")
    return {"type": "image" if kind.startswith("image/") else "document", "source": source}


def _source(url: Any, where: str) -> Block:
    """Write a file by its URL: one that holds it, or one on the web."""
    if not isinstance(url, str):
        raise wrong_value(where, "a part with a url")
    if url[:5].lower() == "data:":
        found = _DATA_URL.match(url)
        if found is None:
            raise wrong_value(where, "a data URL in base64")
        return _inline(found[1], url[found.end() :], where)
    if url.partition(":")[0].lower() not in ("http", "https"):
        raise wrong_value(where, "a data, http or https URL")
    return {"type": "url", "url": url}


def _inline(kind: str, data: str, where: str) -> Block:
    kind = {"image/jpg": "image/jpeg"}.get(kind.lower(), kind.lower())
    if not kind.startswith("text/") and kind != "application/json":
        return {"type": "base64", "media_type": kind, "data": data}
    # Texts are taken as they are, under one name.
    try:
        text = base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError) as problem:
        raise wrong_value(where, "a text in base64 and UTF-8") from problem
    return {"type": "text", "media_type": "text/plain", "data": text}
