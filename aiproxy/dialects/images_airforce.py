"""
Airforce's images: a GET with the prompt in the URL, whose answer is the image.

Source: the Go proxy, and its users' configurations.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from attrs import evolve, frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.images import ImagesReader, take_fields

__all__ = ["AirforceImages"]

_ROUTE: Final = "/imagine2"


@frozen
class AirforceImages(ImagesReader):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: dict[str, Any], *, model: str, stream: bool) -> WireRequest:
        """Write a request; further fields that are no texts or numbers have no place in a URL."""
        fields, dropped = take_fields(request, {"size"})
        if fields.get("size") == "auto":
            del fields["size"]
        plain = {name: value for name, value in fields.items() if type(value) in (str, int, float)}
        dropped += sorted(fields.keys() - plain.keys())
        query = urlencode({"prompt": request["prompt"], "model": model, **plain})
        return WireRequest(
            f"{_ROUTE}?{query}",
            b"",
            {"accept": "image/*"},
            dropped=tuple(dropped),
            reader=evolve(self, wanted=request.get("response_format")),
            method="GET",
        )

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append what is asked for."""
        parts = urlsplit(url)
        query = wire.route.partition("?")[2]
        return parts._replace(query="&".join(filter(None, (parts.query, query)))).geturl()
