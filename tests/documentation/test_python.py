"""The blocks in Python: each is executed."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping
from contextlib import chdir
from typing import Any, Final

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred

from aiproxy.testing import ChaosUpstream
from tests.documentation.blocks import Block, blocks_of
from tests.documentation.checking import Wrong, tell
from tests.documentation.serving import ServedTestCase
from tests.documentation.shell import point_at
from tests.integration.servers import write_chat

_SERVER: Final = "127.0.0.1:8080"


class PythonTests(ServedTestCase):
    """Each block."""

    async def complaints(self, blocks: Iterable[Block]) -> list[str]:
        """Execute some blocks; return what is wrong with them."""
        port = await self.start()
        found = []
        for block in blocks:
            try:
                if _SERVER in block.text:
                    await self.execute_apart(point_at(port, block.text))
                else:
                    with chdir(self.folder):
                        await self.execute(block)
            except Exception as error:
                found.append(tell(block, error))
        return found

    async def execute_apart(self, text: str) -> None:
        """Execute a client in a process of its own."""
        client = await self.run_python(text)
        if client.status:
            raise Wrong(client.output[-1000:])

    async def execute(self, block: Block) -> None:
        """Execute a block in this process, then call the functions that it defines."""
        given = self.names(block.page)
        names = dict(given)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(block.text, block.where, "exec", flags=flags, dont_inherit=True)
        running = eval(code, names)
        if inspect.isawaitable(running):
            await running
        for value in list(names.values()):
            if inspect.isfunction(value) and value.__code__.co_filename == block.where:
                value(*(given[name] for name in inspect.signature(value).parameters))

    def names(self, page: str) -> dict[str, Any]:
        """Return the names that the fragments of a page presuppose."""
        from twisted.internet import reactor

        tables: Mapping[str, Mapping[str, Any]] = {
            "README.md": {"reactor": reactor, "application": MultiService()},
            "docs/chaos.md": {
                "reactor": reactor,
                "clock": reactor,
                "ChaosUpstream": self.asked_upstream(),
            },
        }
        return dict(tables.get(page, {}))

    def asked_upstream(self) -> type[ChaosUpstream]:
        """Return an upstream that something asks, as soon as it listens."""

        async def ask(upstream: ChaosUpstream) -> str:
            port = int(upstream.url.rpartition(":")[2].partition("/")[0])
            await self.connect(port, write_chat())
            return upstream.url

        class AskedUpstream(ChaosUpstream):
            def listen(
                self, reactor: Any, port: int = 0, interface: str = "127.0.0.1"
            ) -> Deferred[str]:
                listening = super().listen(reactor, port, interface)
                return listening.addCallback(lambda _: Deferred.fromCoroutine(ask(self)))

        return AskedUpstream

    async def test_blocks(self) -> None:
        """Nothing is raised."""
        found = await self.complaints(blocks_of("python"))
        self.assertEqual(found, [], "\n".join(found))

    async def test_refused(self) -> None:
        """What raises is told, with its place and with what was raised."""
        texts = (
            ("nobody = has_defined_this\n", "NameError: name 'has_defined_this'"),
            ("def function(reactor):\n    raise ValueError('called')\n", "ValueError: called"),
            ("await 1\n", "TypeError"),
            ("import os; os.stat('provider_config.yaml').nothing\n", "AttributeError"),
            (f"raise SystemExit('not at {_SERVER}')\n", "not at 127.0.0.1:"),
        )
        blocks = [
            Block("README.md", line, "python", text) for line, (text, _) in enumerate(texts, 1)
        ]
        found = await self.complaints(blocks)
        self.assertEqual(len(found), len(texts), "\n".join(found))
        for line, (told, (_, reason)) in enumerate(zip(found, texts, strict=True), 1):
            self.assertTrue(told.startswith(f"README.md:{line}: "), told)
            self.assertIn(reason, told)
