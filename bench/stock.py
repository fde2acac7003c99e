"""
The fixed baseline: a bare proxy of Klein and treq over twisted.web.

``python -m bench.stock PORT UPSTREAM_URL``.  It stays as it is, so that figures
of one year can stand beside those of another.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from klein import Klein
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

loop: Any = reactor
pool = HTTPConnectionPool(reactor, persistent=True)
pool.maxPersistentPerHost = 256
client, app = HTTPClient(Agent(reactor, pool=pool)), Klein()
HEADERS: dict[bytes | str, bytes | str] = {
    b"content-type": b"application/json",
    b"authorization": b"Bearer x",
}


@app.route("/v1/chat/completions", methods=["POST"])
async def chat(request: Any) -> bytes:
    """Ask the upstream, answer."""
    body = request.content.read()
    json.loads(body)
    answer = await client.post(sys.argv[2], data=body, unbuffered=True, headers=HEADERS)
    data: bytes = await answer.content()
    request.setHeader(b"content-type", b"application/json")
    request.setResponseCode(answer.code)
    return data


if __name__ == "__main__":
    loop.listenTCP(int(sys.argv[1]), Site(app.resource()), interface="127.0.0.1", backlog=512)
    loop.run()
