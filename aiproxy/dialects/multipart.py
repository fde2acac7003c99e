"""
The fields of a ``multipart/form-data`` body: found, and replaced in place.

Files in it may be of any size and any bytes, so nothing is decoded and nothing
is written again but the field that changes.

Source: RFC 7578; the framing is RFC 2046's, 5.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import Final

from aiproxy.errors import InvalidRequest

__all__ = ["MultipartForm", "is_multipart"]

#: The lines before a part's content are no longer than this, nor all of them together:
#: parameters are read in time by the square of their number.
_HEAD_BYTES: Final = 4 * 1024
_ALL_HEADS_BYTES: Final = 256 * 1024
_MOST_PARTS: Final = 1_000
#: What can stand between quotes as it is.
_BOUNDARY: Final = re.compile(r"[ !#-\[\]-~]{1,200}")


def is_multipart(content_type: str) -> bool:
    """Whether a body of this content type is a form in parts."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


class MultipartForm:
    """
    A form as it came.

    :param content_type: the header's value, with the boundary.
    :raises InvalidRequest: it is no such form, or others might read another one in it.
    :ivar content_type: with nothing but the boundary: of several others might take another.
    """

    def __init__(self, body: bytes, content_type: str) -> None:
        boundary = _read_boundary(content_type)
        is_token = re.fullmatch(r"[\w.+'-]+", boundary) is not None
        written = boundary if is_token else f'"{boundary}"'
        self.content_type = f"multipart/form-data; boundary={written}"
        self.body = body
        self._spans: list[tuple[str, int, int]] = list(_find(body, boundary.encode("ascii")))

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


def _read_boundary(content_type: str) -> str:
    header = Message()
    header["content-type"] = content_type
    try:
        boundary = header.get_boundary()
    except ValueError:  # a number of too many digits, RFC 2231's way to part a value
        boundary = None
    if not boundary or not _BOUNDARY.fullmatch(boundary):
        raise InvalidRequest("the request's content type has no boundary", code="invalid_multipart")
    return boundary


def _find(body: bytes, boundary: bytes) -> Iterator[tuple[str, int, int]]:
    """Find the fields: their names, and where their content begins and ends."""
    mark = b"\r\n--" + boundary
    place = 0 if body.startswith(mark[2:]) else body.find(mark)
    if place < 0:
        raise _broken("its boundary is nowhere in it")
    place += len(mark) - (2 if place == 0 and body.startswith(mark[2:]) else 0)
    left = _ALL_HEADS_BYTES
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
        left -= head_end - begin
        if left < 0:
            raise _broken("the heads of its parts are too long")
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
    try:
        told = headers.get_params([], header="content-disposition")
    except ValueError:
        raise _broken("a part's name is not one") from None
    names = [value for key, value in told if key == "name"]
    # Which of two counts, and whether ``name*`` does (RFC 7578, 5.1.3), readers do not agree on.
    if len(headers.get_all("content-disposition", [])) > 1 or len(names) > 1:
        raise _broken("a part has two names")
    if names and not isinstance(names[0], str):
        raise _broken("a part's name is encoded")
    return names[0] if names else ""


def _broken(what: str) -> InvalidRequest:
    return InvalidRequest(f"the form cannot be read: {what}", code="invalid_multipart")
