"""What deploy/Dockerfile's last stage is made of, as far as a test without containers needs it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, its arguments), with continued lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


@dataclass
class Image:
    """Variables, entry point and files of the image."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    user: str = "root"
    copied: list[tuple[list[str], str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Image:
        """Read a Dockerfile; variables and user are of its last stage, copies of its build context."""
        image = cls()
        for word, rest in instructions(path):
            if word == "FROM":
                image.environment, image.user = {}, "root"
            elif word == "ENV":
                image.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            elif word == "ENTRYPOINT":
                image.entrypoint = json.loads(rest)
            elif word == "USER":
                image.user = rest
            elif word == "COPY" and not rest.startswith("--from"):
                *sources, target = rest.split()
                image.copied.append((sources, target))
        return image

    def copy_context(self, context: Path, app: Path) -> None:
        """Do what the COPY instructions do; what .dockerignore names for every folder is left out."""
        ignored = [
            line.removeprefix("**/")
            for line in (context / ".dockerignore").read_text().splitlines()
            if line.startswith("**/")
        ]
        app.mkdir(parents=True)
        for sources, target in self.copied:
            for source in sources:
                if (context / source).is_dir():
                    shutil.copytree(
                        context / source,
                        app / target,
                        ignore=shutil.ignore_patterns(*ignored),
                        dirs_exist_ok=True,
                    )
                else:
                    shutil.copy(context / source, app / target)
