"""Runs the check of the image: python deploy/image, or ./deploy/image/check, which installs what it needs."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from deploy.benchmarks.measure.process import broker, machine
from deploy.benchmarks.measure.run_program import run_program
from deploy.image.image import Image, largest, size_bytes
from deploy.image.serving import ImageServing, Row

GB = 1e9
# The CPU variant is to be smaller; CUDA alone brings more.
LIMIT_GB = {"cpu": 1.5}
SHOWN = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, look, serve, and print what was seen. Returns 1 where something is not as it must be."""
    asked = parse(arguments)
    if os.geteuid() != 0:
        print("error: it mounts and builds without an engine, as root alone can. do: sudo", file=sys.stderr)
        return 2
    kept = (
        nullcontext(asked.folder) if asked.folder else tempfile.TemporaryDirectory(prefix="nextclick-image-")
    )
    with kept as given:
        folder = Path(given).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        image, begun_s = Image(folder, asked.variant), time.monotonic()
        if not asked.built:
            image.build(asked.base, asked.torch_index)
        built_s = time.monotonic() - begun_s
        print(f"{machine()}; variant {asked.variant}, built in {built_s:.0f} s\n", flush=True)
        try:
            rows = look(image, folder)
        finally:
            image.unmount()
    misses = [what for what, held, _ in rows if not held]
    for what in misses:
        print(f"error: not so: {what}", file=sys.stderr)
    return 1 if misses else 0


def look(image: Image, folder: Path) -> list[Row]:
    """Everything that is looked at, printed as it is seen."""
    root = image.mount()
    print("\n".join(size_table(root)), end="\n\n", flush=True)
    rows = [size_row(root, image.variant)]
    with broker(None, folder) as (address, _):
        for row in ImageServing(root, image.config(), folder, address).rows():
            rows.append(row)
            print(f"{'ok  ' if row[1] else 'MISS'} {row[0]}: {row[2]}", flush=True)
    return rows


def size_row(root: Path, variant: str) -> Row:
    """Whether the image is as small as its variant is to be."""
    size_gb = size_bytes(root) / GB
    limit_gb = LIMIT_GB.get(variant)
    told = f"{size_gb:.2f} GB" + (f" of {limit_gb}" if limit_gb else "")
    return "the image is small enough", limit_gb is None or size_gb <= limit_gb, told


def size_table(root: Path) -> list[str]:
    """Where the bytes are, in Markdown."""
    packages = next((root / "opt" / "nextclick" / "lib").glob("python3*/site-packages"))
    parts = [("all", size_bytes(root)), ("/opt/nextclick", size_bytes(root / "opt" / "nextclick"))]
    parts += [("/app", size_bytes(root / "app"))]
    parts += [(f"site-packages/{name}", size) for name, size in largest(packages, SHOWN)]
    return ["| part | MB |", "|---|--:|", *(f"| {name} | {size / 1e6:,.0f} |" for name, size in parts)]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="./deploy/image/check",
        description="Builds deploy/Dockerfile without a container engine, and serves with the image: its "
        "user, no capabilities, a root that cannot be written. Ends with 1 where something is not as it "
        "must be.",
        epilog="example: ./deploy/image/check --variant cuda --folder /var/tmp/image",
    )
    add = parser.add_argument
    add("--variant", choices=["cpu", "cuda"], default="cpu")
    add("--base", help="the base image; default: Debian's packages, by mmdebstrap")
    add("--torch-index", help="where the CPU variant has torch from; default: as in the Dockerfile")
    add(
        "--folder",
        type=Path,
        help="keeps the storage (40 GB with CUDA), volumes and logs; default: none of it",
    )
    add("--built", action="store_true", help="the folder has the image already")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    run_program(main)
