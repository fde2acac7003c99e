"""The blocks for a shell: each is run, against a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Final

from twisted.internet import defer

from tests.documentation.blocks import Block, blocks_of
from tests.documentation.fragments import variables_of
from tests.documentation.serving import ServedTestCase
from tests.documentation.shell import Workplace

#: Blocks that are not run, by page and first line: the reason.
EXCEPTED: Final[Mapping[tuple[str, str], str]] = {}
#: How a stream says that it failed, whose status was 200.
ERROR_EVENT: Final = 'data: {"error"'


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page's blocks read: LiteLLM's, as the page itself shows it."""
    shown = [block.text for block in blocks_of("yaml") if "\nmodel_list:" in f"\n{block.text}"]
    litellm = "".join(shown[:1])
    return {"config.yaml": litellm, "litellm.yaml": litellm}


class ShellTests(ServedTestCase):
    """Each block, one after the other."""

    timeout = 300
    skip = None if shutil.which("curl") else "most blocks need curl, which is not installed"

    async def complaints(self, blocks: Iterable[Block]) -> list[str]:
        """Run some blocks; return what those say that fail."""
        port = await self.start()
        place = Workplace(self.folder, port, self.config)
        path = self.environment({})["PATH"]
        found = []
        for block in blocks:
            files = files_of(block.page)
            script = place.prepare(block, files)
            command = ["/bin/bash", "-euo", "pipefail", str(script)]
            more = variables_of("".join(files.values()))
            shell = self.spawn(command, {**place.environment(path), **more})
            try:
                status = await shell.ended(60)
            except defer.TimeoutError:
                status = -1
            if status or ERROR_EVENT in shell.output:
                found.append(f"{block.where}: {status}: {shell.output[-1000:]}")
        return found

    async def test_blocks(self) -> None:
        """Nothing that a block runs fails."""
        blocks = [
            block
            for block in blocks_of("sh")
            if (block.page, block.text.partition("\n")[0]) not in EXCEPTED
        ]
        found = await self.complaints(blocks)
        self.assertEqual(found, [], "\n".join(found))

    async def test_refused(self) -> None:
        """What would fail is told, with its place and with what was said."""
        texts = (
            ("false | cat", ""),
            ("echo $NOBODY_HAS_SET_THIS", "NOBODY_HAS_SET_THIS"),
            ("curl http://127.0.0.1:8080/v1/models -H 'Authorization: Bearer no'", "401"),
            ("aiproxy run --prot 1", "--prot"),
            (".venv/bin/twistd -n aiproxy --listen tls:8443", "tls:8443"),
            ("twistd -n another", "another"),
            ("make nothing", "nothing"),
            ('make run ARGS="--confg x.yaml"', "--confg"),
            ("sh bench/nothing.sh", "bench/nothing.sh"),
            ("docker build -f deploy/Dockerfile .", "deploy/Dockerfile"),
            ("systemctl start nothing.service", "nothing.service"),
            ("python -m bench --slow", "--slow"),
            (f"echo '{ERROR_EVENT}: 1}}'", ERROR_EVENT),
            ("aiproxy check --config nothing.yaml", "nothing.yaml"),
        )
        blocks = [Block("p.md", line, "sh", f"{text}\n") for line, (text, _) in enumerate(texts, 1)]
        found = await self.complaints(blocks)
        self.assertEqual(len(found), len(texts), "\n".join(found))
        for line, (told, (_, reason)) in enumerate(zip(found, texts, strict=True), 1):
            self.assertTrue(told.startswith(f"p.md:{line}: "), told)
            self.assertIn(reason, told)
