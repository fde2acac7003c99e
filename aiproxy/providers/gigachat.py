"""
GigaChat's adapter: images are files that are uploaded before a call.

Source: GigaChat API reference, "POST /files" and "POST /files/{file}/delete".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final
from urllib.parse import quote, urlsplit

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from aiproxy.config.schema import Model
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.gigachat_messages import find_images, with_attachments
from aiproxy.dialects.operations import IMAGES
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import ContextTooLong, InvalidRequest, UpstreamFailed, UpstreamRefused
from aiproxy.interfaces import IReply
from aiproxy.providers.call import Call
from aiproxy.providers.gigachat_images import draw
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.http_reply import Afterwards
from aiproxy.transport.collect import collect_some
from aiproxy.wire.json import JSONError, loads

__all__ = ["GigaChatProvider"]

#: Seconds until a file that is not deleted is given up.
_DELETE_SECONDS: Final = 30.0

_DATA_URL: Final = re.compile(r"data:(image/[a-z0-9.+-]{1,64});base64,", re.IGNORECASE)
_EXTENSIONS: Final = {"jpeg": "jpg", "tiff": "tif", "svg+xml": "svg"}


def _ignore() -> None:
    """Take no note of a phase: the request is about a file, and not the call's own."""


@define
class GigaChatProvider(HTTPProvider):
    """
    GigaChat's adapter: images are uploaded before a call, and deleted after it.

    :param clock: bounds the deletion of files.
    """

    clock: IReactorTime = field(kw_only=True)
    #: What is being deleted.
    _deletions: set[Deferred[None]] = field(init=False, factory=set)

    _log = Logger()

    @property
    def operations(self) -> Collection[str]:
        """What it does beside chat; it draws when it is asked to in a chat."""
        return {*self.others, IMAGES}

    def takes_steps(self, call: Call) -> bool:
        """Always: a token is fetched first, and images are uploaded."""
        return True

    async def _ask(self, call: Call, after: Afterwards) -> IReply:
        """Ask; images are drawn by a chat, and are files."""
        if call.operation == IMAGES:
            return await draw(self._send, call)
        return await super()._ask(call, after)

    async def prepare(self, call: Call, request: ChatRequest, after: Afterwards) -> ChatRequest:
        """Put uploaded files in the place of images."""
        if not find_images(request):
            return request
        request = await super().prepare(call, request, after)
        # All are read before the first is sent.
        images = {url: _read_image(url) for url in find_images(request)}
        files = {}
        for url, (kind, data) in images.items():
            files[url] = file = await self._upload(call, kind, data)
            after.add(partial(self._forget, call, file))
        return with_attachments(request, files)

    async def _upload(self, call: Call, kind: str, data: bytes) -> str:
        """Upload an image; return the file's id."""
        content_type, body = _write_form(kind, data)
        answer = await self._ask_files(
            evolve(call, sent=_ignore), "/files", body, {"content-type": content_type}
        )
        try:
            told = loads(answer)
        except JSONError:
            told = None
        file = told.get("id") if isinstance(told, dict) else None
        if not isinstance(file, str) or not file:
            raise UpstreamFailed("the provider took an image, but did not say as what")
        return file

    def _forget(self, call: Call, file: str) -> None:
        """Delete a file; nobody waits for it."""
        call = evolve(call, connected=_ignore, sent=_ignore)
        route = f"/files/{quote(file, safe='')}/delete"
        deletion: Deferred[object] = Deferred.fromCoroutine(self._ask_files(call, route))
        deletion.addTimeout(_DELETE_SECONDS, self.clock)

        def failed(failure: Failure) -> None:
            # Neither the file nor the provider's words: they may tell of the image.
            self._log.warn(
                "an uploaded image of {provider} was not deleted: {error_type} (request {id})",
                provider=call.candidate.model.provider,
                error_type=type(failure.value).__name__,
                id=call.id,
            )

        ended = deletion.addCallbacks(lambda _: None, failed)
        self._deletions.add(ended)
        ended.addBoth(lambda _: self._deletions.discard(ended))

    async def _ask_files(
        self, call: Call, route: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> bytes:
        """Send a request about files, with the credentials of a call."""
        model = call.candidate.model
        model = evolve(model, base_url=_files_base(model), url=None)
        call = evolve(call, candidate=evolve(call.candidate, model=model), stream=False)
        response = await self._send(call, WireRequest(route, body, headers or {}))
        answer = await collect_some(response)
        if 200 <= response.status < 300:
            return answer
        error = self.dialect.read_error(response.status, response.headers, answer)
        if isinstance(error, ContextTooLong):
            # It is an image that is too large, and no other model has more room for it.
            error = UpstreamRefused(error.message, status=response.status, param="messages")
            error.upstream_status = response.status
        raise error


def _files_base(model: Model) -> str | None:
    """Return the base URL of a model's files, which may have a whole URL for its chat."""
    if model.url is None:
        return model.base_url
    parts = urlsplit(model.url)
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return parts._replace(path=path).geturl()


def _read_image(url: str) -> tuple[str, bytes]:
    """Read a ``data:`` URL: the type of an image and its bytes."""
    found = _DATA_URL.match(url)
    try:
        if found:
            return found[1].lower(), base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidRequest("an image must be a data: URL with an image in base64", param="messages")


def _write_form(kind: str, data: bytes) -> tuple[str, bytes]:
    """
    Write a form with a file (RFC 7578).

    :return: its content type, and the form.
    """
    # Data cannot hold a text that is made of its own digest.
    boundary = hashlib.sha256(data).hexdigest()[:32]
    extension = kind.partition("/")[2]
    name = f"image.{_EXTENSIONS.get(extension, extension)}"
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="purpose"\r\n\r\ngeneral\r\n'
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    body = b"%s%s\r\n--%s--\r\n" % (head.encode(), data, boundary.encode())
    return f"multipart/form-data; boundary={boundary}", body
