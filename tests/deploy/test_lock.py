"""The locks have a hash for every file, and the versions that pyproject.toml allows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "lock"
NAMES = ("dev.txt", "image.txt", "image-cpu.txt")
FIRST = re.compile(r"([a-z0-9-]+(?:\[[a-z,]+\])?)==([^ ]+)(?: ; .+?)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def locked(name: str) -> dict[str, set[str]]:
    """Package → versions, which may differ by the version of Python. Every line is understood."""
    found: dict[str, set[str]] = {}
    hashes = 1
    for line in (LOCK / name).read_text().splitlines():
        if first := FIRST.fullmatch(line):
            assert hashes, f"{name}: no hash before {line}"
            found.setdefault(canonicalize_name(first[1].partition("[")[0]), set()).add(first[2])
            hashes = 0
        else:
            assert HASH.fullmatch(line), f"{name}: {line}"
            hashes += 1
    assert hashes
    return found


def wanted(name: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runs = project["project"]["dependencies"]
    registry = project["project"]["optional-dependencies"]["registry"]
    rest = [*registry, *project["dependency-groups"]["dev"]] if name == "dev.txt" else registry
    return [Requirement(line) for line in (*runs, *rest)]


@pytest.mark.parametrize("name", NAMES)
def test_each_file_of_each_package_has_a_hash_and_a_version_that_is_allowed(name: str) -> None:
    found = locked(name)
    for one in wanted(name):
        if name == "image-cpu.txt" and one.name == "torch":
            assert "torch" not in found
            continue
        versions = found.get(canonicalize_name(one.name), set())
        assert versions, f"{one.name} is not in {name}: run deploy/lock/renew.sh"
        for version in versions:
            assert one.specifier.contains(version), f"{one}: {version}; run deploy/lock/renew.sh"


def test_the_image_has_what_was_tested_and_without_cuda_the_same_rest() -> None:
    dev, image, lean = (locked(name) for name in NAMES)
    assert {package: dev.get(package) for package in image} == image
    assert {package: image[package] for package in lean} == lean
    assert {re.split("-", package)[0] for package in image.keys() - lean.keys()} <= {
        "torch",
        "triton",
        "nvidia",
        "cuda",
    }


def test_every_bound_of_a_version_has_both_ends() -> None:
    for one in wanted("image.txt"):
        operators = {part.operator for part in one.specifier}
        assert operators in ({">=", "<"}, {"=="}), one


@pytest.mark.parametrize("file", ["deploy/environment.sh", "deploy/Dockerfile"])
def test_nothing_is_installed_without_its_hash_but_torch_s_cpu_build_and_the_project(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]+)", text)
    assert installs
    loose = [line for line in installs if "--require-hashes" not in line]
    assert all("--no-deps" in line for line in loose), loose
    assert len(loose) == (2 if file.endswith("Dockerfile") else 0)
