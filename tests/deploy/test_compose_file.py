"""deploy/compose.yaml and deploy/Dockerfile say what they mean to say; tests/integration runs them."""

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from nextclick import app
from stream.ingest.listed_events import ListedEvents
from stream.ingest.named_mappings import mapping_by
from stream.settings import PREFIX, Settings
from tests.conftest import ROOT
from tests.harness.composed import COMPOSE, load
from tests.harness.dockerfile import Image, instructions

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
CUDA = ROOT / "deploy" / "compose" / "cuda.yaml"
SCHEMA = Draft202012Validator(yaml.safe_load((ROOT / "tests" / "schemas" / "compose-spec.json").read_text()))
SERVICES: dict[str, Any] = load()["services"]
OWN = sorted(name for name, service in SERVICES.items() if service["image"].startswith("nextclick"))
ONCE = ["first-model", "replay"]
DIGEST = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")


@pytest.mark.parametrize("path", [COMPOSE, CUDA], ids=lambda path: path.name)
def test_the_file_fulfils_the_compose_specification(path: Path) -> None:
    errors = [f"{list(error.path)}: {error.message}" for error in SCHEMA.iter_errors(load(path=path))]
    assert errors == []


def test_the_schema_tells_a_wrong_file() -> None:
    wrong = load()
    wrong["services"]["kafka"]["memory_limit"] = "1g"
    assert list(SCHEMA.iter_errors(wrong))


def test_everything_is_published_on_this_machine_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(published) == 6
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert all("network_mode" not in service for service in SERVICES.values())


def test_kafka_sends_programs_of_this_machine_to_the_port_that_is_published() -> None:
    kafka = load({"KAFKA_PORT": "9999"})["services"]["kafka"]
    inside = dict(text.split("://") for text in kafka["environment"]["KAFKA_LISTENERS"].split(","))
    told = dict(text.split("://") for text in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert kafka["ports"] == [f"{told['HOST']}:{inside['HOST'].split(':')[1]}"]
    assert told == {
        "HOST": "127.0.0.1:9999",
        "INTERNAL": SERVICES["worker-1"]["environment"]["NEXTCLICK_BOOTSTRAP_SERVERS"],
    }


def test_images_of_others_are_pinned_by_digest() -> None:
    images = {service["image"] for name, service in SERVICES.items() if name not in OWN}
    images |= {
        rest.removeprefix("PYTHON=") for word, rest in instructions(DOCKERFILE) if rest.startswith("PYTHON=")
    }
    assert len(images) == 4
    assert all(DIGEST.fullmatch(image) for image in images), images


def test_one_service_builds_the_image_and_nobody_pulls_it() -> None:
    (builder,) = [name for name in OWN if "build" in SERVICES[name]]
    assert builder == "first-model"
    assert {SERVICES[name]["image"] for name in OWN} == {SERVICES[builder]["image"]}
    assert all(SERVICES[name]["pull_policy"] == "never" for name in OWN if name != builder)
    context = (COMPOSE.parent / SERVICES[builder]["build"]["context"]).resolve()
    assert context == ROOT
    assert (context / SERVICES[builder]["build"]["dockerfile"]).samefile(DOCKERFILE)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_limited_checked_and_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert service["healthcheck"].get("disable", False) == (name in ONCE)
    assert "mem_limit" in service
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", OWN)
def test_a_process_of_nextclick_writes_to_its_volumes_only(name: str) -> None:
    service, image = SERVICES[name], Image.read(DOCKERFILE)
    assert service["read_only"]
    assert service["init"]
    mounted = [text.split(":")[1] for text in service["volumes"]] + ["/tmp"]
    cache = {"NUMBA_CACHE_DIR", "MPLCONFIGDIR"}
    assert all(image.environment[key].startswith("/var/cache/nextclick/") for key in cache)
    assert "/var/cache/nextclick" in mounted
    # What a volume is mounted on is the image's user's own, and so is the new volume.
    made = next(rest for word, rest in instructions(DOCKERFILE) if "install --directory" in rest)
    assert all(path in made for path in mounted if path != "/tmp")
    needs = {"worker": "STATE_DIR", "train": "REGISTRY_DIR", "retrain": "REGISTRY_DIR"}
    for command, variable in needs.items():
        assert service["command"][0] != command or image.environment[PREFIX + variable] in mounted


@pytest.mark.parametrize("name", OWN)
def test_a_service_names_settings_and_a_command_that_there_are(name: str) -> None:
    image = Image.read(DOCKERFILE)
    variables = {**image.environment, **SERVICES[name].get("environment", {})}
    named = {key.removeprefix(PREFIX).lower() for key in variables if key.startswith(PREFIX)}
    assert named <= Settings.model_fields.keys()
    command, *options = SERVICES[name]["command"]
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0
    for option in options:
        assert not option.startswith("--") or option.split("=")[0] in shown.output, option


def test_every_worker_has_its_own_name_volume_and_port() -> None:
    workers = [SERVICES[name] for name in ("worker-1", "worker-2")]
    own = [
        (
            one["environment"]["NEXTCLICK_WORKER_ID"],
            next(text for text in one["volumes"] if "/state" in text),
            one["ports"][0],
        )
        for one in workers
    ]
    assert all(first != second for first, second in zip(*own, strict=True))
    ids = [
        service["environment"].get("NEXTCLICK_WORKER_ID", name)
        for name, service in SERVICES.items()
        if name in OWN
    ]
    assert len(set(ids)) == len(ids)


def test_no_service_starts_before_what_it_needs() -> None:
    needs = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    assert {"kafka", "first-model"} <= needs["worker-1"] == needs["worker-2"]
    # A worker makes the topics.
    assert all("worker-1" in needs[name] for name in ("retrain", "archive", "ingest", "outcomes", "replay"))


def test_what_is_not_everybodys_is_in_a_profile() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {
        "ingest": ["ingest"],
        "outcomes": ["outcomes"],
        "own-topic": ["own"],
        "replay": ["demo"],
    }


def test_the_ingester_finds_its_mappings_and_the_packages_of_a_registry() -> None:
    ingest = SERVICES["ingest"]
    folder, within, _ = ingest["volumes"][0].split(":")
    for mapping in Settings(ingest_from=ingest["environment"]["NEXTCLICK_INGEST_FROM"]).ingested().values():
        assert mapping.startswith(f"{within}/")
        ListedEvents(mapping_by(str(COMPOSE.parent / folder / mapping.removeprefix(f"{within}/"))))
    for lock in ("image.txt", "image-cpu.txt"):
        assert any(f"deploy/lock/{lock}" in rest for _, rest in instructions(DOCKERFILE))
        locked = (ROOT / "deploy/lock" / lock).read_text()
        assert all(f"\n{package}==" in locked for package in ("fastavro", "protobuf", "jsonschema"))


def test_a_gpu_is_given_to_the_workers_in_an_image_of_its_own() -> None:
    other = load(path=CUDA)["services"]
    assert sorted(other) == OWN
    assert len({service["image"] for service in other.values()} - {SERVICES["worker-1"]["image"]}) == 1
    assert [name for name in OWN if "deploy" in other[name]] == [
        "first-model",
        "own-topic",
        "retrain",
        "worker-1",
        "worker-2",
    ]
    variant = other["first-model"]["build"]["args"]["VARIANT"]
    stages = [rest.split(" AS ")[1] for word, rest in instructions(DOCKERFILE) if word == "FROM"]
    assert {f"torch-{variant}", f"torch-{SERVICES['first-model']['build']['args']['VARIANT']}"} < set(stages)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    ended = subprocess.run(
        [hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=240, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_the_image_does_not_run_as_root_and_has_what_compose_runs() -> None:
    image = Image.read(DOCKERFILE)
    assert image.user == "10001:10001"
    assert image.entrypoint == ["nextclick"]
    copied = [source for sources, _ in image.copied for source in sources]
    assert all((ROOT / source).exists() for source in copied)
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]
    # A folder of one that is allowed is, too.
    assert {one for one in copied if not any(one.startswith(f"{folder}/") for folder in allowed)} == set(
        allowed
    )


@pytest.fixture
def answering() -> Iterator[str]:
    """The address of a server that is ready, and at /later is not."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/later" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("/ready", 0), ("/later", 1)])
def test_a_health_check_is_what_the_address_answers(answering: str, path: str, code: int) -> None:
    ended = health(answering + path, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    assert ended.returncode == code, ended.stdout


def test_an_address_that_does_not_answer_is_not_healthy() -> None:
    ended = health("http://127.0.0.1:9/ready")
    assert ended.returncode == 1
    assert "refused" in ended.stdout


def health(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "health.py", address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
