"""Recorded traffic, which is other people's and not in this repository."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SkipTest

VARIABLE = "AIPROXY_RECORDINGS"


@frozen
class Recording:
    """
    One exchange with a provider.

    :param name: its file, for messages.
    """

    name: str
    request: dict[str, Any]
    status: int
    headers: dict[str, str]
    body: bytes
    streamed: bool

    @property
    def provider(self) -> str:
        """Whose it is."""
        return self.name.partition("/")[0]


def digest_of_index() -> str:
    """Tell one set of recordings from another; ``""`` where there are none."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return ""
    return hashlib.sha256((Path(folder) / "INDEX.tsv").read_bytes()).hexdigest()[:12]


def read_recordings(api: str, *providers: str) -> Iterator[Recording]:
    """
    Read all recordings of one API of these providers.

    :raises SkipTest: nobody says where they are.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        raise SkipTest(f"needs recorded traffic: ${VARIABLE} names no folder with recordings")
    with (Path(folder) / "INDEX.tsv").open(encoding="utf-8") as index:
        rows = [line.rstrip("\n").split("\t") for line in index]
    for name, told_api, *_ in rows:
        if told_api == api and name.split("/")[0] in providers:
            exchange = json.loads((Path(folder) / name).read_bytes())
            response = exchange["response"]
            yield Recording(
                name=name,
                request=exchange["request"],
                status=response["status"],
                headers={key.lower(): value for key, value in response["headers"].items()},
                body=response["body"].encode(),
                streamed=response["streamed"],
            )
