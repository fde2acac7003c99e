"""
``GET /openapi.json``: what our HTTP face is, for programs.

It is the same for everybody, and tells nothing of the configuration.

Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from aiproxy.version import __version__
from aiproxy.web.openapi_answers import HEADERS, RESPONSES
from aiproxy.web.openapi_paths import PARAMETERS, PATHS
from aiproxy.web.openapi_schemas import SCHEMAS
from aiproxy.web.request import ClientRequest
from aiproxy.wire.json import dumps

__all__ = ["describe", "show_document"]

_DESCRIPTION: Final = """\
OpenAI's HTTP API in front of every provider.

Unknown fields of requests and answers pass through. The answering provider's
`x-ratelimit-…` headers come with its answer. A path that is not here is a 404,
a method that a path does not take a 405 with `allow`; where there is GET, there
is HEAD. Every answer has headers for browsers' security beside those told here."""

_TAGS: Final = [
    {"name": "chat", "description": "OpenAI's chat completions, by every provider."},
    {"name": "images", "description": "By image models."},
    {"name": "embeddings", "description": "Where the provider has them."},
    {"name": "passed", "description": "Bodies pass as they are, to providers that speak the same."},
    {"name": "models", "description": "What a client may ask for."},
    {"name": "operation", "description": "For operators and load balancers."},
]
_SECURITY_SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "`AUTH_TOKEN`, or a key's."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same."},
    "adminToken": {"type": "http", "scheme": "bearer", "description": "`ADMIN_TOKEN`."},
    "adminApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "`ADMIN_TOKEN` too.",
    },
}


def describe() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "aiproxy",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": _TAGS,
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "responses": RESPONSES,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


async def show_document(request: ClientRequest) -> None:
    """Answer."""
    request.write_body(_write(), "application/json")


@cache
def _write() -> bytes:
    return dumps(describe())
