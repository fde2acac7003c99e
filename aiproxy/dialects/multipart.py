"""
The fields of a ``multipart/form-data`` body: found, and replaced in place.

Files in it may be of any size and any bytes, so nothing is decoded and nothing
is written again but the field that changes.

Source: RFC 7578; the framing is RFC 2046's, 5.1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import Final

from aiproxy.errors import InvalidRequest

__all__ = ["MultipartForm", "is_multipart"]

#: The lines before a part's content are no longer than this.
_HEAD_BYTES: Final = 16 * 1024
_MOST_PARTS: Final = 1_000


def is_multipart(content_type: str) -> bool:
    """Whether a body of this content type is a form in parts."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


class MultipartForm:
    """
    A form as it came.

    :param content_type: the header's value, with the boundary.
    :raises InvalidRequest: it is no such form.
    """

    def __init__(self, body: bytes, content_type: str) -> None:
        self.body = body
        self._spans: list[tuple[str, int, int]] = list(_find(body, _read_boundary(content_type)))

    def field(self, name: str) -> bytes | None:
        """Return a field's content, the first where there are several."""
        return next(
            (self.body[begin:end] for told, begin, end in self._spans if told == name), None
        )

    def replace(self, name: str, content: bytes) -> bytes:
        """Return the body with another content in each field of this name."""
        pieces: list[bytes] = []
        place = 0
        for told, begin, end in self._spans:
            if told == name:
                pieces += (self.body[place:begin], content)
                place = end
        return b"".join((*pieces, self.body[place:]))


def _read_boundary(content_type: str) -> bytes:
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_boundary()
    if not boundary or len(boundary) > 200:
        raise InvalidRequest("the request's content type has no boundary", code="invalid_multipart")
    return boundary.encode("utf-8", "surrogateescape")


def _find(body: bytes, boundary: bytes) -> Iterator[tuple[str, int, int]]:
    """Find the fields: their names, and where their content begins and ends."""
    mark = b"\r\n--" + boundary
    place = 0 if body.startswith(mark[2:]) else body.find(mark)
    if place < 0:
        raise _broken("its boundary is nowhere in it")
    place += len(mark) - (2 if place == 0 and body.startswith(mark[2:]) else 0)
    for _ in range(_MOST_PARTS):
        if body.startswith(b"--", place):
            return
        begin = body.find(b"\r\n", place)
        if begin < 0 or body[place:begin].strip(b" \t"):
            raise _broken("what stands after a boundary is no line end")
        # A part may have no headers: its head is then the blank line alone.
        head_end = body.find(b"\r\n\r\n", begin, begin + _HEAD_BYTES)
        if head_end < 0:
            raise _broken("a part has no head")
        content = head_end + 4
        # An empty content has only the boundary's own line end.
        end = body.find(mark, content - 2)
        if end < 0:
            raise _broken("it has no end")
        yield _read_name(body[begin + 2 : head_end + 2]), content, max(content, end)
        place = end + len(mark)
    raise _broken(f"it has more than {_MOST_PARTS} parts")


def _read_name(head: bytes) -> str:
    headers = BytesHeaderParser(policy=compat32).parsebytes(head)
    name = headers.get_param("name", "", header="content-disposition")
    return name if isinstance(name, str) else ""


def _broken(what: str) -> InvalidRequest:
    return InvalidRequest(f"the form cannot be read: {what}", code="invalid_multipart")
