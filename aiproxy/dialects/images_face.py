"""
The client's side of images: OpenAI's route, and the Go proxy's ``POST /image``.

Source: OpenAI API reference, "Create image"; the Go proxy answers with the
image itself.
"""

from __future__ import annotations

from typing import Any, Final

from aiproxy.dialects.face import StreamWriter, WrittenAnswer, read_object
from aiproxy.dialects.images import ImagesAnswer, image_bytes, sniff
from aiproxy.dialects.operations import ALL_IMAGES, IMAGES
from aiproxy.dialects.refusals import missing, wrong_type
from aiproxy.dialects.shapes import Usage
from aiproxy.errors import InvalidRequest, UpstreamFailed
from aiproxy.wire.json import dumps

__all__ = ["ImagesFace", "LegacyImageFace"]

#: Characters; the most that a model of OpenAI's takes.
_PROMPT_LIMIT: Final = 32_000
_FORMATS: Final = ("b64_json", "url")


class ImagesFace:
    """``POST /v1/images/generations``; see :class:`aiproxy.dialects.face.Face`."""

    operation = IMAGES

    def read_request(self, body: bytes) -> dict[str, Any]:
        """
        Read a request for images.

        :raises InvalidRequest: with the field at fault in ``param``.
        """
        request = read_object(body)
        _check(request)
        return request

    def stream_writer(
        self, request: dict[str, Any], *, identity: str, created: int, model: str
    ) -> StreamWriter:
        """Images come whole: :meth:`read_request` has refused it."""
        raise _no_stream()

    def write_answer(
        self, answer: ImagesAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """Write an answer; ``identity`` has no place in it."""
        told = answer.get("created")
        if not isinstance(told, int) or isinstance(told, bool) or told <= 0:
            told = created
        frame = {"created": told, "model": model}
        if "usage" in answer:
            frame["usage"] = _write_usage(answer["usage"])
        return WrittenAnswer(dumps({"created": told, **answer, **frame}))


class LegacyImageFace(ImagesFace):
    """
    ``POST /image``: ``{"model"?, "prompt" or "inputs"}`` in, the bytes of one image out.

    Without a model, or with ``all``, every image model is tried in turn.
    """

    def read_request(self, body: bytes) -> dict[str, Any]:
        """Read a request; it raises as :meth:`ImagesFace.read_request`."""
        request = read_object(body)
        inputs = request.pop("inputs", None)
        if request.setdefault("prompt", inputs) is None:
            request["prompt"] = inputs
        elif inputs not in (None, request["prompt"]):
            raise InvalidRequest("prompt and inputs are the same thing: name one", param="inputs")
        if request.get("model") in (None, ""):
            request["model"] = ALL_IMAGES
        _check(request)
        if request.get("n") not in (None, 1):
            raise InvalidRequest("the answer is one image: n must be 1", param="n")
        if request.get("response_format") == "url":
            raise InvalidRequest(
                "the answer is the image itself: there is no response_format",
                param="response_format",
            )
        request["response_format"] = "b64_json"
        return request

    def write_answer(
        self, answer: ImagesAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """
        Write the first image, as what it is by its first bytes.

        :raises UpstreamFailed: there is only a URL of it.
        """
        data = answer["data"][0].get("b64_json")
        if data is None:
            raise UpstreamFailed("the provider gives only a URL of the image: ask for it by name")
        image = image_bytes(data)
        return WrittenAnswer(image, sniff(image) or "application/octet-stream")


def _check(request: dict[str, Any]) -> None:
    """Check the fields that the gateway itself, or all dialects rely on."""
    model = request.get("model")
    if model is None or model == "":
        raise missing("model", "a model is required")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    prompt = request.get("prompt")
    if prompt is None:
        raise missing("prompt", "a prompt is required")
    if not isinstance(prompt, str):
        raise wrong_type("prompt", "a string")
    if not prompt or prompt.isspace():
        raise missing("prompt", "the prompt is empty")
    if len(prompt) > _PROMPT_LIMIT:
        raise InvalidRequest(
            f"the prompt has {len(prompt)} characters: {_PROMPT_LIMIT} are the most",
            param="prompt",
            code="string_above_max_length",
        )
    stream = request.get("stream")
    if not isinstance(stream, bool | None):
        raise wrong_type("stream", "true or false")
    if stream:
        raise _no_stream()
    n = request.get("n")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= 128):
        raise wrong_type("n", "a whole number from 1 to 128")
    if not isinstance(request.get("size"), str | None):
        raise wrong_type("size", "a text such as 1024x1024")
    if request.get("response_format") not in (None, *_FORMATS):
        raise wrong_type("response_format", " or ".join(_FORMATS))


def _no_stream() -> InvalidRequest:
    return InvalidRequest("images are not streamed: leave stream out", param="stream")


def _write_usage(usage: Usage) -> Usage:
    """Write usage by the names that OpenAI has for images; what more was told stays."""
    told = dict(usage)
    prompt, completion = told.pop("prompt_tokens", 0), told.pop("completion_tokens", 0)
    before = told.pop("prompt_tokens_details", None)
    told.pop("completion_tokens_details", None)
    images = before.get("image_tokens") if isinstance(before, dict) else None
    images = images if isinstance(images, int) else 0
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens_details": {"text_tokens": max(0, prompt - images), "image_tokens": images},
        **told,
    }
