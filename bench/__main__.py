"""
aiproxy beside its upstream asked directly, and beside a bare Klein and treq proxy.

``make bench``: a minute.  The load runs on the same machine, so look at the
ratios, and on an idle machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.load import TOKEN
from bench.upstream import EVENTS

_SECONDS = 4
_CONNECTIONS = 32

_CONFIGURATION = """
providers:
  up: {{type: openai, base_url: "http://127.0.0.1:{port}/v1", token: none}}
models:
  - {{name: up/m, provider: up}}
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(port: int, *command: str, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise SystemExit(f"{' '.join(command)} does not listen") from None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _load(port: int, connections: int, kind: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "bench.load", str(port), str(connections), str(_SECONDS), kind]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(told[0]), float(told[1])


def main() -> None:
    """Measure, and print two tables."""
    with ExitStack() as stack:
        upstream, bare, ours = _free_port(), _free_port(), _free_port()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "provider_config.yaml"
        file.write_text(_CONFIGURATION.format(port=upstream))
        python = sys.executable
        stack.enter_context(_running(upstream, python, "-m", "bench.upstream", str(upstream)))
        stack.enter_context(_running(bare, python, "-m", "bench.bare", str(bare), str(upstream)))
        command = [str(Path(python).with_name("aiproxy")), "run"]
        options = [f"--config={file}", f"--addr=127.0.0.1:{ours}"]
        stack.enter_context(_running(ours, *command, *options, AUTH_TOKEN=TOKEN))
        targets = {"the upstream, directly": upstream, "Klein and treq": bare, "aiproxy": ours}

        print(f"Plain answers, {_CONNECTIONS} connections; time at one connection")
        base = 0.0
        for name, port in targets.items():
            rate, _ = _load(port, _CONNECTIONS, "plain")
            _, median = _load(port, 1, "plain")
            base = rate if port == bare else base
            ratio = f"{rate / base:5.2f} of the bare ones" if base else ""
            print(f"  {name:24} {rate:9.0f} answers/s  {median:7.3f} ms  {ratio}")

        print(f"Streams of {EVENTS} events, {_CONNECTIONS} connections")
        direct = 0.0
        for name in ("the upstream, directly", "aiproxy"):
            rate, _ = _load(targets[name], _CONNECTIONS, "stream")
            direct = direct or rate
            print(f"  {name:24} {rate * EVENTS:9.0f} events/s   {rate / direct:5.2f} of direct")


if __name__ == "__main__":
    main()
