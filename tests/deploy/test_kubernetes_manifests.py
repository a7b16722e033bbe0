"""deploy/kubernetes fulfils Kubernetes' schemas, and its parts fit together."""

import subprocess
import sys
import tomllib
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from nextclick import app
from stream.ingest.listed_events import ListedEvents
from stream.log_mapping import mapping_of
from stream.settings import PREFIX, Settings
from stream.web.guard import WebGuard
from tests.conftest import ROOT
from tests.harness.composed import load

FOLDER = ROOT / "deploy" / "kubernetes"
# What is not everybody's.
COMPONENTS = ("ingest", "outcomes")
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    (found["kind"], found["metadata"]["name"]): found
    for path in sorted(FOLDER.glob("**/*.yaml"))
    if path.name != "kustomization.yaml"
    for found in yaml.safe_load_all(path.read_text())
}
SETTINGS = OBJECTS["ConfigMap", "nextclick-settings"]["data"]


def template(found: dict[str, Any]) -> dict[str, Any] | None:
    """The pod template of an object that has one."""
    spec = found.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    within: dict[str, Any] | None = spec.get("template")
    return within


PODS = {name: pod for (_, name), found in OBJECTS.items() if (pod := template(found))}


def variables(pod: dict[str, Any]) -> dict[str, Any]:
    """The variables of a pod's container."""
    (container,) = pod["spec"]["containers"]
    (source,) = container["envFrom"]
    assert source == {"configMapRef": {"name": "nextclick-settings"}}
    return {
        **SETTINGS,
        **{one["name"]: one.get("value", one.get("valueFrom")) for one in container.get("env", [])},
    }


@pytest.mark.parametrize("key", sorted(OBJECTS), ids="/".join)
@pytest.mark.parametrize("version", ["1.32", kubernetes_validate.latest_version().rsplit(".", 1)[0]])
def test_an_object_fulfils_its_schema_strictly(key: tuple[str, str], version: str) -> None:
    kubernetes_validate.validate(OBJECTS[key], version, strict=True)


def test_the_schemas_tell_a_wrong_object() -> None:
    wrong = yaml.safe_load((FOLDER / "worker.yaml").read_text())
    wrong["spec"]["template"]["spec"]["container"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def test_the_kustomization_has_every_file_and_nothing_else() -> None:
    named_in = {FOLDER: [*KUSTOMIZATION["resources"], *COMPONENTS]}
    for name in COMPONENTS:
        component = yaml.safe_load((FOLDER / name / "kustomization.yaml").read_text())
        assert component["kind"] == "Component"
        named_in[FOLDER / name] = component["resources"]
    for folder, named in named_in.items():
        assert set(named) == {path.name for path in folder.iterdir()} - {"kustomization.yaml"}
    (image,) = KUSTOMIZATION["images"]
    assert load()["services"]["worker-1"]["image"] == f"{image['name']}:{image['newTag']}"


def test_the_parts_are_all_there() -> None:
    assert sorted(kind for kind, _ in OBJECTS) == [
        "ConfigMap", "ConfigMap", "CronJob", "Deployment", "Job", "PersistentVolumeClaim",
        "PersistentVolumeClaim", "PodDisruptionBudget", "Service", "Service", "Service", "StatefulSet",
        "StatefulSet", "StatefulSet",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_runs_a_command_with_settings_that_there_are(name: str) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    command, *options = container["args"]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    for option in options:
        assert not option.startswith("--") or option.split("=")[0] in shown.output, option
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    named = {key.removeprefix(PREFIX).lower() for key in variables(PODS[name]) if key.startswith(PREFIX)}
    assert named <= Settings.model_fields.keys()
    # Else a Service called nextclick-… would add variables that no setting is behind.
    assert PODS[name]["spec"]["enableServiceLinks"] is False


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_is_nobody_and_writes_to_its_volumes_only(name: str) -> None:
    spec = PODS[name]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert (
        {"cpu", "memory"}
        == container["resources"]["limits"].keys()
        == container["resources"]["requests"].keys()
    )
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claimed = OBJECTS.get(("StatefulSet", name), {}).get("spec", {}).get("volumeClaimTemplates", [])
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    assert mounted.keys() == volumes.keys() | {claim["metadata"]["name"] for claim in claimed}
    for volume in volumes.values():
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in OBJECTS
    assert {"/tmp", "/var/cache/nextclick"} <= set(mounted.values())


def test_a_worker_keeps_its_name_and_its_state() -> None:
    worker = OBJECTS["StatefulSet", "nextclick-worker"]["spec"]
    given = variables(worker["template"])
    assert given["NEXTCLICK_WORKER_ID"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    (container,) = worker["template"]["spec"]["containers"]
    assert given["NEXTCLICK_STEP_THREADS"] == container["resources"]["limits"]["cpu"]
    assert worker["replicas"] <= int(SETTINGS["NEXTCLICK_PARTITIONS"])
    labels = worker["template"]["metadata"]["labels"]
    service = OBJECTS["Service", worker["serviceName"]]["spec"]
    budget = OBJECTS["PodDisruptionBudget", "nextclick-worker"]["spec"]
    selectors = [worker["selector"]["matchLabels"], service["selector"], budget["selector"]["matchLabels"]]
    assert all(selector == labels for selector in selectors)
    assert service["clusterIP"] == "None"


def test_an_ingester_keeps_its_name_and_finds_its_mappings() -> None:
    ingest = OBJECTS["StatefulSet", "nextclick-ingest"]["spec"]
    given = variables(ingest["template"])
    assert given["NEXTCLICK_WORKER_ID"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    labels = ingest["template"]["metadata"]["labels"]
    assert ingest["selector"]["matchLabels"] == labels
    assert OBJECTS["Service", ingest["serviceName"]]["spec"]["selector"] == labels
    mappings = OBJECTS["ConfigMap", "nextclick-ingest"]["data"]
    assert given["NEXTCLICK_INGEST_FROM"]["configMapKeyRef"] == {"name": "nextclick-ingest", "key": "from"}
    (container,) = ingest["template"]["spec"]["containers"]
    folder = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "mappings")
    for mapping in Settings(ingest_from=mappings["from"]).ingested().values():
        ListedEvents(mapping_of(tomllib.loads(mappings[mapping.removeprefix(f"{folder}/")])))


def test_probes_ask_for_readiness_or_life_where_the_process_listens() -> None:
    for name, live in (
        ("nextclick-worker", "/health"),
        ("nextclick-archive", "/metrics"),
        ("nextclick-ingest", "/metrics"),
        ("nextclick-outcomes", "/metrics"),
    ):
        (container,) = PODS[name]["spec"]["containers"]
        ready = container["readinessProbe"]["httpGet"]
        assert container["startupProbe"]["httpGet"] == ready
        assert container["livenessProbe"]["httpGet"] == {**ready, "path": live}
        *others, port = container["ports"]
        assert ready["port"] == port["name"]
        variable = "NEXTCLICK_METRICS_PORT" if live == "/metrics" else "NEXTCLICK_WEB_PROBE_PORT"
        assert int(variables(PODS[name])[variable]) == port["containerPort"]
        default = Settings.model_fields["web_port"].default
        assert [other["containerPort"] for other in others] == [default] * (live == "/health")
        assert PODS[name]["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    assert SETTINGS["NEXTCLICK_WEB_HOST"] == "0.0.0.0"
    # Names that are those of the workers, for other workers as well, and of no page elsewhere.
    guard = WebGuard(Settings(web_host="0.0.0.0", web_allowed_hosts=SETTINGS["NEXTCLICK_WEB_ALLOWED_HOSTS"]))
    named = variables(PODS["nextclick-worker"])["NEXTCLICK_WEB_ADDRESS"]
    pod = named.replace("$(NEXTCLICK_WORKER_ID)", "nextclick-worker-7").partition(":")[0]
    of_others = [f"nextclick-worker.nextclick{ending}" for ending in ("", ".svc", ".svc.cluster.local")]
    assert all(guard._is_named(name) for name in ("localhost", "nextclick-worker", pod, *of_others))
    assert not any(guard._is_named(name) for name in ("evil.example", "evilnextclick-worker"))


def test_the_first_model_is_the_one_of_compose() -> None:
    (container,) = PODS["nextclick-first-model"]["spec"]["containers"]
    assert container["args"] == load()["services"]["first-model"]["command"]


def test_a_manifest_says_what_it_is_for() -> None:
    for path in sorted(FOLDER.glob("**/*.yaml")):
        assert path.read_text().startswith("# "), path


def test_the_objects_of_the_operator_have_every_rule_and_select_pods_that_there_are() -> None:
    command = [sys.executable, str(ROOT / "deploy" / "prometheus" / "operator_objects.py"), "release=stack"]
    made = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, check=True).stdout))
    (rules,) = [one for one in made if one["kind"] == "PrometheusRule"]
    shipped = [
        rule
        for name in ("recording.yml", "alerts.yml")
        for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / name).read_text())["groups"]
        for rule in group["rules"]
    ]
    assert [rule for group in rules["spec"]["groups"] for rule in group["rules"]] == shipped
    addressed = subprocess.run(
        [*command, "runbooks=https://g.example.com/n/"], capture_output=True, check=True
    )
    (rules,) = [one for one in yaml.safe_load_all(addressed.stdout) if one["kind"] == "PrometheusRule"]
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {alert["alert"]: alert["annotations"]["runbook"] for alert in alerts} == {
        alert["alert"]: f"https://g.example.com/n/deploy/docs/runbook.md#{alert['alert'].lower()}"
        for alert in alerts
    }
    assert "runbooks" not in rules["metadata"]["labels"]
    names = [group["name"] for group in rules["spec"]["groups"]]
    assert len(set(names)) == len(names)
    assert all(one["metadata"]["labels"]["release"] == "stack" for one in made)
    monitors = {one["metadata"]["name"]: one["spec"] for one in made if one["kind"] == "PodMonitor"}
    served = {name for name, pod in PODS.items() if "ports" in pod["spec"]["containers"][0]}
    components = {f"nextclick-{name}" for name in COMPONENTS}
    assert monitors.keys() - components == served - components
    for name, spec in monitors.items():
        (endpoint,) = spec["podMetricsEndpoints"]
        assert endpoint["relabelings"][0] == {"targetLabel": "job", "replacement": name}
        if name in PODS:
            wanted = spec["selector"]["matchLabels"].items()
            assert wanted <= PODS[name]["metadata"]["labels"].items()
            (container,) = PODS[name]["spec"]["containers"]
            assert endpoint["port"] in {port["name"] for port in container["ports"]}
