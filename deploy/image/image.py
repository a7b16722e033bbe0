"""Builds the image by buildah, on a base of Debian's packages or a given one; needs root and no engine.

Tested by `./deploy/image/check`, which is too long for every run of the tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from model.errors import NextclickError

ROOT = Path(__file__).parents[2]
BASE, IMAGE = "localhost/nextclick-base", "localhost/nextclick"
# What deploy/Dockerfile asks of its base: Python by the name `python`, with venv and pip.
BASE_PACKAGES = "ca-certificates,python3,python3-venv,python-is-python3"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What pip is told of its index and its certificates, and the build's pip needs, too.
PIP_OPTIONS = ("cert", "default-timeout", "extra-index-url", "index-url", "proxy", "trusted-host")
CERTIFICATES = Path("/etc/ssl/certs")


class Image:
    """The image in `folder`, which keeps buildah's storage: 4 GB of room for CPUs, 20 with CUDA."""

    def __init__(self, folder: Path, variant: str) -> None:
        self._folder = folder
        self.variant = variant
        self.name = f"{IMAGE}:{variant}"

    def build(self, base: str | None, torch_index: str | None) -> None:
        """Build it from the checkout. Raises NextclickError."""
        pip = self._folder / "pip.conf"
        pip.write_text("\n".join(["[global]", *_pip_options()]) + "\n")
        mounts = [f"{pip}:/etc/pip.conf:ro"]
        if CERTIFICATES.is_dir():
            mounts.append(f"{CERTIFICATES}:{CERTIFICATES}:ro")
        arguments = {"PYTHON": base or self._make_base(), "VARIANT": self.variant}
        if torch_index:
            arguments["TORCH_CPU_INDEX"] = torch_index
        self._buildah(
            "build",
            # Layers would keep a copy of everything for each instruction.
            "--layers=false",
            # OCI's own format has no health check.
            "--format=docker",
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(f"--volume={mount}" for mount in mounts),
            f"--file={ROOT / 'deploy' / 'Dockerfile'}",
            f"--tag={self.name}",
            str(ROOT),
        )

    def config(self) -> dict[str, Any]:
        """What the image says of its user, variables, command and health check."""
        found: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", self.name))
        config: dict[str, Any] = found["Docker"]["config"]
        return config

    def mount(self) -> Path:
        """A container's root file system, to run programs in."""
        container = self._buildah("from", "--pull-never", self.name).strip()
        return Path(self._buildah("mount", container).strip())

    def unmount(self) -> None:
        """Leave nothing mounted in the folder."""
        self._buildah("rm", "--all")

    def _make_base(self) -> str:
        archive = self._folder / "base.tar"
        _run("mmdebstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", str(archive))
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", "--quiet", container, str(archive), "/")
        self._buildah("config", f"--env=PATH={PATH}", container)
        self._buildah("commit", "--quiet", "--rm", container, BASE)
        archive.unlink()
        return BASE

    def _buildah(self, *arguments: str) -> str:
        storage = [f"--root={self._folder / 'storage'}", f"--runroot={self._folder / 'run'}"]
        return _run("buildah", *storage, *arguments)


def size_bytes(folder: Path) -> int:
    """What the files of a folder take on the disk, as `du` has it."""
    return int(_run("du", "--summarize", "--block-size=1", "--one-file-system", str(folder)).split()[0])


def largest(folder: Path, count: int) -> list[tuple[str, int]]:
    """The largest entries of a folder with their bytes."""
    sizes = [(path.name, size_bytes(path)) for path in folder.iterdir() if not path.is_symlink()]
    return sorted(sizes, key=lambda found: -found[1])[:count]


def _pip_options() -> list[str]:
    told = {}
    for line in _run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        told[name.rpartition(".")[2]] = value.strip("'\"")
    return [f"{name} = {value}" for name, value in told.items() if name in PIP_OPTIONS]


def _run(*words: str) -> str:
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    # Its own messages go where ours go: a build takes minutes.
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise NextclickError(
            f"`{' '.join(words[:2])} …` ended with {done.returncode}",
            "Nothing can be said of the image.",
            "Its last words are above.",
        )
    return done.stdout
