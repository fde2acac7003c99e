"""The proxy inside another application."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Site

from aiproxy import Proxy, load_config
from tests.integration.servers import ServersTestCase, write_chat, write_request

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "embedded.py"


def under_ai(request: bytes) -> bytes:
    """Move a request to where the application has the proxy."""
    return request.replace(b" /", b" /ai/", 1)


class EmbeddingTests(ServersTestCase):
    """The example, and the resource under Twisted's own Site."""

    async def test_example(self) -> None:
        """It has its own page, streams beside it, and stops in order."""
        server = self.spawn([sys.executable, str(EXAMPLE), "0"])
        await server.until_bytes(b"Site starting on ")
        await server.until(lambda: b"\n" in server.received.partition(b"starting on ")[2])
        found = re.search(r"Site starting on (\d+)", server.output)
        assert found
        port = int(found[1])
        page = await self.ask(port, write_request("GET", "/"))
        self.assertIn(b"This is the application.", page.received)
        request = under_ai(write_chat("hello there", token="sk-example", stream=True))
        stream = await self.ask(port, request)
        self.assertEqual(stream.status, 200)
        self.assertIn(b'"content":"there"', stream.received)
        self.assertIn(b"data: [DONE]", stream.received)
        server.signal(signal.SIGTERM)
        await server.ended()
        self.assertNotIn("Traceback", server.output)

    async def test_stock_site(self) -> None:
        """Under Twisted's own Site, in this process, it serves and refuses alike."""
        from twisted.internet import reactor

        path = self.write("models: [{name: demo/echo, provider: demo}]\n")
        running: Any = reactor
        proxy = Proxy(load_config(path), running)
        proxy.service.startService()
        self.addCleanup(proxy.service.stopService)
        root = Resource()
        root.putChild(b"ai", proxy.resource())
        listening = running.listenTCP(0, Site(root), interface="127.0.0.1")
        self.addCleanup(listening.stopListening)
        port = listening.getHost().port
        token = proxy.access_token
        assert token
        answer = await self.ask(port, under_ai(write_chat(token=token.reveal(), stream=True)))
        self.assertIn(b"data: [DONE]", answer.received)
        answer = await self.ask(port, under_ai(write_chat(token="wrong")))
        self.assertEqual(answer.status, 401)
        answer = await self.ask(port, under_ai(write_request("GET", "/nowhere")))
        self.assertEqual(answer.status, 404)
        self.assertIn(b'{"error":', answer.received)
