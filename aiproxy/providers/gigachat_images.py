"""
GigaChat's images: a chat in which the model draws, and the file that it names.

The model calls a function of its own (``text2image``) where it is free to
(``function_call: auto``); its answer holds ``<img src="FILE" fuse="true"/>``.
The v2 API is asked for ``image_generate``, and names files apart from its words.

Source: GigaChat API reference, "Image generation" and "GET
/files/{file}/content"; v2's answer is recorded.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit

from attrs import define, evolve, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aiproxy.config.schema import Model
from aiproxy.dialects.answers import load_answer
from aiproxy.dialects.dialect import AnswerReader, WireRequest
from aiproxy.dialects.gigachat import GigaChatReader
from aiproxy.dialects.images import ImagesAnswer, ImagesReader, sniff, take_fields
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.words import fit_words
from aiproxy.errors import ContentRefused, UpstreamError, UpstreamFailed
from aiproxy.interfaces import IBodyConsumer, IReply
from aiproxy.providers.call import Call
from aiproxy.providers.http import read_rate_limits
from aiproxy.transport.client import UpstreamResponse
from aiproxy.transport.collect import collect, collect_some
from aiproxy.wire.json import dumps

__all__ = ["DrawnReply", "draw"]

#: Sends a request with a call's credentials.
Send = Callable[[Call, WireRequest], Awaitable[UpstreamResponse]]

_CHAT_ROUTE: Final = "/chat/completions"
_JSON: Final = {"content-type": "application/json"}
#: The reference's own name of the type.
_FILE: Final = {"accept": "application/jpg"}
#: Bytes of the chat's answer, and of an image.
_ANSWER_LIMIT: Final = 1024 * 1024
_IMAGE_LIMIT: Final = 32 * 1024 * 1024

_IMAGE: Final = re.compile(r"""<img\s[^<>]{0,200}?\bsrc=["']([\w.-]{1,128})["'][^<>]{0,200}>""")


async def draw(send: Send, call: Call) -> IReply:
    """
    Answer a call for images.

    :param send: sends a request to the call's provider.
    :raises UpstreamError: of either request; or the model has drawn nothing.
    """
    model = call.candidate.model
    request = {**call.request, **model.body}
    body, dropped = _write_chat(request, call.candidate.upstream_model, model)
    # The chat may have a whole URL of its own, which is no image's.
    chat = evolve(call, operation=CHAT, stream=False)
    response = await send(chat, WireRequest(_CHAT_ROUTE, dumps(body), _JSON))
    answer = load_answer(await _take(response, _ANSWER_LIMIT))
    files = evolve(chat.candidate, model=evolve(model, base_url=_files_base(model), url=None))
    images = []
    for file in _find_files(answer):
        route = f"/files/{quote(file, safe='')}/content"
        # Only the chat is what the caller sends.
        fetch = evolve(chat, candidate=files, sent=lambda: None)
        content = await _take(
            await send(fetch, WireRequest(route, b"", _FILE, method="GET")), _IMAGE_LIMIT
        )
        if sniff(content) is None:
            load_answer(content)
            raise UpstreamFailed("the upstream's file is no image")
        images.append({"b64_json": base64.b64encode(content).decode()})
    drawn: ImagesAnswer = {"data": images}
    if isinstance(answer.get("usage"), dict):
        drawn["usage"] = answer["usage"]
    return DrawnReply(
        dumps(drawn),
        ImagesReader(request.get("response_format")),
        tuple(dropped),
        read_rate_limits(response.headers),
    )


@implementer(IReply, IPushProducer)
@define
class DrawnReply:
    """
    See :class:`aiproxy.interfaces.IReply`: all of it is here before it begins.

    :param body: the hub's answer.
    """

    body: bytes
    dialect: AnswerReader
    dropped: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(factory=dict)
    streamed: bool = False
    _stopped: bool = field(init=False, default=False)

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Give the body, at once."""
        consumer.begin(self)
        if not self._stopped:
            consumer.received(self.body)
        if not self._stopped:
            consumer.finished()

    def abandon(self) -> None:
        """There is no connection any more."""

    def pauseProducing(self) -> None:
        """There is nothing left to be paused."""

    def resumeProducing(self) -> None:
        """There is nothing left."""

    def stopProducing(self) -> None:
        """Give no more."""
        self._stopped = True


def _write_chat(
    request: Mapping[str, Any], upstream: str, model: Model
) -> tuple[dict[str, Any], list[str]]:
    """Write the request of a chat that is to end in an image; with what is left out of it."""
    fields, dropped = take_fields(request)
    body: dict[str, Any] = {"model": upstream}
    if _is_v2(model):
        body |= {
            "messages": [{"role": "user", "content": [{"text": request["prompt"]}]}],
            "tools": [{"image_generate": {}}],
            "tool_config": {"mode": "forced", "tool_name": "image_generate"},
        }
    else:
        body |= {
            "messages": [{"role": "user", "content": request["prompt"]}],
            "function_call": "auto",
        }
    return {**body, **fields}, dropped


async def _take(response: UpstreamResponse, limit_bytes: int) -> bytes:
    """Take a body, if its status is a success."""
    if 200 <= response.status < 300:
        return await collect(response, limit_bytes)
    body = await collect_some(response)
    error = GigaChatReader().read_error(response.status, response.headers, body)
    if isinstance(error, UpstreamError):
        error.headers = response.headers
        error.rate_limits = read_rate_limits(response.headers)
    raise error


def _find_files(answer: Any) -> list[str]:
    """
    Find the images that an answer names, each once.

    :raises UpstreamError: there are none: a refusal, or only words.
    """
    if not isinstance(answer, dict):
        raise UpstreamFailed("the upstream's answer is not a JSON object")
    texts, files, refused = [], [], answer.get("finish_reason") == "blacklist"
    for message, reason in _messages(answer):
        refused = refused or reason == "blacklist"
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"text": content}]:
            if not isinstance(part, dict):
                continue
            if isinstance(part.get("text"), str):
                texts.append(part["text"])
                files += _IMAGE.findall(part["text"])
            told = part.get("files")
            for file in told if isinstance(told, list) else []:
                if isinstance(file, dict) and isinstance(file.get("id"), str):
                    files.append(file["id"])
    if files:
        return list(dict.fromkeys(files))
    words = fit_words(" ".join(texts))
    if refused:
        raise ContentRefused(words or "the model refused to draw")
    raise UpstreamFailed(f"the model has drawn nothing: {words or 'it said no word'}")


def _messages(answer: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Give the messages of an answer of v1 or v2, with how their choices finished."""
    for choices in (answer.get("choices"), answer.get("messages")):
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                message = choice.get("message", choice)
                if isinstance(message, dict):
                    yield message, choice.get("finish_reason")


def _is_v2(model: Model) -> bool:
    path = urlsplit(model.url or model.base_url or "").path.rstrip("/")
    return path.removesuffix(_CHAT_ROUTE).endswith("/v2")


def _files_base(model: Model) -> str:
    """Return the base URL of files, which v1 alone has."""
    parts = urlsplit(model.url or model.base_url or "")
    path = parts.path.rstrip("/").removesuffix(_CHAT_ROUTE)
    if path.endswith("/v2"):
        path = path.removesuffix("/v2") + "/v1"
    return parts._replace(path=path).geturl()
