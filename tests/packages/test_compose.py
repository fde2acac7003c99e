"""``compose.yaml``: by the Compose specification's schema, and against what it mounts."""

from __future__ import annotations

import json
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config
from aiproxy.wire.durations import read_duration
from tests.packages import ROOT, run_tool
from tests.packages.dockerfile import read_dockerfile


class ComposeTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        self.file: Any = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
        self.aiproxy = self.file["services"]["aiproxy"]

    def test_schema(self) -> None:
        """It is what the specification allows."""
        status, output = run_tool(
            "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"
        )
        self.assertEqual(status, 0, output)

    def test_image(self) -> None:
        """Folders, check and port are those of the image."""
        image = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))[-1]
        targets = {volume.split(":")[1] for volume in self.aiproxy["volumes"]}
        self.assertEqual(targets, {image.only("WORKDIR").text, *image.only("VOLUME").words})
        form, *command = self.aiproxy["healthcheck"]["test"]
        self.assertEqual(f"{form} {json.dumps(command)}", image.only("HEALTHCHECK").text)
        [port] = self.aiproxy["ports"]
        self.assertEqual(port.split(":")[-1], image.only("EXPOSE").text)

    def test_least_privilege(self) -> None:
        """Nothing can be written but the state, and nothing be gained."""
        self.assertTrue(self.aiproxy["read_only"])
        self.assertEqual(self.aiproxy["cap_drop"], ["ALL"])
        self.assertEqual(self.aiproxy["security_opt"], ["no-new-privileges:true"])
        writable = [volume for volume in self.aiproxy["volumes"] if not volume.endswith(":ro")]
        self.assertEqual(writable, ["state:/state"])

    def test_time_to_stop(self) -> None:
        """Running answers have the time that a server without a configuration gives them."""
        server = Config().server
        grace = read_duration(self.aiproxy["stop_grace_period"])
        self.assertGreater(grace, server.drain_timeout + server.shutdown_delay)

    def test_files(self) -> None:
        """What is built from, read and mounted is there, or made by who follows the first line."""
        self.assertEqual(self.aiproxy["build"], ".")
        self.assertEqual(self.aiproxy["env_file"], ".env")
        self.assertTrue((ROOT / ".env.example").is_file())
        mounted = {
            volume.split(":")[0]
            for service in self.file["services"].values()
            for volume in service["volumes"]
        }
        files = {name for name in mounted if name.startswith("./")} - {"./config"}
        self.assertEqual([name for name in files if not (ROOT / name).is_file()], [])
        self.assertEqual({n for n in mounted if not n.startswith("./")}, set(self.file["volumes"]))

    def test_monitoring(self) -> None:
        """Prometheus asks aiproxy, with the token that it is given; Grafana asks Prometheus."""
        services, configs = self.file["services"], self.file["configs"]
        read = {name: yaml.safe_load(config["content"]) for name, config in configs.items()}
        for name in ("prometheus", "grafana"):
            self.assertEqual(services[name]["profiles"], ["monitoring"])
            self.assertLessEqual({one["source"] for one in services[name]["configs"]}, set(read))
        [job] = read["prometheus"]["scrape_configs"]
        self.assertEqual(job["static_configs"], [{"targets": ["aiproxy:8080"]}])
        [secret] = services["prometheus"]["secrets"]
        self.assertEqual(job["authorization"]["credentials_file"], f"/run/secrets/{secret}")
        self.assertEqual(self.file["secrets"][secret], {"environment": "ADMIN_TOKEN"})
        [source] = read["datasource"]["datasources"]
        self.assertEqual((source["type"], source["url"]), ("prometheus", "http://prometheus:9090"))
        [provider] = read["dashboards"]["providers"]
        folder = provider["options"]["path"]
        self.assertTrue(any(f":{folder}/" in volume for volume in services["grafana"]["volumes"]))
