"""Who is measured: aiproxy, the two fixed baselines, and other gateways where installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).parent.parent
TOKEN = "sk-bench"
FACES = ("openai", "gemini", "anthropic")

_BEARER = {"Authorization": f"Bearer {TOKEN}"}
_TOKENS = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}
_MODELS = {"gemini": "gemini-2.5-flash", "anthropic": "claude-sonnet-4-20250514"}

# Everything is on that a careful operator would turn on; the limit is never reached.
# The silence of streams that are only held open would be taken for an outage.
_AIPROXY = """
server: {{http: {http}, access_log: access-{http}.log}}
timeouts: {{idle: 10m}}
providers:
  openai: {{base_url: "http://127.0.0.1:{upstream}/v1", token: key}}
  gemini: {{base_url: "http://127.0.0.1:{upstream}/v1beta", token: key}}
  anthropic: {{base_url: "http://127.0.0.1:{upstream}/v1", token: key}}
models:
  - {{name: bench/openai, provider: openai, requests_per_minute: 100000000}}
  - {{name: bench/gemini, provider: gemini, requests_per_minute: 100000000}}
  - {{name: bench/anthropic, provider: anthropic, requests_per_minute: 100000000}}
"""


@frozen
class Place:
    """Where a target is to run: its folder, its port, and its upstream's port."""

    folder: Path
    port: int
    upstream: int


@frozen
class Target:
    """
    Something to send requests to.

    :param command: writes its files and tells how it is started; none where the
        upstream itself is asked.
    :param faces: the providers from whose API it translates.
    :param headers: of each request, for a face and an upstream's port.
    :param streams: it passes streams on as they come.
    """

    name: str
    title: str
    command: Callable[[Place], Sequence[str]] | None
    faces: Sequence[str] = FACES
    headers: Callable[[str, int], Mapping[str, str]] = field(default=lambda face, port: _BEARER)
    environment: Mapping[str, str] = field(factory=dict)
    streams: bool = True
    is_peer: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether this is aiproxy."""
        return self.name.startswith("aiproxy")


def find_targets() -> list[Target]:
    """Find what can be measured here."""
    found = [Target("direct", "upstream, asked directly", None, ["openai"])]
    if shutil.which("nginx"):
        found.append(Target("nginx", "nginx as the proxy", _write_nginx, ["openai"]))
    here = {"PYTHONPATH": str(ROOT)}
    for name, title, write in (
        ("stock", "bare Klein and treq", _write_stock),
        ("bare", "Twisted and llhttp, no gateway", _write_bare),
    ):
        target = Target(name, title, write, ["openai"], environment=here, streams=False)
        found.append(target)
    for name, title, http in (
        ("aiproxy", "**aiproxy**", "llhttp"),
        ("aiproxy-stock", "aiproxy, `http: stock`", "stock"),
    ):
        found.append(Target(name, title, _aiproxy(http), environment=_TOKENS))
    return found + _find_peers()


def find_aiproxy_of(python: str) -> Target:
    """
    Find aiproxy in another environment, to be measured beside.

    :param python: its interpreter.
    """
    version = subprocess.check_output([python, "--version"], text=True).strip()
    command = _aiproxy("llhttp", python)
    return Target(f"aiproxy-{python}", f"aiproxy, {version}", command, environment=_TOKENS)


def _find_peers() -> list[Target]:
    default = Path.home() / ".cache" / "aiproxy-peers"
    folder = Path(os.environ.get("AIPROXY_PEERS") or default)
    found = []
    litellm = folder / "litellm/bin/litellm"
    if litellm.exists():
        # Its table of prices would be fetched, and each start reported.
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        found.append(
            Target("litellm", "LiteLLM", _litellm(litellm), environment=quiet, is_peer=True)
        )
    portkey = folder / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    if portkey.exists():
        found.append(
            Target("portkey", "Portkey", _portkey(portkey), headers=_tell_portkey, is_peer=True)
        )
    return found


def _write_nginx(place: Place) -> list[str]:
    text = (ROOT / "bench/nginx.conf").read_text()
    text = text.replace("@PORT@", str(place.port)).replace("@UPSTREAM@", str(place.upstream))
    (place.folder / "nginx.conf").write_text(text)
    folder = str(place.folder)
    return ["nginx", "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/nginx.err"]


def _write_stock(place: Place) -> list[str]:
    url = f"http://127.0.0.1:{place.upstream}/v1/chat/completions"
    return [sys.executable, "-m", "bench.stock", str(place.port), url]


def _write_bare(place: Place) -> list[str]:
    return [sys.executable, "-m", "bench.bare", str(place.port), str(place.upstream)]


def write_aiproxy(place: Place, http: str = "llhttp", python: str = sys.executable) -> list[str]:
    """Write aiproxy's configuration; how it is started, but for where it listens."""
    file = place.folder / f"aiproxy-{http}.yaml"
    file.write_text(_AIPROXY.format(http=http, upstream=place.upstream))
    return [str(Path(python).with_name("aiproxy")), "run", f"--config={file}"]


def _aiproxy(http: str, python: str = sys.executable) -> Callable[[Place], list[str]]:
    return lambda place: [*write_aiproxy(place, http, python), f"--addr=127.0.0.1:{place.port}"]


def _litellm(program: Path) -> Callable[[Place], list[str]]:
    def write(place: Place) -> list[str]:
        bases = {"openai": "/v1", "gemini": "/v1beta", "anthropic": ""}
        models = []
        for face in FACES:
            parameters = {
                "model": f"{face}/{_MODELS.get(face, 'gpt-4.1')}",
                "api_base": f"http://127.0.0.1:{place.upstream}{bases[face]}",
                "api_key": "key",
            }
            models.append({"model_name": f"bench/{face}", "litellm_params": parameters})
        settings = {
            "model_list": models,
            "general_settings": {"master_key": TOKEN},
            "litellm_settings": {"num_retries": 0},
        }
        file = place.folder / "litellm.yaml"
        file.write_text(json.dumps(settings))  # JSON is YAML
        where = [f"--port={place.port}", "--host=127.0.0.1", "--num_workers=1"]
        return [str(program), f"--config={file}", *where]

    return write


def _portkey(program: Path) -> Callable[[Place], list[str]]:
    return lambda place: ["node", str(program), f"--port={place.port}", "--headless"]


def _tell_portkey(face: str, upstream: int) -> dict[str, str]:
    """Portkey's configuration comes with each request."""
    provider = {"gemini": "google"}.get(face, face)
    version = "v1beta" if face == "gemini" else "v1"
    return {
        **_BEARER,
        "x-portkey-provider": provider,
        "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/{version}",
    }


def choose_model(target: Target, face: str) -> str:
    """Tell the model that a request to this target has to name."""
    if target.name == "portkey":
        return _MODELS.get(face, "gpt-4.1")
    return f"bench/{face}"
