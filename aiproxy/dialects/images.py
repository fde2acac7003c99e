"""
What all image dialects share: the hub's shape of an answer, and how it is come by.

The hub speaks OpenAI's images: a request with ``model`` and ``prompt``, an
answer ``{"created", "data": [{"b64_json" or "url", "revised_prompt"}], "usage"}``.
Usage has chat's names beside its own, for whoever counts.  A provider's
dialect says how its request is written and where in its JSON images stand;
bytes, errors and OpenAI's ``response_format`` are done here.

Source: OpenAI API reference, "Create image".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from aiproxy.dialects.answers import load_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.shapes import Usage
from aiproxy.errors import InvalidRequest, UpstreamError, UpstreamFailed
from aiproxy.wire.json import dumps

__all__ = [
    "MIN_IMAGE_BYTES",
    "OPENAI_FIELDS",
    "ImagesAnswer",
    "ImagesReader",
    "image_bytes",
    "image_of",
    "sniff",
    "take_fields",
]

ImagesAnswer: TypeAlias = dict[str, Any]

#: What is shorter, and no image by its first bytes, is something else (the Go proxy's rule).
MIN_IMAGE_BYTES: Final = 500

#: OpenAI's own fields beside ``model``, ``prompt`` and ``response_format``.
OPENAI_FIELDS: Final = frozenset(
    {
        *("background", "moderation", "n", "output_compression", "output_format"),
        *("partial_images", "quality", "size", "style", "user"),
    }
)
#: Values that ask for nothing.
_USUAL: Final[Mapping[str, tuple[Any, ...]]] = {"n": (1,), "partial_images": (0,)}

#: How images begin: RFC 2083; ITU-T T.81; GIF89a; RIFF; ISO 14496-12 with its brands; TIFF 6; SVG.
_BEGINNINGS: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"....ftyp(?:hei[cxms]|hev[cxms])", re.DOTALL), "image/heic"),
    (re.compile(rb"....ftyp(?:mif|msf)[12]", re.DOTALL), "image/heif"),
    (re.compile(rb"BM.{4}\0{4}", re.DOTALL), "image/bmp"),
    (re.compile(rb"II\*\0|MM\0\*"), "image/tiff"),
    (re.compile(rb"\s{0,64}(?:<\?xml[^>]{0,256}>\s{0,64})?<svg[\s>]"), "image/svg+xml"),
)
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
#: Characters of base64 that are enough to see how an image begins.
_SNIFFED: Final = 1024


def sniff(data: bytes) -> str | None:
    """Return the media type of an image by its first bytes; ``None``: it is none."""
    return next((kind for beginning, kind in _BEGINNINGS if beginning.match(data)), None)


def image_bytes(b64_json: str) -> bytes:
    """
    Decode an image.

    :raises UpstreamFailed: it is no base64.
    """
    try:
        return base64.b64decode(b64_json, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise UpstreamFailed("the upstream's image is not base64") from problem


def image_of(told: str) -> dict[str, Any]:
    """Write one image of an answer, of which this is told: a URL, or its base64."""
    found = _DATA_URL.match(told)
    if found:
        return {"b64_json": told[found.end() :]}
    return {"url": told} if "://" in told[:10] else {"b64_json": told}


def take_fields(
    request: Mapping[str, Any], takes: Iterable[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """
    Take the fields of a request that a provider is told.

    :param takes: which of :data:`OPENAI_FIELDS` it knows; others than those pass.
    :return: them, and the names of those that ask for something and are left out.
    """
    fields, dropped = {}, []
    unknown = OPENAI_FIELDS.difference(takes)
    for name, value in request.items():
        if value is None or name in ("model", "prompt", "response_format", "stream"):
            continue
        if name not in unknown:
            fields[name] = value
        elif value != "auto" and value not in _USUAL.get(name, ()):
            dropped.append(name)
    return fields, sorted(dropped)


@frozen
class ImagesReader:
    """
    What image dialects extend by ``write_request``; see :class:`aiproxy.dialects.dialect.Dialect`.

    As it is it reads OpenAI's shape, and bytes that are the image itself.

    :param wanted: the ``response_format`` that the caller asked for.
    """

    wanted: str | None = None

    def find_images(self, answer: Any) -> ImagesAnswer:
        """
        Find the images in an answer's JSON.

        :return: the hub's answer, as far as it goes: without checks and repairs.
        :raises UpstreamError: it says why there are none.
        """
        if not isinstance(answer, dict):
            raise UpstreamFailed("the upstream's answer is not a JSON object")
        if "data" in answer or "images" not in answer:
            return answer
        # A few compatible servers name them so.
        return {name: answer[name] for name in answer if name != "images"} | {
            "data": answer["images"]
        }

    def load(self, body: bytes) -> Any:
        """
        Decode an answer that is no image.

        :raises UpstreamError: it is no JSON, or an error inside a 200.
        """
        return load_answer(body)

    def read_reply(self, body: bytes) -> ImagesAnswer:
        """Read an answer: each image has ``b64_json`` or ``url``, as it was wanted if it can be."""
        if sniff(body) is not None:
            answer: ImagesAnswer = {"data": [{"b64_json": base64.b64encode(body).decode()}]}
        else:
            answer = self.find_images(self.load(body))
        told = answer.get("data")
        images = [_settle(image, self.wanted) for image in told] if isinstance(told, list) else []
        if not images:
            raise UpstreamFailed("the upstream's answer has no image")
        answer["data"] = images
        usage = answer.pop("usage", None)
        if isinstance(usage, dict) and usage:
            answer["usage"] = _read_usage(usage)
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Images come whole."""
        raise InvalidRequest("images are not streamed", param="stream")

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one."""
        return url

    def wants_images(self, request: dict[str, Any], *, model: str) -> bool:
        """There are none in the request."""
        return False

    def wire(
        self,
        route: str,
        body: Mapping[str, Any],
        request: Mapping[str, Any],
        dropped: Iterable[str],
    ) -> WireRequest:
        """Make the wire request for a request, whose answer is read as it is wanted."""
        return WireRequest(
            route,
            dumps(body),
            {"content-type": "application/json"},
            tuple(dropped),
            evolve(self, wanted=request.get("response_format")),
        )


def _settle(told: Any, wanted: str | None) -> dict[str, Any]:
    """Put one image of an answer right, and into the form that is wanted, where it can be."""
    image = image_of(told) if isinstance(told, str) else told
    if not isinstance(image, dict):
        raise UpstreamFailed("the upstream's answer has an image that is not an object")
    content = image.get("b64_json") or image.get("url")
    if not isinstance(content, str) or not content:
        raise UpstreamFailed("the upstream's answer has an image without content")
    image = {name: image[name] for name in image if name not in ("b64_json", "url")}
    found = image_of(content)
    data = found.get("b64_json")
    if data is not None:
        kind = _check(data)
        if wanted == "url":
            found = {"url": f"data:{kind};base64,{data}"}
    return {**found, **image}


def _check(b64_json: str) -> str:
    """Return an image's media type; what is short and none is refused."""
    kind = sniff(image_bytes(b64_json[:_SNIFFED]))
    if kind is None and len(b64_json) * 3 // 4 < MIN_IMAGE_BYTES:
        raise UpstreamFailed("the upstream's image is none")
    return kind or "application/octet-stream"


def _read_usage(usage: Usage) -> Usage:
    """Name the tokens of an image as chat does too."""
    read = dict(usage)
    for chat, theirs in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        if read.get(chat) is None and read.get(theirs) is not None:
            read[chat] = read[theirs]
    return read
