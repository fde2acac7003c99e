"""
What the dialects of embeddings share.

The hub's answer is OpenAI's: ``{"object": "list", "data": [{"object":
"embedding", "index", "embedding"}], "usage": {"prompt_tokens",
"total_tokens"}}``.  A provider's dialect writes the request and translates the
answer; the checks and the encoding of vectors are the same for all of them.
The vectors are as the caller asked for them: floats, or base64 of them as
32-bit numbers, little endian, which OpenAI's clients ask for and decode.

Source: OpenAI API reference, "Create embeddings"; openai-python for base64.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from attrs import evolve, frozen

from aiproxy.dialects.answers import load_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest, Usage
from aiproxy.errors import InvalidRequest, UpstreamError, UpstreamFailed
from aiproxy.wire.json import dumps

__all__ = [
    "BASE64",
    "FLOAT",
    "EmbeddingsDialect",
    "count_inputs",
    "decode_vector",
    "drop_fields",
    "encode_vector",
    "other_fields",
    "read_texts",
    "rename_field",
    "settle_embeddings",
    "write_entries",
]

#: The values of ``encoding_format``.
FLOAT: Final = "float"
BASE64: Final = "base64"

_HEADERS: Final = {"content-type": "application/json"}

_Self = TypeVar("_Self", bound="EmbeddingsDialect")


@frozen
class EmbeddingsDialect:
    """
    What is the same in every dialect of embeddings: all but the request and the answer's shape.

    The dialect itself reads the answer, as evolved by :meth:`wire`.

    :param inputs: how many vectors were asked for; ``None``: nobody counts.
    :param encoding: what the caller wants them in.
    """

    inputs: int | None = None
    encoding: str = FLOAT

    def wire(
        self: _Self, request: ChatRequest, route: str, body: object, dropped: Iterable[str] = ()
    ) -> WireRequest:
        """
        Write what is ready for the wire.

        :param request: the caller's, which says how the answer is read.
        """
        encoding = request.get("encoding_format") or FLOAT
        reader = evolve(self, inputs=count_inputs(request), encoding=encoding)
        return WireRequest(route, dumps(body), _HEADERS, tuple(dropped), reader)

    def translate(self, answer: Any) -> Any:
        """Turn a provider's decoded answer into the hub's shape; here it has it already."""
        return answer

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read an answer; an error inside a 200 is raised as what it stands for."""
        answer = self.translate(load_answer(body))
        return settle_embeddings(answer, inputs=self.inputs, encoding=self.encoding)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Refuse: there is no such stream."""
        raise InvalidRequest("embeddings are not streamed", param="stream")

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one."""
        return url

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """There are none."""
        return False


# --- requests -----------------------------------------------------------------------


def count_inputs(request: ChatRequest) -> int:
    """Say how many vectors a request asks for; a list of numbers is one text in tokens."""
    told = request["input"]
    return len(told) if isinstance(told, list) and not _are_tokens(told) else 1


def read_texts(request: ChatRequest) -> list[str]:
    """
    Give a request's texts.

    :raises InvalidRequest: they are token ids, which only the model's own
        vocabulary could turn back into text.
    """
    told = request["input"]
    texts = told if isinstance(told, list) else [told]
    if all(isinstance(text, str) for text in texts):
        return texts
    raise InvalidRequest(
        "this model's provider takes texts only, no token ids", param="input", code="invalid_type"
    )


def other_fields(request: ChatRequest) -> dict[str, Any]:
    """Copy what a request holds beside the model, the input and the vectors' encoding."""
    read = ("model", "input", "encoding_format", "stream")
    return {
        name: value for name, value in request.items() if value is not None and name not in read
    }


def drop_fields(fields: dict[str, Any], *names: str) -> list[str]:
    """Leave fields out, in place; give those that ask for anything."""
    return [name for name in names if fields.pop(name, None)]


def rename_field(fields: dict[str, Any], old: str, new: str) -> list[str]:
    """Rename a field, in place; give its name if the new one already says something else."""
    value = fields.pop(old, None)
    if value is None or fields.setdefault(new, value) == value:
        return []
    return [old]


# --- answers ------------------------------------------------------------------------


def write_entries(vectors: object) -> list[dict[str, Any]]:
    """Write vectors that came as bare lists as the entries of an answer."""
    return [{"embedding": vector} for vector in vectors] if isinstance(vectors, list) else []


def settle_embeddings(answer: object, *, inputs: int | None, encoding: str) -> ChatAnswer:
    """
    Put an answer in OpenAI's shape right, in place: order, encoding, usage.

    :param inputs: how many vectors there have to be; ``None``: at least one.
    :raises UpstreamFailed: it is no answer, or not to this request.
    """
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(answer, dict) or not isinstance(data, list) or not data:
        raise UpstreamFailed("the upstream's answer has no embeddings")
    if inputs is not None and len(data) != inputs:
        raise UpstreamFailed(
            f"the upstream's answer has {len(data)} embeddings for {inputs} inputs"
        )
    answer["data"] = data = _in_order(data)
    for entry in data:
        entry["object"] = "embedding"
        entry["embedding"] = _encode_as(encoding, entry.get("embedding"))
    answer["object"] = "list"
    answer["usage"] = _settle_usage(answer.get("usage"))
    return answer


def encode_vector(vector: list[Any]) -> str:
    """
    Write a vector in base64.

    :raises UpstreamFailed: for what is no vector of 32-bit numbers.
    """
    try:
        packed = struct.pack(f"<{len(vector)}f", *vector)
    except (struct.error, OverflowError):
        raise UpstreamFailed("the upstream's answer has an embedding of no numbers") from None
    return base64.b64encode(packed).decode()


def decode_vector(text: str) -> list[float]:
    """
    Read a vector in base64.

    :raises UpstreamFailed: it is none.
    """
    packed = _unpack(text)
    vector = list(struct.unpack(f"<{len(packed) // 4}f", packed))
    # JSON has no words for the others.
    if not all(map(math.isfinite, vector)):
        raise UpstreamFailed("the upstream's answer has an embedding of no numbers")
    return vector


def _unpack(text: str) -> bytes:
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        packed = b""
    if not packed or len(packed) % 4:
        raise UpstreamFailed("the upstream's answer has an embedding that is not base64 of floats")
    return packed


def _encode_as(encoding: str, vector: object) -> list[Any] | str:
    """Check a vector, and write it as asked; what is so already stays to the last digit."""
    if isinstance(vector, str):
        if encoding != BASE64:
            return decode_vector(vector)
        _unpack(vector)
        return vector
    if not isinstance(vector, list) or not vector or not set(map(type, vector)) <= {int, float}:
        raise UpstreamFailed("the upstream's answer has an embedding of no numbers")
    return encode_vector(vector) if encoding == BASE64 else vector


def _in_order(data: list[Any]) -> list[dict[str, Any]]:
    """Sort entries by their index; where none has its own, they are in order."""
    if not all(isinstance(entry, dict) for entry in data):
        raise UpstreamFailed("the upstream's answer has an embedding that is not an object")
    told = [entry.get("index") for entry in data]
    if told.count(told[0]) == len(data):
        for place, entry in enumerate(data):
            entry["index"] = place
    elif not all(type(index) is int for index in told) or sorted(told) != [*range(len(data))]:
        raise UpstreamFailed("the upstream's answer does not say which embedding is whose")
    return sorted(data, key=lambda entry: int(entry["index"]))


def _settle_usage(told: object) -> Usage:
    """Fill the two counts in that clients require; 0 where nothing is told."""
    usage: Usage = dict(told) if isinstance(told, dict) else {}
    prompt, total = _count(usage.get("prompt_tokens")), _count(usage.get("total_tokens"))
    usage["prompt_tokens"] = total if prompt is None and total is not None else prompt or 0
    usage["total_tokens"] = usage["prompt_tokens"] if total is None else total
    return usage


def _count(value: object) -> int | None:
    """Read a count; Cohere's may be floats (recorded)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return max(0, int(value))


def _are_tokens(inputs: list[Any]) -> bool:
    return bool(inputs) and isinstance(inputs[0], int)
