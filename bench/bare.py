"""
The baseline: Klein and treq as their documentation shows them, and nothing else.

``python -m bench.bare PORT UPSTREAM_PORT``: no authentication, no limits on
anything, no errors, no routing, and plain answers only.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import treq
from klein import Klein
from twisted.internet import reactor
from twisted.web.client import HTTPConnectionPool
from twisted.web.server import Site

loop: Any = reactor
app = Klein()
pool = HTTPConnectionPool(reactor)
pool.maxPersistentPerHost = 50


@app.route("/v1/chat/completions", methods=["POST"])
async def chat(request: Any) -> bytes:
    """Ask the upstream, answer."""
    asked = json.loads(request.content.read())
    response = await treq.post(
        f"http://127.0.0.1:{sys.argv[2]}/v1/chat/completions", json=asked, pool=pool
    )
    request.setHeader("content-type", "application/json")
    answer = await response.json()
    return json.dumps(answer).encode()


class QuietSite(Site):
    """Without a log line for each request, which aiproxy does not write either."""

    def log(self, request: object) -> None:
        """Write nothing."""


if __name__ == "__main__":
    loop.listenTCP(int(sys.argv[1]), QuietSite(app.resource()), 1024, "127.0.0.1")
    loop.run()
