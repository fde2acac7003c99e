"""Which URLs of images are fetched for a caller, before any name is looked up."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from attrs import frozen
from hyperlink import URL

from aiproxy.errors import InvalidRequest
from aiproxy.policy.addresses import is_plain_host

__all__ = ["ImageURL", "invalid_image_url", "read_image_url"]

# More does not fit into many a server's request line.
_URL_CHARACTERS = 8192
_SHOWN_CHARACTERS = 120
# Printable ASCII; browsers read a backslash as a slash.
_CHARACTERS = re.compile(r"[!-\[\]-~]+")
# A URL that is not taken apart is not shown: it may hold a password anywhere.
_UNREADABLE = "one of the images"


@frozen
class ImageURL:
    """
    An image's URL that can be asked.

    :param url: in ASCII.
    :param shown: what to call it in an error: no query, which may hold a signature.
    """

    url: str
    shown: str

    def refused(self) -> InvalidRequest:
        """Make the error for one that may not be fetched."""
        return _refused(f"the image at {self.shown}")

    def failed(self, why: str) -> InvalidRequest:
        """Make the error for one that could not be fetched."""
        text = f"the image at {self.shown} could not be downloaded: {why}"
        return InvalidRequest(text, param="messages", code="image_download_failed")


def invalid_image_url(text: str) -> InvalidRequest:
    """Make the error for URLs that are not asked."""
    return InvalidRequest(text, param="messages", code="invalid_image_url")


def _refused(which: str) -> InvalidRequest:
    return invalid_image_url(
        f"{which} may not be fetched: only those with a public http or https URL "
        "without credentials may; others are to be sent as data: URLs"
    )


def read_image_url(url: str) -> ImageURL:
    """
    Take a URL apart, once, and write it anew, so that nobody reads it otherwise.

    :raises InvalidRequest: it may not be fetched.
    """
    if len(url) > _URL_CHARACTERS:
        raise _refused(_UNREADABLE)
    try:
        # IDNA may bring forth what is refused below.
        written = url if url.isascii() else URL.from_text(url).to_uri().to_text()
        parts = urlsplit(written)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused(_UNREADABLE) from None
    name = f"[{host}]" if ":" in host else host
    if not (
        _CHARACTERS.fullmatch(written)
        and parts.scheme in ("http", "https")
        and port != 0
        and is_plain_host(host)
        # Credentials, and whatever else urlsplit forgives.
        and parts.netloc.lower() in (name, f"{name}:{port}")
    ):
        raise _refused(_UNREADABLE)
    origin = f"{parts.scheme}://{parts.netloc.lower()}"
    shown = origin + parts.path
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…"
    query = f"?{parts.query}" if parts.query else ""
    return ImageURL(origin + (parts.path or "/") + query, shown)
