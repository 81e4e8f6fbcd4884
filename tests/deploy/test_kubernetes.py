"""The manifests for Kubernetes: valid, unprivileged, and equal to what the code and units say."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from actors.shared.settings import PREFIX, Settings
from deploy.backlog_metrics import BacklogCollector
from deploy.cli.shutdown import LIMIT_S
from deploy.process_health import LIVE, READY
from deploy.server_probes import PROBE_S, ServerProbes, probe_backlogs
from tests.deploy.test_images import COMPOSE, DOCKERFILE, OURS
from tests.deploy.test_units import COMMON, environment, read, service

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")
OBJECTS: list[dict[str, Any]] = [
    one
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "adapter-values.yaml"
    for one in yaml.safe_load_all(path.read_text())
]
ADAPTER: dict[str, Any] = yaml.safe_load((FOLDER / "adapter-values.yaml").read_text())


def named(kind: str, part: str) -> dict[str, Any]:
    name = "killstream" if not part else f"killstream-{part}"
    (found,) = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def template(part: str) -> dict[str, Any]:
    kind = "Job" if part == "migrate" else "Deployment"
    return dict(named(kind, part)["spec"]["template"])


def pod(part: str) -> dict[str, Any]:
    return dict(template(part)["spec"])


def container(part: str) -> dict[str, Any]:
    (one,) = pod(part)["containers"]
    return dict(one)


def variables(part: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(part).get("env", [])}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']}/{one['metadata']['name']}")
def test_kubernetes_accepts_the_manifests(one: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_each_part_runs_its_command() -> None:
    assert {part: container(part)["args"] for part in OURS} == {
        part: COMPOSE["services"][part]["command"] for part in OURS
    }


@pytest.mark.parametrize("part", OURS)
def test_pods_are_unprivileged(part: str) -> None:
    user = pod(part)["securityContext"]["runAsUser"]
    assert f"--uid {user} " in DOCKERFILE
    assert pod(part)["securityContext"]["runAsNonRoot"]
    rights = container(part)["securityContext"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"] == {"drop": ["ALL"]}
    written = {mount["mountPath"] for mount in container(part)["volumeMounts"]}
    (data_dir,) = environment(read(COMMON)["Service"]).values()
    assert written == {"/tmp", data_dir}


@pytest.mark.parametrize("part", OURS)
def test_settings_ports_and_stop_times_are_those_of_the_units(part: str) -> None:
    given = named("ConfigMap", "")["data"]
    assert {*given, *variables(part)} <= {PREFIX + name.upper() for name in Settings.model_fields}
    assert variables(part) == environment(service(part))
    ports = {str(port["containerPort"]) for port in container(part).get("ports", [])}
    assert ports == set(variables(part).values())
    stop_s = pod(part)["terminationGracePeriodSeconds"]
    assert stop_s > LIMIT_S
    assert read(COMMON)["Service"]["TimeoutStopSec"] == [str(stop_s)]


def test_probes_ask_whether_a_part_lives_and_is_ready() -> None:
    asked = {"startupProbe": LIVE, "livenessProbe": LIVE, "readinessProbe": READY}
    for part in ("streams", "actors", "api"):
        probes = {name: container(part)[name] for name in asked}
        assert {name: probe["httpGet"]["path"] for name, probe in probes.items()} == asked
        (port,) = container(part)["ports"]
        assert {probe["httpGet"]["port"] for probe in probes.values()} == {port["name"]}
        assert min(probe["timeoutSeconds"] for probe in probes.values()) > PROBE_S
        # Pods that wait for a server don't keep a node from being drained.
        budget = named("PodDisruptionBudget", part)["spec"]
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_policies_let_in_what_the_parts_serve() -> None:
    def admitted(part: str) -> set[int]:
        rules = named("NetworkPolicy", part)["spec"]["ingress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    def served(part: str) -> set[int]:
        return {port["containerPort"] for port in container(part)["ports"]}

    assert admitted("") == served("streams") | served("actors")
    assert admitted("api") == served("api")


def test_selectors_select_their_pods() -> None:
    for part in ("streams", "actors", "api"):
        labels = named("Deployment", part)["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "PodDisruptionBudget"):
            assert named(kind, part)["spec"]["selector"]["matchLabels"] == labels
    assert named("Service", "api")["spec"]["selector"] == labels


def test_actors_scale_on_a_metric_that_exists() -> None:
    scaler = named("HorizontalPodAutoscaler", "actors")["spec"]
    assert scaler["scaleTargetRef"]["name"] == named("Deployment", "actors")["metadata"]["name"]
    assert "replicas" not in named("Deployment", "actors")["spec"]
    (wanted,) = (metric["external"]["metric"] for metric in scaler["metrics"])
    (rule,) = ADAPTER["rules"]["external"]
    assert rule["name"]["as"] == wanted["name"]
    families = {
        family.name
        for family in BacklogCollector(ServerProbes(Settings(), probe_backlogs)).describe()
    }
    assert rule["seriesQuery"] in families
    assert set(wanted["selector"]["matchLabels"]) == {"queue", "state"}


def test_the_document_names_objects_that_exist() -> None:
    text = (PROJECT / "deploy" / "README.md").read_text()
    section = text[text.index("### Kubernetes") : text.index("## Commands")]
    assert set(re.findall(r"deploy[/ ]killstream-(\w+)", section)) <= {"streams", "actors", "api"}
    assert set(re.findall(r"job[/ ]killstream-(\w+)", section)) == {"migrate"}
    files = set(re.findall(r"kubernetes/(\w+)\.yaml", section))
    (parts,) = re.findall(r"for part in ([\w ]+);", section)
    assert {f"{name}.yaml" for name in files | set(parts.split())} == {
        path.name for path in FOLDER.glob("*.yaml") if path.name != "adapter-values.yaml"
    }
    least = named("HorizontalPodAutoscaler", "actors")["spec"]["minReplicas"]
    assert f"--replicas={least} " in section
    (label,) = set(re.findall(r"-l (\S+=\w+)", section))
    name, _, value = label.partition("=")
    for part in ("streams", "actors", "api"):
        assert named("Deployment", part)["metadata"]["labels"][name] == value
        assert template(part)["metadata"]["labels"][name] == value
    assert template("migrate")["metadata"]["labels"][name] == value
