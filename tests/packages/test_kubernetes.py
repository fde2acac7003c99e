"""``deploy/kubernetes``: by Kubernetes' own schemas, and against the image and our loader."""

from __future__ import annotations

from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import yaml

from tests.config.loading import LoadingTestCase
from tests.packages import ROOT
from tests.packages.dockerfile import read_dockerfile

FOLDER = ROOT / "deploy" / "kubernetes"


def read(name: str) -> Any:
    """Return the resource of a file."""
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


class KubernetesTests(LoadingTestCase):
    """The manifests."""

    def setUp(self) -> None:
        super().setUp()
        self.kustomization = read("kustomization.yaml")
        self.resources = {name: read(name) for name in self.kustomization["resources"]}
        self.secret = read("secret-example.yaml")
        self.deployment = self.resources["deployment.yaml"]
        self.pod = self.deployment["spec"]["template"]["spec"]
        [self.container] = self.pod["containers"]
        self.image = read_dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))[-1]

    def test_schemas(self) -> None:
        """Each is what Kubernetes takes, without unknown fields."""
        for resource in (*self.resources.values(), self.secret):
            kubernetes_validate.validate(
                resource, kubernetes_validate.latest_version(), strict=True
            )

    def test_kustomization(self) -> None:
        """It lists all files but the example of a secret, and renames the image that is used."""
        files = {path.name for path in FOLDER.iterdir()}
        apart = {"kustomization.yaml", "secret-example.yaml"}
        self.assertEqual(files - apart, set(self.resources))
        [image] = self.kustomization["images"]
        self.assertEqual(image["name"], self.container["image"])

    def test_configuration(self) -> None:
        """The configuration loads with the secret's variables, and nothing is off."""
        text = self.resources["configmap.yaml"]["data"]["provider_config.yaml"]
        config = self.config(text, self.secret["stringData"])
        self.assertEqual([model for model in config.models if model.disabled], [])
        self.assertEqual((len(config.auth_tokens), config.admin_token is None), (1, False))
        grace = self.pod["terminationGracePeriodSeconds"]
        self.assertGreater(grace, config.server.shutdown_delay + config.server.drain_timeout)
        # As long as it takes until a pod that is not ready is asked no more.
        probe = self.container["readinessProbe"]
        self.assertGreater(
            config.server.shutdown_delay, probe["periodSeconds"] * probe["failureThreshold"]
        )

    def test_references(self) -> None:
        """Names and labels that refer to one another agree."""
        [source] = self.container["envFrom"]
        self.assertEqual(source["secretRef"]["name"], self.secret["metadata"]["name"])
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        config_map = self.resources["configmap.yaml"]["metadata"]["name"]
        self.assertEqual(volumes["config"]["configMap"]["name"], config_map)
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        self.assertEqual(set(mounts), set(volumes))
        self.assertEqual(mounts["config"], self.image.only("WORKDIR").text)
        self.assertEqual([mounts["state"]], self.image.only("VOLUME").words)
        labels = self.deployment["spec"]["template"]["metadata"]["labels"]
        service = self.resources["service.yaml"]["spec"]
        budget = self.resources["poddisruptionbudget.yaml"]["spec"]
        for selector in (
            self.deployment["spec"]["selector"]["matchLabels"],
            service["selector"],
            budget["selector"]["matchLabels"],
            *(one["labelSelector"]["matchLabels"] for one in self.pod["topologySpreadConstraints"]),
        ):
            self.assertLessEqual(selector.items(), labels.items())
        [port] = self.container["ports"]
        self.assertEqual(str(port["containerPort"]), self.image.only("EXPOSE").text)
        self.assertEqual([one["targetPort"] for one in service["ports"]], [port["name"]])
        probes = {
            name: self.container[name]["httpGet"] for name in self.container if "Probe" in name
        }
        self.assertEqual({probe["port"] for probe in probes.values()}, {port["name"]})
        self.assertEqual(probes["livenessProbe"]["path"], "/health/live")
        self.assertEqual(probes["readinessProbe"]["path"], "/health/ready")

    def test_restricted(self) -> None:
        """The pod keeps to the `restricted` pod security standard, as the image's user."""
        pod, container = self.pod["securityContext"], self.container["securityContext"]
        self.assertTrue(pod["runAsNonRoot"])
        self.assertEqual(f"{pod['runAsUser']}:{pod['runAsGroup']}", self.image.only("USER").text)
        self.assertEqual(pod["fsGroup"], pod["runAsGroup"])
        self.assertEqual(pod["seccompProfile"], {"type": "RuntimeDefault"})
        self.assertFalse(container["allowPrivilegeEscalation"])
        self.assertEqual(container["capabilities"], {"drop": ["ALL"]})
        self.assertTrue(container["readOnlyRootFilesystem"])
