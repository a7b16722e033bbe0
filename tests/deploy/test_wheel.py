"""The wheel, installed outside the checkout, does what the README shows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("README.md", "LICENSE", "pyproject.toml", "nextclick.py", "model", "stream", "replay", "deploy")
MOST_BYTES = 2_000_000
ROWS = 400


class Installed:
    """nextclick from its wheel, in a folder of its own, beside the dependencies of this environment."""

    def __init__(self, folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        # From a copy: a build leaves folders beside what it builds.
        copy = folder / "checkout"
        copy.mkdir()
        for name in PARTS:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy)
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(copy)], check=True)
        (self.wheel,) = folder.glob("*.whl")
        subprocess.run(
            [*pip, "install", "--no-deps", "--prefix", str(folder / "prefix"), str(self.wheel)], check=True
        )
        (self._packages,) = (folder / "prefix").glob("lib/python*/site-packages")
        self.command = folder / "prefix" / "bin" / "nextclick"

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the installed command in `cwd`; the checkout is not on the path."""
        return subprocess.run(
            [str(self.command), *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(self._packages)},
            capture_output=True,
            text=True,
            timeout=500,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small log in it."""
    folder = tmp_path_factory.mktemp("shop")
    lines = [f"{row // 4},{(row * 7 + row // 9) % 23},{1_700_000_000 + row * 60}\n" for row in range(ROWS)]
    (folder / "clicks.csv").write_text("SessionId,ItemId,Time\n" + "".join(lines))
    return folder


def test_the_wheel_is_small_without_its_data_and_has_no_tests(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        sizes = {entry.filename: entry.compress_size for entry in wheel.infolist()}
    assert not [name for name in sizes if name.startswith(("tests", "deploy"))]
    assert sum(size for name, size in sizes.items() if "/deploy/data/" not in name) < MOST_BYTES


def test_every_file_of_the_benchmarks_is_in_the_wheel(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = wheel.namelist()
    benchmarks = (ROOT / "deploy" / "benchmarks").rglob("*.py")
    assert not [
        path
        for path in benchmarks
        if not any(name.endswith(f"share/nextclick/{path.relative_to(ROOT)}") for name in names)
    ]


def test_a_log_is_trained_on_and_listed_outside_the_checkout(installed: Installed, shop: Path) -> None:
    trained = installed.run("train", "clicks.csv", "--epochs", "1", "--network", "gru4rec", cwd=shop)
    assert trained.returncode == 0, trained.stderr
    listed = installed.run("recommend", "--items", "7", "--k", "3", "--json", cwd=shop)
    assert listed.returncode == 0, listed.stderr


def test_rights_and_the_contract_of_topics_are_printed(installed: Installed, shop: Path) -> None:
    assert "User:worker" in installed.run("acls", "--role", "worker", cwd=shop).stdout
    assert "asyncapi: 3.0.0" in installed.run("asyncapi", cwd=shop).stdout


def test_a_benchmark_finds_its_program(installed: Installed, shop: Path) -> None:
    helped = installed.run("bench", "stream", "--help", cwd=shop)
    assert helped.returncode == 0, helped.stderr
    assert "backlog" in helped.stdout


def test_the_demo_runs_on_a_log_of_ones_own(installed: Installed, shop: Path) -> None:
    done = installed.run("demo", "--file", "clicks.csv", "--epochs", "1", "--seconds", "0", cwd=shop)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"read {ROWS // 10} = stepped {ROWS // 10}" in done.stdout


def test_another_package_of_the_same_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "__init__.py").touch()
    first = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import nextclick"
    done = subprocess.run(
        [sys.executable, "-c", first],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "another package of that name" in done.stderr
